/** Holds back who guesses secrets: failures are counted per account and per client, in a table that all processes share. */
import { createHash } from 'node:crypto'
import { prepared } from '#db/prepared.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { clientNetwork } from './ip-ranges.ts'
import { fold } from './names.ts'

/** One counter, and how many failures it lets pass before attempts have to wait. */
export interface Limit {
  key: string
  freeFailures: number
}

/** Many people may share an address, so it is let more mistakes than one account. */
const ADDRESS_FACTOR = 10
/** Longest wait: long enough against guessing, short enough for the person whose account is being attacked. */
const MAX_BLOCK_MS = 5 * 60_000
/** After such a pause the count starts anew. */
const FORGET_AFTER_MS = 24 * 3_600_000

/** The counters of a sign-in. A login that no account has is counted as well, else its lack of a limit would tell. */
export function signInLimits(
  ctx: Ctx,
  { accountId, login, address }: { accountId: string | undefined; login: string; address: string },
): { account: Limit; address: Limit } {
  const { throttleAfter } = ctx.settings
  const unknown = () =>
    createHash('sha256')
      .update(`${ctx.actor.tenantId}:${fold(login)}`)
      .digest('hex')
  return {
    account: {
      key: accountId === undefined ? `login:${unknown()}` : `account:${accountId}`,
      freeFailures: throttleAfter,
    },
    address: { key: `address:${clientNetwork(address)}`, freeFailures: throttleAfter * ADDRESS_FACTOR },
  }
}

/** The counters of somebody who shows the password of a space. */
export function proofLimits(ctx: Ctx, { spaceId }: { spaceId: number }): { person: Limit; address: Limit } {
  const { throttleAfter } = ctx.settings
  const { principalId, address } = ctx.actor
  return {
    person: { key: `proof:${spaceId}:${principalId}`, freeFailures: throttleAfter },
    address: { key: `proof-address:${clientNetwork(address)}`, freeFailures: throttleAfter * ADDRESS_FACTOR },
  }
}

const selectBlock = prepared<{ key: string }, { blockedUntil: number }>((db, arg) =>
  db.selectFrom('throttle').select('blockedUntil').where('key', '=', arg('key')),
)

/** Throws `throttled` when one of the counters says wait. */
export async function requireNotThrottled(ctx: Ctx, limits: readonly Limit[]): Promise<void> {
  const now = ctx.clock()
  let retryAfterMs = 0
  for (const { key } of limits) {
    const [row] = await selectBlock(ctx.db, { key })
    if (row) retryAfterMs = Math.max(retryAfterMs, row.blockedUntil - now)
  }
  if (retryAfterMs > 0) throw new DomainError('throttled', { retryAfterMs })
}

type Failure = { key: string; now: number; forgotten: number }

const insertFailure = prepared<Failure, { failures: number }>((db, arg) =>
  db
    .insertInto('throttle')
    .values({ key: arg('key'), failures: 1, lastFailureAt: arg('now'), blockedUntil: 0 })
    .onConflict(clash =>
      clash.column('key').doUpdateSet(eb => ({
        failures: eb
          .case()
          .when('throttle.lastFailureAt', '<', arg('forgotten'))
          .then(1)
          .else(eb('throttle.failures', '+', 1))
          .end(),
        lastFailureAt: arg('now'),
      })),
    )
    .returning('failures'),
)

/** Counts a failure; from `freeFailures` on each one doubles the wait. */
export async function countFailure(ctx: TxCtx, limits: readonly Limit[]): Promise<void> {
  const now = ctx.clock()
  for (const { key, freeFailures } of limits) {
    const [row] = await insertFailure(ctx.db, { key, now, forgotten: now - FORGET_AFTER_MS })
    const excess = (row?.failures ?? 0) - freeFailures
    if (excess < 0) continue
    const blockedUntil = now + Math.min(MAX_BLOCK_MS, ctx.settings.throttleMs * 2 ** excess)
    await ctx.db.updateTable('throttle').set({ blockedUntil }).where('key', '=', key).execute()
  }
}

export async function clearFailures(ctx: TxCtx, { key }: Limit): Promise<void> {
  await ctx.db.deleteFrom('throttle').where('key', '=', key).execute()
}

/** Removes counters that no longer count. Called by a regular job. */
export async function forgetFailures(ctx: TxCtx): Promise<void> {
  await ctx.db
    .deleteFrom('throttle')
    .where('lastFailureAt', '<', ctx.clock() - FORGET_AFTER_MS)
    .execute()
}
