/** How this API words refusals. */
import { rowsOf } from '#http/operation.ts'
import type { ErrorTable } from '#http/errors.ts'
import type { FieldErrors } from './field-errors.ts'

export interface Refusal {
  status: number
  /** Without one, the answer has no body. */
  body?: { error: string } | Record<string, FieldErrors>
  /** Seconds after which a further try makes sense. */
  retryAfter?: number
}

const say = (status: number, error: string): Refusal => ({ status, body: { error } })
const unauthorised: Refusal = { status: 401 }
const forbidden: Refusal = { status: 403 }
const notFound: Refusal = { status: 404 }
const busy: Refusal = { ...say(503, 'The server is busy, try again.'), retryAfter: 1 }
const full = say(507, 'No space left.')
const badRequest = (error: string) => say(400, error)

/** A fault of ours; the log says which. */
export const internalError = say(500, 'Internal error.')
export const noOperation = notFound

/** A state that rules the content out for this API: it cannot bring the proof. */
const notForThisApi = () => forbidden

export const errorTable: ErrorTable<Refusal> = {
  'not-found': ({ what }) => (what === 'blob' ? badRequest('Unknown blob.') : notFound),
  forbidden: () => forbidden,
  'not-signed-in': () => unauthorised,
  'wrong-credentials': () => unauthorised,
  throttled: ({ retryAfterMs }) => ({ ...unauthorised, retryAfter: Math.ceil(retryAfterMs / 1000) }),
  'account-blocked': () => unauthorised,
  'password-refused': () => badRequest('The password is refused.'),
  'name-taken': ({ name }) => badRequest(`The name '${name}' is taken.`),
  'name-refused': ({ name }) => badRequest(`'${name}' cannot be a name.`),
  'path-refused': () => badRequest('The path is not valid.'),
  'login-taken': () => badRequest('The login is taken.'),
  'handle-taken': () => badRequest('The handle is taken.'),
  'group-name-taken': () => badRequest('The name is taken.'),
  'group-cycle': () => badRequest('A group cannot contain itself.'),
  'not-a-folder': () => badRequest('The parent cannot hold files.'),
  'not-a-file': () => notFound,
  'into-itself': () => badRequest('A folder cannot lie in itself.'),
  'cannot-move-space': () => forbidden,
  'revision-conflict': () => say(409, 'The document has been changed: snapshot_id is out of date.'),
  'already-deleted': () => notFound,
  'not-deleted': () => badRequest('The document is not deleted.'),
  'parent-gone': () => badRequest('The parent is deleted.'),
  'last-manager': () => forbidden,
  'quota-exceeded': () => full,
  'storage-full': () => full,
  'content-damaged': () => say(503, 'The content is not available.'),
  'invalid-input': ({ field, rule }) =>
    field === 'content-type' ? say(415, 'Unsupported content type.') : badRequest(inputWords(field, rule)),
  'wrong-state': ({ what, state }) =>
    badRequest(what === 'upload' ? `The blob is ${blobStates[state] ?? 'used already'}.` : `The ${what} is ${state}.`),
  'upload-incomplete': ({ expectedBytes }) => badRequest(`The content must have ${expectedBytes} bytes.`),
  'upload-too-large': ({ limitBytes }) => badRequest(`Files may have ${limitBytes} bytes at most.`),
  'upload-out-of-order': () => badRequest('The content is out of order.'),
  'upload-interrupted': () => badRequest('The content ended early.'),
  'checksum-mismatch': () => badRequest('The digest differs from that of the content.'),
  locked: () => forbidden,
  'write-protected': () => forbidden,
  'proof-required': notForThisApi,
  'wrong-proof': notForThisApi,
  'encryption-required': notForThisApi,
  'not-approved': notForThisApi,
  'not-screened': notForThisApi,
  'range-not-satisfiable': () => ({ status: 416 }),
  'mask-widens': () => badRequest('Rights can only be narrowed.'),
  'inherits-grants': () => badRequest('The rights are inherited.'),
  'space-inactive': () => forbidden,
  'access-limit-reached': notForThisApi,
  'password-fixed': notForThisApi,
  'recipient-refused': ({ address }) => badRequest(`${address} cannot be a recipient.`),
  'recipient-fixed': notForThisApi,
  'delivery-quarantined': notForThisApi,
  'impersonation-refused': () => forbidden,
  busy: () => busy,
  'no-view': () => forbidden,
}

/** Of which part of a request the text is, where it is not about a field. */
const parts: Record<string, string> = { body: 'body', querystring: 'query', request: 'request' }
const bodyRules: Record<string, string> = {
  json: 'The body is not valid JSON.',
  'utf-8': 'The body is not UTF-8.',
  'body must be object': 'The body must be a JSON object.',
}

function inputWords(field: string, rule: string): string {
  const part = parts[field]
  if (part === undefined) return `${field}: ${rule}`
  return bodyRules[rule] ?? `Invalid ${part}: ${rule}.`
}

const blobStates: Record<string, string> = { open: 'empty', expired: 'gone', cancelled: 'gone', failed: 'gone' }

/** A row of this API. */
export const op = rowsOf<Refusal>()

/** Creating things beside files knows neither 403 nor 415: all that can be wrong is told in a 400. */
export const creationErrors: Partial<ErrorTable<Refusal>> = {
  forbidden: () => badRequest('You may not create this here.'),
  'not-found': () => badRequest('The place for it is unknown.'),
  'invalid-input': details => ({ ...errorTable['invalid-input'](details), status: 400 }),
}

/** Creating where the core checks these fields itself: its refusals go to them. */
export const fieldErrors = (resource: string, fields: readonly string[]): Partial<ErrorTable<Refusal>> => ({
  ...creationErrors,
  'invalid-input': details => {
    const { field, rule } = details
    if (fields.includes(field)) return { status: 400, body: { [resource]: { [field]: [rule] } } }
    return { ...errorTable['invalid-input'](details), status: 400 }
  },
})

/** Texts for the documentation. */
export const refusals = {
  400: 'Invalid input.',
  401: 'Missing or wrong API key; empty body.',
  403: 'Not allowed for this user; empty body.',
  404: 'Unknown or deleted; empty body.',
  415: 'Unsupported body type.',
  page: 'No valid page.',
}
