/** From a multipart body to a stored file, in one pass and with little memory. */
import type { FastifyRequest } from 'fastify'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import type { Placed } from '#core/placement.ts'
import { storeFile } from '#core/uploads.ts'
import { readMultipart, type Part } from '#http/multipart.ts'
import { chunksOf } from '#http/part-chunks.ts'
import { parseJson } from '#http/request-body.ts'
import { NAMESPACE, parseMetadata, type MetadataChange } from './attributes.ts'

export interface Destination {
  parentId: number
  name: string
}

interface Upload {
  /** Where a part `metadata` counts. */
  takesMetadata: boolean
  /** Where the file goes, once it is known how the client calls it. */
  destination: (filename: string | undefined) => Promise<Destination>
}

const MAX_METADATA_BYTES = 256 * 1024
const MAX_PARTS = 100
const DEFAULT_TYPE = 'application/octet-stream'

type Parts = AsyncGenerator<Part, void, undefined>

/** Stores the part `file`. Throws `invalid-input` where it is missing or doubled, and what storeFile throws. */
export async function receiveUpload(ctx: Ctx, request: FastifyRequest, upload: Upload): Promise<Placed> {
  const limits = { parts: MAX_PARTS, fieldBytes: MAX_METADATA_BYTES }
  const parts = readMultipart(request.raw, request.headers['content-type'], limits)
  try {
    return await storePart(ctx, parts, upload)
  } finally {
    await parts.return()
  }
}

async function storePart(ctx: Ctx, parts: Parts, { takesMetadata, destination }: Upload): Promise<Placed> {
  const fields: Fields = { takesMetadata, change: { values: {} } }
  const file = await findFile(parts, fields)
  if (!file) throw refused('a part "file"')
  const { parentId, name } = await destination(file.filename)
  const late = () => ({
    metadata: { namespace: NAMESPACE, values: fields.change.values },
    mediaType: fields.change.mediaType ?? file.contentType ?? DEFAULT_TYPE,
  })
  return storeFile(ctx, { parentId, name, onConflict: 'new-version', late }, wholeBody(ctx, { parts, file, fields }))
}

interface Fields {
  takesMetadata: boolean
  /** What the part `metadata` asked for; it may come before or after the file. */
  change: MetadataChange
}

/** Reads on to the next part called `file`. */
async function findFile(parts: Parts, fields: Fields): Promise<Part | undefined> {
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    const part = next.value
    if (part.name === 'file') return part
    if (part.name === 'metadata' && fields.takesMetadata) fields.change = parseMetadata(parseJson(await part.text()))
  }
  return undefined
}

/** The file's bytes. Ends only when the whole request has proven sound, so that a broken one stores nothing. */
async function* wholeBody(
  ctx: Ctx,
  { parts, file, fields }: { parts: Parts; file: Part; fields: Fields },
): AsyncGenerator<Uint8Array> {
  yield* chunksOf(file, ctx.settings.inlineBytes)
  if (await findFile(parts, fields)) throw refused('one part "file"')
}

const refused = (rule: string) => new DomainError('invalid-input', { field: 'body', rule })
