/** Grants: (subject, node, actions). At a space root they give rights; at a folder they are a mask that only narrows. */
import type { Selectable } from 'kysely'
import type { GrantTable } from '#db/schema.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { getLiveNode, holdStructure, type Node } from './nodes.ts'
import { actionNames, actionSet, actions as bits, type Action, type ActionSet } from './permissions.ts'
import { getSpaceRow } from './space-rows.ts'
import { changeSpaceState } from './space-state.ts'

export type Grant = Selectable<GrantTable>

export interface NewGrant {
  nodeId: number
  subjectId: string
  actions: readonly Action[]
  /** Members who join the group later wait until a manager admits them. */
  holdLaterMembers?: boolean
  /** Not shown in member lists to anybody but managers and the subject. */
  hidden?: boolean
}

/**
 * Sets what a subject may do at a space root, or narrows it at a folder; replaces what was set before.
 * Throws `forbidden`, `not-found`, `not-a-folder`, `inherits-grants`, `last-manager`.
 */
export function setGrant(ctx: Ctx, input: NewGrant): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await openGrantNode(ctx, input.nodeId)
    await requireSubject(ctx, input.subjectId)
    if (node.kind === 'folder') await makeAccessNode(ctx, node)
    await setGrantRow(ctx, { ...input, actions: actionSet(input.actions) })
    await requireManager(ctx, node)
    await emitGrant(ctx, node, input.subjectId, actionSet(input.actions))
  })
}

/** Takes a subject's grant away; a folder without any mask left goes back to what lies above. No error if there is none. */
export function removeGrant(ctx: Ctx, input: { nodeId: number; subjectId: string }): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await openGrantNode(ctx, input.nodeId)
    const grants = await listGrantRows(ctx, node.id)
    const mine = grants.filter(grant => grant.subjectId === input.subjectId)
    if (mine.length === 0) return
    const ids = mine.map(grant => grant.id)
    await ctx.db.deleteFrom('grant_member').where('grantId', 'in', ids).execute()
    await ctx.db.deleteFrom('access_grant').where('id', 'in', ids).execute()
    if (node.kind === 'folder' && mine.length === grants.length) await dropAccessNode(ctx, node)
    await requireManager(ctx, node)
    await emitGrant(ctx, node, input.subjectId, 0)
    if (node.kind === 'space' && mine.length === grants.length) await lastMemberLeft(ctx, node.id)
  })
}

/** What the space's policy wants when nobody is left in it. Throws `last-manager` where that may not be. */
async function lastMemberLeft(ctx: TxCtx, spaceId: number): Promise<void> {
  const space = await getSpaceRow(ctx, spaceId)
  if (space.lastMemberLeaves === 'refuse') throw new DomainError('last-manager', { spaceId })
  if (space.lastMemberLeaves === 'delete') await changeSpaceState(ctx, { before: space, state: 'deleted' })
}

