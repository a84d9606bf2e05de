/** Notes who read what: first and last read of a version and an event each, written in batches beside the requests. */
import { sql } from 'kysely'
import { numberRows, type Engine } from '#db/columns.ts'
import type { Tx } from '#db/database.ts'
import { prepared } from '#db/prepared.ts'
import type { Ctx, Deps } from './ctx.ts'
import { recordMany, type Circumstances } from './events.ts'

/** A read is written at the latest after so long. */
const FLUSH_AFTER_MS = 200

export interface Read {
  spaceId: number | null
  nodeId: number
  versionId: number
  of: Circumstances
}

/** Collects reads of one process. `flush` writes what there is; `close` does so for the last time. */
export interface ReadLog {
  note(ctx: Ctx, read: Omit<Read, 'of'>): void
  flush(): Promise<void>
  close(): Promise<void>
}

/** Writing failures go to `onError`; the batch is tried again with the next one. */
export function openReadLog(deps: Omit<Deps, 'reads'>, onError: (error: unknown) => void): ReadLog {
  let waiting: Read[] = []
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()

  const write = async () => {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    try {
      await writeBatch(deps, batch)
    } catch (error) {
      waiting = [...batch, ...waiting].slice(-MAX_WAITING)
      onError(error)
    }
  }
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(write)
    return writing
  }
  return {
    note(ctx, { spaceId, nodeId, versionId }) {
      const of = { actor: ctx.actor, requestId: ctx.requestId, at: ctx.clock() }
      waiting.push({ spaceId, nodeId, versionId, of })
      timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS)
    },
    flush,
    close: flush,
  }
}

/** While the database is away, so many reads are remembered; older ones are lost. */
const MAX_WAITING = 100_000

/** When a version was read first and last, in epoch milliseconds; null for one that nobody has read yet. */
export interface ReadTimes {
  firstReadAt: number | null
  lastReadAt: number | null
}

const timesOf = prepared<{ versionId: number }, ReadTimes>((db, arg) =>
  db.selectFrom('version_read').select(['firstReadAt', 'lastReadAt']).where('versionId', '=', arg('versionId')),
)

/** Asks for no right: the caller has found the version. */
export async function loadReadTimes(ctx: Ctx, versionId: number): Promise<ReadTimes> {
  const [times] = await timesOf(ctx.db, { versionId })
  return times ?? { firstReadAt: null, lastReadAt: null }
}

async function writeBatch({ database }: Pick<Deps, 'database'>, batch: readonly Read[]): Promise<void> {
  await database.transaction(async db => {
    await noteTimes(db, database.engine, batch)
    await recordMany(
      db,
      batch.map(({ spaceId, nodeId, versionId, of }) => ({
        event: { type: 'version.read', spaceId, subject1: `node:${nodeId}`, subject2: `version:${versionId}` },
        of,
      })),
    )
  })
}

/** First and last read of the versions, in the order of their ids: rows of one page follow each other. */
async function noteTimes(db: Tx, engine: Engine, batch: readonly Read[]): Promise<void> {
  const times = new Map<number, { id: number; first: number; last: number }>()
  for (const { versionId, of } of batch) {
    const { first, last } = times.get(versionId) ?? { first: of.at, last: of.at }
    times.set(versionId, { id: versionId, first: Math.min(first, of.at), last: Math.max(last, of.at) })
  }
  const rows = [...times.values()].toSorted((one, other) => one.id - other.id)
  // "where true": without it, SQLite takes the "on" of the conflict for one of a join.
  await sql`
    insert into version_read ("versionId", "firstReadAt", "lastReadAt")
    select seen.id, seen.first, seen.last from ${numberRows(engine, ['id', 'first', 'last'], rows)} as seen where true
    on conflict ("versionId") do update set "lastReadAt" = excluded."lastReadAt"`.execute(db)
}
