/** What the main thread and the examiner's thread tell each other. Every message belongs to one examination, `id`. */
import type { ContentRule, Verdict } from '#core/ports.ts'
import type { ArchiveLimits } from './limits.ts'

export type Task = 'archives' | 'rules'

/** A content without its bytes. */
export interface Subject {
  name: string
  sizeBytes: number
  rules: readonly ContentRule[]
}

export type ToExaminer = { id: number } & (
  | { op: 'examine'; task: Task; subject: Subject; limits: ArchiveLimits }
  | { op: 'chunk'; read: number; bytes: Uint8Array }
  | { op: 'end'; read: number }
  /** A range cannot be read; the main thread knows why. */
  | { op: 'fail'; read: number }
  | { op: 'cancel' }
)

export type FromExaminer = { id: number } & (
  | { did: 'read'; read: number; start: number; end: number }
  | { did: 'more'; read: number }
  | { did: 'leave'; read: number }
  | { did: 'judge'; verdict: Verdict }
  | { did: 'fail'; reason: string }
)
