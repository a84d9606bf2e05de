/** How this API words refusals. */
import { rowsOf } from '#http/operation.ts'
import type { ErrorTable } from '#http/errors.ts'

export const errorTypes = [
  'authentication',
  'request_syntax',
  'configuration',
  'authorization',
  'io',
  'syntax_error',
] as const

export interface Refusal {
  status: number
  message: string
  errorType: (typeof errorTypes)[number]
  /** Seconds after which a further try makes sense. */
  retryAfter?: number
}

const refuse = (status: number, errorType: Refusal['errorType'], message: string): Refusal => ({
  status,
  message,
  errorType,
})

const badRequest = refuse(400, 'request_syntax', 'Missing parameters or syntax error')
const noFilename = refuse(400, 'request_syntax', 'No filename specified')
const noFileset = refuse(400, 'request_syntax', 'No fileset specified')
const notSignedIn = refuse(401, 'authentication', 'Invalid username or password')
const noContract = refuse(401, 'configuration', 'Connection contract not configured')
const gone = (path: string) => refuse(404, 'io', `${path} doesn't exist`)
const unreadable = refuse(403, 'authorization', 'No read permission')
const unwritable = refuse(403, 'authorization', 'No write permission')
const busy: Refusal = { ...refuse(503, 'io', 'Service busy, try again'), retryAfter: 1 }
const full = refuse(507, 'io', 'No space left')

/** A fault of ours; the log says which. */
export const internalError = refuse(500, 'io', 'Internal error')
export const noOperation = refuse(404, 'request_syntax', 'No such operation')

/** The API knows four rights; the core tells more apart. */
const permissionNames: Record<string, string> = { list: 'list', read: 'read', delete: 'delete' }
const missingParts: Record<string, Refusal> = { filename: noFilename, fileset: noFileset }

/** A state that rules the content out for this path view: it cannot bring the proof. */
const notForThisView = () => unreadable

export const errorTable: ErrorTable<Refusal> = {
  'not-found': ({ what, id }) => {
    if (what === 'path') return gone(`Path '${id}'`)
    return gone(what === 'file' ? `File '${id}'` : id)
  },
  forbidden: ({ action }) => refuse(403, 'authorization', `No ${permissionNames[action] ?? 'write'} permission`),
  'not-signed-in': () => notSignedIn,
  'wrong-credentials': () => notSignedIn,
  throttled: ({ retryAfterMs }) => ({ ...notSignedIn, retryAfter: Math.ceil(retryAfterMs / 1000) }),
  'account-blocked': () => notSignedIn,
  'password-refused': () => badRequest,
  'name-taken': () => unwritable,
  'name-refused': () => badRequest,
  'path-refused': () => badRequest,
  'login-taken': () => badRequest,
  'handle-taken': () => badRequest,
  'group-name-taken': () => badRequest,
  'group-cycle': () => badRequest,
  'not-a-folder': ({ nodeId }) => gone(`Path '${nodeId}'`),
  'not-a-file': () => noFilename,
  'into-itself': () => badRequest,
  'cannot-move-space': () => badRequest,
  'revision-conflict': () => busy,
  'already-deleted': ({ nodeId }) => gone(String(nodeId)),
  'not-deleted': () => badRequest,
  'parent-gone': ({ parentId }) => gone(`Path '${parentId}'`),
  'last-manager': () => unwritable,
  'quota-exceeded': () => full,
  'storage-full': () => full,
  'content-damaged': () => refuse(503, 'io', 'Content not available'),
  'invalid-input': ({ field }) => missingParts[field] ?? badRequest,
  'wrong-state': ({ what, state }) => refuse(403, 'io', `The ${what} is ${state}`),
  'upload-incomplete': () => badRequest,
  'upload-too-large': ({ limitBytes }) => refuse(413, 'io', `Files may have ${limitBytes} bytes at most`),
  'upload-out-of-order': () => badRequest,
  'upload-interrupted': () => badRequest,
  'checksum-mismatch': () => badRequest,
  locked: () => refuse(403, 'authorization', 'The file is locked'),
  'write-protected': () => refuse(403, 'authorization', 'The file is write-protected'),
  'proof-required': notForThisView,
  'wrong-proof': notForThisView,
  'encryption-required': () => unwritable,
  'not-approved': notForThisView,
  'not-screened': notForThisView,
  'range-not-satisfiable': ({ sizeBytes }) => refuse(416, 'request_syntax', `The file has ${sizeBytes} bytes`),
  'mask-widens': () => badRequest,
  'inherits-grants': () => badRequest,
  'space-inactive': () => unwritable,
  'access-limit-reached': notForThisView,
  'password-fixed': () => unwritable,
  'recipient-refused': () => badRequest,
  'recipient-fixed': () => unwritable,
  'delivery-quarantined': notForThisView,
  'impersonation-refused': () => notSignedIn,
  busy: () => busy,
  'no-view': () => noContract,
}

/** A row of this API. */
export const op = rowsOf<Refusal>()

/** Texts for the documentation. */
export const refusals = {
  401: 'No valid session, or no connection contract for the user.',
  403: (permission: string) => `No ${permission} permission on the virtual path.`,
  fileset: 'No such fileset, or its file is outside the virtual file system of the caller.',
  path: 'The path does not exist.',
  file: 'The file or its path does not exist.',
}

/** Where the name of the file is missing in the address: this call has words of its own. */
export const deleteErrors: Partial<ErrorTable<Refusal>> = Object.fromEntries(
  (['path-refused', 'invalid-input', 'not-a-file'] as const).map(code => [
    code,
    () => refuse(400, 'syntax_error', 'missing param or syntax error'),
  ]),
)

/** Listing and counting name no path. */
export const listErrors: Partial<ErrorTable<Refusal>> = { 'not-found': () => gone('Path') }

/** Reading and writing metadata by path name the file without a noun. */
export const metadataErrors: Partial<ErrorTable<Refusal>> = {
  'not-found': ({ what, id }) => gone(what === 'path' ? `Path '${id}'` : id),
}

/** Missing credentials are told apart from wrong ones, by an unusual status. */
export const loginErrors: Partial<ErrorTable<Refusal>> = {
  'invalid-input': () => refuse(404, 'request_syntax', 'No username or password'),
}
