/** Bytes between a body and the blob store: data keys, small content inline, large content in segments. */
import { createHash, hash, randomBytes } from 'node:crypto'
import type { Selectable } from 'kysely'
import { prepared } from '#db/prepared.ts'
import type { BlobTable, SegmentTable, VersionTable } from '#db/schema.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { DomainError, isDomainError } from './errors.ts'
import { openSealed, spaceOfKey } from './sealed-keys.ts'
import { headOf, stateAtBirth } from './screening-start.ts'

/**
 * Anything that yields the bytes of a body: a Node stream, a multipart part, an array. A chunk counts only until the next one is
 * asked for: its memory may be given back then.
 */
export type Body = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

const DATA_KEY_BYTES = 32

/** Content that is durable (or small and still in memory), but not yet visible to anybody: no row refers to it. */
export interface ReceivedContent {
  blobId: string
  wrappedKey: Uint8Array
  keyName: string
  sizeBytes: number
  /** Lower-case hex over the plain bytes. */
  sha256: string
  md5: string | null
  segments: ReceivedSegment[]
  screening: 'clean' | 'pending'
  /** Epoch milliseconds of the first and the last byte. */
  startedAt: number
  endedAt: number
}

export interface ReceivedSegment {
  segmentId: string
  sizeBytes: number
  sha256: string
  md5: string | null
  inlineBytes: Uint8Array | null
  /** Its first bytes, where engines want to see them. */
  head?: Uint8Array
}

/** Random bytes drawn ahead, for many keys at once: each draw asks the kernel. */
let drawn = Buffer.alloc(0)

function randomKey(): Buffer {
  if (drawn.length < DATA_KEY_BYTES) drawn = randomBytes(64 * DATA_KEY_BYTES)
  const key = Buffer.from(drawn.subarray(0, DATA_KEY_BYTES))
  drawn.fill(0, 0, DATA_KEY_BYTES) // nobody draws it twice
  drawn = drawn.subarray(DATA_KEY_BYTES)
  return key
}

/** A new data key, wrapped by the current master key for one blob. */
export function newDataKey(ctx: Ctx, blobId: string) {
  const key = randomKey()
  const keyName = ctx.keys.current
  return { key, keyName, wrappedKey: ctx.keys.seal(key, keyContext(blobId), keyName) }
}

export const keyContext = (blobId: string) => `blob:${blobId}`

/**
 * The data key of a blob from a version's or an upload's wrapped key. Throws `content-damaged` for a purged version, and
 * `proof-required` for one that opens with the password of its space only, whoever asks.
 */
export function unwrapKey(
  ctx: Ctx,
  row: { blobId: string; wrappedKey: Uint8Array | null; keyName: string | null },
): Uint8Array {
  if (!row.wrappedKey || !row.keyName) throw new DomainError('content-damaged', { what: `key of blob ${row.blobId}` })
  const spaceId = spaceOfKey(row.keyName)
  if (spaceId === undefined) return ctx.keys.open(row.wrappedKey, keyContext(row.blobId), row.keyName)
  const privateKey = ctx.actor.proofs.spaceKeys.get(spaceId)
  if (!privateKey) throw new DomainError('proof-required', { proof: 'password', spaceId })
  return openSealed(row.wrappedKey, privateKey, keyContext(row.blobId))
}

/** Wraps the data key of an existing blob anew, for a copy that must survive the purge of its source. */
export function rewrapKey(ctx: Ctx, row: { blobId: string; wrappedKey: Uint8Array | null; keyName: string | null }) {
  const keyName = ctx.keys.current
  return { keyName, wrappedKey: ctx.keys.seal(unwrapKey(ctx, row), keyContext(row.blobId), keyName) }
}

export interface ReceiveOptions {
  md5?: boolean
  /** Called before more than `settings.inlineBytes` are taken in; throws to refuse them. */
  beforeStreaming?: () => Promise<unknown>
}

/**
 * Takes in a whole body under a new data key. Holds at most `settings.inlineBytes` of it in memory.
 * Throws `upload-too-large`, `storage-full`, and whatever the body throws; then nothing is left behind.
 */
export async function receiveContent(ctx: Ctx, body: Body, options: ReceiveOptions = {}): Promise<ReceivedContent> {
  const startedAt = ctx.clock()
  const blobId = ctx.newId()
  const { key, ...wrapped } = newDataKey(ctx, blobId)
  const segment = await receiveSegment(ctx, key, body, { ...options, startByte: 0 })
  return {
    blobId,
    ...wrapped,
    sizeBytes: segment.sizeBytes,
    sha256: segment.sha256,
    md5: segment.md5,
    segments: [segment],
    screening: await stateAtBirth(ctx, { head: segment.head, sizeBytes: segment.sizeBytes }),
    startedAt,
    endedAt: ctx.clock(),
  }
}

