/** What an administrator may tune about the domain. config.ts fills it from the environment. */
export interface Settings {
  /** A session that is not used for so long ends. */
  sessionIdleMs: number
  /** A session ends after so long, used or not. */
  sessionLifeMs: number
  /** Ended and abandoned uploads stay readable for so long. */
  uploadLifeMs: number
  /** Bodies up to this size are kept in the database, so that their commit is the only sync. */
  inlineBytes: number
  /** Largest file, bytes; null for no limit. */
  maxFileBytes: number | null
  /** Failed sign-ins of one account before it is held back, and for how long it is at first. */
  throttleAfter: number
  throttleMs: number
  /** How long deleted content stays before it is purged, unless the space says otherwise; null for ever. */
  trashRetentionMs: number | null
  /** Sealed audit batches older than this are dropped, their hashes kept; null for ever. */
  auditRetentionMs: number | null
  passwordMinLength: number
}

export const defaultSettings: Settings = {
  sessionIdleMs: 30 * 60_000,
  sessionLifeMs: 12 * 3_600_000,
  uploadLifeMs: 24 * 3_600_000,
  inlineBytes: 16 * 1024,
  maxFileBytes: null,
  throttleAfter: 5,
  throttleMs: 1_000,
  trashRetentionMs: 30 * 86_400_000,
  auditRetentionMs: null,
  passwordMinLength: 8,
}
