/** Sessions: what a sign-in gives. The secret is random and stored as a hash only. */
import { hash, randomBytes } from 'node:crypto'
import { remembered } from '#db/prepared.ts'
import type { PrincipalTable, SessionTable, TenantTable } from '#db/schema.ts'
import { inTx, noProofs, type Actor, type Ctx, type Deps, type TxCtx } from './ctx.ts'
import { DomainError, type ErrorDetails } from './errors.ts'
import { isAddressAllowed } from './ip-ranges.ts'
import { fold } from './names.ts'
import { capacityOf, isAccountKind } from './principals.ts'
import { refusalOfAccount, requireRight, requireRightsOver } from './roles.ts'
import { lastUse, noteUse, TOUCH_LAG_MS } from './touches.ts'

export type Session = Pick<SessionTable, (typeof columns)[number]>

const columns = [
  'id',
  'principalId',
  'client',
  'address',
  'createdAt',
  'lastSeenAt',
  'idleTimeoutMs',
  'expiresAt',
  'endedAt',
] as const

const SECRET_BYTES = 16
const MAX_CLIENT_LENGTH = 200

/** How a presented secret is looked up: 128 random bits need no slow hash, and an index does not leak them. */
export const hashSecret = (secret: Uint8Array | string) => hash('sha256', secret, 'hex')

/** Opens a session for an account that has just proven `factors`. The event is the caller's. */
export async function createSession(
  ctx: TxCtx,
  {
    principalId,
    factors,
    client,
    address,
  }: { principalId: string; factors: readonly string[]; client: string; address: string },
): Promise<{ session: Session; secret: Buffer }> {
  const secret = randomBytes(SECRET_BYTES)
  const now = ctx.clock()
  const session = await ctx.db
    .insertInto('session')
    .values({
      id: ctx.newId(),
      tokenHash: hashSecret(secret),
      tenantId: ctx.actor.tenantId,
      principalId,
      factors: JSON.stringify(Object.fromEntries(factors.map(factor => [factor, now]))),
      client: client.slice(0, MAX_CLIENT_LENGTH),
      address,
      createdAt: now,
      lastSeenAt: now,
      idleTimeoutMs: ctx.settings.sessionIdleMs,
      expiresAt: now + ctx.settings.sessionLifeMs,
    })
    .returning(columns)
    .executeTakeFirstOrThrow()
  return { session, secret }
}

/** What must be known of an account for it to act, by whatever it was recognised. */
export type ActingAccount = Pick<PrincipalTable, 'kind' | 'name' | 'login' | 'state' | 'expiresAt' | 'ipRanges'> & {
  principalId: string
  tenantId: string
  tenantState: TenantTable['state']
}

/** Its columns, where principal and tenant are joined. */
export const actingAccount = [
  'principal.id as principalId',
  'principal.tenantId',
  'principal.kind',
  'principal.name',
  'principal.login',
  'principal.state',
  'principal.expiresAt',
  'principal.ipRanges',
  'tenant.state as tenantState',
] as const

type SessionRow = ActingAccount &
  Pick<PrincipalTable, 'loginKey' | 'handle'> &
  Pick<SessionTable, 'lastSeenAt' | 'idleTimeoutMs' | 'endedAt'> & { sessionId: string; sessionExpiresAt: number }

const selectSession = remembered<{ tokenHash: string; tenantId: string }, SessionRow>((db, arg) =>
  db
    .selectFrom('session')
    .innerJoin('principal', 'principal.id', 'session.principalId')
    .innerJoin('tenant', 'tenant.id', 'session.tenantId')
    .select([
      'session.id as sessionId',
      'session.lastSeenAt',
      'session.idleTimeoutMs',
      'session.expiresAt as sessionExpiresAt',
      'session.endedAt',
      'principal.loginKey',
      'principal.handle',
    ])
    .select(actingAccount)
    .where('session.tokenHash', '=', arg('tokenHash'))
    .where('session.tenantId', '=', arg('tenantId')),
)

/** The actor of a request with a session. `login`, when the client sends one, must be the account's (or its handle). */
export async function authenticateSession(
  deps: Deps,
  input: { secret: Uint8Array; login?: string; client: string; address: string; tenantId: string },
): Promise<Actor> {
  const [row] = await selectSession(deps.database.read, {
    tokenHash: hashSecret(input.secret),
    tenantId: input.tenantId,
  })
  if (!row || row.endedAt !== null) throw notSignedIn('unknown')
  if (!isLoginOf(row, input.login)) throw notSignedIn('unknown')
  const now = deps.clock()
  // The stored time may be behind by the lag: better a minute too long than a session that ends under the user's hands.
  const idleUntil = lastUse(deps, 'sessions', row.sessionId, row.lastSeenAt) + row.idleTimeoutMs + TOUCH_LAG_MS
  if (row.sessionExpiresAt <= now || idleUntil <= now) throw notSignedIn('expired')
  const actor = await actorOfAccount(deps, row, input)
  noteUse(deps, 'sessions', row.sessionId, row.lastSeenAt)
  return { ...actor, sessionId: row.sessionId }
}