/** Takes in one segment; the same promises as receiveContent. */
export async function receiveSegment(
  ctx: Ctx,
  key: Uint8Array,
  body: Body,
  { md5 = false, startByte, beforeStreaming }: ReceiveOptions & { startByte: number },
): Promise<ReceivedSegment> {
  const segmentId = ctx.newId()
  const limit = (ctx.settings.maxFileBytes ?? Infinity) - startByte
  const chunks = asyncIterator(body)
  try {
    const first = await takeUpTo(chunks, Math.min(ctx.settings.inlineBytes, limit))
    // Before anybody else has the chunks: whoever writes them may keep or reuse their memory.
    const seen = ctx.engines.length > 0 && { head: headOf(first.chunks) }
    if (first.ended) return { ...inlineSegment(ctx, { segmentId, key, plain: join(first.chunks) }), ...seen }
    await beforeStreaming?.()
    return { ...(await streamSegment(ctx, { segmentId, key, md5, limit }, first.chunks, chunks)), ...seen }
  } finally {
    await chunks.return?.()
  }
}

function asyncIterator(body: Body): AsyncIterator<Uint8Array> {
  if (Symbol.asyncIterator in body) return body[Symbol.asyncIterator]()
  const inner = body[Symbol.iterator]()
  return { next: () => Promise.resolve(inner.next()) }
}

/** Reads until the body ends or has more than `limit` bytes. */
async function takeUpTo(chunks: AsyncIterator<Uint8Array>, limit: number) {
  const taken: Uint8Array[] = []
  let size = 0
  while (size <= limit) {
    const next = await chunks.next()
    if (next.done) return { chunks: taken, ended: true }
    taken.push(Buffer.from(next.value)) // a copy: the chunk goes with the next one
    size += next.value.byteLength
  }
  return { chunks: taken, ended: false }
}

const join = (chunks: readonly Uint8Array[]): Uint8Array => (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))

function inlineSegment(
  ctx: Ctx,
  { segmentId, key, plain }: { segmentId: string; key: Uint8Array; plain: Uint8Array },
): ReceivedSegment {
  return {
    segmentId,
    sizeBytes: plain.byteLength,
    sha256: hash('sha256', plain, 'hex'),
    md5: hash('md5', plain, 'hex'), // of little it costs little, and spares whoever shows it a second look
    inlineBytes: ctx.inline.encrypt({ segmentId, key, plain }),
  }
}

