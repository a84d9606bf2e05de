/** Cuts an object into the parts in which it is sent. */
import { createHash } from 'node:crypto'
import { DomainError } from '#core/errors.ts'
import { FRAME_BYTES, STORED_FRAME_BYTES } from './frames.ts'

export interface PartSize {
  /** How many parts have this size. */
  parts: number
  bytes: number
  /** How many of them may be on their way; one more is being filled. */
  atOnce: number
}

const MIB = 2 ** 20

/**
 * An object has at most 10,000 parts and its size is not known in advance, so the parts grow: a transfer holds 24 MiB of
 * memory up to 8 GB of content, 48 MiB up to 25 GB, 64 MiB up to 58 GB and 128 MiB up to the end at 528 GB.
 */
export const PART_PLAN: readonly PartSize[] = [
  { parts: 1_000, bytes: 8 * MIB, atOnce: 2 },
  { parts: 1_000, bytes: 16 * MIB, atOnce: 2 },
  { parts: 1_000, bytes: 32 * MIB, atOnce: 1 },
  { parts: 7_000, bytes: 64 * MIB, atOnce: 1 },
]

/** Content that fits into the parts of a plan once it is encrypted. */
export function planBytes(plan: readonly PartSize[]): number {
  const storedBytes = plan.reduce((sum, { parts, bytes }) => sum + parts * bytes, 0)
  return Math.floor(storedBytes / STORED_FRAME_BYTES) * FRAME_BYTES
}

/** The size of part `number`, counted from 1. Throws DomainError `upload-too-large` beyond the plan. */
export function partSize(plan: readonly PartSize[], number: number): PartSize {
  let last = 0
  for (const size of plan) {
    last += size.parts
    if (number <= last) return size
  }
  throw new DomainError('upload-too-large', { limitBytes: planBytes(plan) })
}

/** A part ready to be sent. */
export interface Part {
  number: number
  bytes: Buffer
  /** Base64. */
  md5: string
  /** Hex. */
  sha256: string
}

export interface PartFiller {
  readonly full: boolean
  readonly length: number
  /** Copies what fits and answers how much that was. */
  add(bytes: Uint8Array): number
  /** Ends the part. */
  seal(number: number): Part
}

const FIRST_BYTES = 262_144

/** Hashes as it fills: over a whole part at once, other requests would have to wait. */
export function openPart(capacity: number): PartFiller {
  const md5 = createHash('md5')
  const sha256 = createHash('sha256')
  let bytes: Buffer = Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, capacity))
  let length = 0

  return {
    get full() {
      return length === capacity
    },
    get length() {
      return length
    },
    add(given) {
      const taken = given.subarray(0, capacity - length)
      if (length + taken.length > bytes.length) bytes = grown(bytes, Math.min(capacity, 2 * (length + taken.length)))
      bytes.set(taken, length)
      length += taken.length
      md5.update(taken)
      sha256.update(taken)
      return taken.length
    },
    seal: number => ({
      number,
      bytes: bytes.subarray(0, length),
      md5: md5.digest('base64'),
      sha256: sha256.digest('hex'),
    }),
  }
}

function grown(bytes: Buffer, capacity: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(capacity)
  larger.set(bytes)
  free(bytes)
  return larger
}

/** Gives the memory back at once: waiting for the collector would let many times the bound pile up. */
export function free({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}
