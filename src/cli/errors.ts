/** What went wrong, in one line for people at a command line. */
import { ConfigError } from '#config'
import { isDomainError, type DomainError, type ErrorCode, type ErrorDetails } from '#core/errors.ts'
import { CommandFailed } from './terminal.ts'

type Wording = { readonly [C in ErrorCode]?: (details: ErrorDetails[C]) => string }

/** Refusals that commands commonly meet; others are told by their code. */
const wording: Wording = {
  'not-found': ({ what, id }) => `There is no ${what} ${id}`,
  forbidden: ({ action }) => `Not permitted: ${action}`,
  'password-refused': ({ rule }) => `The password is refused: ${rule}`,
  'name-taken': ({ name, by }) => `The name ${name} is taken by a ${by}`,
  'name-refused': ({ name, rule }) => `The name ${JSON.stringify(name)} is refused: ${rule}`,
  'login-taken': ({ login }) => `The login ${login} is taken`,
  'handle-taken': ({ handle }) => `The handle ${handle} is taken`,
  'group-name-taken': ({ name }) => `The group name ${name} is taken`,
  'group-cycle': () => 'A group cannot be a member of itself, also not by way of others',
  'last-manager': () => 'Somebody with "manage" must remain in this space (keepManager)',
  'inherits-grants': () => 'The space inherits its grants and can have none of its own',
  'storage-full': () => 'The disk is full',
  'content-damaged': ({ what }) => `Damaged content: ${what}`,
  'invalid-input': ({ field, rule }) => `${field} is refused: ${rule}`,
  'wrong-state': ({ what, state, needed }) => `The ${what} is ${state}, but must be ${needed}`,
  busy: () => 'The database is busy, try again',
}

/** The text for a refusal, or undefined for a fault of the program. */
export function explain(error: unknown): string | undefined {
  if (isDomainError(error)) return explainDomain(error)
  if (error instanceof CommandFailed || error instanceof ConfigError) return error.message
  return undefined
}

function explainDomain({ code, details }: DomainError): string {
  // Code and details belong together by construction; the compiler cannot follow that through the look-up.
  const word = wording[code] as ((details: ErrorDetails[ErrorCode]) => string) | undefined
  return word ? word(details) : `Refused: ${code} ${JSON.stringify(details)}`
}