/** All grants at a node, oldest first; hidden ones only for who manages. */
export async function listGrants(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<(Grant & { names: Action[] })[]> {
  const node = await getLiveNode(ctx, nodeId)
  const allowed = await authorize(ctx, 'list', node)
  const manages = (allowed & bits.manage) !== 0
  const rows = await listGrantRows(ctx, nodeId)
  return rows
    .filter(grant => manages || !grant.hidden || grant.subjectId === ctx.actor.principalId)
    .map(grant => ({ ...grant, names: actionNames(grant.actions) }))
}

const listGrantRows = (ctx: Ctx, nodeId: number): Promise<Grant[]> =>
  ctx.db
    .selectFrom('access_grant')
    .selectAll()
    .where('nodeId', '=', nodeId)
    .orderBy('createdAt')
    .orderBy('id')
    .execute()

/** Upsert of one row; the caller has asked for the right. */
export async function setGrantRow(
  ctx: TxCtx,
  grant: {
    nodeId: number
    subjectId: string
    actions: ActionSet
    holdLaterMembers?: boolean
    hidden?: boolean
    /** Left as it is where absent. */
    recipient?: Grant['recipient']
  },
): Promise<void> {
  const flags = {
    holdLaterMembers: Number(grant.holdLaterMembers ?? false),
    hidden: Number(grant.hidden ?? false),
    ...(grant.recipient !== undefined && { recipient: grant.recipient }),
  }
  await ctx.db
    .insertInto('access_grant')
    .values({
      id: ctx.newId(),
      tenantId: ctx.actor.tenantId,
      nodeId: grant.nodeId,
      subjectId: grant.subjectId,
      actions: grant.actions,
      ...flags,
      createdAt: ctx.clock(),
      createdBy: ctx.actor.principalId,
    })
    .onConflict(clash => clash.columns(['nodeId', 'subjectId']).doUpdateSet({ actions: grant.actions, ...flags }))
    .execute()
}

/** Where grants may stand: space roots that do not inherit, and folders. */
async function openGrantNode(ctx: TxCtx, nodeId: number): Promise<Node> {
  await holdStructure(ctx, 'exclusive')
  const node = await getLiveNode(ctx, nodeId)
  await authorize(ctx, 'manage', node)
  if (node.kind !== 'space' && node.kind !== 'folder') throw new DomainError('not-a-folder', { nodeId })
  if (node.kind === 'space' && node.accessId !== node.id) throw new DomainError('inherits-grants', { spaceId: node.id })
  return node
}

async function requireSubject(ctx: Ctx, subjectId: string): Promise<void> {
  const subject = await ctx.db
    .selectFrom('principal')
    .select('id')
    .where('id', '=', subjectId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('state', '<>', 'removed')
    .executeTakeFirst()
  if (!subject) throw new DomainError('not-found', { what: 'principal', id: subjectId })
}

async function makeAccessNode(ctx: TxCtx, node: Node): Promise<void> {
  if (node.accessId !== node.id) await moveAccess(ctx, node.id, node.accessId, node.id)
}

async function dropAccessNode(ctx: TxCtx, node: Node): Promise<void> {
  const parent = await getLiveNode(ctx, node.parentId ?? node.id)
  await moveAccess(ctx, node.id, node.id, parent.accessId)
}

/** In the subtree of `topId`, whatever takes its access from `from` takes it from `to`. */
export async function moveAccess(ctx: TxCtx, topId: number, from: number, to: number): Promise<void> {
  await ctx.db
    .withRecursive('down', eb =>
      eb
        .selectFrom('node')
        .select('node.id')
        .where('node.id', '=', topId)
        .unionAll(
          eb
            .selectFrom('node')
            .innerJoin('down', 'down.id', 'node.parentId')
            .select('node.id')
            .where('node.accessId', '=', from),
        ),
    )
    .updateTable('node')
    .set({ accessId: to })
    .where('accessId', '=', from)
    .where('id', 'in', eb => eb.selectFrom('down').select('down.id'))
    .execute()
}

/** Holds the space's policy that somebody must remain who manages it. */
async function requireManager(ctx: TxCtx, node: Node): Promise<void> {
  if (node.kind !== 'space') return
  const { keepManager } = await getSpaceRow(ctx, node.id)
  if (keepManager === 'none') return
  const holders = await ctx.db
    .selectFrom('access_grant')
    .innerJoin('principal', 'principal.id', 'access_grant.subjectId')
    .select(['principal.id', 'principal.kind', 'access_grant.actions'])
    .where('access_grant.nodeId', '=', node.id)
    .where('principal.state', '=', 'active')
    .where('principal.expiresAt', 'is', null)
    .execute()
  const managers = holders.filter(holder => (holder.actions & bits.manage) !== 0)
  if (managers.some(holder => holder.kind !== 'group')) return
  const groups = managers.map(holder => holder.id)
  if (keepManager === 'user-or-group' && groups.length > 0) {
    const member = await ctx.db
      .selectFrom('group_closure')
      .select('principalId')
      .where('groupId', 'in', groups)
      .executeTakeFirst()
    if (member) return
  }
  throw new DomainError('last-manager', { spaceId: node.id })
}

async function emitGrant(ctx: TxCtx, node: Node, subjectId: string, actions: ActionSet): Promise<void> {
  await ctx.emit({
    type: 'grant.changed',
    spaceId: node.spaceId,
    subject1: `node:${node.id}`,
    subject2: `principal:${subjectId}`,
    facts: { actions },
  })
}

/** Those who joined a group just now wait at each of its grants that holds back later members. */
export async function holdBackMembers(ctx: TxCtx, groupId: string, principalIds: readonly string[]): Promise<void> {
  if (principalIds.length === 0) return
  const grants = await ctx.db
    .selectFrom('access_grant')
    .select('id')
    .where('subjectId', '=', groupId)
    .where('holdLaterMembers', '=', 1)
    .execute()
  for (const { id: grantId } of grants) {
    for (const principalId of principalIds) {
      await ctx.db
        .insertInto('grant_member')
        .values({ grantId, principalId, state: 'waiting', changedAt: ctx.clock() })
        .onConflict(clash => clash.doNothing())
        .execute()
    }
  }
}

/** Forgets decisions about those who left a group: who comes back waits again. */
export async function forgetLeftMembers(ctx: TxCtx, groupId: string): Promise<void> {
  await ctx.db
    .deleteFrom('grant_member')
    .where('grantId', 'in', eb => eb.selectFrom('access_grant').select('id').where('subjectId', '=', groupId))
    .where('principalId', 'not in', eb =>
      eb.selectFrom('group_closure').select('group_closure.principalId').where('groupId', '=', groupId),
    )
    .execute()
}

/** Admits or denies a member whom a group's grant held back; needs `manage`. Throws `not-found` for who was not held back. */
export function decideMember(
  ctx: Ctx,
  input: { nodeId: number; groupId: string; principalId: string; state: 'accepted' | 'denied' },
): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await openGrantNode(ctx, input.nodeId)
    const decided = await ctx.db
      .updateTable('grant_member')
      .set({ state: input.state, changedAt: ctx.clock() })
      .where('principalId', '=', input.principalId)
      .where('grantId', 'in', eb =>
        eb
          .selectFrom('access_grant')
          .select('id')
          .where('nodeId', '=', input.nodeId)
          .where('subjectId', '=', input.groupId),
      )
      .returning('grantId')
      .executeTakeFirst()
    if (!decided) throw new DomainError('not-found', { what: 'principal', id: input.principalId })
    await ctx.emit({
      type: 'grant.changed',
      spaceId: node.spaceId,
      subject1: `node:${node.id}`,
      subject2: `principal:${input.principalId}`,
      facts: { state: input.state },
    })
  })
}
