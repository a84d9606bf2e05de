/**
 * Addresses that carry their permission in the query, in the form that clients of object stores know: key id, end of validity
 * in Unix seconds, and a signature over everything that the address fixes.
 */
import type { Deps } from '#core/ctx.ts'
import { isSignature, signText } from '#core/signed-addresses.ts'

/** What an address lets its holder do. */
export interface SignedRequest {
  method: 'GET' | 'PUT'
  path: string
  /** Who made the address. */
  keyId: string
  /** Unix seconds. */
  expires: number
  /** Header that a PUT must come with; empty for any. */
  contentType?: string
  /** Further parameters that nobody may change. */
  fixed?: Readonly<Record<string, string>>
}

const KEY_ID = 'AWSAccessKeyId'
const EXPIRES = 'Expires'
const SIGNATURE = 'Signature'

export function signedAddress(deps: Pick<Deps, 'keys'>, base: string, request: SignedRequest): string {
  const { path, keyId, expires, fixed = {} } = request
  const signature = signText(deps, textOf(request))
  const query = { ...fixed, [KEY_ID]: keyId, [EXPIRES]: String(expires), [SIGNATURE]: signature }
  return `${base}${path}?${queryOf(query)}`
}

/** One line each, as such signatures have it; the key id belongs to it, as one secret signs for all. */
const textOf = ({ method, path, keyId, expires, contentType = '', fixed = {} }: SignedRequest): string =>
  [method, keyId, contentType, expires, `${path}?${queryOf(fixed)}`].join('\n')

/** In one order, so that it can be signed; a space as `%20`, which every reader takes for one. */
const queryOf = (values: Readonly<Record<string, string>>): string =>
  Object.entries(values)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')

export type Checked = { keyId: string; fixed: Readonly<Record<string, string>> } | 'expired' | 'refused'

/**
 * Holds a request against the signature in its query. A HEAD is as good as a GET. A body may come with the media type that
 * was signed, or where none was, with any.
 */
export function checkSigned(
  deps: Pick<Deps, 'keys' | 'clock'>,
  request: { method: string; path: string; contentType: string | undefined; query: Readonly<Record<string, unknown>> },
): Checked {
  const { [KEY_ID]: keyId, [EXPIRES]: expires, [SIGNATURE]: signature, ...rest } = request.query
  if (typeof keyId !== 'string' || typeof signature !== 'string' || !/^\d{1,12}$/.test(String(expires)))
    return 'refused'
  const fixed: Record<string, string> = {}
  for (const [name, value] of Object.entries(rest)) {
    if (typeof value !== 'string') return 'refused' // a name that comes twice
    fixed[name] = value
  }
  const method = request.method === 'PUT' ? 'PUT' : 'GET'
  const signed = { method, path: request.path, keyId, expires: Number(expires), fixed } as const
  const types = method === 'PUT' ? ['', request.contentType ?? ''] : ['']
  if (!types.some(contentType => isSignature(deps, textOf({ ...signed, contentType }), signature))) return 'refused'
  return Number(expires) * 1000 <= deps.clock() ? 'expired' : { keyId, fixed }
}
