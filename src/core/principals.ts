/** What everybody in a tenant may know of a principal, and when an account may be used. */
import { sql } from 'kysely'
import type { PrincipalKind, PrincipalTable, TenantTable } from '#db/schema.ts'
import type { Actor, Ctx, TxCtx } from './ctx.ts'
import { DomainError, type Subject } from './errors.ts'
import { fold } from './names.ts'
import { checkEmail } from './principal-fields.ts'

/** Enough to show a principal beside what he did. */
export type PrincipalRef = Pick<PrincipalTable, (typeof refColumns)[number]>

const refColumns = ['id', 'kind', 'login', 'handle', 'name', 'email', 'state'] as const

/** Kinds that can sign in or hold tokens. */
export type AccountKind = 'user' | 'guest' | 'administrator' | 'service'
export const accountKinds: readonly AccountKind[] = ['user', 'guest', 'administrator', 'service']

export const isAccountKind = (kind: PrincipalKind): kind is AccountKind =>
  (accountKinds as readonly string[]).includes(kind)

/** Parameters that one statement takes on either engine, with room to spare. */
export const MAX_IDS = 1_000

/** Those of the ids that belong to the tenant, removed ones included. */
export async function findPrincipals(ctx: Ctx, ids: readonly string[]): Promise<Map<string, PrincipalRef>> {
  const found = new Map<string, PrincipalRef>()
  for (const some of chunked([...new Set(ids)], MAX_IDS)) {
    const rows = await refs(ctx).where('id', 'in', some).execute()
    for (const row of rows) found.set(row.id, row)
  }
  return found
}

/** Throws `not-found` for an unknown, removed or foreign id, and for one of another kind. */
export async function getPrincipal(
  ctx: Ctx,
  { principalId, kinds, what }: { principalId: string; kinds: readonly PrincipalKind[]; what: Subject },
): Promise<PrincipalRef> {
  const row = await refs(ctx).where('id', '=', principalId).executeTakeFirst()
  if (!row || row.state === 'removed' || !kinds.includes(row.kind))
    throw new DomainError('not-found', { what, id: principalId })
  return row
}

export function findPrincipalByLogin(ctx: Ctx, login: string): Promise<PrincipalRef | undefined> {
  return refs(ctx).where('loginKey', '=', fold(login)).executeTakeFirst()
}

export function findPrincipalByHandle(ctx: Ctx, handle: string): Promise<PrincipalRef | undefined> {
  return refs(ctx).where('handle', '=', handle).executeTakeFirst()
}

/** Addresses are not unique: several accounts may share one. */
export function findPrincipalsByEmail(ctx: Ctx, email: string): Promise<PrincipalRef[]> {
  return refs(ctx).where('emailKey', '=', fold(email)).where('state', '!=', 'removed').orderBy('id').execute()
}

/** Who is known by an address only; made when it is met for the first time. Throws `invalid-input` for what is none. */
export async function findOrCreateAddress(ctx: TxCtx, email: string): Promise<PrincipalRef> {
  const columns = checkEmail(email)
  const known = await findAddress(ctx, email)
  if (known) return known
  await lockAddresses(ctx)
  const now = ctx.clock()
  return (
    (await findAddress(ctx, email)) ??
    ctx.db
      .insertInto('principal')
      .values({
        id: ctx.newId(),
        tenantId: ctx.actor.tenantId,
        kind: 'address',
        name: email,
        nameFold: fold(email),
        ...columns,
        state: 'active',
        onExpiry: 'block',
        createdAt: now,
        createdBy: ctx.actor.principalId,
        changedAt: now,
      })
      .returning(refColumns)
      .executeTakeFirstOrThrow()
  )
}

/** Two that meet an address for the first time make one principal of it. */
const lockAddresses = (ctx: TxCtx) => ctx.database.lock(ctx.db, `addresses:${ctx.actor.tenantId}`, 'exclusive')

const findAddress = (ctx: Ctx, email: string) =>
  refs(ctx)
    .where('emailKey', '=', fold(email))
    .where('kind', '=', 'address')
    .where('state', '!=', 'removed')
    .executeTakeFirst()

/**
 * What was sent to an address is the account's from now on, which has just got that address. Where the account was named
 * beside it, its own grant stays.
 */
export async function adoptAddress(
  ctx: TxCtx,
  { principalId, email }: { principalId: string; email: string },
): Promise<void> {
  await lockAddresses(ctx)
  const address = await findAddress(ctx, email)
  if (!address) return
  const grants = ctx.db.selectFrom('access_grant').select('nodeId').where('subjectId', '=', principalId)
  await ctx.db.deleteFrom('access_grant').where('subjectId', '=', address.id).where('nodeId', 'in', grants).execute()
  const moved = await ctx.db
    .updateTable('access_grant')
    .set({ subjectId: principalId })
    .where('subjectId', '=', address.id)
    .returning(['nodeId', 'actions'])
    .execute()
  const waiting = ctx.db.updateTable('mail').where('recipientId', '=', address.id).where('state', '=', 'waiting')
  await waiting.set({ recipientId: principalId }).execute()
  const gone = { state: 'removed', emailKey: null, changedAt: ctx.clock() } as const
  await ctx.db.updateTable('principal').set(gone).where('id', '=', address.id).execute()
  for (const { nodeId, actions } of moved) {
    const subjects = { subject1: `node:${nodeId}`, subject2: `principal:${principalId}` }
    await ctx.emit({ type: 'grant.changed', spaceId: nodeId, ...subjects, facts: { actions, before: address.id } })
  }
}

/** Throws `invalid-input` (email, taken) for the address of another account or a group; holds addresses until the transaction ends. */
export async function requireOwnEmail(
  ctx: TxCtx,
  { principalId, emailKey }: { principalId: string; emailKey: string },
): Promise<void> {
  await lockAddresses(ctx)
  const clash = await refs(ctx)
    .where('emailKey', '=', emailKey)
    .where('kind', '!=', 'address')
    .where('state', '!=', 'removed')
    .where('id', '!=', principalId)
    .executeTakeFirst()
  if (clash) throw new DomainError('invalid-input', { field: 'email', rule: 'taken' })
}

const refs = (ctx: Ctx) => ctx.db.selectFrom('principal').select(refColumns).where('tenantId', '=', ctx.actor.tenantId)

/** Why an account may not be used now; undefined when it may. */
export function accountRefusal(
  account: Pick<PrincipalTable, 'state' | 'expiresAt'> & { tenantState: TenantTable['state'] },
  now: number,
): 'blocked' | 'expired' | 'removed' | 'tenant' | undefined {
  if (account.state !== 'active') return account.state
  if (account.expiresAt !== null && account.expiresAt <= now) return 'expired'
  return account.tenantState === 'active' ? undefined : 'tenant'
}

/** In which capacity an account acts unless a caller lowers it. */
export const capacityOf = (kind: AccountKind): Actor['capacity'] =>
  kind === 'administrator' ? 'administrator' : 'user'

/** A condition: the folded column contains the text, whose own `%` and `_` mean nothing special. */
export function containsFolded(column: 'nameFold' | 'loginKey' | 'emailKey', text: string) {
  const pattern = `%${fold(text).replace(/[\\%_]/g, '\\$&')}%`
  return sql<boolean>`${sql.ref(column)} like ${pattern} escape '\\'`
}

/** Pieces of at most `size` entries. */
export function* chunked<T>(entries: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < entries.length; start += size) yield entries.slice(start, start + size)
}
