/** Accounts: users, guests, administrators and services. A removed one keeps its row and name and frees its login. */
import { sql } from 'kysely'
import type { PrincipalTable } from '#db/schema.ts'
import { checkPassword } from './auth.ts'
import { inTx, systemActor, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { leaveAllGroups } from './groups.ts'
import { loadIpRanges, storeIpRanges } from './ip-ranges.ts'
import { fold } from './names.ts'
import { checkNewPassword, hashPassword } from './passwords.ts'
import { checkEmail, checkHandle, checkText, MAX_LOGIN_LENGTH } from './principal-fields.ts'
import { accountKinds, adoptAddress, containsFolded, requireOwnEmail, type AccountKind } from './principals.ts'
import { emptyProfile, nameIn, removeProfile, writeProfile, type ProfileChanges } from './profiles.ts'
import { dropRightsOf, isHeld, requireRight, requireRightsOver } from './roles.ts'
import { endSessionsOf } from './sessions.ts'
import { revokeTokensOf } from './tokens.ts'

type UserRow = Pick<PrincipalTable, (typeof columns)[number]>

const columns = [
  'id',
  'tenantId',
  'kind',
  'login',
  'handle',
  'name',
  'email',
  'passwordChangedAt',
  'state',
  'expiresAt',
  'onExpiry',
  'homeNodeId',
  'ipRanges',
  'createdAt',
  'createdBy',
  'changedAt',
  'lastSignInAt',
] as const

/** An account as those may see it who manage accounts. */
export interface User extends Omit<UserRow, 'kind' | 'ipRanges'> {
  kind: AccountKind
  /** Empty: from anywhere. */
  ipRanges: readonly string[]
}

export interface NewUser {
  login: string
  /** Shown to others; the login if not given. */
  name?: string
  email?: string | null
  kind?: AccountKind
  /** A second, unique name of `A-Z a-z 0-9 . _ -` for dialects that cannot write the login. */
  handle?: string | null
  homeNodeId?: number | null
  expiresAt?: number | null
  onExpiry?: 'block' | 'remove'
  ipRanges?: readonly string[]
  state?: 'active' | 'blocked'
  profile?: ProfileChanges
  /** Throws `invalid-input` (email, taken) for an address that another account or a group has. */
  ownEmail?: boolean
}

const MAX_NAME_LENGTH = 254

/** Without a password the account cannot sign in with one. Throws `login-taken`, `handle-taken`, `password-refused`. */
export async function createUser(ctx: Ctx, { password, ...account }: NewUser & { password?: string }): Promise<User> {
  await requireRight(ctx, 'users.manage')
  if (password !== undefined) checkNewPassword(password, ctx.settings)
  const passwordHash = password === undefined ? null : await hashPassword(password)
  return inTx(ctx, ctx => insertUser(ctx, account, passwordHash))
}

/** Writes an account. Authorises nothing: for `createUser` and the first start. */
export async function insertUser(ctx: TxCtx, account: NewUser, passwordHash: string | null): Promise<User> {
  const id = ctx.newId()
  const now = ctx.clock()
  const { profile, state = 'active', name = nameIn({ ...emptyProfile, ...profile }) ?? account.login } = account
  const values = await checkAccount(ctx, id, { kind: 'user', onExpiry: 'block', ...account, name })
  const row = await ctx.db
    .insertInto('principal')
    .values({
      name: account.login,
      nameFold: fold(account.login),
      onExpiry: 'block',
      kind: 'user',
      ...values,
      id,
      tenantId: ctx.actor.tenantId,
      passwordHash,
      passwordChangedAt: passwordHash === null ? null : now,
      state,
      createdAt: now,
      createdBy: ctx.actor.principalId,
      changedAt: now,
    })
    .returning(columns)
    .executeTakeFirstOrThrow()
  await ctx.emit({ type: 'user.created', subject1: `user:${id}`, facts: { kind: row.kind } })
  if (profile) await writeProfile(ctx, { principalId: id, ...profile })
  if (account.email) await adoptAddress(ctx, { principalId: id, email: account.email })
  return present(row)
}

/** One's own account, or with the right to read accounts any. Throws `not-found` for a removed one. */
export async function getUser(ctx: Ctx, { userId }: { userId: string }): Promise<User> {
  if (userId !== ctx.actor.principalId) await requireRight(ctx, 'users.read', 'users.manage')
  return loadUser(ctx, userId)
}

export async function findUserByLogin(ctx: Ctx, login: string): Promise<User | undefined> {
  await requireRight(ctx, 'users.read', 'users.manage')
  const row = await users(ctx).select(columns).where('loginKey', '=', fold(login)).executeTakeFirst()
  return row && present(row)
}

/** A page by name. `search` looks into name, login and e-mail address without case. Removed accounts only when asked for. */
export async function listUsers(
  ctx: Ctx,
  {
    search = '',
    kinds = accountKinds,
    states = ['active', 'blocked'],
    offset = 0,
    limit,
  }: {
    search?: string
    kinds?: readonly AccountKind[]
    states?: readonly User['state'][]
    offset?: number
    limit: number
  },
): Promise<{ total: number; rows: User[] }> {
  await requireRight(ctx, 'users.read', 'users.manage')
  if (kinds.length === 0 || states.length === 0) return { total: 0, rows: [] }
  let matching = users(ctx).where('kind', 'in', kinds).where('state', 'in', states)
  if (search !== '') {
    const columns = ['nameFold', 'loginKey', 'emailKey'] as const
    matching = matching.where(eb => eb.or(columns.map(column => containsFolded(column, search))))
  }
  const { total } = await matching.select(eb => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()
  const rows = await matching.select(columns).orderBy('nameFold').orderBy('id').offset(offset).limit(limit).execute()
  return { total, rows: rows.map(present) }
}

/**
 * Changes what is named; a profile with another name renames the account. Blocking ends the account's sessions, and so does
 * a new password.
 */
export async function updateUser(
  ctx: Ctx,
  { userId, password, ...changes }: Partial<NewUser> & { userId: string; password?: string },
): Promise<User> {
  await requireRightOver(ctx, userId)
  if (password !== undefined) checkNewPassword(password, ctx.settings)
  const passwordHash = password === undefined ? undefined : await hashPassword(password)
  return inTx(ctx, async ctx => {
    if (passwordHash !== undefined) await writePasswordHash(ctx, { userId, passwordHash })
    return changeUser(ctx, userId, changes)
  })
}

async function changeUser(ctx: TxCtx, userId: string, changes: Partial<NewUser>): Promise<User> {
  const before = await loadUser(ctx, userId)
  const { state = before.state, profile, email } = changes
  const name = changes.name ?? (profile && (await renamedBy(ctx, before, profile)))
  const values = await checkAccount(ctx, userId, { ...changes, ...(name !== undefined && { name }) })
  const row = await ctx.db
    .updateTable('principal')
    .set({ ...values, state, changedAt: ctx.clock() })
    .where('id', '=', userId)
    .returning(columns)
    .executeTakeFirstOrThrow()
  if (state === 'blocked') await endSessionsOf(ctx, userId)
  await ctx.emit({ type: 'user.changed', subject1: `user:${userId}`, facts: changeFacts(before, present(row)) })
  if (email && fold(email) !== fold(before.email ?? '')) await adoptAddress(ctx, { principalId: userId, email })
  return present(row)
}

/** The name that a changed profile gives the account; undefined where it says nothing about names. */
async function renamedBy(ctx: TxCtx, user: User, changes: ProfileChanges): Promise<string | undefined> {
  const { givenName, familyName } = await writeProfile(ctx, { principalId: user.id, ...changes })
  if (changes.givenName === undefined && changes.familyName === undefined) return undefined
  return nameIn({ givenName, familyName }) ?? user.login ?? undefined
}

/** Sets the password of an account and ends its sessions. Throws `password-refused`. */
export async function setPassword(ctx: Ctx, { userId, password }: { userId: string; password: string }): Promise<void> {
  await requireRightOver(ctx, userId)
  await replacePassword(ctx, { userId, password })
}

/** Ends all other sessions of the account. Throws `wrong-credentials`, `throttled`, `password-refused`. */
export async function changeOwnPassword(
  ctx: Ctx,
  { oldPassword, newPassword }: { oldPassword: string; newPassword: string },
): Promise<void> {
  const { principalId, scope, address } = ctx.actor
  const account = await users(ctx)
    .select(['id as principalId', 'passwordHash'])
    .where('id', '=', principalId)
    .executeTakeFirst()
  if (!account || scope) throw new DomainError('forbidden', { action: 'password' })
  await checkPassword(ctx, {
    account,
    login: principalId,
    password: oldPassword,
    address,
    event: 'user.password-changed',
  })
  if (newPassword === oldPassword) throw new DomainError('password-refused', { rule: 'same' })
  await replacePassword(ctx, { userId: principalId, password: newPassword })
}

async function replacePassword(ctx: Ctx, { userId, password }: { userId: string; password: string }): Promise<void> {
  checkNewPassword(password, ctx.settings)
  const passwordHash = await hashPassword(password)
  await inTx(ctx, ctx => writePasswordHash(ctx, { userId, passwordHash }))
}

/** Puts a new hash in place and ends the sessions. Authorises nothing: for `setPassword` and whole configurations. */
export async function writePasswordHash(
  ctx: TxCtx,
  { userId, passwordHash }: { userId: string; passwordHash: string },
): Promise<void> {
  const now = ctx.clock()
  const row = await ctx.db
    .updateTable('principal')
    .set({ passwordHash, passwordChangedAt: now, changedAt: now })
    .where('id', '=', userId)
    .where('state', '!=', 'removed')
    .returning('id')
    .executeTakeFirst()
  if (!row) throw new DomainError('not-found', { what: 'user', id: userId })
  await endSessionsOf(ctx, userId, { except: ctx.actor.sessionId })
  await ctx.emit({ type: 'user.password-changed', subject1: `user:${userId}` })
}

/** Frees login and handle, ends sessions, revokes tokens, leaves groups and roles, and forgets the profile. What the account made stays. */
export async function removeUser(ctx: Ctx, { userId }: { userId: string }): Promise<void> {
  await requireRightOver(ctx, userId)
  await inTx(ctx, async ctx => {
    const user = await loadUser(ctx, userId)
    const gone = { login: null, loginKey: null, handle: null, emailKey: null, passwordHash: null }
    await ctx.db
      .updateTable('principal')
      .set({ ...gone, state: 'removed', changedAt: ctx.clock() })
      .where('id', '=', userId)
      .execute()
    const sessions = await endSessionsOf(ctx, userId)
    const tokens = await revokeTokensOf(ctx, userId)
    await leaveAllGroups(ctx, userId)
    await dropRightsOf(ctx, userId)
    await removeProfile(ctx, userId)
    await ctx.emit({ type: 'user.removed', subject1: `user:${userId}`, facts: { kind: user.kind, sessions, tokens } })
  })
}

/**
 * Removes accounts of all tenants whose time is over and that said so. Answers how many; call again until none is left.
 * Only for the server itself.
 */
export async function removeExpiredUsers(ctx: Ctx, { limit }: { limit: number }): Promise<number> {
  await requireRight(ctx, 'tenants.manage')
  const expired = await ctx.db
    .selectFrom('principal')
    .select(['id', 'tenantId'])
    .where('kind', 'in', accountKinds)
    .where('expiresAt', '<=', ctx.clock())
    .where('onExpiry', '=', 'remove')
    .where('state', '!=', 'removed')
    .where(sql<boolean>`not ${isHeld('account.persistent', sql`id`)}`)
    .orderBy('expiresAt')
    .limit(limit)
    .execute()
  for (const { id, tenantId } of expired) {
    await removeUser({ ...ctx, actor: systemActor(tenantId, ctx.actor.client) }, { userId: id })
  }
  return expired.length
}

async function requireRightOver(ctx: Ctx, userId: string): Promise<void> {
  await requireRight(ctx, 'users.manage')
  await loadUser(ctx, userId)
  await requireRightsOver(ctx, userId)
}

/** Checks what is named and gives the columns to write; holds the tenant's logins until the transaction ends. */
async function checkAccount(ctx: TxCtx, userId: string, account: Partial<NewUser>): Promise<Partial<PrincipalTable>> {
  const { login, name, email, handle, homeNodeId, ipRanges, kind, expiresAt, onExpiry } = account
  const values: Partial<PrincipalTable> = {}
  if (login !== undefined)
    Object.assign(values, { login: checkText('login', login, MAX_LOGIN_LENGTH), loginKey: fold(login) })
  if (name !== undefined)
    Object.assign(values, { name: checkText('name', name, MAX_NAME_LENGTH), nameFold: fold(name) })
  if (email !== undefined) Object.assign(values, checkEmail(email))
  if (handle !== undefined) values.handle = checkHandle(handle)
  if (homeNodeId !== undefined) values.homeNodeId = await checkHome(ctx, homeNodeId)
  if (ipRanges !== undefined) values.ipRanges = storeIpRanges(ipRanges)
  if (kind !== undefined) values.kind = kind
  if (expiresAt !== undefined) values.expiresAt = expiresAt
  if (onExpiry !== undefined) values.onExpiry = onExpiry
  await requireFreeNames(ctx, userId, values)
  if (account.ownEmail && values.emailKey)
    await requireOwnEmail(ctx, { principalId: userId, emailKey: values.emailKey })
  return values
}

async function checkHome(ctx: TxCtx, nodeId: number | null): Promise<number | null> {
  if (nodeId === null) return null
  const node = await ctx.db
    .selectFrom('node')
    .select('kind')
    .where('id', '=', nodeId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('state', '=', 'live')
    .executeTakeFirst()
  if (!node) throw new DomainError('not-found', { what: 'node', id: String(nodeId) })
  if (node.kind !== 'space' && node.kind !== 'folder') throw new DomainError('not-a-folder', { nodeId })
  return nodeId
}

/** Sign-in takes a login or a handle, so neither may be the other one of somebody else. */
async function requireFreeNames(
  ctx: TxCtx,
  userId: string,
  { login, loginKey, handle }: Partial<PrincipalTable>,
): Promise<void> {
  if (!loginKey && !handle) return
  await ctx.database.lock(ctx.db, `logins:${ctx.actor.tenantId}`, 'exclusive')
  const others = users(ctx).select('id').where('id', '!=', userId)
  if (login && loginKey) {
    const clash = await others
      .where(eb => eb.or([eb('loginKey', '=', loginKey), eb('handle', '=', login)]))
      .executeTakeFirst()
    if (clash) throw new DomainError('login-taken', { login })
  }
  if (handle) {
    const clash = await others
      .where(eb => eb.or([eb('handle', '=', handle), eb('loginKey', '=', fold(handle))]))
      .executeTakeFirst()
    if (clash) throw new DomainError('handle-taken', { handle })
  }
}

const users = (ctx: Ctx) =>
  ctx.db.selectFrom('principal').where('tenantId', '=', ctx.actor.tenantId).where('kind', 'in', accountKinds)

async function loadUser(ctx: Ctx, userId: string): Promise<User> {
  const row = await users(ctx)
    .select(columns)
    .where('id', '=', userId)
    .where('state', '!=', 'removed')
    .executeTakeFirst()
  if (!row) throw new DomainError('not-found', { what: 'user', id: userId })
  return present(row)
}

/** Names of the fields that changed, and of those that are no free text what they were and are. */
function changeFacts(before: User, after: User): Record<string, string | number | null | string[]> {
  const fields = columns.filter(
    field => field !== 'changedAt' && JSON.stringify(before[field]) !== JSON.stringify(after[field]),
  )
  const facts: Record<string, string | number | null | string[]> = { fields }
  for (const field of ['state', 'kind', 'expiresAt', 'onExpiry', 'homeNodeId'] as const) {
    if (before[field] !== after[field])
      Object.assign(facts, { [`${field}Before`]: before[field], [field]: after[field] })
  }
  return facts
}

const present = (row: UserRow): User => ({
  ...row,
  kind: row.kind as AccountKind, // `users` selects no others
  ipRanges: loadIpRanges(row.ipRanges),
})
