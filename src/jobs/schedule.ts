/** Work that comes back: each kind is one job row at a time, whichever process arms it. */
import { inTx, type Ctx } from '#core/ctx.ts'
import { enqueue, type JobKind } from '#core/jobs.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

export type RecurringKind = Exclude<
  JobKind,
  'blob.collect' | 'database.scrub' | 'backup.hold' | 'version.screen' | 'mail.send'
>

/** Longest pause between the end of one run and the next. */
const everyMs: Record<RecurringKind, number> = {
  'audit.seal': MINUTE,
  'upload.expire': 5 * MINUTE,
  expiry: 5 * MINUTE,
  'screening.resume': 5 * MINUTE,
  'delivery.retention': 5 * MINUTE,
  'trash.purge': HOUR,
  'clean-up': HOUR,
  'audit.drop': HOUR,
  sweep: HOUR,
}

/** A done job must be remembered for longer than any pause above. */
export const REMEMBER_DONE_MS = 48 * HOUR

/** Adds the next run of each kind that has none waiting or running. May be called by many, at any time. */
export async function armSchedule(ctx: Ctx): Promise<void> {
  const last = await lastRuns(ctx)
  for (const [kind, pause] of Object.entries(everyMs) as [RecurringKind, number][]) {
    const run = last.get(kind)
    if (run?.pending) continue
    const runAt = run?.endedAt ? run.endedAt + pause : ctx.clock()
    await inTx(ctx, ctx => enqueue(ctx, { kind, payload: {}, dedupKey: `recurring:${kind}`, runAt }))
  }
}

export const recurringKinds = Object.keys(everyMs) as readonly RecurringKind[] // the table's own keys

/** Makes a recurring job due now, whatever the schedule says. */
export async function runSoon(ctx: Ctx, kind: RecurringKind): Promise<void> {
  await inTx(ctx, async ctx => {
    const dedupKey = `recurring:${kind}`
    await enqueue(ctx, { kind, payload: {}, dedupKey })
    await ctx.db
      .updateTable('job')
      .set({ runAt: ctx.clock() })
      .where('dedupKey', '=', dedupKey)
      .where('state', '=', 'ready')
      .execute()
  })
}

async function lastRuns(ctx: Ctx) {
  const rows = await ctx.db
    .selectFrom('job')
    .select(({ fn }) => ['kind', 'state', fn.max('endedAt').as('endedAt')])
    .where('kind', 'in', Object.keys(everyMs))
    .groupBy(['kind', 'state'])
    .execute()
  const runs = new Map<string, { pending: boolean; endedAt: number }>()
  for (const { kind, state, endedAt } of rows) {
    const known = runs.get(kind) ?? { pending: false, endedAt: 0 }
    const pending = state === 'ready' || state === 'running'
    runs.set(kind, { pending: known.pending || pending, endedAt: Math.max(known.endedAt, endedAt ?? 0) })
  }
  return runs
}
