/**
 * The audit log as a hash chain. Events are sealed in batches; the hash of a batch covers its events and the hash of the
 * batch before, so nothing sealed can be changed, removed or put in between unnoticed. Retention drops the events of whole
 * batches and keeps their hashes.
 */
import { createHash } from 'node:crypto'
import type { Selectable } from 'kysely'
import type { AuditBatchTable, EventTable } from '#db/schema.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { requireRight } from './roles.ts'

export type AuditEvent = Selectable<EventTable>
type Batch = Selectable<AuditBatchTable>

/** What the first batch follows. */
const GENESIS = '0'.repeat(64)
const BATCH_EVENTS = 1_000
const PAGE = 500

/** Seals all events that wait, in as many batches as that takes. Answers how many events were sealed. */
export async function sealBatches(ctx: Ctx): Promise<number> {
  let sealed = 0
  for (;;) {
    const count = await inTx(ctx, sealBatch)
    sealed += count
    if (count < BATCH_EVENTS) return sealed
  }
}

async function sealBatch(ctx: TxCtx): Promise<number> {
  await ctx.database.lock(ctx.db, 'audit-chain', 'exclusive')
  const events = await ctx.db
    .selectFrom('event')
    .selectAll()
    .where('batchId', 'is', null)
    .orderBy('id')
    .limit(BATCH_EVENTS)
    .execute()
  if (events.length === 0) return 0
  const last = await ctx.db.selectFrom('audit_batch').select('hash').orderBy('id', 'desc').limit(1).executeTakeFirst()
  const previousHash = last?.hash ?? GENESIS
  const batch = await ctx.db
    .insertInto('audit_batch')
    .values({
      firstEventId: events[0]!.id,
      lastEventId: events.at(-1)!.id,
      events: events.length,
      previousHash,
      hash: hashBatch(previousHash, events),
      sealedAt: ctx.clock(),
      droppedAt: null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await ctx.db
    .updateTable('event')
    .set({ batchId: batch.id })
    // Events between these that commit only now (ids are drawn before commit) wait for the next batch.
    .where(
      'id',
      'in',
      events.map(event => event.id),
    )
    .execute()
  return events.length
}

function hashBatch(previousHash: string, events: readonly AuditEvent[]): string {
  const hash = createHash('sha256').update(previousHash)
  for (const event of events) hash.update(`\n${canonical(event)}`)
  return hash.digest('hex')
}

/** The event as JSON with sorted keys, without the batch that it was given later. */
function canonical(event: AuditEvent): string {
  const own = Object.entries(event).filter(([name]) => name !== 'batchId')
  const entries = own.toSorted(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(Object.fromEntries(entries))
}

export interface ChainReport {
  batches: number
  events: number
  /** Batches of which only the hash is left. */
  droppedBatches: number
  unsealedEvents: number
  /** Hash of the newest batch. Whoever keeps it elsewhere can prove later that nothing was cut off the end. */
  head: string
  problems: ChainProblem[]
}

export interface ChainProblem {
  batchId: number
  what: 'does-not-follow' | 'events-differ' | 'events-missing' | 'events-of-dropped-batch' | 'batch-missing'
}

/** Recomputes the whole chain. Needs the right `audit.read`. */
export async function verifyChain(ctx: Ctx): Promise<ChainReport> {
  await requireRight(ctx, 'audit.read')
  const report: ChainReport = {
    batches: 0,
    events: 0,
    droppedBatches: 0,
    unsealedEvents: 0,
    head: GENESIS,
    problems: [],
  }
  for (
    let batches = await pageOfBatches(ctx, 0);
    batches.length > 0;
    batches = await pageOfBatches(ctx, batches.at(-1)!.id)
  ) {
    for (const batch of batches) await verifyBatch(ctx, batch, report)
  }
  report.problems.push(...(await eventsWithoutBatch(ctx)))
  report.unsealedEvents = await countUnsealed(ctx)
  return report
}

const pageOfBatches = (ctx: Ctx, after: number) =>
  ctx.db.selectFrom('audit_batch').selectAll().where('id', '>', after).orderBy('id').limit(PAGE).execute()

async function verifyBatch(ctx: Ctx, batch: Batch, report: ChainReport): Promise<void> {
  const events = await ctx.db.selectFrom('event').selectAll().where('batchId', '=', batch.id).orderBy('id').execute()
  const note = (what: ChainProblem['what']) => void report.problems.push({ batchId: batch.id, what })
  if (batch.previousHash !== report.head) note('does-not-follow')
  if (batch.droppedAt !== null) {
    report.droppedBatches += 1
    if (events.length > 0) note('events-of-dropped-batch')
  } else if (events.length !== batch.events) note('events-missing')
  else if (hashBatch(batch.previousHash, events) !== batch.hash) note('events-differ')
  report.batches += 1
  report.events += events.length
  report.head = batch.hash
}

async function eventsWithoutBatch(ctx: Ctx): Promise<ChainProblem[]> {
  const rows = await ctx.db
    .selectFrom('event')
    .leftJoin('audit_batch', 'audit_batch.id', 'event.batchId')
    .select('event.batchId')
    .distinct()
    .where('event.batchId', 'is not', null)
    .where('audit_batch.id', 'is', null)
    .execute()
  return rows.map(row => ({ batchId: row.batchId!, what: 'batch-missing' as const }))
}

async function countUnsealed(ctx: Ctx): Promise<number> {
  const { count } = await ctx.db
    .selectFrom('event')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('batchId', 'is', null)
    .executeTakeFirstOrThrow()
  return Number(count)
}

/** Drops the events of batches sealed longer ago than the log is kept; their hashes stay. Answers how many batches. */
export async function dropOldBatches(ctx: Ctx): Promise<number> {
  const { auditRetentionMs } = ctx.settings
  if (auditRetentionMs === null) return 0
  const before = ctx.clock() - auditRetentionMs
  const old = await ctx.db
    .selectFrom('audit_batch')
    .select(['id', 'events'])
    .where('droppedAt', 'is', null)
    .where('sealedAt', '<', before)
    .orderBy('id')
    .execute()
  for (const { id, events } of old) {
    await inTx(ctx, async ctx => {
      await ctx.db.deleteFrom('event').where('batchId', '=', id).execute()
      await ctx.db.updateTable('audit_batch').set({ droppedAt: ctx.clock() }).where('id', '=', id).execute()
      await ctx.emit({ type: 'audit.dropped', facts: { batchId: id, events } })
    })
  }
  return old.length
}

export interface EventQuery {
  type?: string
  /** Name of the actor, as it was then. */
  actorName?: string
  since?: number
  until?: number
  /** Only events with a smaller id: the way to the next page. */
  beforeId?: number
  limit: number
}

/** Events of the actor's tenant, newest first. Needs the right `audit.read`. */
export async function listEvents(ctx: Ctx, query: EventQuery): Promise<AuditEvent[]> {
  await requireRight(ctx, 'audit.read')
  const { type, actorName, since, until, beforeId, limit } = query
  return ctx.db
    .selectFrom('event')
    .selectAll()
    .where('tenantId', '=', ctx.actor.tenantId)
    .$if(type !== undefined, q => q.where('type', '=', type!))
    .$if(actorName !== undefined, q => q.where('actorName', '=', actorName!))
    .$if(since !== undefined, q => q.where('at', '>=', since!))
    .$if(until !== undefined, q => q.where('at', '<', until!))
    .$if(beforeId !== undefined, q => q.where('id', '<', beforeId!))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}
