/** JSON and form bodies as the row of an operation declares them. Multipart bodies are not read here: they stream. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Static, TObject, TSchema } from 'typebox'
import { DomainError } from '#core/errors.ts'

/** Bytes of a JSON or form body unless the row says otherwise. */
const DEFAULT_LIMIT_BYTES = 64 * 1024

interface TextBody<S extends TSchema> {
  schema: S
  limitBytes?: number
}
export interface JsonBody<S extends TSchema> extends TextBody<S> {
  kind: 'json'
}
export interface FormBody<S extends TObject> extends TextBody<S> {
  kind: 'form'
}
export interface MultipartBody<S extends TObject> {
  kind: 'multipart'
  /** For the documentation; the handler reads the parts as they come. */
  schema: S
  /** Media types of the parts. */
  encoding: Record<string, string>
}
/** Bare bytes of any media type; the handler reads them as they come. */
export interface BinaryBody {
  kind: 'binary'
  /** For the documentation. */
  mediaType: string
  /** Whether a request must have one at all. */
  required: boolean
}
export type RequestBody = JsonBody<TSchema> | FormBody<TObject> | MultipartBody<TObject> | BinaryBody

/** What the handler gets as `body`. */
export type BodyOf<B extends RequestBody | undefined> =
  B extends JsonBody<infer S> ? Static<S> : B extends FormBody<infer S> ? Static<S> : undefined

type Limit = { limitBytes?: number }
export const json = <const S extends TSchema>(schema: S, limit: Limit = {}): JsonBody<S> => ({
  kind: 'json',
  schema,
  ...limit,
})
export const form = <const S extends TObject>(schema: S, limit: Limit = {}): FormBody<S> => ({
  kind: 'form',
  schema,
  ...limit,
})
export const multipart = <const S extends TObject>(schema: S, encoding: Record<string, string>): MultipartBody<S> => ({
  kind: 'multipart',
  schema,
  encoding,
})

export const binary = (mediaType: string, { required = true } = {}): BinaryBody => ({
  kind: 'binary',
  mediaType,
  required,
})

export const mediaTypes = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
  multipart: 'multipart/form-data',
}

/** Makes the scope of `app` read bodies as the rows say, and nothing else. */
export function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: AsyncIterable<Uint8Array>) => {
    const body = request.routeOptions.config.row?.body
    if (!body || body.kind === 'binary') return undefined
    refuseOtherType(request.headers['content-type'], body.kind)
    if (body.kind === 'multipart') return undefined
    const text = await readText(payload, body.limitBytes ?? DEFAULT_LIMIT_BYTES)
    return body.kind === 'json' ? parseJson(text) : parseForm(text)
  })
}

function refuseOtherType(header: string | undefined, kind: keyof typeof mediaTypes): void {
  const type = header?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (type === mediaTypes[kind] || (kind === 'json' && type.endsWith('+json'))) return
  throw new DomainError('invalid-input', { field: 'content-type', rule: mediaTypes[kind] })
}

/** A refusal that some dialects have another status for. */
export class BodyTooLarge extends DomainError<'invalid-input'> {
  constructor(limitBytes: number) {
    super('invalid-input', { field: 'body', rule: `at most ${limitBytes} bytes` })
  }
}

/** A whole body as text. Throws BodyTooLarge beyond the limit, and `invalid-input` where it is not UTF-8. */
export async function readText(source: AsyncIterable<Uint8Array>, limitBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of source) {
    sizeBytes += chunk.length
    if (sizeBytes > limitBytes) throw new BodyTooLarge(limitBytes)
    chunks.push(chunk)
  }
  return decodeText(Buffer.concat(chunks))
}

/** Throws `invalid-input` where the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new DomainError('invalid-input', { field: 'body', rule: 'utf-8' })
  }
}

/** Throws `invalid-input` where the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new DomainError('invalid-input', { field: 'body', rule: 'json' })
  }
}

/** The first value of each name: a repeated one is no way past a check. */
function parseForm(text: string): Record<string, string> {
  const fields = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(text)) if (!fields.has(name)) fields.set(name, value)
  return Object.fromEntries(fields)
}
