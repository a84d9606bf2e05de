/** What clients say of a file, checked before anything changes; every wrong field is named. */
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { checkName } from '#core/names.ts'
import type { Node } from '#core/nodes.ts'
import { areContacts } from './contacts.ts'
import { findContainer } from './containers.ts'
import { defaultDynatype, isDynatype } from './dynatypes.ts'
import { listed } from './extras.ts'
import { FieldsRefused, REQUIRED, type FieldErrors } from './field-errors.ts'
import type { FileExtras } from './file.ts'

/** As texts, from a form or a JSON body; a list is comma-separated, or in JSON an array. */
export interface SaidOfFile {
  filename?: string | undefined
  title?: string | undefined
  parent?: string | undefined
  dynatype?: string | undefined
  contacts?: string | readonly string[] | undefined
  tags?: string | readonly string[] | undefined
}

export interface FileFields extends FileExtras {
  filename: string
  title: string
  parent: Node
}

const MAX_TITLE_LENGTH = 1000
const MAX_TAGS = 100

/** What stays of a file when nobody says otherwise; that of a new one. */
const nothing: FileExtras = {}

/** Checks all fields against each other and the store. Throws FieldsRefused. `before` is what the file has. */
export async function checkFileFields(ctx: Ctx, said: SaidOfFile, before: FileExtras = nothing): Promise<FileFields> {
  const { filename = '', title = '', dynatype = before.dynatype ?? defaultDynatype } = said
  const isPlain = dynatype === defaultDynatype
  const tags = entriesOf(said.tags, before.tags)
  // Ids are kept in lower case; joined, as an array, they come apart again.
  const contacts = isPlain ? [] : entriesOf(said.contacts?.toString().toLowerCase(), before.contacts)
  const parent = await findContainer(ctx, said.parent ?? '')
  const faults: [field: string, isWrong: boolean, message: string][] = [
    ['filename', !isName(filename), 'This is no file name.'],
    ['title', !isText(title), NO_TEXT],
    ['title', title.length > MAX_TITLE_LENGTH, `Ensure this value has at most ${MAX_TITLE_LENGTH} characters.`],
    ['parent', !parent, 'Unknown filespace, project or folder.'],
    ['dynatype', !isDynatype(dynatype), 'Unknown dynatype.'],
    ['contacts', !(await areContacts(ctx, contacts)), 'Unknown contact.'],
    ['tags', !tags.every(isText), NO_TEXT],
    ['tags', tags.length > MAX_TAGS, `Ensure there are at most ${MAX_TAGS} tags.`],
  ]
  const wrong = faults.filter(([, isWrong]) => isWrong).map(([field, , message]) => [field, [message]])
  const errors: FieldErrors = { ...Object.fromEntries(wrong), ...missingFields(said) }
  if (!parent || Object.keys(errors).length > 0) throw new FieldsRefused('files', errors)
  return { filename, title, parent, ...(!isPlain && { dynatype }), contacts, tags }
}

/** What everybody has to say of a file, and did not. */
export function missingFields(said: SaidOfFile): FieldErrors {
  const missing = (['filename', 'title', 'parent'] as const).filter(field => !said[field])
  return Object.fromEntries(missing.map(field => [field, [REQUIRED]]))
}

const entriesOf = (said: string | readonly string[] | undefined, before: readonly string[] = []) =>
  said === undefined ? before : listed(said)

const NO_TEXT = 'This is no text.'
const isText = (text: string) => !text.includes('\0') && text.isWellFormed()

function isName(filename: string): boolean {
  try {
    return checkName(filename) !== ''
  } catch (error) {
    if (isDomainError(error)) return false
    throw error
  }
}
