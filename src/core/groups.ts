/** Groups: they nest; who is in which, through however many steps, is stored so that one lookup answers it. */
import { remembered } from '#db/prepared.ts'
import type { PrincipalTable } from '#db/schema.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { forgetLeftMembers, holdBackMembers } from './grants.ts'
import { DomainError } from './errors.ts'
import { fold } from './names.ts'
import { accountKinds, chunked, containsFolded, findPrincipals, MAX_IDS, type PrincipalRef } from './principals.ts'
import { dropRightsOf, hasRight, requireRight, requireRightsOver } from './roles.ts'

export type Group = Pick<PrincipalTable, 'id' | 'name' | 'createdAt' | 'createdBy' | 'changedAt'>
export type MemberLevel = 'member' | 'manager'
export type GroupMember = PrincipalRef & { level: MemberLevel; joinedAt: number }

const columns = ['id', 'name', 'createdAt', 'createdBy', 'changedAt'] as const
const MAX_NAME_LENGTH = 200

type OfPrincipal = { principalId: string }

// Only accounts are signed in: ids of the server itself, of strangers and of groups join to nothing.
const selectSubjects = remembered<OfPrincipal, { id: string }>((db, arg) =>
  db
    .selectFrom('group_closure')
    .select('groupId as id')
    .where('principalId', '=', arg('principalId'))
    .unionAll(
      db
        .selectFrom('principal as account')
        .innerJoin('principal as everybody', 'everybody.tenantId', 'account.tenantId')
        .select('everybody.id as id')
        .where('account.id', '=', arg('principalId'))
        .where('account.kind', 'in', accountKinds)
        .where('everybody.kind', '=', 'signed-in'),
    ),
)

/** Everything a grant may name to reach the principal: itself, its groups, and for an account `signed-in`. */
export async function subjectsOf(ctx: Ctx, principalId: string): Promise<string[]> {
  const rows = await selectSubjects(ctx.db, { principalId })
  return [principalId, ...rows.map(row => row.id)]
}

/** Throws `group-name-taken`: names are unique without case. */
export async function createGroup(ctx: Ctx, { name }: { name: string }): Promise<Group> {
  await requireRight(ctx, 'groups.manage')
  return inTx(ctx, async ctx => {
    await requireFreeName(ctx, name)
    const now = ctx.clock()
    const group = await ctx.db
      .insertInto('principal')
      .values({
        id: ctx.newId(),
        tenantId: ctx.actor.tenantId,
        kind: 'group',
        name,
        nameFold: fold(name),
        state: 'active',
        onExpiry: 'block',
        createdAt: now,
        createdBy: ctx.actor.principalId,
        changedAt: now,
      })
      .returning(columns)
      .executeTakeFirstOrThrow()
    await ctx.emit({ type: 'group.created', subject1: `group:${group.id}` })
    return group
  })
}

export async function getGroup(ctx: Ctx, { groupId }: { groupId: string }): Promise<Group> {
  const group = await groups(ctx).select(columns).where('id', '=', groupId).executeTakeFirst()
  if (!group) throw new DomainError('not-found', { what: 'group', id: groupId })
  return group
}

export function findGroupByName(ctx: Ctx, name: string): Promise<Group | undefined> {
  return groups(ctx).select(columns).where('nameFold', '=', fold(name)).executeTakeFirst()
}

