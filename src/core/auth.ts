/** Sign-in with login and password. */
import type { PrincipalTable } from '#db/schema.ts'
import { anonymousId, inTx, makeCtx, noProofs, type Actor, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { recordRefusal } from './events.ts'
import { isAddressAllowed } from './ip-ranges.ts'
import { fold } from './names.ts'
import { decoyHash, hashNow, inHashSlot, isHashOutdated, verifyNow } from './passwords.ts'
import { accountKinds } from './principals.ts'
import { refusalOfAccount } from './roles.ts'
import {
  actingAccount,
  actorOfAccount,
  createSession,
  notSignedIn,
  type ActingAccount,
  type Session,
} from './sessions.ts'
import { clearFailures, countFailure, requireNotThrottled, signInLimits } from './throttle.ts'

/** Who has not signed in yet. Holds no rights. */
export function anonymousActor(tenantId: string, client: string, address: string): Actor {
  return {
    principalId: anonymousId,
    tenantId,
    name: 'anonymous',
    kind: 'guest',
    capacity: 'user',
    client,
    address,
    proofs: noProofs,
  }
}

type Account = ActingAccount & Pick<PrincipalTable, 'passwordHash'>

/**
 * Opens a session for the account with that login or handle. Throws `wrong-credentials` (also for an unknown login, after
 * the same time), `throttled`, and only after the right password `account-blocked` or `not-signed-in` (address).
 */
export async function signIn(
  ctx: Ctx,
  { login, password, client, address }: { login: string; password: string; client: string; address: string },
): Promise<{ actor: Actor; secret: Buffer; session: Session }> {
  const account = await findAccount(ctx, login)
  const verified = await checkPassword(ctx, { account, login, password, address, event: 'sign-in' })
  if (!account) throw new DomainError('wrong-credentials', {}) // checkPassword has refused already
  const { principalId } = account
  await requireUsable(ctx, account, address)
  const actor = await actorOfAccount(ctx, account, { client, address })
  const { session, secret } = await inTx(makeCtx(ctx, actor, ctx.requestId), async ctx => {
    const row = await ctx.db
      .updateTable('principal')
      .set({ lastSignInAt: ctx.clock(), ...(verified.newHash && { passwordHash: verified.newHash }) })
      .where('id', '=', principalId)
      .where('state', '=', 'active')
      // A password that was changed meanwhile has ended the sessions: none may follow.
      .where('passwordHash', '=', account.passwordHash)
      .returning('id')
      .executeTakeFirst()
    if (!row) throw new DomainError('wrong-credentials', {})
    await clearFailures(ctx, signInLimits(ctx, { accountId: principalId, login, address }).account)
    const opened = await createSession(ctx, { principalId, factors: ['password'], client, address })
    await ctx.emit({ type: 'sign-in', subject1: `user:${principalId}`, subject2: `session:${opened.session.id}` })
    return opened
  })
  return { actor: { ...actor, sessionId: session.id }, secret, session }
}

/**
 * Verifies a password under the limits of account and address; a failure is counted and audited as `event`. Gives a new
 * hash where the stored one was made with outdated parameters. Not for use inside a transaction.
 */
export async function checkPassword(
  ctx: Ctx,
  {
    account,
    login,
    password,
    address,
    event,
  }: {
    account: { principalId: string; passwordHash: string | null } | undefined
    login: string
    password: string
    address: string
    event: 'sign-in' | 'user.password-changed'
  },
): Promise<{ newHash?: string }> {
  const limits = Object.values(signInLimits(ctx, { accountId: account?.principalId, login, address }))
  // Inside the slot, so that a thousand attempts at once do not all pass before the first failure is counted.
  return inHashSlot(async () => {
    await requireNotThrottled(ctx, limits)
    const isRight = await verifyNow(password, account?.passwordHash ?? decoyHash)
    if (isRight && account?.passwordHash)
      return isHashOutdated(account.passwordHash) ? { newHash: await hashNow(password) } : {}
    await inTx(ctx, async ctx => {
      await countFailure(ctx, limits)
      await ctx.emit({ type: event, outcome: 'refused', ...(account && { subject1: `user:${account.principalId}` }) })
    })
    throw new DomainError('wrong-credentials', {})
  })
}

async function requireUsable(ctx: Ctx, account: Account, address: string): Promise<void> {
  const reason = await refusalOfAccount(ctx, account, ctx.clock())
  if (!reason && isAddressAllowed(account.ipRanges, address)) return
  await recordRefusal(ctx, {
    type: 'sign-in',
    subject1: `user:${account.principalId}`,
    facts: { reason: reason ?? 'address' },
  })
  throw reason ? new DomainError('account-blocked', { reason }) : notSignedIn('address')
}

/** By login, else by handle. */
async function findAccount(ctx: Ctx, login: string): Promise<Account | undefined> {
  const rows = await ctx.db
    .selectFrom('principal')
    .innerJoin('tenant', 'tenant.id', 'principal.tenantId')
    .select(['principal.loginKey', 'principal.passwordHash'])
    .select(actingAccount)
    .where('principal.tenantId', '=', ctx.actor.tenantId)
    .where('principal.kind', 'in', accountKinds)
    .where(eb => eb.or([eb('loginKey', '=', fold(login)), eb('handle', '=', login)]))
    .execute()
  return rows.find(row => row.loginKey === fold(login)) ?? rows[0]
}
