/**
 * While a backup runs, no blob is collected: what its copy of the database refers to must still be there when the blobs are
 * copied. The hold is a job row with a lease, so that a backup that dies holds nothing for long.
 */
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'

const LEASE_MS = 60_000
const LOCK = 'backup-hold'

export interface BackupHold {
  /** Rejects when the hold was lost, so that the backup cannot be trusted. */
  release(): Promise<void>
}

/** Takes a hold and keeps it until released. */
export async function holdBlobs(ctx: Ctx): Promise<BackupHold> {
  const id = await inTx(ctx, async ctx => {
    // Waits for collections that have begun; those that begin later see the hold.
    await ctx.database.lock(ctx.db, LOCK, 'exclusive')
    const row = await ctx.db
      .insertInto('job')
      .values({
        tenantId: null,
        kind: 'backup.hold',
        payload: '{}',
        dedupKey: null,
        state: 'running',
        runAt: ctx.clock(),
        attempts: 1,
        maxAttempts: 1,
        leasedBy: `backup:${ctx.requestId}`,
        leasedUntil: ctx.clock() + LEASE_MS,
        createdAt: ctx.clock(),
      })
      .returning('id')
      .executeTakeFirstOrThrow()
    return row.id
  })
  const renewal = setInterval(() => void renew(ctx, id).catch(() => {}), LEASE_MS / 4)
  return {
    async release() {
      clearInterval(renewal)
      if (!(await end(ctx, id)))
        throw new Error('The hold on the blobs was lost: the backup may miss some, make another one')
    },
  }
}

const renew = (ctx: Ctx, id: number) =>
  inTx(ctx, ctx =>
    ctx.db
      .updateTable('job')
      .set({ leasedUntil: ctx.clock() + LEASE_MS })
      .where('id', '=', id)
      .where('state', '=', 'running')
      .where('leasedUntil', '>', ctx.clock())
      .execute(),
  )

async function end(ctx: Ctx, id: number): Promise<boolean> {
  const row = await inTx(ctx, ctx =>
    ctx.db
      .updateTable('job')
      .set({ state: 'done', endedAt: ctx.clock(), leasedBy: null, leasedUntil: null })
      .where('id', '=', id)
      .where('state', '=', 'running')
      .where('leasedUntil', '>', ctx.clock())
      .returning('id')
      .executeTakeFirst(),
  )
  return row !== undefined
}

/** Throws `busy` while a backup holds the blobs. To be asked in the transaction that drops them. */
export async function requireNoHold(ctx: TxCtx): Promise<void> {
  await ctx.database.lock(ctx.db, LOCK, 'shared')
  const hold = await ctx.db
    .selectFrom('job')
    .select('id')
    .where('kind', '=', 'backup.hold')
    .where('state', '=', 'running')
    .where('leasedUntil', '>', ctx.clock())
    .executeTakeFirst()
  if (hold) throw new DomainError('busy', {})
}
