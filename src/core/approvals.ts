/** Consent: what some people send waits until somebody else has looked at it. */
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { recordRefusal } from './events.ts'
import { queueMail } from './mail.ts'
import { accountKinds, getPrincipal } from './principals.ts'
import { recipientsOf, tellRecipients } from './recipients.ts'
import { hasRight, holdersAmong, isSwitchedOn, requireRight } from './roles.ts'
import { getSpaceRow, type Space } from './space-rows.ts'

type Decision = 'approved' | 'refused'

/** What follows `waiting`; a decision stands. */
const transitions: Record<Space['approval'], readonly Space['approval'][]> = {
  none: [],
  required: [],
  waiting: ['approved', 'refused'],
  approved: [],
  refused: [],
}

/** Whether what the actor sends has to wait. */
export async function needsApproval(ctx: Ctx): Promise<boolean> {
  const { deliveryApproval } = ctx.settings
  if (deliveryApproval !== 'selected') return deliveryApproval === 'yes'
  return !(await isSwitchedOn(ctx, 'selected', 'deliveries.send.unapproved'))
}

/** Tells those who decide about the sender. */
export async function askForApproval(ctx: TxCtx, space: Pick<Space, 'id' | 'uid' | 'ownerId'>): Promise<void> {
  await ctx.emit({ type: 'approval.requested', spaceId: space.id, subject1: `node:${space.id}` })
  for (const recipientId of await decidersOver(ctx, space.ownerId))
    await queueMail(ctx, { kind: 'approval-needed', recipientId, subjectId: space.uid, occasion: 'sent' })
}

/** Accounts that may decide, and either decide about all or were named by the sender. */
async function decidersOver(ctx: Ctx, senderId: string): Promise<string[]> {
  const accounts = await ctx.db
    .selectFrom('principal')
    .leftJoin('approver', join =>
      join.onRef('approver.approverId', '=', 'principal.id').on('approver.principalId', '=', senderId),
    )
    .select(['principal.id', 'approver.principalId as namedBy'])
    .where('principal.tenantId', '=', ctx.actor.tenantId)
    .where('principal.kind', 'in', accountKinds)
    .where('principal.state', '=', 'active')
    .where('principal.id', '!=', senderId)
    .where('principal.email', 'is not', null)
    .where(eb =>
      eb.or([
        eb('approver.principalId', 'is not', null),
        eb(
          'principal.id',
          'in',
          eb.selectFrom('principal_right').select('principalId').where('right', '=', 'approvals.all'),
        ),
        eb(
          'principal.id',
          'in',
          eb
            .selectFrom('group_closure')
            .innerJoin('principal_right', 'principal_right.principalId', 'group_closure.groupId')
            .select('group_closure.principalId')
            .where('right', '=', 'approvals.all'),
        ),
      ]),
    )
    .orderBy('principal.id')
    .execute()
  const holders = await holdersAmong(ctx, {
    right: 'approvals.decide',
    principalIds: accounts.map(({ id }) => id),
  })
  return accounts.filter(({ id }) => holders.has(id)).map(({ id }) => id)
}

/** Whether the actor decides about what this sender sends. Nobody decides about himself. */
export async function decidesAbout(ctx: Ctx, senderId: string): Promise<boolean> {
  const { actor } = ctx
  if (actor.principalId === senderId || !(await hasRight(ctx, 'approvals.decide'))) return false
  if (await hasRight(ctx, 'approvals.all')) return true
  const named = await ctx.db
    .selectFrom('approver')
    .select('approverId')
    .where('principalId', '=', senderId)
    .where('approverId', '=', actor.principalId)
    .executeTakeFirst()
  return named !== undefined
}

export interface WaitingDelivery {
  space: Space
  label: string
  senderId: string
  senderName: string
  createdAt: number
}

