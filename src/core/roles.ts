/** System rights: held directly, through roles, and through groups. Nobody hands out more than he holds himself. */
import { sql, type RawBuilder } from 'kysely'
import { remembered } from '#db/prepared.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { recordRefusal } from './events.ts'
import { accountRefusal, getPrincipal, isAccountKind } from './principals.ts'
import type { Switch } from './settings.ts'

export type SystemRight = (typeof systemRights)[number]

export const systemRights = [
  'users.read',
  'users.manage',
  'groups.manage',
  'spaces.create',
  'spaces.manage',
  'audit.read',
  'config.manage',
  'tenants.manage',
  /** Taking part in deliveries at all. */
  'deliveries.use',
  'deliveries.receive',
  'deliveries.send.public',
  'deliveries.send.internal',
  'deliveries.send.private',
  /** Keeping one for oneself alone. */
  'deliveries.send.own',
  /** Being among the recipients of one's own. */
  'deliveries.send.self',
  'deliveries.send.unapproved',
  'deliveries.encrypt',
  'deliveries.contributors',
  'deliveries.persistent',
  'deliveries.read-sent',
  /** Everything in all deliveries, as an administrator. */
  'deliveries.manage',
  'links.create.public',
  'links.create.internal',
  'links.create.private',
  'approvals.decide',
  /** Deciding about everybody, not only about those who named one. */
  'approvals.all',
  /** Naming one's own approvers. */
  'approvals.choose',
  'quarantine.add',
  'quarantine.delete',
  'quarantine.release',
  'screening.details',
  'downloads.without-password',
  'sign-in.single-factor',
  /** An account that does not expire by itself. */
  'account.persistent',
  'password.recover',
  'sftp.use',
  'log.read',
  'log.read-all',
] as const

export interface Role {
  id: string
  name: string
  rights: SystemRight[]
}

const MAX_NAME_LENGTH = 200

type OfPrincipal = { principalId: string }

const selectRights = remembered<OfPrincipal, { right: string }>((db, arg) => {
  const subjects = db
    .selectFrom('group_closure')
    .select('groupId as id')
    .where('principalId', '=', arg('principalId'))
    .unionAll(db.selectFrom('principal').select('id').where('id', '=', arg('principalId')))
  return db
    .selectFrom('principal_right')
    .select('right')
    .where('principalId', 'in', subjects)
    .union(
      db
        .selectFrom('role_holder')
        .innerJoin('role_right', 'role_right.roleId', 'role_holder.roleId')
        .select('role_right.right')
        .where('role_holder.principalId', 'in', subjects),
    )
})

/** All rights of a principal of the tenant, whichever way he holds them. */
export async function rightsOf(ctx: Pick<Ctx, 'db'>, principalId: string): Promise<Set<SystemRight>> {
  const rows = await selectRights(ctx.db, { principalId })
  return new Set(rows.map(row => row.right).filter(isSystemRight))
}

/** Those of the principals who hold the right, whichever way. */
export async function holdersAmong(
  ctx: Ctx,
  { right, principalIds }: { right: SystemRight; principalIds: readonly string[] },
): Promise<Set<string>> {
  if (principalIds.length === 0) return new Set()
  const { rows } = await sql<{ id: string }>`
    select id from principal where id in (${sql.join(principalIds)}) and ${isHeld(right, sql`id`)}`.execute(ctx.db)
  return new Set(rows.map(row => row.id))
}

/** A condition: the principal of that id holds the right, whichever way. */
export function isHeld(right: SystemRight, id: RawBuilder<unknown>): RawBuilder<boolean> {
  const holders = sql`
    select "principalId" from principal_right where "right" = ${right}
    union
    select holder."principalId" from role_holder holder join role_right given on given."roleId" = holder."roleId"
      where given."right" = ${right}`
  return sql`(${id} in (${holders})
    or ${id} in (select "principalId" from group_closure where "groupId" in (${holders})))`
}

/**
 * Why an account may not be used now; undefined when it may. An account that need not end goes on when its time is over.
 */
export async function refusalOfAccount(
  ctx: Pick<Ctx, 'db'>,
  account: Parameters<typeof accountRefusal>[0] & { principalId: string },
  now: number,
): Promise<ReturnType<typeof accountRefusal>> {
  const reason = accountRefusal(account, now)
  if (reason !== 'expired') return reason
  const isKept = (await rightsOf(ctx, account.principalId)).has('account.persistent')
  return isKept ? accountRefusal({ ...account, expiresAt: null }, now) : reason
}

/** Whether a switch of the settings is on for the actor: for everybody, nobody, or those with the right. */
export async function isSwitchedOn(ctx: Ctx, setting: Switch, right: SystemRight): Promise<boolean> {
  return setting === 'selected' ? hasRight(ctx, right) : setting === 'yes'
}

export const isSystemRight = (text: string): text is SystemRight => (systemRights as readonly string[]).includes(text)

/**
 * Passes when the actor holds one of the rights. Throws `forbidden`; the refusal is audited unless `ctx` is in a
 * transaction, which would undo the record: ask before it begins.
 */
