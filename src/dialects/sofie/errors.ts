/** How this API words refusals: a status, a reason for programs, and a sentence for people. */
import type { DomainError } from '#core/errors.ts'
import type { ErrorTable } from '#http/errors.ts'
import { rowsOf, type Operation } from '#http/operation.ts'

/** What the header X-Sofie-Response-Reason can say. */
export type Reason =
  | 'BAD_REQUEST'
  | 'FILTER_NOT_SUPPORTED'
  | 'IMPERSONATION_CONFLICT'
  | 'TOKEN_INVALID'
  | 'ACCOUNT_DISABLED'
  | 'IP_NOT_ALLOWED'
  | 'IMPERSONATION_NOT_ALLOWED'
  | 'USER_ONLY'
  | 'ADMIN_ONLY'
  | 'PERMISSION_DENIED'
  | 'PACKAGE_PASSWORD_REQUIRED'
  | 'PACKAGE_PASSWORD_INVALID'
  | 'LIMIT_ACCESS_TOKEN_REQUIRED'
  | 'LIMIT_ACCESS_TOKEN_INVALID'
  | 'ACCESS_LIMIT_EXCEEDED'
  | 'PACKAGE_NOT_APPROVED'
  | 'PACKAGE_QUARANTINED'
  | 'PACKAGE_NOT_ACTIVE'
  | 'FILE_STATE'
  | 'NAME_CONFLICT'
  | 'PASSWORD_ENCRYPTED'
  | 'HASH_MISMATCH'
  | 'SIZE_LIMIT'
  | 'NOT_FOUND'
  | 'RECIPIENT_EXTERNAL'
  | 'STORAGE_FULL'
  | 'UNAVAILABLE'
  | 'INTERNAL_ERROR'

export interface Refusal {
  status: number
  reason: Reason
  message: string
  /** What is wrong with which attribute. */
  details?: readonly { field: string; message: string }[]
  /** Seconds after which a further try makes sense. */
  retryAfter?: number
}

/** A refusal that only this API has a word for. */
export class Refused extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}

export const refuse = (status: number, reason: Reason, message: string): Refusal => ({ status, reason, message })

const badRequest = (message: string) => refuse(400, 'BAD_REQUEST', message)
const denied = (message: string) => refuse(403, 'PERMISSION_DENIED', message)
const fileState = (message: string) => refuse(409, 'FILE_STATE', message)
const nameConflict = (message: string) => refuse(409, 'NAME_CONFLICT', message)
const notActive = refuse(409, 'PACKAGE_NOT_ACTIVE', 'The package is not active')
const tokenInvalid = refuse(401, 'TOKEN_INVALID', 'The API token is missing or not valid')
const accountDisabled = refuse(401, 'ACCOUNT_DISABLED', 'The account is disabled or expired')
const unavailable: Refusal = { ...refuse(503, 'UNAVAILABLE', 'The server is busy, try again'), retryAfter: 1 }

/** A fault of ours; the log says which. */
export const internalError = refuse(500, 'INTERNAL_ERROR', 'Internal error')
export const adminOnly = refuse(403, 'ADMIN_ONLY', 'Only administrators can do this')
export const noOperation = refuse(404, 'NOT_FOUND', 'No such operation')
export const noSuchId = refuse(404, 'NOT_FOUND', 'Not found')
export const bodyTooLarge = (message: string) => refuse(413, 'SIZE_LIMIT', message)

/** Refuses one attribute of a request. */
export const wrongField = (field: string, message: string): Refusal => ({
  ...badRequest(`${field}: ${message}`),
  details: [{ field, message }],
})

const notSignedIn: Record<DomainError<'not-signed-in'>['details']['reason'], Refusal> = {
  missing: tokenInvalid,
  unknown: tokenInvalid,
  expired: tokenInvalid,
  address: refuse(403, 'IP_NOT_ALLOWED', 'The API token cannot be used from this address'),
  account: accountDisabled,
}

type Proof = DomainError<'proof-required'>['details']['proof']

const proofRequired: Record<Proof, Refusal> = {
  password: refuse(403, 'PACKAGE_PASSWORD_REQUIRED', 'The package is protected by a password'),
  key: refuse(403, 'PACKAGE_PASSWORD_REQUIRED', 'The package is encrypted with a password'),
  access: refuse(403, 'LIMIT_ACCESS_TOKEN_REQUIRED', 'Accesses of the package are limited: an access token is needed'),
  revalidation: denied('The content is under read protection'),
}

const proofWrong: Record<Proof, Refusal> = {
  password: refuse(403, 'PACKAGE_PASSWORD_INVALID', 'The password or its token is not valid'),
  key: refuse(403, 'PACKAGE_PASSWORD_INVALID', 'The password or its token is not valid'),
  access: refuse(403, 'LIMIT_ACCESS_TOKEN_INVALID', 'The access token is not valid'),
  revalidation: denied('The content is under read protection'),
}

const recipientRules: Record<DomainError<'recipient-refused'>['details']['rule'], string> = {
  'no-account': 'needs an account',
  'may-not-receive': 'may not receive packages',
  'may-not-be-addressed': 'cannot be addressed',
  missing: 'is missing',
}

const impersonationRefused = refuse(403, 'IMPERSONATION_NOT_ALLOWED', 'This token cannot act as that user')

