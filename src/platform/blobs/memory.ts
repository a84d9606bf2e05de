/** A blob store in memory, for tests; what it keeps is in the same form as on disk. */
import type { BlobStore, SegmentRef, SegmentWriter, StoredObject, StoredSegment } from '#core/ports.ts'
import { damaged, frameSpan, lastFrame, openFrames, requireRange, segmentKey, storedSize } from './frames.ts'
import { memoryDirect, type Kept, type MemoryClient } from './memory-direct.ts'
import { segmentSealer } from './segment-sealer.ts'

export interface MemoryBlobStore extends BlobStore, MemoryClient {
  /** The stored bytes by segment id, for tests that look at them or damage them. */
  readonly stored: Map<string, Kept>
}

/** `direct`: clients may be given addresses, which `put` and `get` answer as the medium would. */
export function memoryBlobStore({
  clock = Date.now,
  direct = false,
}: { clock?: () => number; direct?: boolean } = {}): MemoryBlobStore {
  const staged = new Map<string, Buffer[]>()
  const stored = new Map<string, Kept>()
  const medium = memoryDirect({ clock, stored })

  return {
    kind: 'memory',
    stored,
    ...medium.client,
    ...(direct && { direct: medium.access }),
    async create({ segmentId, key, md5 = false }) {
      if (staged.has(segmentId)) throw new Error(`Segment ${segmentId} is being written`)
      const chunks: Buffer[] = []
      staged.set(segmentId, chunks)
      const publish = () => {
        const sealer = segmentSealer({ key: segmentKey(key, segmentId), md5 })
        stored.set(segmentId, { bytes: Buffer.concat(sealer.seal(Buffer.concat(chunks), true)), changedAt: clock() })
        staged.delete(segmentId)
        return { segmentId, ...sealer.result() }
      }
      return memoryWriter(chunks, publish, () => staged.delete(segmentId))
    },
    read({ segment, key, start, end }) {
      const kept = stored.get(segment.segmentId)
      return segment.plain ? readPlain(kept, segment, start, end) : readFrames(kept, segment, key, start, end)
    },
    async remove(segmentIds) {
      for (const segmentId of segmentIds) {
        for (const place of [stored, staged, medium.staged]) place.delete(segmentId)
      }
    },
    async *list(): AsyncGenerator<StoredObject> {
      for (const [segmentId, chunks] of staged) {
        yield { segmentId, state: 'staged', storedBytes: Buffer.concat(chunks).length, changedAt: clock() }
      }
      for (const [state, kept] of [
        ['staged', medium.staged],
        ['stored', stored],
      ] as const) {
        for (const [segmentId, { bytes, changedAt }] of kept) {
          yield { segmentId, state, storedBytes: bytes.length, changedAt }
        }
      }
    },
    async *readStored(segmentId) {
      const kept = stored.get(segmentId)
      if (!kept) throw damaged()
      yield Buffer.from(kept.bytes)
    },
    async writeStored(segmentId, chunks, storedBytes) {
      const bytes = Buffer.concat(await Array.fromAsync(chunks))
      if (bytes.length !== storedBytes) throw damaged()
      stored.set(segmentId, { bytes, changedAt: clock() })
    },
    async check() {},
    async close() {},
  }
}

function memoryWriter(chunks: Buffer[], publish: () => StoredSegment, drop: () => void): SegmentWriter {
  let ended = false
  return {
    write(chunk) {
      if (ended) return Promise.reject(new Error('The segment was ended'))
      chunks.push(Buffer.from(chunk))
      return undefined
    },
    async finish() {
      if (ended) throw new Error('The segment was ended')
      ended = true
      return publish()
    },
    async abort() {
      ended = true
      drop()
    },
  }
}

async function* readPlain(kept: Kept | undefined, { sizeBytes }: SegmentRef, start: number, end: number) {
  requireRange(sizeBytes, start, end)
  if (kept?.bytes.length !== sizeBytes) throw damaged()
  if (end > start) yield Buffer.from(kept.bytes.subarray(start, end))
}

async function* readFrames(kept: Kept | undefined, segment: SegmentRef, key: Uint8Array, start: number, end: number) {
  if (kept?.bytes.length !== storedSize(segment.sizeBytes)) throw damaged()
  const span = frameSpan(segment.sizeBytes, start, end)
  const frames = { firstFrame: span.firstFrame, lastFrame: lastFrame(segment.sizeBytes) }
  const sealed = kept.bytes.subarray(span.storedStart, span.storedEnd)
  let skip = span.skipBytes
  let left = end - start
  for (const plain of openFrames(segmentKey(key, segment.segmentId), frames, sealed)) {
    const chunk = plain.subarray(skip, skip + left)
    skip = 0
    left -= chunk.length
    if (chunk.length > 0) yield chunk
  }
}