export async function requireRight(ctx: Ctx | TxCtx, ...anyOf: [SystemRight, ...SystemRight[]]): Promise<void> {
  if (await hasRight(ctx, ...anyOf)) return
  await refuse(ctx, anyOf[0])
}

export async function hasRight(ctx: Ctx, ...anyOf: [SystemRight, ...SystemRight[]]): Promise<boolean> {
  const rights = await usableRights(ctx)
  return anyOf.some(right => rights.has(right))
}

/** Refuses acts on principals that hold a right which the actor does not hold: else he could take it from them. */
export async function requireRightsOver(ctx: Ctx, principalId: string): Promise<void> {
  if (ctx.actor.kind === 'system') return
  await requireRights(ctx, await rightsOf(ctx, principalId))
}

/** Whether the actor holds every right that the principal holds. */
export async function holdsRightsOf(ctx: Ctx, principalId: string): Promise<boolean> {
  const rights = await rightsOf(ctx, principalId)
  return rights.isSubsetOf(await usableRights(ctx))
}

async function requireRights(ctx: Ctx, rights: Iterable<SystemRight>): Promise<void> {
  const own = await usableRights(ctx)
  for (const right of rights) if (!own.has(right)) await refuse(ctx, right)
}

const everyRight: ReadonlySet<SystemRight> = new Set(systemRights)
const noRights: ReadonlySet<SystemRight> = new Set()

/** A scope names nodes only, so who acts under one has no system rights; an administrator's count only in that capacity. */
async function usableRights(ctx: Ctx): Promise<ReadonlySet<SystemRight>> {
  const { actor } = ctx
  if (actor.kind === 'system') return everyRight
  if (actor.scope || actor.kind === 'share') return noRights
  if (actor.kind === 'administrator' && actor.capacity !== 'administrator') return noRights
  return rightsOf(ctx, actor.principalId)
}

async function refuse(ctx: Ctx | TxCtx, right: SystemRight): Promise<never> {
  if (!('emit' in ctx)) await recordRefusal(ctx, { type: 'access.refused', facts: { right } })
  throw new DomainError('forbidden', { action: right })
}

/** Throws `invalid-input` for a taken name. */
export async function createRole(
  ctx: Ctx,
  { name, rights }: { name: string; rights: readonly SystemRight[] },
): Promise<Role> {
  await requireRight(ctx, 'users.manage')
  await requireRights(ctx, rights)
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH)
    throw new DomainError('invalid-input', { field: 'name', rule: 'length' })
  return inTx(ctx, async ctx => {
    const id = ctx.newId()
    const row = await ctx.db
      .insertInto('role')
      .values({ id, tenantId: ctx.actor.tenantId, name, createdAt: ctx.clock() })
      .onConflict(clash => clash.columns(['tenantId', 'name']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!row) throw new DomainError('invalid-input', { field: 'name', rule: 'taken' })
    await writeRights(ctx, id, rights)
    await ctx.emit({ type: 'role.created', subject1: `role:${id}`, facts: { rights } })
    return { id, name, rights: [...rights] }
  })
}

export async function listRoles(ctx: Ctx): Promise<Role[]> {
  await requireRight(ctx, 'users.read', 'users.manage')
  const rows = await ctx.db
    .selectFrom('role')
    .leftJoin('role_right', 'role_right.roleId', 'role.id')
    .select(['id', 'name', 'right'])
    .where('tenantId', '=', ctx.actor.tenantId)
    .orderBy('name')
    .orderBy('right')
    .execute()
  const roles = new Map<string, Role>()
  for (const { id, name, right } of rows) {
    const role = roles.get(id) ?? { id, name, rights: [] }
    roles.set(id, role)
    if (right !== null && isSystemRight(right)) role.rights.push(right)
  }
  return [...roles.values()]
}

export async function setRoleRights(
  ctx: Ctx,
  { roleId, rights }: { roleId: string; rights: readonly SystemRight[] },
): Promise<void> {
  await requireRight(ctx, 'users.manage')
  await requireRights(ctx, rights)
  await requireRights(ctx, await rightsOfRole(ctx, roleId))
  await inTx(ctx, async ctx => {
    const before = await rightsOfRole(ctx, roleId)
    await ctx.db.deleteFrom('role_right').where('roleId', '=', roleId).execute()
    await writeRights(ctx, roleId, rights)
    await ctx.emit({ type: 'role.changed', subject1: `role:${roleId}`, facts: { before, after: rights } })
  })
}

/** The holder may be a group: its members then have the rights. */
export async function assignRole(
  ctx: Ctx,
  { roleId, principalId }: { roleId: string; principalId: string },
): Promise<void> {
  await requireChange(ctx, principalId, await rightsOfRole(ctx, roleId))
  await inTx(ctx, async ctx => {
    await ctx.db
      .insertInto('role_holder')
      .values({ roleId, principalId })
      .onConflict(clash => clash.doNothing())
      .execute()
    await emitRightChange(ctx, principalId, { roleId, held: true })
  })
}

