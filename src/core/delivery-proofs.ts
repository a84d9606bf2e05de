/**
 * What somebody shows to get into a delivery: its password, or one of its accesses. Each is traded for a token that the
 * client brings along with later requests; the server keeps nothing but the key that seals it.
 */
import { hash } from 'node:crypto'
import { inTx, type Ctx, type Proofs } from './ctx.ts'
import { DomainError, isDomainError, type ErrorDetails } from './errors.ts'
import { recordRefusal } from './events.ts'
import { requireOpenSpace } from './gates.ts'
import { inHashSlot, verifyNow } from './passwords.ts'
import { openSpaceKey } from './space-keys.ts'
import type { Space } from './space-rows.ts'
import { clearFailures, countFailure, proofLimits, requireNotThrottled } from './throttle.ts'

/** Proof of one kind for one space, held by whoever showed it. */
export interface ProofToken {
  /** Fit for a header: letters, digits, `-` and `_`, fewer than 1000 characters. */
  token: string
  /** Epoch milliseconds. */
  expiresAt: number
}

type Purpose = Extract<ErrorDetails['wrong-proof']['proof'], 'password' | 'access'>

/**
 * Shows the password of a delivery; the ctx that it gives has it shown already. The caller has made sure that the actor may know
 * of the delivery. A wrong password is counted and audited. Not for use inside a transaction.
 * Throws `wrong-proof`, `throttled`, `busy`, and `wrong-state` for a delivery without a password.
 */
export async function provePassword(
  ctx: Ctx,
  { space, password }: { space: Space; password: string },
): Promise<ProofToken & { ctx: Ctx }> {
  const { deliveryPasswordHash } = space
  if (deliveryPasswordHash === null)
    throw new DomainError('wrong-state', { what: 'delivery', state: 'without a password', needed: 'with a password' })
  await checkDeliveryPassword(ctx, { spaceId: space.id, hash: deliveryPasswordHash, password })
  const spaceKey = space.wrappingKey === null ? undefined : await openSpaceKey(ctx, { space, password })
  const mark = markOf(deliveryPasswordHash)
  const issued = issueToken(ctx, space.id, 'password', {
    mark,
    ...(spaceKey && { key: Buffer.from(spaceKey).toString('base64url') }),
  })
  return { ...issued, ctx: withPassword(ctx, space.id, spaceKey) }
}

async function checkDeliveryPassword(
  ctx: Ctx,
  { spaceId, hash, password }: { spaceId: number; hash: string; password: string },
): Promise<void> {
  const { person, address } = proofLimits(ctx, { spaceId })
  // Inside the slot, so that a thousand attempts at once do not all pass before the first failure is counted.
  await inHashSlot(async () => {
    await requireNotThrottled(ctx, [person, address])
    const isRight = await verifyNow(password, hash)
    await inTx(ctx, async ctx => {
      if (isRight) return clearFailures(ctx, person)
      await countFailure(ctx, [person, address])
      await ctx.emit({ ...refusal(spaceId, 'password'), outcome: 'refused' })
    })
    if (!isRight) throw new DomainError('wrong-proof', { proof: 'password' })
  })
}

const refusal = (spaceId: number, proof: Purpose) =>
  ({ type: 'access.refused', spaceId, subject1: `node:${spaceId}`, facts: { proof } }) as const

/** The ctx in which the password counts as shown. Throws `wrong-proof` for a token that is not good for this, or not any more. */
export function acceptPasswordToken(ctx: Ctx, { space, token }: { space: Space; token: string }): Ctx {
  const { mark, key } = openToken(ctx, space.id, 'password', token)
  if (space.deliveryPasswordHash === null || mark !== markOf(space.deliveryPasswordHash))
    throw new DomainError('wrong-proof', { proof: 'password' })
  return withPassword(ctx, space.id, key === undefined ? undefined : Buffer.from(key, 'base64url'))
}

function withPassword(ctx: Ctx, spaceId: number, spaceKey: Uint8Array | undefined): Ctx {
  const { passwordSpaceIds, spaceKeys } = ctx.actor.proofs
  return withProofs(ctx, {
    passwordSpaceIds: [...passwordSpaceIds, spaceId],
    ...(spaceKey && { spaceKeys: new Map(spaceKeys).set(spaceId, spaceKey) }),
  })
}

