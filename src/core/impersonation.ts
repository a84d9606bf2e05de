/** Administrators who act as somebody else. What they do then is recorded under both names. */
import type { PrincipalTable } from '#db/schema.ts'
import { makeCtx, noProofs, type Ctx } from './ctx.ts'
import { DomainError, type ErrorDetails } from './errors.ts'
import { recordRefusal } from './events.ts'
import { fold } from './names.ts'
import { accountKinds, type AccountKind } from './principals.ts'
import { hasRight, holdsRightsOf, refusalOfAccount } from './roles.ts'

type Account = Pick<PrincipalTable, 'id' | 'name' | 'state' | 'expiresAt'> & { kind: AccountKind }

/**
 * A context in which the actor is that user. For administrators who manage accounts and hold every right that the user
 * holds, without a scope; never for acting as another administrator. Throws `impersonation-refused`, which is audited.
 */
export async function impersonate(ctx: Ctx, who: { userId: string } | { login: string }): Promise<Ctx> {
  const account = await findAccount(ctx, who)
  const reason = await reasonAgainst(ctx, account)
  if (!account || reason) return refuse(ctx, reason ?? 'unknown', account)
  const { principalId, name } = ctx.actor
  return makeCtx(
    ctx,
    {
      ...ctx.actor,
      principalId: account.id,
      name: account.name,
      kind: account.kind,
      capacity: 'user',
      impersonator: { principalId, name },
      proofs: noProofs,
    },
    ctx.requestId,
  )
}

type RefusalReason = ErrorDetails['impersonation-refused']['reason']

async function reasonAgainst(ctx: Ctx, account: Account | undefined): Promise<RefusalReason | undefined> {
  if (ctx.actor.kind !== 'administrator' || !(await hasRight(ctx, 'users.manage'))) return 'not-an-administrator'
  if (!account || account.kind === 'administrator') return 'unknown'
  if (await refusalOfAccount(ctx, { ...account, principalId: account.id, tenantState: 'active' }, ctx.clock()))
    return 'blocked'
  return (await holdsRightsOf(ctx, account.id)) ? undefined : 'not-an-administrator'
}

async function refuse(ctx: Ctx, reason: RefusalReason, account: Account | undefined): Promise<never> {
  await recordRefusal(ctx, {
    type: 'access.refused',
    ...(account && { subject1: `user:${account.id}` }),
    facts: { action: 'impersonate', reason },
  })
  throw new DomainError('impersonation-refused', { reason })
}

async function findAccount(ctx: Ctx, who: { userId: string } | { login: string }): Promise<Account | undefined> {
  const accounts = ctx.db
    .selectFrom('principal')
    .select(['id', 'name', 'state', 'expiresAt', 'kind'])
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('kind', 'in', accountKinds)
    .where('state', '!=', 'removed')
  const row = await (
    'userId' in who ? accounts.where('id', '=', who.userId) : accounts.where('loginKey', '=', fold(who.login))
  ).executeTakeFirst()
  return row && { ...row, kind: row.kind as AccountKind } // no others are selected
}