async function streamSegment(
  ctx: Ctx,
  { segmentId, key, md5, limit }: { segmentId: string; key: Uint8Array; md5: boolean; limit: number },
  head: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): Promise<ReceivedSegment> {
  const writer = await ctx.blobs.create({ segmentId, key, md5 })
  let size = 0
  const write = async (chunk: Uint8Array) => {
    size += chunk.byteLength
    if (size > limit) throw new DomainError('upload-too-large', { limitBytes: ctx.settings.maxFileBytes ?? limit })
    const pressure = writer.write(chunk)
    if (pressure) await pressure
  }
  try {
    for (const chunk of head) await write(chunk)
    for (let next = await rest.next(); !next.done; next = await rest.next()) await write(next.value)
    const stored = await writer.finish()
    return { ...stored, md5: stored.md5 ?? null, inlineBytes: null }
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/**
 * Removes received bytes whose row never came to be. Where the connection was lost, the commit may have gone through
 * all the same, so the bytes stay. Never throws: the sweep finds what stays behind.
 */
export async function discardContent(ctx: Ctx, segments: readonly ReceivedSegment[], cause: unknown): Promise<void> {
  if (!isDomainError(cause)) return
  const ids = segments.filter(segment => !segment.inlineBytes).map(segment => segment.segmentId)
  if (ids.length > 0) await ctx.blobs.remove(ids).catch(() => {})
}

type BlobArgs = { id: string; tenantId: string; sizeBytes: number; sha256: string; md5: string | null; now: number }

const insertBlob = prepared<BlobArgs, never>((db, arg) =>
  db.insertInto('blob').values({
    id: arg('id'),
    tenantId: arg('tenantId'),
    encryption: 'frames-1',
    sizeBytes: arg('sizeBytes'),
    sha256: arg('sha256'),
    md5: arg('md5'),
    createdAt: arg('now'),
    sealedAt: arg('now'),
  }),
)

const insertSegment = prepared<Selectable<SegmentTable>, never>((db, arg) =>
  db.insertInto('segment').values({
    id: arg('id'),
    blobId: arg('blobId'),
    startByte: arg('startByte'),
    partNumber: arg('partNumber'),
    sizeBytes: arg('sizeBytes'),
    usedBytes: arg('usedBytes'),
    sha256: arg('sha256'),
    md5: arg('md5'),
    inlineBytes: arg('inlineBytes'),
    createdAt: arg('createdAt'),
  }),
)

/** Writes the rows of a blob that was received in one piece. */
export async function insertContent(ctx: TxCtx, content: ReceivedContent): Promise<void> {
  const { blobId, sizeBytes, sha256, md5 } = content
  await insertBlob(ctx.db, { id: blobId, tenantId: ctx.actor.tenantId, sizeBytes, sha256, md5, now: ctx.clock() })
  let startByte = 0
  for (const segment of content.segments) {
    await insertSegmentRow(ctx, { blobId, startByte, partNumber: null }, segment)
    startByte += segment.sizeBytes
  }
}

export async function insertSegmentRow(
  ctx: TxCtx,
  place: { blobId: string; startByte: number; partNumber: number | null },
  segment: ReceivedSegment,
): Promise<void> {
  await insertSegment(ctx.db, {
    id: segment.segmentId,
    ...place,
    sizeBytes: segment.sizeBytes,
    usedBytes: segment.sizeBytes,
    sha256: segment.sha256,
    md5: segment.md5,
    inlineBytes: segment.inlineBytes,
    createdAt: ctx.clock(),
  })
}

export type SegmentRow = Pick<
  Selectable<SegmentTable>,
  'id' | 'startByte' | 'sizeBytes' | 'usedBytes' | 'inlineBytes'
> & {
  /** Null for inline bytes, which are always encrypted: small contents need no second look-up. */
  encryption: Selectable<BlobTable>['encryption'] | null
}

const segmentsOfBlob = prepared<{ blobId: string }, SegmentRow>((db, arg) =>
  db
    .selectFrom('segment')
    .select(['id', 'startByte', 'sizeBytes', 'usedBytes', 'inlineBytes'])
    .select(eb =>
      eb
        .case()
        .when('inlineBytes', 'is', null)
        .then(eb.selectFrom('blob').select('encryption').whereRef('blob.id', '=', 'segment.blobId'))
        .end()
        .as('encryption'),
    )
    .where('blobId', '=', arg('blobId'))
    .orderBy('startByte'),
)

/** The pieces of a blob in their order. */
export const loadSegments = (ctx: Ctx, blobId: string): Promise<readonly SegmentRow[]> =>
  segmentsOfBlob(ctx.db, { blobId })

/** Stored content of a version, ready to be read. */
export interface Content {
  sizeBytes: number
  /** Plain bytes from `start` (inclusive) to `end` (exclusive). Throws `content-damaged`. */
  read(start?: number, end?: number): AsyncIterable<Uint8Array>
  /** The whole content where it is small and inline: no stream needed. */
  inline(): Uint8Array | undefined
}

type Keyed = Pick<Selectable<VersionTable>, 'blobId' | 'wrappedKey' | 'keyName' | 'sizeBytes'>

export async function loadContent(ctx: Ctx, version: Keyed): Promise<Content> {
  const segments = await loadSegments(ctx, version.blobId)
  const key = unwrapKey(ctx, version)
  const [only] = segments
  return {
    sizeBytes: version.sizeBytes,
    read: (start = 0, end = version.sizeBytes) => readSegments(ctx, { key, segments, start, end }),
    inline: () =>
      segments.length === 1 && only?.inlineBytes ? decryptInline(ctx, key, only, only.inlineBytes) : undefined,
  }
}

function decryptInline(ctx: Ctx, key: Uint8Array, segment: SegmentRow, stored: Uint8Array): Uint8Array {
  return ctx.inline
    .decrypt({ segmentId: segment.id, key, stored, sizeBytes: segment.sizeBytes })
    .subarray(0, segment.usedBytes)
}

export async function* readSegments(
  ctx: Ctx,
  { key, segments, start, end }: { key: Uint8Array; segments: readonly SegmentRow[]; start: number; end: number },
): AsyncGenerator<Uint8Array> {
  let position = start
  for (const segment of segments) {
    const from = Math.max(start, segment.startByte) - segment.startByte
    const to = Math.min(end, segment.startByte + segment.usedBytes) - segment.startByte
    if (from >= to) continue
    if (segment.startByte + from !== position) break
    position += to - from
    if (segment.inlineBytes) yield decryptInline(ctx, key, segment, segment.inlineBytes).subarray(from, to)
    else {
      const ref = { segmentId: segment.id, sizeBytes: segment.sizeBytes, plain: segment.encryption === 'none' }
      yield* ctx.blobs.read({ segment: ref, key, start: from, end: to })
    }
  }
  if (position !== end && start < end) throw new DomainError('content-damaged', { what: 'segments are missing' })
}

/** Digests of content that did not come in one piece: reads it all back. */
export async function digestContent(ctx: Ctx, blob: Keyed, options: { md5: boolean }) {
  const sha256 = createHash('sha256')
  const md5 = options.md5 ? createHash('md5') : undefined
  const content = await loadContent(ctx, blob)
  for await (const chunk of content.read()) {
    sha256.update(chunk)
    md5?.update(chunk)
    freeMemory(chunk)
  }
  return { sha256: sha256.digest('hex'), md5: md5?.digest('hex') ?? null }
}

/** Chunks of a store are the reader's own; waiting for the collector, a large file would pile up. */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
