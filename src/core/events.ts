/** Facts for the audit log. Each is written in the transaction of what it tells, with the jobs that follow from it. */
import type { Tx } from '#db/database.ts'
import { prepared, preparedInsert } from '#db/prepared.ts'
import type { Actor, Ctx, TxCtx } from './ctx.ts'
import type { DomainError } from './errors.ts'
import { enqueueFollowUps } from './jobs.ts'

export type EventType =
  | 'tenant.created'
  | 'tenant.changed'
  | 'user.created'
  | 'user.changed'
  | 'user.removed'
  | 'user.password-changed'
  | 'group.created'
  | 'group.changed'
  | 'group.removed'
  | 'role.created'
  | 'role.changed'
  | 'right.changed'
  | 'sign-in'
  | 'sign-out'
  | 'token.created'
  | 'token.revoked'
  | 'space.created'
  | 'space.changed'
  | 'space.state-changed'
  | 'grant.changed'
  | 'node.created'
  | 'node.renamed'
  | 'node.moved'
  | 'node.copied'
  | 'node.changed'
  | 'node.deleted'
  | 'node.restored'
  | 'node.purged'
  | 'node.locked'
  | 'node.unlocked'
  | 'version.created'
  | 'version.switched'
  | 'version.read'
  | 'version.purged'
  | 'deletion.undone'
  | 'upload.opened'
  | 'upload.cancelled'
  | 'upload.failed'
  | 'message.written'
  | 'message.changed'
  | 'message.deleted'
  | 'contact.created'
  | 'favourite.added'
  | 'favourite.removed'
  | 'delivery.accessed'
  | 'recipient.added'
  | 'recipient.removed'
  | 'approval.requested'
  | 'approval.decided'
  | 'approver.changed'
  | 'version.screened'
  | 'version.released'
  | 'screening.repeated'
  | 'content-rule.created'
  | 'content-rule.removed'
  | 'space.purged'
  | 'space.encrypted'
  | 'profile.changed'
  | 'mail.sent'
  | 'mail.failed'
  | 'password-link.created'
  | 'master-key.rotated'
  | 'audit.dropped'
  | 'access.refused'

/** What happened. Ids, numbers and codes only: free text (names of files, notes, messages) never enters the log. */
export interface DomainEvent {
  type: EventType
  outcome?: 'done' | 'refused'
  /** Gives the event a place in the space's log. */
  spaceId?: number | null
  /** `user:<uuid>`, `node:<id>`, `version:<id>` and the like. */
  subject1?: string
  subject2?: string
  /** Ids and numbers before and after, enough to undo. */
  facts?: Record<string, string | number | boolean | null | readonly (string | number)[]>
}

const nextSpaceTimes = prepared<{ id: number; now: number; count: number; lastOfNow: number }, { lastLogAt: number }>(
  (db, arg) =>
    db
      .updateTable('space')
      .set(eb => ({
        lastLogAt: eb
          .case()
          .when('lastLogAt', '>=', arg('now'))
          .then(eb('lastLogAt', '+', arg('count')))
          .else(arg('lastOfNow'))
          .end(),
      }))
      .where('id', '=', arg('id'))
      .returning('lastLogAt'),
)

/**
 * Times for that many entries of the space's log, each 1 ms after the one before, the first at max(now, last + 1 ms). Answers the
 * first one; null where there is no such space.
 */
async function drawSpaceTimes(db: Tx, spaceId: number, { now, count }: { now: number; count: number }) {
  const [row] = await nextSpaceTimes(db, { id: spaceId, now, count, lastOfNow: now + count - 1 })
  return row ? row.lastLogAt - count + 1 : null
}

/** A time for an entry of the space's log, later than every one before: max(now, last + 1 ms). */
export const drawSpaceTime = (ctx: TxCtx, spaceId: number): Promise<number | null> =>
  drawSpaceTimes(ctx.db, spaceId, { now: ctx.clock(), count: 1 })

const insertEvents = preparedInsert('event', [
  'tenantId',
  'type',
  'outcome',
  'at',
  'actorId',
  'actorName',
  'impersonatorId',
  'impersonatorName',
  'client',
  'address',
  'requestId',
  'spaceId',
  'spaceTime',
  'subject1',
  'subject2',
  'facts',
])

/** Longest text a client may leave in the log (user agents). */
const MAX_CLIENT_LENGTH = 200

/** Who did it, in answer to what, when. */
export interface Circumstances {
  actor: Actor
  requestId: string
  /** Epoch milliseconds. */
  at: number
}

function eventRow(event: DomainEvent, { actor, requestId, at }: Circumstances, spaceTime: number | null) {
  return {
    tenantId: actor.tenantId,
    type: event.type,
    outcome: event.outcome ?? 'done',
    at,
    actorId: actor.principalId,
    actorName: actor.name,
    impersonatorId: actor.impersonator?.principalId ?? null,
    impersonatorName: actor.impersonator?.name ?? null,
    client: actor.client.slice(0, MAX_CLIENT_LENGTH),
    address: actor.address,
    requestId,
    spaceId: event.spaceId ?? null,
    spaceTime,
    subject1: event.subject1 ?? null,
    subject2: event.subject2 ?? null,
    facts: event.facts ? JSON.stringify(event.facts) : null,
  }
}

/** Writes an event and the jobs that follow from it. Called through `ctx.emit`. */
export async function recordEvent(ctx: TxCtx, event: DomainEvent): Promise<void> {
  const { actor, requestId } = ctx
  const spaceId = event.spaceId ?? null
  const spaceTime = spaceId === null ? null : await drawSpaceTime(ctx, spaceId)
  await insertEvents(ctx.db, [eventRow(event, { actor, requestId, at: ctx.clock() }, spaceTime)])
  await enqueueFollowUps(ctx, event)
}

/** Writes events of whoever, from which no job follows. */
export async function recordMany(db: Tx, entries: readonly { event: DomainEvent; of: Circumstances }[]): Promise<void> {
  for (const [spaceId, inSpace] of Map.groupBy(entries, ({ event }) => event.spaceId ?? null)) {
    const draw = { now: inSpace[0]!.of.at, count: inSpace.length }
    const from = spaceId === null ? null : await drawSpaceTimes(db, spaceId, draw)
    await insertEvents(
      db,
      inSpace.map(({ event, of }, index) => eventRow(event, of, from === null ? null : from + index)),
    )
  }
}

/** Records that something was refused, in a transaction of its own: the refused act itself leaves nothing. */
export async function recordRefusal(ctx: Ctx, event: Omit<DomainEvent, 'outcome'>): Promise<void> {
  await ctx.database.transaction(async db => {
    const tx: TxCtx = { ...ctx, db, emit: async () => {} }
    await recordEvent(tx, { ...event, outcome: 'refused' })
  })
}

/**
 * The same for what somebody may not do at a node. For whoever answers a request: the transaction that refused it left nothing.
 * Refusals that name no node have been recorded where they were made.
 */
export async function recordForbidden(ctx: Ctx, { details }: DomainError<'forbidden'>): Promise<void> {
  const { action, nodeId } = details
  if (nodeId === undefined) return
  const node = await findSpaceOf(ctx, nodeId)
  await recordRefusal(ctx, {
    type: 'access.refused',
    spaceId: node?.spaceId ?? null,
    subject1: `node:${nodeId}`,
    facts: { action },
  })
}

const findSpaceOf = (ctx: Ctx, nodeId: number) =>
  ctx.db.selectFrom('node').select('spaceId').where('id', '=', nodeId).executeTakeFirst()
