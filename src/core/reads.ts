/** Notes who read what: first and last read of a version and an event each, written in batches beside the requests. */
import { prepared } from '#db/prepared.ts'
import type { Actor, Ctx, Deps, TxCtx } from './ctx.ts'

/** A read is written at the latest after so long. */
const FLUSH_AFTER_MS = 200
/** Rows per insert: well below the engines' limits on parameters. */
const ROWS_PER_INSERT = 200

export interface Read {
  actor: Actor
  requestId: string
  spaceId: number | null
  nodeId: number
  versionId: number
  at: number
}

/** Collects reads of one process. `flush` writes what there is; `close` does so for the last time. */
export interface ReadLog {
  note(ctx: Ctx, read: Pick<Read, 'spaceId' | 'nodeId' | 'versionId'>): void
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
    note(ctx, read) {
      waiting.push({ ...read, actor: ctx.actor, requestId: ctx.requestId, at: ctx.clock() })
      timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS)
    },
    flush,
    close: flush,
  }
}

/** While the database is away, so many reads are remembered; older ones are lost. */
const MAX_WAITING = 100_000

const noteTimes = prepared<{ id: number; first: number; last: number }, never>((db, arg) =>
  db
    .updateTable('version')
    .set(eb => ({ firstReadAt: eb.fn.coalesce('firstReadAt', eb.val(arg('first'))), lastReadAt: arg('last') }))
    .where('id', '=', arg('id')),
)

async function writeBatch(deps: Omit<Deps, 'reads'>, batch: readonly Read[]): Promise<void> {
  await deps.database.transaction(async db => {
    for (const [versionId, reads] of Map.groupBy(batch, read => read.versionId)) {
      const times = reads.map(read => read.at)
      await noteTimes(db, { id: versionId, first: Math.min(...times), last: Math.max(...times) })
    }
    for (const [spaceId, reads] of Map.groupBy(batch, read => read.spaceId)) {
      const from = spaceId === null ? null : await drawSpaceTimes(db, spaceId, reads)
      const rows = reads.map((read, index) => eventRow(read, from === null ? null : from + index))
      for (let start = 0; start < rows.length; start += ROWS_PER_INSERT) {
        await db
          .insertInto('event')
          .values(rows.slice(start, start + ROWS_PER_INSERT))
          .execute()
      }
    }
  })
}

/** The first of as many log times of the space as there are reads. */
async function drawSpaceTimes(db: TxCtx['db'], spaceId: number, reads: readonly Read[]): Promise<number | null> {
  const now = reads[0]?.at ?? 0
  const row = await db
    .updateTable('space')
    .set(eb => ({
      lastLogAt: eb
        .case()
        .when('lastLogAt', '>=', now)
        .then(eb('lastLogAt', '+', reads.length))
        .else(now + reads.length - 1)
        .end(),
    }))
    .where('id', '=', spaceId)
    .returning('lastLogAt')
    .executeTakeFirst()
  return row ? row.lastLogAt - reads.length + 1 : null
}

function eventRow(read: Read, spaceTime: number | null) {
  const { actor } = read
  return {
    tenantId: actor.tenantId,
    type: 'version.read',
    outcome: 'done' as const,
    at: read.at,
    actorId: actor.principalId,
    actorName: actor.name,
    impersonatorId: actor.impersonator?.principalId ?? null,
    impersonatorName: actor.impersonator?.name ?? null,
    client: actor.client.slice(0, 200),
    address: actor.address,
    requestId: read.requestId,
    spaceId: read.spaceId,
    spaceTime,
    subject1: `node:${read.nodeId}`,
    subject2: `version:${read.versionId}`,
  }
}
