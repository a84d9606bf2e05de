/** The form of a new file: its fields may come before and after the content. */
import type { FastifyRequest } from 'fastify'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { readMultipart, type Part } from '#http/multipart.ts'
import { chunksOf } from '#http/part-chunks.ts'

export type FormFields = ReadonlyMap<string, string>

/** Of a form in JSON's size: titles, tags, ids. */
const FIELD_BYTES = 64 * 1024
const MAX_PARTS = 100

/** The content of a form: its bytes, which end only when the whole form has proven sound, and what its part says of itself. */
export interface FormContent {
  body: AsyncIterable<Uint8Array>
  filename: string | undefined
  mediaType: string | undefined
}

/**
 * Reads a form. With a part `content`, `store` gets it and the fields, to which those behind the content are added while it is
 * read; without one, `plain` gets the fields alone. Of a field that comes twice, the first counts.
 */
export async function readForm<R>(
  ctx: Ctx,
  request: FastifyRequest,
  handlers: {
    store(content: FormContent, fields: FormFields): Promise<R>
    plain(fields: FormFields): Promise<R>
  },
): Promise<R> {
  const limits = { parts: MAX_PARTS, fieldBytes: FIELD_BYTES }
  const parts = readMultipart(request.raw, request.headers['content-type'], limits)
  const fields = new Map<string, string>()
  try {
    const content = await nextContent(parts, fields)
    if (!content) return await handlers.plain(fields)
    const body = wholeBody(ctx, { parts, content, fields })
    return await handlers.store({ body, filename: content.filename, mediaType: content.contentType }, fields)
  } finally {
    await parts.return()
  }
}

type Parts = AsyncGenerator<Part, void, undefined>

/** Reads on to the next part called `content`. */
async function nextContent(parts: Parts, fields: Map<string, string>): Promise<Part | undefined> {
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    const part = next.value
    if (part.name === 'content') return part
    const text = await part.text()
    if (!fields.has(part.name)) fields.set(part.name, text)
  }
  return undefined
}

async function* wholeBody(
  ctx: Ctx,
  { parts, content, fields }: { parts: Parts; content: Part; fields: Map<string, string> },
): AsyncGenerator<Uint8Array> {
  yield* chunksOf(content, ctx.settings.inlineBytes)
  if (await nextContent(parts, fields))
    throw new DomainError('invalid-input', { field: 'content', rule: 'one part only' })
}
