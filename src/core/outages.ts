/** Faults of the database and the blob store in the words of the domain, for those who answer requests. */
import { DatabaseBusy, DatabaseFull, DatabaseUnavailable } from '#db/database.ts'
import { DomainError, StoreUnavailable } from './errors.ts'

/** `busy` where another try makes sense, `storage-full` where there is no room; undefined for any other error. */
export function asOutage(error: unknown): DomainError | undefined {
  const isAway = [DatabaseUnavailable, DatabaseBusy, StoreUnavailable].some(type => error instanceof type)
  if (isAway) return new DomainError('busy', {})
  return error instanceof DatabaseFull ? new DomainError('storage-full', {}) : undefined
}
