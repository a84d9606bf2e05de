/** What the main thread and the data worker say to each other. A transfer is named by the id of its line. */
import { DomainError } from '#core/errors.ts'
import { damaged, FRAME_BYTES } from './frames.ts'
import type { SegmentPlace } from './publish.ts'

/** One slot of shared memory; a whole number of frames, so that only the last slot of a segment is cut. */
export const SLOT_BYTES = 4 * FRAME_BYTES
/** Slots that one transfer may hold: the back pressure of writing. */
export const RING_SLOTS = 3
/** Frames that one step of reading brings: many, as each is a message and a write to a socket. Below a mebibyte. */
export const STEP_FRAMES = 15

export interface CreateRequest extends SegmentPlace {
  /** The key of the segment, not of the blob. */
  key: Uint8Array
  md5: boolean
}

export interface ReadRequest {
  path: string
  /** The key of the segment, not of the blob. */
  key: Uint8Array
  /** It lies there without frames. */
  plain: boolean
  sizeBytes: number
  start: number
  /** Exclusive. */
  end: number
}

/** A request about one transfer. */
export type Request =
  | { op: 'create'; create: CreateRequest }
  | { op: 'write'; slot: number; length: number }
  | { op: 'finish'; slot?: number; length: number }
  | { op: 'abort' }
  | { op: 'read'; read: ReadRequest }
  | { op: 'more' }
  | { op: 'leave' }

/** A request about shared memory. */
export type SlotRequest = { op: 'share'; slot: number; memory: SharedArrayBuffer } | { op: 'unshare'; slot: number }

export type ToWorker = (Request & { id: number }) | SlotRequest

export type Answer =
  | { did: 'create' }
  | { did: 'take'; slot: number }
  | { did: 'finish'; sizeBytes: number; sha256: string; md5?: string }
  | { did: 'abort' }
  | { did: 'read'; chunk: Uint8Array; last: boolean }
  | { did: 'leave' }
  | ({ did: 'fail' } & Failure)

/** An error on its way between threads; a class does not survive it. */
export interface Failure {
  code: string
  message: string
}

export type FromWorker = Answer & { id: number }

export type Reply = (answer: Answer, transfer?: ArrayBuffer[]) => void

export function describeFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  return { code: 'code' in error ? String(error.code) : '', message: error.message }
}

/** What a disk or a file system answers when it is full, or the account has used up its share. */
export const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

/** The error to throw for a failure in the worker; of a damaged segment it says no more than that. */
export function toError({ code, message }: Failure): Error {
  if (NO_ROOM.has(code)) return new DomainError('storage-full', {})
  if (code === 'content-damaged') return damaged()
  return Object.assign(new Error(`Blob store: ${message}`), { code })
}