export async function withdrawRole(
  ctx: Ctx,
  { roleId, principalId }: { roleId: string; principalId: string },
): Promise<void> {
  await requireChange(ctx, principalId, await rightsOfRole(ctx, roleId))
  await inTx(ctx, async ctx => {
    await ctx.db.deleteFrom('role_holder').where('roleId', '=', roleId).where('principalId', '=', principalId).execute()
    await emitRightChange(ctx, principalId, { roleId, held: false })
  })
}

export async function grantRight(
  ctx: Ctx,
  { principalId, right }: { principalId: string; right: SystemRight },
): Promise<void> {
  await requireChange(ctx, principalId, [right])
  await inTx(ctx, async ctx => {
    await ctx.db
      .insertInto('principal_right')
      .values({ principalId, right })
      .onConflict(clash => clash.doNothing())
      .execute()
    await emitRightChange(ctx, principalId, { right, held: true })
  })
}

export async function withdrawRight(
  ctx: Ctx,
  { principalId, right }: { principalId: string; right: SystemRight },
): Promise<void> {
  await requireChange(ctx, principalId, [right])
  await inTx(ctx, async ctx => {
    await ctx.db
      .deleteFrom('principal_right')
      .where('principalId', '=', principalId)
      .where('right', '=', right)
      .execute()
    await emitRightChange(ctx, principalId, { right, held: false })
  })
}

/**
 * Makes these the rights that the principal holds directly, as far as they are among those named: others stay as they
 * are. Whoever gives or takes a right must hold it.
 */
export async function setRightsOf(
  ctx: Ctx,
  {
    principalId,
    rights,
    among,
  }: { principalId: string; rights: readonly SystemRight[]; among: readonly SystemRight[] },
): Promise<void> {
  const wanted = new Set(rights).intersection(new Set(among))
  await requireChange(ctx, principalId, [])
  const before = await directRights(ctx, principalId, among)
  await requireRights(ctx, before.symmetricDifference(wanted))
  await inTx(ctx, async ctx => {
    const held = await directRights(ctx, principalId, among)
    const added = [...wanted.difference(held)]
    const dropped = [...held.difference(wanted)]
    if (added.length + dropped.length === 0) return
    if (dropped.length > 0)
      await ctx.db
        .deleteFrom('principal_right')
        .where('principalId', '=', principalId)
        .where('right', 'in', dropped)
        .execute()
    const rows = added.map(right => ({ principalId, right }))
    if (rows.length > 0)
      await ctx.db
        .insertInto('principal_right')
        .values(rows)
        .onConflict(clash => clash.doNothing())
        .execute()
    await emitRightChange(ctx, principalId, { added, dropped })
  })
}

async function directRights(ctx: Ctx, principalId: string, among: readonly SystemRight[]): Promise<Set<SystemRight>> {
  const rows = await ctx.db
    .selectFrom('principal_right')
    .select('right')
    .where('principalId', '=', principalId)
    .where('right', 'in', among)
    .execute()
  return new Set(rows.map(row => row.right).filter(isSystemRight))
}

/** Takes every right and role from a principal that is being removed. */
export async function dropRightsOf(ctx: TxCtx, principalId: string): Promise<void> {
  await ctx.db.deleteFrom('principal_right').where('principalId', '=', principalId).execute()
  await ctx.db.deleteFrom('role_holder').where('principalId', '=', principalId).execute()
}

async function requireChange(ctx: Ctx, principalId: string, rights: readonly SystemRight[]): Promise<void> {
  await requireRight(ctx, 'users.manage')
  await requireRights(ctx, rights)
  const kinds = ['user', 'guest', 'administrator', 'service', 'group'] as const
  await getPrincipal(ctx, { principalId, kinds, what: 'principal' })
}

async function emitRightChange(
  ctx: TxCtx,
  principalId: string,
  facts: Record<string, string | boolean | readonly string[]>,
): Promise<void> {
  const { kind } = await getPrincipal(ctx, {
    principalId,
    kinds: ['user', 'guest', 'administrator', 'service', 'group'],
    what: 'principal',
  })
  await ctx.emit({ type: 'right.changed', subject1: `${isAccountKind(kind) ? 'user' : 'group'}:${principalId}`, facts })
}

async function writeRights(ctx: TxCtx, roleId: string, rights: readonly SystemRight[]): Promise<void> {
  const rows = [...new Set(rights)].map(right => ({ roleId, right }))
  if (rows.length > 0) await ctx.db.insertInto('role_right').values(rows).execute()
}

/** Throws `not-found` for a role of another tenant. */
async function rightsOfRole(ctx: Ctx, roleId: string): Promise<SystemRight[]> {
  const role = await ctx.db
    .selectFrom('role')
    .select('id')
    .where('id', '=', roleId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  if (!role) throw new DomainError('not-found', { what: 'role', id: roleId })
  const rows = await ctx.db.selectFrom('role_right').select('right').where('roleId', '=', roleId).execute()
  return rows.map(row => row.right).filter(isSystemRight)
}