/** Whether a login that came with a secret is the account's, or its handle; none is as good. */
export const isLoginOf = (
  account: Pick<PrincipalTable, 'login' | 'loginKey' | 'handle'>,
  login: string | undefined,
): boolean =>
  login === undefined || login === account.login || login === account.handle || fold(login) === account.loginKey

/** Throws `not-signed-in` when the account may not be used from there, or not at all. */
export async function actorOfAccount(
  deps: Deps,
  row: ActingAccount,
  { client, address }: { client: string; address: string },
): Promise<Actor> {
  if (!isAddressAllowed(row.ipRanges, address)) throw notSignedIn('address')
  const refusal = await refusalOfAccount({ db: deps.database.read }, row, deps.clock())
  if (refusal || !isAccountKind(row.kind)) throw notSignedIn('account')
  return {
    principalId: row.principalId,
    tenantId: row.tenantId,
    name: row.name,
    kind: row.kind,
    capacity: capacityOf(row.kind),
    client,
    address,
    proofs: noProofs,
  }
}

export const notSignedIn = (reason: ErrorDetails['not-signed-in']['reason']) =>
  new DomainError('not-signed-in', { reason })

/** One's own session, or somebody else's by who manages accounts. Ending an ended one changes nothing. */
export async function endSession(ctx: Ctx, sessionId: string): Promise<void> {
  const session = await ctx.db
    .selectFrom('session')
    .select('principalId')
    .where('id', '=', sessionId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  if (!session) throw new DomainError('not-found', { what: 'session', id: sessionId })
  await requireAccountRight(ctx, session.principalId)
  await inTx(ctx, async ctx => {
    const ended = await endWhere(ctx, { sessionId })
    if (ended > 0)
      await ctx.emit({ type: 'sign-out', subject1: `user:${session.principalId}`, subject2: `session:${sessionId}` })
  })
}

/** Ends the sessions of an account, except one, and answers how many. Authorises nothing: part of other acts. */
export async function endSessionsOf(
  ctx: TxCtx,
  principalId: string,
  { except }: { except?: string | undefined } = {},
): Promise<number> {
  const ended = await endWhere(ctx, { principalId, except })
  if (ended > 0) await ctx.emit({ type: 'sign-out', subject1: `user:${principalId}`, facts: { sessions: ended } })
  return ended
}

/** The live sessions of an account, latest first: one's own, or anybody's by who manages accounts. */
export async function listSessions(ctx: Ctx, { principalId }: { principalId: string }): Promise<Session[]> {
  await requireAccountRight(ctx, principalId)
  const rows = await ctx.db
    .selectFrom('session')
    .select(columns)
    .where('principalId', '=', principalId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('endedAt', 'is', null)
    .where('expiresAt', '>', ctx.clock())
    .orderBy('createdAt', 'desc')
    .execute()
  const now = ctx.clock()
  return rows.filter(row => row.lastSeenAt + row.idleTimeoutMs + TOUCH_LAG_MS > now)
}

/** Removes rows of sessions that ended or ran out before `before`. Called by a regular job. */
export async function forgetSessions(ctx: TxCtx, { before }: { before: number }): Promise<void> {
  await ctx.db
    .deleteFrom('session')
    .where(eb => eb.or([eb('expiresAt', '<', before), eb('endedAt', '<', before)]))
    .execute()
}

/** Passes for the account itself, unless a scope narrows it, and for who manages accounts. */
export async function requireAccountRight(ctx: Ctx, principalId: string): Promise<void> {
  if (principalId === ctx.actor.principalId && !ctx.actor.scope) return
  await requireRight(ctx, 'users.manage')
  await requireRightsOver(ctx, principalId)
}

async function endWhere(
  ctx: TxCtx,
  { sessionId, principalId, except }: { sessionId?: string; principalId?: string; except?: string | undefined },
): Promise<number> {
  let live = ctx.db.updateTable('session').set({ endedAt: ctx.clock() }).where('endedAt', 'is', null)
  if (sessionId !== undefined) live = live.where('id', '=', sessionId)
  if (principalId !== undefined) live = live.where('principalId', '=', principalId)
  if (except !== undefined) live = live.where('id', '!=', except)
  const rows = await live.returning('id').execute()
  return rows.length
}
