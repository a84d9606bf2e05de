/** Fields that only this API has, kept as metadata in its namespace: each value as JSON under the field's name. */
import { isDomainError } from '#core/errors.ts'
import { MAX_VALUE_BYTES } from '#core/metadata.ts'
import { checkName } from '#core/names.ts'
import { FieldsRefused } from './field-errors.ts'

/** Fields without a value are not kept. Throws FieldsRefused for what is too long, or holds characters that are none. */
export function storeExtras(resource: string, fields: Readonly<Record<string, unknown>>): Record<string, string> {
  const stored: Record<string, string> = {}
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    stored[name] = JSON.stringify(value)
    if (Buffer.byteLength(stored[name]) > MAX_VALUE_BYTES)
      throw new FieldsRefused(resource, { [name]: [`Ensure this value has at most ${MAX_VALUE_BYTES} bytes.`] })
  }
  return stored
}

/** What was kept, as storeExtras got it. */
export function loadExtras<F>(metadata: Readonly<Record<string, string>>): Partial<F> {
  const fields = Object.entries(metadata).map(([name, text]) => [name, JSON.parse(text) as unknown])
  return Object.fromEntries(fields) as Partial<F> // storeExtras wrote them
}

/** A title that is a name in the tree as well. Throws FieldsRefused. */
export function checkTitle(resource: string, title: string): string {
  try {
    return checkName(title)
  } catch (error) {
    if (!isDomainError(error)) throw error
    throw new FieldsRefused(resource, {
      title: ['This cannot be a title: it is too long, or has characters no name may have.'],
    })
  }
}

/** Trimmed, without empty and repeated entries, in the order given; a text is comma-separated. */
export function listed(said: string | readonly string[]): string[] {
  const entries = typeof said === 'string' ? said.split(',') : said
  return [...new Set(entries.map(entry => entry.trim()).filter(entry => entry !== ''))]
}