/** Deliveries that wait for the actor's consent, oldest first. */
export async function listWaiting(
  ctx: Ctx,
  { offset, limit }: { offset: number; limit: number },
): Promise<WaitingDelivery[]> {
  await requireRight(ctx, 'approvals.decide')
  const { actor } = ctx
  const decidesAll = await hasRight(ctx, 'approvals.all')
  const rows = await ctx.db
    .selectFrom('space')
    .innerJoin('node', 'node.id', 'space.id')
    .innerJoin('principal', 'principal.id', 'space.ownerId')
    .selectAll('space')
    .select(['node.label', 'node.createdAt', 'principal.name as senderName'])
    .where('space.tenantId', '=', actor.tenantId)
    .where('space.approval', '=', 'waiting')
    .where('space.state', '=', 'active')
    .where('space.ownerId', '!=', actor.principalId)
    .$if(!decidesAll, query =>
      query.where('space.ownerId', 'in', eb =>
        eb.selectFrom('approver').select('principalId').where('approverId', '=', actor.principalId),
      ),
    )
    .orderBy('space.id')
    .offset(offset)
    .limit(limit)
    .execute()
  return rows.map(({ label, createdAt, senderName, ...space }) => ({
    space,
    label,
    createdAt,
    senderName,
    senderId: space.ownerId,
  }))
}

/**
 * Lets a waiting delivery out, or keeps it in for good. Throws `not-found`, `forbidden` for who does not decide about its
 * sender, `wrong-state` for one that does not wait.
 */
export async function decideApproval(
  ctx: Ctx,
  { spaceId, decision }: { spaceId: number; decision: Decision },
): Promise<void> {
  const before = await getDelivery(ctx, spaceId)
  if (!(await decidesAbout(ctx, before.ownerId))) {
    await recordRefusal(ctx, { type: 'approval.decided', spaceId, subject1: `node:${spaceId}` })
    throw new DomainError('forbidden', { action: 'approvals.decide' })
  }
  await inTx(ctx, async ctx => {
    const space = await ctx.db
      .updateTable('space')
      .set({ approval: decision, approvalDecidedAt: ctx.clock(), approvalDecidedBy: ctx.actor.principalId })
      .where('id', '=', spaceId)
      .where('state', '=', 'active')
      .where('approval', 'in', canBecome(decision))
      .returningAll()
      .executeTakeFirst()
    if (!space) throw new DomainError('wrong-state', { what: 'delivery', state: before.approval, needed: 'waiting' })
    await ctx.emit({ type: 'approval.decided', spaceId, subject1: `node:${spaceId}`, facts: { decision } })
    await queueMail(ctx, {
      kind: `delivery-${decision}`,
      recipientId: space.ownerId,
      subjectId: space.uid,
      occasion: decision,
    })
    if (decision === 'approved' && space.deliveryNotifies)
      await tellRecipients(ctx, space, await recipientsOf(ctx, [spaceId]))
  })
}

const canBecome = (next: Decision) =>
  (Object.keys(transitions) as Space['approval'][]).filter(state => transitions[state].includes(next)) // the table's own keys

async function getDelivery(ctx: Ctx, spaceId: number): Promise<Space> {
  const space = await getSpaceRow(ctx, spaceId)
  if (space.deliveryAccess === null) throw new DomainError('not-found', { what: 'delivery', id: String(spaceId) })
  return space
}

/** Names who decides about what somebody sends: for oneself with `approvals.choose`, for others by who manages accounts. */
export async function setApprovers(
  ctx: Ctx,
  { principalId, approverIds }: { principalId: string; approverIds: readonly string[] },
): Promise<void> {
  await requireRight(ctx, principalId === ctx.actor.principalId ? 'approvals.choose' : 'users.manage')
  await getPrincipal(ctx, { principalId, kinds: accountKinds, what: 'user' })
  const ids = [...new Set(approverIds)]
  for (const id of ids) {
    await getPrincipal(ctx, { principalId: id, kinds: accountKinds, what: 'user' })
    if (id === principalId)
      throw new DomainError('invalid-input', { field: 'approvers', rule: 'nobody decides about himself' })
  }
  await inTx(ctx, async ctx => {
    await ctx.db.deleteFrom('approver').where('principalId', '=', principalId).execute()
    if (ids.length > 0)
      await ctx.db
        .insertInto('approver')
        .values(ids.map(approverId => ({ principalId, approverId })))
        .execute()
    await ctx.emit({ type: 'approver.changed', subject1: `user:${principalId}`, facts: { approvers: ids } })
  })
}

/** Ids of who decides about what somebody sends. */
export async function listApprovers(ctx: Ctx, { principalId }: { principalId: string }): Promise<string[]> {
  if (principalId !== ctx.actor.principalId) await requireRight(ctx, 'users.read', 'users.manage')
  const rows = await ctx.db
    .selectFrom('approver')
    .select('approverId')
    .where('principalId', '=', principalId)
    .orderBy('approverId')
    .execute()
  return rows.map(row => row.approverId)
}
