/** Groups as addresses: how they can be written to, who may, and what they let their members do. */
import { sql } from 'kysely'
import { compileCondition, type Condition, type Fields } from './conditions.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { createGroup, getGroup, renameGroup, type Group } from './groups.ts'
import { checkEmail } from './principal-fields.ts'
import { chunked, MAX_IDS, requireOwnEmail } from './principals.ts'
import { isSystemRight, requireRight, setRightsOf, systemRights, type SystemRight } from './roles.ts'

export type GroupReach = 'public' | 'internal' | 'private'

export interface GroupProfile extends Group {
  email: string | null
  reach: GroupReach
  /** Its address stands for its members. */
  isDistribution: boolean
  /** Held by the group itself. */
  rights: SystemRight[]
}

interface GroupChanges {
  name?: string
  /** Null for none. Throws `invalid-input` (email, taken) for one that somebody else has. */
  email?: string | null
  reach?: GroupReach
  isDistribution?: boolean
  /** What it shall hold of `among`; other rights stay. */
  rights?: readonly SystemRight[]
  among?: readonly SystemRight[]
}

/** Throws `group-name-taken`, `invalid-input`, and `forbidden` for rights that the actor does not hold. */
export async function createProfiledGroup(ctx: Ctx, group: GroupChanges & { name: string }): Promise<Group> {
  await requireChange(ctx, group)
  return inTx(ctx, async ctx => {
    const created = await createGroup(ctx, group)
    await writeProfile(ctx, created.id, group)
    return created
  })
}

/** Changes what is named. Throws as createProfiledGroup, and `not-found`. */
export async function updateProfiledGroup(
  ctx: Ctx,
  { groupId, ...changes }: GroupChanges & { groupId: string },
): Promise<void> {
  await requireChange(ctx, changes)
  await inTx(ctx, async ctx => {
    const before = await getGroup(ctx, { groupId })
    if (changes.name !== undefined && changes.name !== before.name)
      await renameGroup(ctx, { groupId, name: changes.name })
    await writeProfile(ctx, groupId, changes)
  })
}

/** Asked before the transaction, so that refusals are recorded. */
async function requireChange(ctx: Ctx, { rights }: GroupChanges): Promise<void> {
  await requireRight(ctx, 'groups.manage')
  if (rights) await requireRight(ctx, 'users.manage')
}

async function writeProfile(ctx: TxCtx, groupId: string, changes: GroupChanges): Promise<void> {
  const { email, reach, isDistribution, rights, among = systemRights } = changes
  if (email !== undefined) await writeEmail(ctx, groupId, email)
  const values = {
    ...(reach !== undefined && { reach }),
    ...(isDistribution !== undefined && { isDistribution: Number(isDistribution) }),
  }
  await ctx.db
    .insertInto('group_profile')
    .values({ ...defaults, ...values, groupId })
    .onConflict(clash => clash.column('groupId').doUpdateSet({ groupId, ...values }))
    .execute()
  if (rights) await setRightsOf(ctx, { principalId: groupId, rights, among })
  const fields = [...Object.keys(values), ...(email === undefined ? [] : ['email'])]
  if (fields.length > 0) await ctx.emit({ type: 'group.changed', subject1: `group:${groupId}`, facts: { fields } })
}

/** Of groups that were made without. */
const defaults = { reach: 'internal', isDistribution: 0 } as const

async function writeEmail(ctx: TxCtx, groupId: string, email: string | null): Promise<void> {
  const columns = checkEmail(email)
  if (columns.emailKey !== null) await requireOwnEmail(ctx, { principalId: groupId, emailKey: columns.emailKey })
  await ctx.db
    .updateTable('principal')
    .set({ ...columns, changedAt: ctx.clock() })
    .where('id', '=', groupId)
    .execute()
}

/** What groups are found by. */
const groupFields: Fields = {
  id: { type: 'text', sql: sql`principal.id` },
  name: { type: 'text', sql: sql`principal.name`, folded: sql`principal."nameFold"` },
  email: { type: 'text', sql: sql`principal.email`, folded: sql`principal."emailKey"` },
  reach: { type: 'text', sql: sql`coalesce(group_profile.reach, ${defaults.reach})` },
  isDistribution: {
    type: 'boolean',
    sql: sql`coalesce(group_profile."isDistribution", ${defaults.isDistribution}) = 1`,
  },
  rights: {
    type: 'text',
    has: right =>
      sql`exists (select 1 from principal_right held where held."principalId" = principal.id and held."right" = ${right})`,
  },
}

/** A page of groups, newest first. Throws what compileCondition throws. */
export async function findGroups(
  ctx: Ctx,
  { condition, offset, limit }: { condition?: Condition | undefined; offset: number; limit: number },
): Promise<{ total: number; rows: GroupProfile[] }> {
  await requireRight(ctx, 'users.read', 'users.manage', 'groups.manage')
  const matching = condition
    ? groups(ctx).where(compileCondition(ctx.database.engine, groupFields, condition))
    : groups(ctx)
  const { total } = await matching.select(eb => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()
  const rows = await matching
    .select(columns)
    .orderBy('principal.createdAt', 'desc')
    .orderBy('principal.id', 'desc')
    .offset(offset)
    .limit(limit)
    .execute()
  return { total, rows: await withRights(ctx, rows) }
}

export async function getProfiledGroup(ctx: Ctx, { groupId }: { groupId: string }): Promise<GroupProfile> {
  await requireRight(ctx, 'users.read', 'users.manage', 'groups.manage')
  const rows = await groups(ctx).select(columns).where('principal.id', '=', groupId).execute()
  const [group] = await withRights(ctx, rows)
  if (!group) throw new DomainError('not-found', { what: 'group', id: groupId })
  return group
}

const columns = [
  'principal.id',
  'principal.name',
  'principal.email',
  'principal.createdAt',
  'principal.createdBy',
  'principal.changedAt',
  'group_profile.reach',
  'group_profile.isDistribution',
] as const

const groups = (ctx: Ctx) =>
  ctx.db
    .selectFrom('principal')
    .leftJoin('group_profile', 'group_profile.groupId', 'principal.id')
    .where('principal.tenantId', '=', ctx.actor.tenantId)
    .where('principal.kind', '=', 'group')
    .where('principal.state', '!=', 'removed')

type Row = Group & Pick<GroupProfile, 'email'> & { reach: GroupReach | null; isDistribution: number | null }

async function withRights(ctx: Ctx, rows: readonly Row[]): Promise<GroupProfile[]> {
  const held: { principalId: string; right: string }[] = []
  for (const some of chunked(rows, MAX_IDS)) {
    const ids = some.map(row => row.id)
    held.push(...(await ctx.db.selectFrom('principal_right').selectAll().where('principalId', 'in', ids).execute()))
  }
  const rights = Map.groupBy(held, row => row.principalId)
  return rows.map(({ reach, isDistribution, ...group }) => ({
    ...group,
    reach: reach ?? defaults.reach,
    isDistribution: (isDistribution ?? defaults.isDistribution) === 1,
    rights: (rights.get(group.id) ?? []).map(({ right }) => right).filter(isSystemRight),
  }))
}