export const errorTable: ErrorTable<Refusal> = {
  'not-found': ({ what }) => refuse(404, 'NOT_FOUND', `No such ${words[what] ?? what}`),
  forbidden: () => denied('Not permitted'),
  'not-signed-in': ({ reason }) => notSignedIn[reason],
  'wrong-credentials': () => tokenInvalid,
  throttled: ({ retryAfterMs }) => ({
    ...refuse(403, 'PACKAGE_PASSWORD_INVALID', 'Too many wrong passwords, try again later'),
    retryAfter: Math.ceil(retryAfterMs / 1000),
  }),
  'account-blocked': () => accountDisabled,
  'password-refused': ({ rule }) => wrongField('password', rule),
  'name-taken': ({ name }) => nameConflict(`The name '${name}' is taken`),
  'name-refused': ({ rule }) => wrongField('name', rule),
  'path-refused': () => noSuchId,
  'login-taken': () => nameConflict('The username is taken'),
  'handle-taken': () => nameConflict('The username is taken'),
  'group-name-taken': () => nameConflict('The name is taken'),
  'group-cycle': () => badRequest('A group cannot contain itself'),
  'not-a-folder': () => noSuchId,
  'not-a-file': () => noSuchId,
  'into-itself': () => badRequest('A folder cannot lie in itself'),
  'cannot-move-space': () => denied('The root folder stays as it is'),
  'revision-conflict': () => fileState('It has been changed meanwhile'),
  'already-deleted': () => fileState('It is deleted already'),
  'not-deleted': () => fileState('It is not deleted'),
  'parent-gone': () => fileState('Its folder is deleted'),
  'last-manager': () => denied('Somebody must remain who manages it'),
  'quota-exceeded': () => refuse(413, 'SIZE_LIMIT', 'The quota is used up'),
  'storage-full': () => refuse(507, 'STORAGE_FULL', 'No space left'),
  'content-damaged': () => refuse(503, 'UNAVAILABLE', 'The content is not available'),
  'invalid-input': ({ field, rule }) =>
    field === '$filter'
      ? refuse(400, 'FILTER_NOT_SUPPORTED', `The filter is refused: ${rule}`)
      : wrongField(field, rule),
  'wrong-state': ({ what, state }) =>
    what === 'space' || what === 'delivery' ? notActive : fileState(`The ${words[what] ?? what} is ${state}`),
  'upload-incomplete': ({ expectedBytes, receivedBytes }) =>
    badRequest(`The content must have ${expectedBytes} bytes, not ${receivedBytes}`),
  'upload-too-large': ({ limitBytes }) => refuse(413, 'SIZE_LIMIT', `The content may have ${limitBytes} bytes at most`),
  'upload-out-of-order': () => badRequest('The content is out of order'),
  'upload-interrupted': () => badRequest('The content ended early'),
  'checksum-mismatch': () => refuse(412, 'HASH_MISMATCH', 'The hash differs from that of the content'),
  locked: () => fileState('It is locked'),
  'write-protected': () => fileState('It is write-protected'),
  'proof-required': ({ proof }) => proofRequired[proof],
  'wrong-proof': ({ proof }) => proofWrong[proof],
  'encryption-required': () => denied('Only clients with a key can read and write here'),
  'not-approved': () => refuse(403, 'PACKAGE_NOT_APPROVED', 'The package is not approved'),
  'not-screened': ({ state }) =>
    fileState(state === 'pending' ? 'The checks of the file have not ended' : 'The file is held back by its checks'),
  'range-not-satisfiable': () => refuse(416, 'BAD_REQUEST', 'The range lies beyond the content'),
  'mask-widens': () => badRequest('Rights can only be narrowed'),
  'inherits-grants': () => badRequest('The rights are inherited'),
  'space-inactive': () => notActive,
  'access-limit-reached': () => refuse(403, 'ACCESS_LIMIT_EXCEEDED', 'All accesses of the package are used'),
  'password-fixed': () => refuse(409, 'PASSWORD_ENCRYPTED', 'The password encrypts the package and cannot change'),
  'recipient-refused': ({ address, rule }) => wrongField('recipients', `${address} ${recipientRules[rule]}`.trim()),
  'recipient-fixed': () => refuse(409, 'RECIPIENT_EXTERNAL', 'Recipients outside cannot be removed'),
  'delivery-quarantined': () => refuse(403, 'PACKAGE_QUARANTINED', 'The package is in quarantine'),
  'impersonation-refused': () => impersonationRefused,
  busy: () => unavailable,
  'no-view': () => denied('Not permitted'),
}

/** Where this API says another word for what the domain calls so. */
const words: Partial<Record<string, string>> = {
  space: 'package',
  delivery: 'package',
  node: 'file or folder',
  upload: 'file',
  version: 'file',
  grant: 'recipient',
  principal: 'user',
  token: 'API token',
  group: 'user group',
}

/** Who may call an operation. An administrator who acts as a user counts as that user. */
export type Roles = 'user' | 'admin' | 'both'

/** A row of this API. */
export const op = rowsOf<Refusal, { roles: Roles }>()
export type SofieOperation = Operation<Refusal> & { roles: Roles }

/** Texts for the documentation. */
const refusals = {
  400: 'Invalid request.',
  401: 'No usable API token, or its owner is disabled or expired.',
  403: 'Refused.',
  404: 'Unknown, or not visible to the caller.',
  409: 'Not possible in the current state.',
  412: 'The hash differs from that of the stored content; the state of the file is unchanged.',
  413: 'A size or count limit is exceeded.',
}

/** The texts for these statuses. */
export const refusalsOf = (...statuses: (keyof typeof refusals)[]): Record<number, string> =>
  Object.fromEntries(statuses.map(status => [status, refusals[status]]))
