import { createHash } from 'node:crypto'
import type { StoredSegment } from '#core/ports.ts'
import { FRAME_BYTES, sealFrames } from './frames.ts'

/** Encrypts and hashes one segment from its start to its end; pieces but the last are whole frames. */
export interface SegmentSealer {
  seal(plain: Uint8Array, last: boolean): Uint8Array[]
  /** Once the last piece was sealed. */
  result(): Omit<StoredSegment, 'segmentId'>
}

/** `key` is the key of the segment, not of the blob. */
export function segmentSealer({ key, md5 }: { key: Uint8Array; md5: boolean }): SegmentSealer {
  const sha256 = createHash('sha256')
  const md5Hash = md5 ? createHash('md5') : undefined
  let sizeBytes = 0
  return {
    seal(plain, last) {
      sha256.update(plain)
      md5Hash?.update(plain)
      const pieces = sealFrames(key, sizeBytes / FRAME_BYTES, plain, last)
      sizeBytes += plain.length
      return pieces
    },
    result: () => ({ sizeBytes, sha256: sha256.digest('hex'), ...(md5Hash && { md5: md5Hash.digest('hex') }) }),
  }
}
