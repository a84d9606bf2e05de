/** What applying a file works with: a transaction, the place of each mistake, and a list of what was done. */
import { explain } from '#cli/errors.ts'
import type { TxCtx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { CommandFailed } from '#cli/terminal.ts'
import { BadFile, type Place } from './read-yaml.ts'
import type { NewHashes } from './passwords.ts'

export interface Report {
  /** `created user partner5`, in the order in which it was done. */
  changes: string[]
  unchanged: number
  /** Secrets that exist nowhere else. */
  secrets: string[]
}

export interface Work {
  ctx: TxCtx
  report: Report
  hashes: NewHashes
}

/** Notes a change, or that there was none. */
export function note({ report }: Work, change: string | undefined): void {
  if (change === undefined) report.unchanged += 1
  else report.changes.push(change)
}

/** Refusals of the domain become mistakes of the file, at the place they come from. */
export async function placed<T>(at: Place, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    const isRefusal = error instanceof CommandFailed || (isDomainError(error) && !isPassing(error.code))
    if (!isRefusal) throw error
    throw new BadFile([{ line: at.line, column: at.column, reason: explain(error) ?? '' }])
  }
}

/** Not the file's fault. */
const isPassing = (code: string) => code === 'busy' || code === 'storage-full'

/** The given values that differ from what is there. */
export function differences<T extends object>(known: { [K in keyof T]?: unknown }, wanted: T): Partial<T> {
  const changed = Object.entries(wanted).filter(([name, value]) => {
    const now = known[name as keyof T] // the names come from T
    return JSON.stringify(now ?? null) !== JSON.stringify(value ?? null)
  })
  return Object.fromEntries(changed) as Partial<T> // a part of what was given
}

/** Without the fields that the file says nothing about. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
