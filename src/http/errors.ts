/** From what went wrong to what a dialect answers: each dialect words every domain error in one total table. */
import { DomainError, isDomainError, type ErrorCode, type ErrorDetails } from '#core/errors.ts'
import { asOutage } from '#core/outages.ts'
import { MultipartError } from './multipart-head.ts'

/** Total on purpose: a new ErrorCode does not compile until every dialect words it. */
export type ErrorTable<A> = { readonly [C in ErrorCode]: (details: ErrorDetails[C]) => A }

/** The answer to a domain error: the operation's own wording first, the dialect's after it. */
export function translate<A>(table: ErrorTable<A>, error: DomainError, own: Partial<ErrorTable<A>> | undefined): A {
  // `code` and `details` belong together by construction; the compiler cannot follow that through the look-up.
  const word = (own?.[error.code] ?? table[error.code]) as (details: ErrorDetails[ErrorCode]) => A
  return word(error.details)
}

/**
 * The domain's view of an error that ended a request: what Fastify refuses about a request is `invalid-input`,
 * a database that is away or full is `busy` or `storage-full`. Undefined
 * for a fault of ours, which belongs into the log.
 */
export function asDomainError(error: unknown): DomainError | undefined {
  if (isDomainError(error)) return error
  if (!(error instanceof Error)) return undefined
  if (error instanceof MultipartError) return multipartRefusal(error)
  if ('validation' in error || ('statusCode' in error && isClientFault(error.statusCode))) {
    return new DomainError('invalid-input', { field: placeOf(error), rule: error.message })
  }
  return asOutage(error)
}

const multipartRefusal = ({ reason }: MultipartError) =>
  reason === 'interrupted'
    ? new DomainError('upload-interrupted', {})
    : new DomainError('invalid-input', { field: 'body', rule: reason })

const placeOf = (error: Error) =>
  'validationContext' in error && typeof error.validationContext === 'string' ? error.validationContext : 'request'

const isClientFault = (status: unknown) => typeof status === 'number' && status >= 400 && status < 500
