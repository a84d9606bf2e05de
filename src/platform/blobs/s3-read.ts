/** Reads from S3: ranges of objects that go on where a connection breaks, decrypted as they come. */
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { isDomainError } from '#core/errors.ts'
import type { SegmentRef } from '#core/ports.ts'
import {
  damaged,
  frameSpan,
  lastFrame,
  openFrames,
  requireRange,
  segmentKey,
  storedSize,
  STORED_FRAME_BYTES,
} from './frames.ts'
import { attempt, attemptToRead, storedAt, type Bucket } from './s3-bucket.ts'

/** Breaks in a row, without a byte between them, after which a read gives up. */
const BREAKS = 4
const PAUSE_MS = 250

interface Span {
  start: number
  /** Exclusive. */
  end: number
  /** What the whole object must have. */
  totalBytes: number
}

export async function* readSegment(
  bucket: Bucket,
  { segment, key, start, end }: { segment: SegmentRef; key: Uint8Array; start: number; end: number },
): AsyncGenerator<Uint8Array> {
  const { segmentId, sizeBytes, plain } = segment
  const objectKey = storedAt(bucket, segmentId)
  if (plain) {
    requireRange(sizeBytes, start, end)
    yield* readSpan(bucket, objectKey, { start, end, totalBytes: sizeBytes })
    return
  }
  const { storedStart, storedEnd, firstFrame, skipBytes } = frameSpan(sizeBytes, start, end)
  const stored = readSpan(bucket, objectKey, {
    start: storedStart,
    end: storedEnd,
    totalBytes: storedSize(sizeBytes),
  })
  const frames = openStream(stored, segmentKey(key, segmentId), { firstFrame, lastFrame: lastFrame(sizeBytes) })
  yield* cut(frames, skipBytes, end - start)
}

/** The whole object as it lies there. */
export async function* readStored(bucket: Bucket, segmentId: string): AsyncGenerator<Uint8Array> {
  const objectKey = storedAt(bucket, segmentId)
  const { client, name: Bucket } = bucket
  const { ContentLength = 0 } = await attemptToRead(client.send(new HeadObjectCommand({ Bucket, Key: objectKey })))
  yield* readSpan(bucket, objectKey, { start: 0, end: ContentLength, totalBytes: ContentLength })
}

async function* readSpan(bucket: Bucket, key: string, span: Span): AsyncGenerator<Uint8Array> {
  if (span.start === span.end) return requireSize(bucket, key, span.totalBytes)
  const progress: Progress = { at: span.start }
  for (let breaks = 0; progress.at < span.end; breaks += 1) {
    const before = progress.at
    try {
      yield* readOn(bucket, key, span, progress)
    } catch (error) {
      // The first opening has been tried often enough; so has one after the last break.
      if (progress.etag === undefined || isDomainError(error)) throw error
      if (progress.at > before) breaks = 0
      if (breaks >= BREAKS) throw error
      await sleep(PAUSE_MS * 2 ** breaks)
    }
  }
}

/** How far a read has come, and of which object. */
interface Progress {
  at: number
  etag?: string
}

/** Reads over one connection, which is closed when the reader leaves. */
async function* readOn(bucket: Bucket, key: string, span: Span, progress: Progress): AsyncGenerator<Uint8Array> {
  const reply = await attemptToRead(
    bucket.client.send(
      new GetObjectCommand({
        Bucket: bucket.name,
        Key: key,
        Range: `bytes=${progress.at}-${span.end - 1}`,
        ...(progress.etag && { IfMatch: progress.etag }),
      }),
    ),
  )
  const body = reply.Body as Readable // in Node it is always a stream
  try {
    if (Number(reply.ContentRange?.split('/')[1]) !== span.totalBytes) throw damaged()
    progress.etag = reply.ETag ?? ''
    const chunks = chunksOf(body)
    for (let next = await attempt(chunks.next()); !next.done; next = await attempt(chunks.next())) {
      progress.at += next.value.length
      yield next.value
    }
    if (progress.at < span.end) throw new Error('S3: an answer ended too early')
  } finally {
    body.destroy()
  }
}

/** Chunks as they come: the stream's own iterator joins what has piled up, in memory that only the collector frees. */
async function* chunksOf(body: Readable): AsyncGenerator<Buffer> {
  const waiting: Buffer[] = []
  let end: { error?: unknown } | undefined
  let wake = () => {}
  const ended = (error?: unknown) => {
    end ??= { error }
    wake()
  }
  body
    .on('data', (chunk: Buffer) => {
      waiting.push(chunk)
      body.pause()
      wake()
    })
    .on('end', () => ended())
    .on('error', ended)
    .on('close', () => ended(new Error('S3: an answer broke off')))
  for (;;) {
    const chunk = waiting.shift()
    if (chunk) yield chunk
    else if (end?.error !== undefined) throw end.error
    else if (end) return
    else {
      const arrival = new Promise<void>(resolve => (wake = resolve))
      body.resume()
      await arrival
    }
  }
}

async function requireSize({ client, name: Bucket }: Bucket, Key: string, totalBytes: number): Promise<void> {
  const { ContentLength } = await attemptToRead(client.send(new HeadObjectCommand({ Bucket, Key })))
  if (ContentLength !== totalBytes) throw damaged()
}

/** Gathers chunks of any length into frames and decrypts them. */
async function* openStream(
  stored: AsyncIterable<Uint8Array>,
  key: Uint8Array,
  { firstFrame, lastFrame }: { firstFrame: number; lastFrame: number },
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(STORED_FRAME_BYTES)
  let filled = 0
  let frame = firstFrame
  const open = () => {
    const opened = openFrames(key, { firstFrame: frame, lastFrame }, buffer.subarray(0, filled))
    frame += 1
    filled = 0
    return opened
  }
  for await (const chunk of stored) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + STORED_FRAME_BYTES - filled)
      buffer.set(piece, filled)
      filled += piece.length
      at += piece.length
      if (filled === STORED_FRAME_BYTES) yield* open()
    }
  }
  if (filled > 0) yield* open()
}

/** `length` bytes after the first `skipBytes`. */
async function* cut(chunks: AsyncIterable<Uint8Array>, skipBytes: number, length: number): AsyncGenerator<Uint8Array> {
  let skip = skipBytes
  let left = length
  for await (const chunk of chunks) {
    const piece = chunk.subarray(skip, skip + left)
    skip = 0
    left -= piece.length
    if (piece.length > 0) yield piece
  }
}