/**
 * Spends one of the accesses of a delivery, for all of the actor's requests until the token expires. The password, where
 * there is one, was shown before. Not for use inside a transaction.
 * Throws `access-limit-reached` (audited), `wrong-state` for a delivery without a limit, and what gates say.
 */
export async function spendAccess(ctx: Ctx, { space }: { space: Space }): Promise<ProofToken> {
  const { id: spaceId, accessLimit } = space
  if (accessLimit === null)
    throw new DomainError('wrong-state', { what: 'delivery', state: 'without a limit', needed: 'with a limit' })
  requireOpenSpace(withAccess(ctx, spaceId), space)
  if (!(await countAccess(ctx, spaceId))) {
    await recordRefusal(ctx, refusal(spaceId, 'access'))
    throw new DomainError('access-limit-reached', { spaceId, limit: accessLimit })
  }
  return issueToken(ctx, spaceId, 'access', {})
}

/** False where none is left. */
function countAccess(ctx: Ctx, spaceId: number): Promise<boolean> {
  return inTx(ctx, async ctx => {
    const counted = await ctx.db
      .updateTable('space')
      .set(eb => ({ accessCount: eb('accessCount', '+', 1) }))
      .where('id', '=', spaceId)
      .where('state', '=', 'active')
      .whereRef('accessCount', '<', 'accessLimit')
      .returning('accessCount')
      .executeTakeFirst()
    if (!counted) return false
    const facts = { access: counted.accessCount }
    await ctx.emit({ type: 'delivery.accessed', spaceId, subject1: `node:${spaceId}`, facts })
    return true
  })
}

/** The ctx in which an access counts as spent. Throws `wrong-proof` for a token that is not good for this, or not any more. */
export function acceptAccessToken(ctx: Ctx, { space, token }: { space: Space; token: string }): Ctx {
  openToken(ctx, space.id, 'access', token)
  return withAccess(ctx, space.id)
}

const withAccess = (ctx: Ctx, spaceId: number): Ctx =>
  withProofs(ctx, { accessSpaceIds: [...ctx.actor.proofs.accessSpaceIds, spaceId] })

const withProofs = (ctx: Ctx, shown: Partial<Proofs>): Ctx => ({
  ...ctx,
  actor: { ...ctx.actor, proofs: { ...ctx.actor.proofs, ...shown } },
})

/** Another password has another mark. */
const markOf = (passwordHash: string) => hash('sha256', passwordHash, 'base64url')

interface TokenContent {
  /** Of the password that was shown. */
  mark?: string
  /** Private key of the space, base64url. */
  key?: string
}

/** What a token is sealed for: it opens nowhere else. */
const tokenContext = ({ actor }: Ctx, spaceId: number, purpose: Purpose) =>
  `proof:${purpose}:${spaceId}:${actor.principalId}`

/** The name of the sealing key ends here; it holds no such byte. */
const NAME_END = 0

function issueToken(ctx: Ctx, spaceId: number, purpose: Purpose, content: TokenContent): ProofToken {
  const expiresAt = ctx.clock() + ctx.settings.proofLifeMs
  const keyName = ctx.keys.current
  const plain = Buffer.from(JSON.stringify({ ...content, expiresAt }))
  const sealed = ctx.keys.seal(plain, tokenContext(ctx, spaceId, purpose), keyName)
  const token = Buffer.concat([Buffer.from(keyName), Uint8Array.of(NAME_END), sealed]).toString('base64url')
  return { token, expiresAt }
}

function openToken(ctx: Ctx, spaceId: number, purpose: Purpose, token: string): TokenContent {
  const wrong = new DomainError('wrong-proof', { proof: purpose })
  const bytes = Buffer.from(token, 'base64url')
  const end = bytes.indexOf(NAME_END)
  // What decodes to the same bytes is not the same token.
  if (end < 0 || bytes.toString('base64url') !== token) throw wrong
  try {
    const sealed = bytes.subarray(end + 1)
    const plain = ctx.keys.open(sealed, tokenContext(ctx, spaceId, purpose), bytes.toString('latin1', 0, end))
    const content = JSON.parse(Buffer.from(plain).toString()) as TokenContent & { expiresAt: number } // sealed by us
    if (content.expiresAt > ctx.clock()) return content
  } catch (error) {
    if (!isDomainError(error, 'content-damaged')) throw error
  }
  throw wrong
}
