/** The work of screening: one content at a time, as a job; what got lost is taken up again. */
import { sql } from 'kysely'
import { inTx, makeCtx, systemActor, type Ctx, type TxCtx } from './ctx.ts'
import { queueMail } from './mail.ts'
import { getNodeRow, type Node } from './nodes.ts'
import { examine, type Check, type Examination } from './screening-examination.ts'
import { enqueueScreening } from './screening-start.ts'
import { hasSealedKey } from './sealed-keys.ts'
import { sealVersionKeys } from './space-keys.ts'
import { getSpaceRow } from './space-rows.ts'
import type { Version } from './versions.ts'

/**
 * Looks into a version that waits for it. A purged one is no error, and several may look at once: the last word counts.
 * Rejects where a mandatory engine or the store is away; until then everything stays as it was.
 */
export async function screenVersion(
  ctx: Ctx,
  { versionId }: { versionId: number },
  signal: AbortSignal,
): Promise<void> {
  const version = await findStored(ctx, versionId)
  if (!version) return
  if (version.screening === 'pending' || version.recheckAt !== null) await settleVersion(ctx, version, signal)
  await sealVersionKeys(ctx, { versionId })
}

async function findStored(ctx: Ctx, versionId: number): Promise<Version | undefined> {
  return ctx.db
    .selectFrom('version')
    .selectAll()
    .where('id', '=', versionId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('purgedAt', 'is', null)
    .executeTakeFirst()
}

async function settleVersion(ctx: Ctx, version: Version, signal: AbortSignal): Promise<void> {
  if (hasSealedKey(version)) return inTx(ctx, ctx => endRecheck(ctx, version.id))
  const node = await getNodeRow(ctx, version.nodeId)
  const examination = await examine(ctx, { version, name: node.label }, signal)
  await inTx(ctx, ctx => keepExamination(ctx, { version, node }, examination))
  if (examination.obstacle) throw examination.obstacle
}

/** Sealed after the repeated screening was asked for. */
async function endRecheck(ctx: TxCtx, versionId: number): Promise<void> {
  await ctx.db.updateTable('version').set({ recheckAt: null }).where('id', '=', versionId).execute()
}

/** Row first: whoever comes second waits for it, and then replaces checks that he sees. */
async function keepExamination(
  ctx: TxCtx,
  { version, node }: { version: Version; node: Node },
  { checks, state, integrity }: Examination,
): Promise<void> {
  const now = ctx.clock()
  const kept = await ctx.db
    .updateTable('version')
    .set({
      ...(integrity !== 'unknown' && { integrity, integrityAt: now }),
      ...(state && { screening: state, screenedAt: now, recheckAt: null }),
      // What is clean now needs nobody's word, and what is found later needs a new one.
      ...(state === 'clean' && { releasedAt: null, releasedBy: null }),
    })
    .where('id', '=', version.id)
    .where('purgedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!kept) return
  await replaceChecks(ctx, version.id, checks)
  if (!state) return
  await emitScreened(ctx, { version, node, state, checks })
  if (state !== 'clean' && version.releasedAt === null) await tellSender(ctx, { version, node })
}

/** Of a delivery; elsewhere nobody is told. */
async function tellSender(ctx: TxCtx, { version, node }: { version: Version; node: Node }): Promise<void> {
  const space = await getSpaceRow(ctx, node.spaceId ?? 0)
  if (space.deliveryAccess === null || node.state !== 'live') return
  await queueMail(ctx, {
    kind: 'delivery-quarantined',
    recipientId: space.ownerId,
    subjectId: space.uid,
    occasion: `version ${version.id}`,
  })
}

async function replaceChecks(ctx: TxCtx, versionId: number, checks: readonly Check[]): Promise<void> {
  await ctx.db.deleteFrom('screening_check').where('versionId', '=', versionId).execute()
  if (checks.length === 0) return
  await ctx.db
    .insertInto('screening_check')
    .values(checks.map(check => ({ versionId, ...check })))
    .execute()
}

/** What an engine calls its finding may be a user's word, so it stays out of the log. */
const emitScreened = (
  ctx: TxCtx,
  { version, node, state, checks }: { version: Version; node: Node; state: string; checks: readonly Check[] },
): Promise<void> =>
  ctx.emit({
    type: 'version.screened',
    spaceId: node.spaceId,
    subject1: `node:${node.id}`,
    subject2: `version:${version.id}`,
    facts: {
      before: version.screening,
      after: state,
      verdicts: checks.map(({ engine, verdict }) => `${engine}:${verdict}`),
    },
  })

const PAGE = 500
/** Jobs for versions that got lost, per turn: what is uploaded meanwhile has to wait behind them. */
const MAX_RESUMED = 5_000

/** Gives every version that waits a job where it has none, in all tenants; jobs that were given up start anew. */
export async function resumeScreening(ctx: Ctx): Promise<number> {
  let resumed = await reviveJobs(ctx)
  for (const waiting of [sql`screening = 'pending'`, sql`"recheckAt" is not null`]) {
    for (let after = 0; resumed < MAX_RESUMED;) {
      const page = await findWaiting(ctx, waiting, after)
      const last = page.at(-1)
      if (!last) break
      after = last.id
      const lost = page.filter(row => row.hasJob === 0)
      await enqueueAll(ctx, lost)
      resumed += lost.length
    }
  }
  return resumed
}

async function reviveJobs(ctx: Ctx): Promise<number> {
  // By the payload, which enqueue writes: `{"versionId":7}`.
  const { rows } = await inTx(ctx, ctx =>
    sql<{ id: number }>`
      update job set state = 'ready', attempts = 0, "runAt" = ${ctx.clock()}, "endedAt" = null
      where id in (
        select job.id from job
        join version on version.id = cast(substr(payload, 14, length(payload) - 14) as bigint)
        where kind = 'version.screen' and job.state = 'dead' and version."purgedAt" is null
        order by job.id limit ${PAGE})
      returning id`.execute(ctx.db),
  )
  return rows.length
}

interface Waiting {
  id: number
  tenantId: string
  hasJob: number
}

async function findWaiting(ctx: Ctx, waiting: ReturnType<typeof sql>, after: number): Promise<Waiting[]> {
  const { rows } = await sql<Waiting>`
    select id, "tenantId", case when exists (
      select 1 from job where kind = 'version.screen' and state in ('ready', 'running')
        and payload = '{"versionId":' || version.id || '}'
    ) then 1 else 0 end as "hasJob"
    from version where ${waiting} and "purgedAt" is null and id > ${after} order by id limit ${PAGE}`.execute(ctx.db)
  return rows
}

/** Jobs belong to the tenant of what they are about. */
async function enqueueAll(ctx: Ctx, lost: readonly Waiting[]): Promise<void> {
  for (const [tenantId, versions] of Map.groupBy(lost, row => row.tenantId)) {
    const tenantCtx = makeCtx(ctx, systemActor(tenantId, ctx.actor.client), ctx.requestId)
    await inTx(tenantCtx, async ctx => {
      for (const { id } of versions) await enqueueScreening(ctx, id)
    })
  }
}
