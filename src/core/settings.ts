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
  /** How long a delivery can be fetched unless its sender says otherwise, and how long he may say. */
  deliveryDays: number
  deliveryMaxDays: number
  /** What has ended or was deleted goes on after so long: into the archive, or its content is destroyed. Null: never. */
  deliveryTrashMs: number | null
  deliveryAfterTrash: 'archive' | 'shred'
  /** For everybody, for nobody, or for those who hold the right. */
  deliveryReadSent: Switch
  deliverySendSelf: Switch
  deliverySendOwn: Switch
  deliveryContributors: Switch
  deliveryEncrypt: Switch
  /** Whose deliveries wait for somebody's consent; `selected`: of those who lack the right to send without. */
  deliveryApproval: Switch
  /** Deliveries show in the lists of every API, not only in that of the one they were made through. */
  deliveriesElsewhere: boolean
  /** In a delivery where something is quarantined, the rest can be fetched all the same. */
  quarantineOpen: boolean
  /** What a mandatory engine finds too large to look at is held back until somebody lets it go, or passes with a mark. */
  screeningTooLarge: 'hold' | 'pass'
  /** A shown password, or a spent access, opens a delivery for so long. */
  proofLifeMs: number
  /** A mailed link for choosing a password works for so long. */
  passwordLinkMs: number
  /** Under which clients reach the server, as the administrator says; empty where he does not. No slash at the end. */
  publicUrl: string
  /** What links in mails begin with: the public address, else where the server listens. */
  linkUrl: string
}

export type Switch = 'yes' | 'no' | 'selected'

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
  deliveryDays: 30,
  deliveryMaxDays: 360,
  deliveryTrashMs: 30 * 86_400_000,
  deliveryAfterTrash: 'shred',
  deliveryReadSent: 'yes',
  deliverySendSelf: 'yes',
  deliverySendOwn: 'yes',
  deliveryContributors: 'yes',
  deliveryEncrypt: 'yes',
  deliveryApproval: 'no',
  deliveriesElsewhere: false,
  quarantineOpen: false,
  screeningTooLarge: 'hold',
  proofLifeMs: 30 * 60_000,
  passwordLinkMs: 24 * 3_600_000,
  publicUrl: '',
  linkUrl: 'http://127.0.0.1:8080',
}
