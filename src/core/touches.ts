/**
 * When sessions and tokens were last used. Requests only note it in memory; it reaches the database in batches, so that a
 * request never waits for a write.
 */
import type { Database } from '#db/database.ts'
import { prepared } from '#db/prepared.ts'
import type { Deps } from './ctx.ts'
import { chunked } from './principals.ts'

/** A use is noted when the stored one is older than this. */
const NOTE_AFTER_MS = 40_000
const FLUSH_EVERY_MS = 15_000
/** How far the stored time may be behind, also after a crash and as other processes see it. */
export const TOUCH_LAG_MS = 60_000

interface Notes {
  sessions: Map<string, number>
  tokens: Map<string, number>
}

const notesOf = new WeakMap<Database, Notes>()

function notes(database: Database): Notes {
  const known = notesOf.get(database)
  if (known) return known
  const fresh: Notes = { sessions: new Map(), tokens: new Map() }
  notesOf.set(database, fresh)
  return fresh
}

/** Notes a use now, when the last known one is old enough. Costs nothing else. */
export function noteUse(deps: Deps, kind: keyof Notes, id: string, storedAt: number | null): void {
  const pending = notes(deps.database)[kind]
  const now = deps.clock()
  if (now - Math.max(storedAt ?? 0, pending.get(id) ?? 0) >= NOTE_AFTER_MS) pending.set(id, now)
}

/** The last use that this process knows of. */
export function lastUse(deps: Deps, kind: keyof Notes, id: string, storedAt: number): number {
  return Math.max(storedAt, notes(deps.database)[kind].get(id) ?? 0)
}

type Touch = { id: string; at: number }

const touchSession = prepared<Touch, never>((db, arg) =>
  db
    .updateTable('session')
    .set({ lastSeenAt: arg('at') })
    .where('id', '=', arg('id'))
    .where('lastSeenAt', '<', arg('at')),
)

const touchToken = prepared<Touch, never>((db, arg) =>
  db
    .updateTable('token')
    .set({ lastUsedAt: arg('at') })
    .where('id', '=', arg('id'))
    .where(eb => eb.or([eb('lastUsedAt', 'is', null), eb('lastUsedAt', '<', arg('at'))])),
)

/** Writes what was noted. Notes stay when it fails, and go with the next flush. */
export async function flushTouches({ database }: Pick<Deps, 'database'>): Promise<void> {
  const { sessions, tokens } = notes(database)
  await flush(database, sessions, touchSession)
  await flush(database, tokens, touchToken)
}

const MAX_ROWS = 500

async function flush(database: Database, pending: Map<string, number>, write: typeof touchSession): Promise<void> {
  // Two processes that update the same rows in the same order cannot lock each other out.
  const entries = [...pending].sort(([a], [b]) => (a < b ? -1 : 1))
  for (const some of chunked(entries, MAX_ROWS)) {
    await database.transaction(async tx => {
      for (const [id, at] of some) await write(tx, { id, at })
    })
    for (const [id, at] of some) if (pending.get(id) === at) pending.delete(id)
  }
}

/** Flushes now and then until stopped; stopping flushes once more. `onError` gets what went wrong; the notes are kept. */
export function startTouches(
  deps: Pick<Deps, 'database'>,
  onError: (error: unknown) => void,
): { stop(): Promise<void> } {
  let running = Promise.resolve()
  const flushNow = () => (running = running.then(() => flushTouches(deps)).catch(onError))
  const timer = setInterval(() => void flushNow(), FLUSH_EVERY_MS)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await flushNow()
    },
  }
}
