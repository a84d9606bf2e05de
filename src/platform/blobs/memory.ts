/** A blob store in memory, for tests; what it keeps is in the same form as on disk. */
import type { BlobStore, SegmentRef, SegmentWriter, StoredObject, StoredSegment } from '#core/ports.ts'
import { damaged, frameSpan, lastFrame, openFrames, segmentKey, storedSize } from './frames.ts'
import { segmentSealer } from './segment-sealer.ts'

interface Kept {
  bytes: Buffer
  changedAt: number
}

export interface MemoryBlobStore extends BlobStore {
  /** The stored bytes by segment id, for tests that look at them or damage them. */
  readonly stored: Map<string, Kept>
}

export function memoryBlobStore({ clock = Date.now }: { clock?: () => number } = {}): MemoryBlobStore {
  const staged = new Map<string, Buffer[]>()
  const stored = new Map<string, Kept>()

  return {
    kind: 'memory',
    stored,
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
    read: ({ segment, key, start, end }) => readFrames(stored.get(segment.segmentId), segment, key, start, end),
    async remove(segmentIds) {
      for (const segmentId of segmentIds) {
        stored.delete(segmentId)
        staged.delete(segmentId)
      }
    },
    async *list(): AsyncGenerator<StoredObject> {
      for (const [segmentId, chunks] of staged) {
        yield { segmentId, state: 'staged', storedBytes: Buffer.concat(chunks).length, changedAt: clock() }
      }
      for (const [segmentId, { bytes, changedAt }] of stored) {
        yield { segmentId, state: 'stored', storedBytes: bytes.length, changedAt }
      }
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