/** A page by name. */
export async function listGroups(
  ctx: Ctx,
  { search = '', offset = 0, limit }: { search?: string; offset?: number; limit: number },
): Promise<{ total: number; rows: Group[] }> {
  await requireRight(ctx, 'users.read', 'users.manage', 'groups.manage')
  const matching = search === '' ? groups(ctx) : groups(ctx).where(containsFolded('nameFold', search))
  const { total } = await matching.select(eb => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()
  const rows = await matching.select(columns).orderBy('nameFold').orderBy('id').offset(offset).limit(limit).execute()
  return { total, rows }
}

export async function renameGroup(ctx: Ctx, { groupId, name }: { groupId: string; name: string }): Promise<Group> {
  await requireRight(ctx, 'groups.manage')
  return inTx(ctx, async ctx => {
    await getGroup(ctx, { groupId })
    await requireFreeName(ctx, name, groupId)
    const change = { name, nameFold: fold(name), changedAt: ctx.clock() }
    const group = await ctx.db
      .updateTable('principal')
      .set(change)
      .where('id', '=', groupId)
      .returning(columns)
      .executeTakeFirstOrThrow()
    await ctx.emit({ type: 'group.changed', subject1: `group:${groupId}`, facts: { fields: ['name'] } })
    return group
  })
}

/** A removed group keeps its row and name; its members lose what it gave them. */
export async function removeGroup(ctx: Ctx, { groupId }: { groupId: string }): Promise<void> {
  await requireRight(ctx, 'groups.manage')
  await requireRightsOver(ctx, groupId)
  await inTx(ctx, async ctx => {
    await lockGroups(ctx)
    await getGroup(ctx, { groupId })
    const above = await groupsOver(ctx, groupId)
    await ctx.db
      .deleteFrom('group_member')
      .where(eb => eb.or([eb('groupId', '=', groupId), eb('memberId', '=', groupId)]))
      .execute()
    await rebuildClosure(ctx, [groupId, ...above])
    await dropRightsOf(ctx, groupId)
    await ctx.db
      .updateTable('principal')
      .set({ state: 'removed', changedAt: ctx.clock() })
      .where('id', '=', groupId)
      .execute()
    await ctx.emit({ type: 'group.removed', subject1: `group:${groupId}` })
  })
}

/** Direct members, by name. Readable by members of the group, too. */
export async function listMembers(ctx: Ctx, { groupId }: { groupId: string }): Promise<GroupMember[]> {
  await getGroup(ctx, { groupId })
  if (!(await isMember(ctx, groupId))) await requireRight(ctx, 'users.read', 'users.manage', 'groups.manage')
  return ctx.db
    .selectFrom('group_member')
    .innerJoin('principal', 'principal.id', 'group_member.memberId')
    .select(['id', 'kind', 'login', 'handle', 'name', 'email', 'state', 'level', 'joinedAt'])
    .where('groupId', '=', groupId)
    .orderBy('nameFold')
    .orderBy('id')
    .execute()
}

/** The groups that each of the principals is in directly. */
export async function groupsOf(ctx: Ctx, principalIds: readonly string[]): Promise<Map<string, string[]>> {
  await requireRight(ctx, 'users.read', 'users.manage', 'groups.manage')
  const groupIds = new Map<string, string[]>()
  for (const some of chunked(principalIds, MAX_IDS)) {
    const rows = await ctx.db
      .selectFrom('group_member')
      .innerJoin('principal', 'principal.id', 'group_member.groupId')
      .select(['groupId', 'memberId'])
      .where('principal.tenantId', '=', ctx.actor.tenantId)
      .where('memberId', 'in', some)
      .orderBy('groupId')
      .execute()
    for (const { memberId, groupId } of rows) groupIds.set(memberId, [...(groupIds.get(memberId) ?? []), groupId])
  }
  return groupIds
}

/** Those who are members already take the level. Throws `group-cycle` when the group is within one of them. */
export async function addMembers(
  ctx: Ctx,
  { groupId, memberIds, level = 'member' }: { groupId: string; memberIds: readonly string[]; level?: MemberLevel },
): Promise<void> {
  await requireMembershipRight(ctx, groupId)
  await inTx(ctx, async ctx => {
    await lockGroups(ctx)
    await getGroup(ctx, { groupId })
    await insertMembers(ctx, { groupId, memberIds: [...new Set(memberIds)], level })
    await ctx.emit({
      type: 'group.changed',
      subject1: `group:${groupId}`,
      facts: { added: [...new Set(memberIds)], level },
    })
  })
}

export async function removeMembers(
  ctx: Ctx,
  { groupId, memberIds }: { groupId: string; memberIds: readonly string[] },
): Promise<void> {
  await requireMembershipRight(ctx, groupId)
  await inTx(ctx, async ctx => {
    await lockGroups(ctx)
    await getGroup(ctx, { groupId })
    await deleteMembers(ctx, groupId, memberIds)
    await ctx.emit({ type: 'group.changed', subject1: `group:${groupId}`, facts: { removed: [...new Set(memberIds)] } })
  })
}

/** Makes these the direct members; those who stay keep level and time of joining. */
export async function setMembers(
  ctx: Ctx,
  { groupId, memberIds }: { groupId: string; memberIds: readonly string[] },
): Promise<void> {
  await requireMembershipRight(ctx, groupId)
  await inTx(ctx, async ctx => {
    await lockGroups(ctx)
    await getGroup(ctx, { groupId })
    const rows = await ctx.db.selectFrom('group_member').select('memberId').where('groupId', '=', groupId).execute()
    const before = new Set(rows.map(row => row.memberId))
    const after = new Set(memberIds)
    const added = [...after.difference(before)]
    const removed = [...before.difference(after)]
    await deleteMembers(ctx, groupId, removed)
    await insertMembers(ctx, { groupId, memberIds: added, level: 'member' })
    await ctx.emit({ type: 'group.changed', subject1: `group:${groupId}`, facts: { added, removed } })
  })
}

/** Takes a principal that is being removed out of every group. */
export async function leaveAllGroups(ctx: TxCtx, principalId: string): Promise<void> {
  await lockGroups(ctx)
  await ctx.db.deleteFrom('group_member').where('memberId', '=', principalId).execute()
  await ctx.db.deleteFrom('group_closure').where('principalId', '=', principalId).execute()
}

async function insertMembers(
  ctx: TxCtx,
  { groupId, memberIds, level }: { groupId: string; memberIds: readonly string[]; level: MemberLevel },
): Promise<void> {
  await requireNoCycle(ctx, groupId, await requireMembers(ctx, memberIds))
  const joinedAt = ctx.clock()
  for (const some of chunked(memberIds, MAX_IDS)) {
    await ctx.db
      .insertInto('group_member')
      .values(some.map(memberId => ({ groupId, memberId, level, joinedAt })))
      .onConflict(clash => clash.columns(['groupId', 'memberId']).doUpdateSet({ level }))
      .execute()
    await extendClosure(ctx, groupId, some)
  }
}

async function deleteMembers(ctx: TxCtx, groupId: string, memberIds: readonly string[]): Promise<void> {
  for (const some of chunked(memberIds, MAX_IDS)) {
    await ctx.db.deleteFrom('group_member').where('groupId', '=', groupId).where('memberId', 'in', some).execute()
  }
  if (memberIds.length > 0) await rebuildClosure(ctx, [groupId, ...(await groupsOver(ctx, groupId))])
}

/** Every new member, and all below it, is now in the group and in all groups above. */
async function extendClosure(ctx: TxCtx, groupId: string, memberIds: readonly string[]): Promise<void> {
  for (const above of [groupId, ...(await groupsOver(ctx, groupId))]) {
    const reached = ctx.db
      .selectFrom('principal')
      .select(eb => [eb.val(above).as('groupId'), 'id as principalId'])
      .where('id', 'in', memberIds)
      .union(
        ctx.db
          .selectFrom('group_closure')
          .select(eb => [eb.val(above).as('groupId'), 'principalId'])
          .where('groupId', 'in', memberIds),
      )
    const gained = await ctx.db
      .insertInto('group_closure')
      .columns(['groupId', 'principalId'])
      .expression(
        ctx.db.selectFrom(reached.as('reached')).select(['groupId', 'principalId']).where('principalId', '!=', above),
      )
      .onConflict(clash => clash.doNothing())
      .returning('principalId')
      .execute()
    await holdBackMembers(
      ctx,
      above,
      gained.map(row => row.principalId),
    )
  }
}

/** A member that leaves by one way may still be in by another, so the groups concerned are walked anew. */
async function rebuildClosure(ctx: TxCtx, groupIds: readonly string[]): Promise<void> {
  for (const groupId of groupIds) {
    await ctx.db.deleteFrom('group_closure').where('groupId', '=', groupId).execute()
    await ctx.db
      .withRecursive('reached', db =>
        db
          .selectFrom('group_member')
          .select('memberId as principalId')
          .where('groupId', '=', groupId)
          .union(
            db
              .selectFrom('reached')
              .innerJoin('group_member', 'group_member.groupId', 'reached.principalId')
              .select('group_member.memberId as principalId'),
          ),
      )
      .insertInto('group_closure')
      .columns(['groupId', 'principalId'])
      .expression(eb => eb.selectFrom('reached').select(eb => [eb.val(groupId).as('groupId'), 'principalId']))
      .execute()
    await forgetLeftMembers(ctx, groupId)
  }
}

async function groupsOver(ctx: TxCtx, principalId: string): Promise<string[]> {
  const rows = await ctx.db
    .selectFrom('group_closure')
    .select('groupId')
    .where('principalId', '=', principalId)
    .execute()
  return rows.map(row => row.groupId)
}

/** Gives those that are groups. Throws `not-found` for what cannot be a member. */
async function requireMembers(ctx: TxCtx, memberIds: readonly string[]): Promise<string[]> {
  const found = await findPrincipals(ctx, memberIds)
  return memberIds.filter(id => {
    const member = found.get(id)
    if (!member || member.state === 'removed' || member.kind === 'signed-in' || member.kind === 'address') {
      throw new DomainError('not-found', { what: 'principal', id })
    }
    return member.kind === 'group'
  })
}

async function requireNoCycle(ctx: TxCtx, groupId: string, newGroupIds: readonly string[]): Promise<void> {
  const below = newGroupIds.length === 0 ? [] : [groupId, ...(await groupsOver(ctx, groupId))]
  const memberId = newGroupIds.find(id => below.includes(id))
  if (memberId !== undefined) throw new DomainError('group-cycle', { groupId, memberId })
}

/** A manager of the group, or whoever manages groups and holds the rights that the group gives. */
async function requireMembershipRight(ctx: Ctx, groupId: string): Promise<void> {
  await getGroup(ctx, { groupId })
  if (!(await hasRight(ctx, 'groups.manage')) && (await isManager(ctx, groupId))) return
  await requireRight(ctx, 'groups.manage')
  await requireRightsOver(ctx, groupId)
}

async function isManager(ctx: Ctx, groupId: string): Promise<boolean> {
  if (ctx.actor.scope) return false
  const row = await ctx.db
    .selectFrom('group_member')
    .select('level')
    .where('groupId', '=', groupId)
    .where('memberId', '=', ctx.actor.principalId)
    .executeTakeFirst()
  return row?.level === 'manager'
}

async function isMember(ctx: Ctx, groupId: string): Promise<boolean> {
  const row = await ctx.db
    .selectFrom('group_closure')
    .select('groupId')
    .where('groupId', '=', groupId)
    .where('principalId', '=', ctx.actor.principalId)
    .executeTakeFirst()
  return row !== undefined
}

/** Two changes that each are fine may close a circle together, so one tenant's groups change one at a time. */
const lockGroups = (ctx: TxCtx) => ctx.database.lock(ctx.db, `groups:${ctx.actor.tenantId}`, 'exclusive')

async function requireFreeName(ctx: TxCtx, name: string, groupId?: string): Promise<void> {
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH)
    throw new DomainError('invalid-input', { field: 'name', rule: 'length' })
  await lockGroups(ctx)
  const taken = await findGroupByName(ctx, name)
  if (taken && taken.id !== groupId) throw new DomainError('group-name-taken', { name })
}

const groups = (ctx: Ctx) =>
  ctx.db
    .selectFrom('principal')
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('kind', '=', 'group')
    .where('state', '!=', 'removed')
