/** Every error the domain can answer with, and the facts a dialect needs to word it. */
export interface ErrorDetails {
  'not-found': { what: Subject; id: string }
  /** `nodeId`: where it was asked for, if at a node. */
  forbidden: { action: string; nodeId?: number }
  'not-signed-in': { reason: 'missing' | 'unknown' | 'expired' | 'address' | 'account' }
  'wrong-credentials': Record<never, never>
  throttled: { retryAfterMs: number }
  'account-blocked': { reason: 'blocked' | 'expired' | 'removed' | 'tenant' }
  'password-refused': { rule: 'too-short' | 'too-long' | 'same' | 'forbidden-character' }
  'name-taken': { name: string; parentId: number; by: 'file' | 'folder' | 'space' | 'reserved' }
  'name-refused': {
    name: string
    rule: 'empty' | 'too-long' | 'control-character' | 'slash' | 'dot' | 'not-unicode' | 'reserved'
  }
  'path-refused': { path: string; rule: 'encoding' | 'empty-segment' | 'dot-segment' | 'slash' | 'control-character' }
  'login-taken': { login: string }
  'handle-taken': { handle: string }
  'group-name-taken': { name: string }
  'group-cycle': { groupId: string; memberId: string }
  'not-a-folder': { nodeId: number }
  'not-a-file': { nodeId: number }
  'into-itself': { nodeId: number }
  'cannot-move-space': { nodeId: number }
  'revision-conflict': { expected: number | string; current: number | string }
  'already-deleted': { nodeId: number }
  'not-deleted': { nodeId: number }
  'parent-gone': { parentId: number; versionIds: number[] }
  'last-manager': { spaceId: number }
  'quota-exceeded': { scope: 'space' | 'tenant'; limitBytes: number; neededBytes: number }
  'storage-full': Record<never, never>
  'content-damaged': { what: string }
  'invalid-input': { field: string; rule: string }
  'wrong-state': { what: Subject; state: string; needed: string }
  'upload-incomplete': { expectedBytes: number; receivedBytes: number }
  'upload-too-large': { limitBytes: number }
  'upload-out-of-order': { expectedStart: number; givenStart: number }
  'upload-interrupted': Record<never, never>
  'checksum-mismatch': { algorithm: 'sha256' | 'md5'; expected: string; actual: string }
  locked: { nodeId: number; by: string }
  'write-protected': { nodeId: number }
  'proof-required': { proof: 'password' | 'access' | 'revalidation' | 'key'; spaceId: number }
  'wrong-proof': { proof: 'password' | 'access' | 'revalidation' | 'key' }
  'encryption-required': { spaceId: number }
  'not-approved': { spaceId: number }
  'not-screened': { versionId: number; state: 'pending' | 'quarantined' | 'failed' | 'not-examinable' }
  'range-not-satisfiable': { sizeBytes: number }
  'mask-widens': { nodeId: number }
  'inherits-grants': { spaceId: number }
  'space-inactive': { spaceId: number; state: string }
  /** All accesses of a delivery are used up. */
  'access-limit-reached': { spaceId: number; limit: number }
  /** What is in the space is encrypted with its password, so that stays as it is. */
  'password-fixed': { spaceId: number }
  'recipient-refused': {
    address: string
    rule: 'no-account' | 'may-not-receive' | 'may-not-be-addressed' | 'missing'
  }
  /** An address outside cannot be taken back: it has been told. */
  'recipient-fixed': { grantId: string }
  /** Something in the delivery was found to be harmful and nobody has released it. */
  'delivery-quarantined': { spaceId: number }
  'impersonation-refused': { reason: 'not-an-administrator' | 'unknown' | 'blocked' }
  busy: Record<never, never>
  /** The actor has neither a home space nor any space he may list. */
  'no-view': Record<never, never>
}

export type Subject =
  | 'tenant'
  | 'user'
  | 'group'
  | 'principal'
  | 'role'
  | 'session'
  | 'token'
  | 'space'
  | 'node'
  | 'path'
  | 'file'
  | 'version'
  | 'upload'
  | 'blob'
  | 'share'
  | 'grant'
  | 'deletion'
  | 'message'
  | 'contact'
  | 'job'
  | 'delivery'
  | 'recipient'
  | 'mail'
  | 'rule'
  | 'link'

export type ErrorCode = keyof ErrorDetails

/** A refusal by the domain: says why, and leaves the wording to whoever asked. */
export class DomainError<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C
  readonly details: ErrorDetails[C]

  constructor(code: C, details: ErrorDetails[C]) {
    super(code)
    this.name = 'DomainError'
    this.code = code
    this.details = details
  }
}

/** A mail that its receiver will never take; the message is for the log. */
export class MailRefused extends Error {}

/** A blob store that cannot be reached, or not now; the message is for the log. */
export class StoreUnavailable extends Error {}

/** True for a domain error, of the given code if one is named. */
export function isDomainError<C extends ErrorCode = ErrorCode>(error: unknown, code?: C): error is DomainError<C> {
  return error instanceof DomainError && (code === undefined || error.code === code)
}
