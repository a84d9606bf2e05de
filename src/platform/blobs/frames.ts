/**
 * The stored form of a segment: what lies on disk, in S3 and, for small files, in the database.
 *
 *   segment = frame 0 | frame 1 | ... | frame n          nothing before, between or after
 *   frame   = ciphertext (as long as its plain bytes) | tag (16 bytes)
 *
 * - Frames 0 to n-1 hold exactly 65,536 plain bytes; the last frame holds the rest, 0 to 65,535 bytes. A segment whose
 *   size is a multiple of 65,536 (also the empty one) therefore ends with an empty frame of 16 bytes, and a writer
 *   knows whether a frame is the last one by its length alone.
 * - Cipher: AES-256-GCM, 128-bit tag, no additional data.
 * - Key: HKDF-Expand with SHA-256 (data key, info = segment id as UTF-8), 32 bytes: one for each segment, so that
 *   segments under one data key share no key stream, and frames of one cannot stand in for frames of another.
 * - Nonce, 12 bytes: 1 in the last frame and 0 in all others | seven zero bytes | frame number, 32 bits big-endian. Frames
 *   cannot be reordered, and a segment cut at a frame's border does not end with a last frame.
 *
 * A key and segment id must never encrypt two different contents.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { DomainError } from '#core/errors.ts'

export const FRAME_BYTES = 65_536
export const TAG_BYTES = 16
export const STORED_FRAME_BYTES = FRAME_BYTES + TAG_BYTES

const CIPHER = 'aes-256-gcm'

/** Which frames hold a plain range, and where they lie in the stored segment. */
export interface FrameSpan {
  firstFrame: number
  /** Exclusive. */
  endFrame: number
  storedStart: number
  /** Exclusive. */
  storedEnd: number
  /** Plain bytes of the first frame that lie before the range. */
  skipBytes: number
}

/**
 * The key of one segment, 32 bytes in a buffer of its own: HKDF-Expand alone (RFC 5869 §3.3), as the data key is random
 * throughout and needs no extraction.
 */
export function segmentKey(dataKey: Uint8Array, segmentId: string): Uint8Array {
  return new Uint8Array(createHmac('sha256', dataKey).update(segmentId).update('\x01').digest())
}

/** Number of the last frame of a segment of that many plain bytes. */
export function lastFrame(sizeBytes: number): number {
  return Math.floor(sizeBytes / FRAME_BYTES)
}

/** Bytes that a segment takes up once it is encrypted. */
export function storedSize(sizeBytes: number): number {
  return sizeBytes + (lastFrame(sizeBytes) + 1) * TAG_BYTES
}

/**
 * The frames touched by the plain bytes `start` to `end` (exclusive). A range that reaches the segment's end includes
 * the last frame even if that is empty, so that whoever reads to the end proves that it is the end.
 */
export function frameSpan(sizeBytes: number, start: number, end: number): FrameSpan {
  requireRange(sizeBytes, start, end)
  const firstFrame = Math.floor(start / FRAME_BYTES)
  const endFrame = end === sizeBytes ? lastFrame(sizeBytes) + 1 : Math.ceil(end / FRAME_BYTES)
  return {
    firstFrame,
    endFrame,
    storedStart: firstFrame * STORED_FRAME_BYTES,
    storedEnd: Math.min(endFrame * STORED_FRAME_BYTES, storedSize(sizeBytes)),
    skipBytes: start - firstFrame * FRAME_BYTES,
  }
}

/** Throws RangeError unless `start` to `end` (exclusive) lies within a segment of that size. */
export function requireRange(sizeBytes: number, start: number, end: number): void {
  if (start >= 0 && start <= end && end <= sizeBytes) return
  throw new RangeError(`No range ${start}-${end} in ${sizeBytes}`)
}

/**
 * Encrypts whole frames: `plain` is a multiple of 65,536 bytes; only with `last` may a shorter frame follow, and then
 * it always does. Answers ciphertexts and tags in the order in which they are stored; each ciphertext owns its memory.
 */
export function sealFrames(key: Uint8Array, firstFrame: number, plain: Uint8Array, last: boolean): Uint8Array[] {
  if (!last && plain.length % FRAME_BYTES !== 0) throw new RangeError('Only the last frame may be short')
  const pieces: Uint8Array[] = []
  const frames = lastFrame(plain.length) + (last ? 1 : 0)
  for (let n = 0; n < frames; n += 1) {
    const bytes = plain.subarray(n * FRAME_BYTES, (n + 1) * FRAME_BYTES)
    const cipher = createCipheriv(CIPHER, key, nonce(firstFrame + n, bytes.length < FRAME_BYTES))
    if (bytes.length > 0) pieces.push(cipher.update(bytes))
    cipher.final()
    pieces.push(cipher.getAuthTag())
  }
  return pieces
}

/**
 * Decrypts whole frames, one after the other, as each is asked for; every buffer owns its memory, so that whoever frees
 * it before the next gets the same again, which is still in the processor's cache. Throws DomainError
 * `content-damaged`. `lastFrame` is the number of the segment's last frame, wherever `stored` ends.
 */
export function* openFrames(
  key: Uint8Array,
  frames: { firstFrame: number; lastFrame: number },
  stored: Uint8Array,
): Generator<Uint8Array> {
  for (let at = 0, frame = frames.firstFrame; at < stored.length; at += STORED_FRAME_BYTES, frame += 1) {
    yield openFrame(key, frame, frame === frames.lastFrame, stored.subarray(at, at + STORED_FRAME_BYTES))
  }
}

function openFrame(key: Uint8Array, frame: number, last: boolean, stored: Uint8Array): Uint8Array {
  const length = stored.length - TAG_BYTES
  if (length < 0 || last !== length < FRAME_BYTES) throw damaged()
  const decipher = createDecipheriv(CIPHER, key, nonce(frame, last), { authTagLength: TAG_BYTES })
  decipher.setAuthTag(stored.subarray(length))
  const plain = decipher.update(stored.subarray(0, length))
  try {
    decipher.final()
  } catch {
    throw damaged()
  }
  return plain
}

/** Encrypts a whole segment in memory; meant for contents of a few frames. */
export function encryptSmall(dataKey: Uint8Array, segmentId: string, plain: Uint8Array): Buffer {
  return Buffer.concat(sealFrames(segmentKey(dataKey, segmentId), 0, plain, true))
}

/** Reverses `encryptSmall`; throws DomainError `content-damaged`. */
export function decryptSmall(dataKey: Uint8Array, segmentId: string, stored: Uint8Array): Uint8Array {
  const last = Math.floor(stored.length / STORED_FRAME_BYTES)
  if (stored.length % STORED_FRAME_BYTES < TAG_BYTES) throw damaged()
  const plain = [...openFrames(segmentKey(dataKey, segmentId), { firstFrame: 0, lastFrame: last }, stored)]
  return plain.length === 1 ? plain[0]! : Buffer.concat(plain)
}

export function damaged(): DomainError<'content-damaged'> {
  return new DomainError('content-damaged', { what: 'segment' })
}

function nonce(frame: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  if (last) bytes[0] = 1
  bytes.writeUInt32BE(frame, 8)
  return bytes
}
