/** Facts for the audit log. Each is written in the transaction of what it tells, with the jobs that follow from it. */
import { prepared } from '#db/prepared.ts'
import type { Ctx, TxCtx } from './ctx.ts'
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

const nextSpaceTime = prepared<{ id: number; now: number }, { lastLogAt: number }>((db, arg) =>
  db
    .updateTable('space')
    .set(eb => ({
      lastLogAt: eb
        .case()
        .when('lastLogAt', '>=', arg('now'))
        .then(eb('lastLogAt', '+', 1))
        .else(arg('now'))
        .end(),
    }))
    .where('id', '=', arg('id'))
    .returning('lastLogAt'),
)

/** A time for an entry of the space's log, later than every one before: max(now, last + 1 ms). */
export async function drawSpaceTime(ctx: TxCtx, spaceId: number): Promise<number | null> {
  const [row] = await nextSpaceTime(ctx.db, { id: spaceId, now: ctx.clock() })
  return row?.lastLogAt ?? null
}

type EventRow = {
  tenantId: string
  type: string
  outcome: 'done' | 'refused'
  at: number
  actorId: string
  actorName: string
  impersonatorId: string | null
  impersonatorName: string | null
  client: string
  address: string
  requestId: string
  spaceId: number | null
  spaceTime: number | null
  subject1: string | null
  subject2: string | null
  facts: string | null
}

const insertEvent = prepared<EventRow, never>((db, arg) =>
  db.insertInto('event').values({
    tenantId: arg('tenantId'),
    type: arg('type'),
    outcome: arg('outcome'),
    at: arg('at'),
    actorId: arg('actorId'),
    actorName: arg('actorName'),
    impersonatorId: arg('impersonatorId'),
    impersonatorName: arg('impersonatorName'),
    client: arg('client'),
    address: arg('address'),
    requestId: arg('requestId'),
    spaceId: arg('spaceId'),
    spaceTime: arg('spaceTime'),
    subject1: arg('subject1'),
    subject2: arg('subject2'),
    facts: arg('facts'),
  }),
)

/** Longest text a client may leave in the log (user agents). */
const MAX_CLIENT_LENGTH = 200

/** Writes an event and the jobs that follow from it. Called through `ctx.emit`. */
export async function recordEvent(ctx: TxCtx, event: DomainEvent): Promise<void> {
  const { actor } = ctx
  const spaceId = event.spaceId ?? null
  await insertEvent(ctx.db, {
    tenantId: actor.tenantId,
    type: event.type,
    outcome: event.outcome ?? 'done',
    at: ctx.clock(),
    actorId: actor.principalId,
    actorName: actor.name,
    impersonatorId: actor.impersonator?.principalId ?? null,
    impersonatorName: actor.impersonator?.name ?? null,
    client: actor.client.slice(0, MAX_CLIENT_LENGTH),
    address: actor.address,
    requestId: ctx.requestId,
    spaceId,
    spaceTime: spaceId === null ? null : await drawSpaceTime(ctx, spaceId),
    subject1: event.subject1 ?? null,
    subject2: event.subject2 ?? null,
    facts: event.facts ? JSON.stringify(event.facts) : null,
  })
  await enqueueFollowUps(ctx, event)
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
