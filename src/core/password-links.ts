/** Mailed links with which somebody chooses a password, once. The link is all that he has to show. */
import { randomBytes } from 'node:crypto'
import type { PasswordLinkTable, PrincipalTable, ProfileTable } from '#db/schema.ts'
import { inTx, makeCtx, type Actor, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { queueMail } from './mail.ts'
import { checkNewPassword, hashPassword } from './passwords.ts'
import { accountKinds, capacityOf, getPrincipal, type AccountKind } from './principals.ts'
import { refusalOfAccount, requireRight, requireRightsOver } from './roles.ts'
import { openSecret, putSecret, removeSecrets } from './secrets.ts'
import { hashSecret } from './sessions.ts'
import { countFailure, requireNotThrottled, signInLimits } from './throttle.ts'
import { writePasswordHash } from './users.ts'

const TOKEN_BYTES = 32
/** The token waits here, sealed, until its mail is out. */
const PURPOSE = 'password-link'

/**
 * Mails the account a link with which its owner sets his password; earlier links end. Throws `not-found`, `forbidden`, and
 * `invalid-input` for an account without an address.
 */
export async function sendPasswordLink(ctx: Ctx, { userId }: { userId: string }): Promise<{ expiresAt: number }> {
  await requireRight(ctx, 'users.manage')
  const account = await getPrincipal(ctx, { principalId: userId, kinds: accountKinds, what: 'user' })
  await requireRightsOver(ctx, userId)
  if (account.email === null) throw new DomainError('invalid-input', { field: 'email', rule: 'missing' })
  return inTx(ctx, async ctx => {
    await ctx.database.lock(ctx.db, `password-link:${userId}`, 'exclusive')
    await endLinks(ctx, userId)
    const { linkId, expiresAt } = await insertLink(ctx, userId)
    await queueMail(ctx, { kind: 'choose-password', recipientId: userId, subjectId: linkId, occasion: 'asked' })
    await ctx.emit({ type: 'password-link.created', subject1: `user:${userId}`, facts: { expiresAt } })
    return { expiresAt }
  })
}

async function insertLink(ctx: TxCtx, principalId: string): Promise<{ linkId: string; expiresAt: number }> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  const createdAt = ctx.clock()
  const link = { id: ctx.newId(), principalId, createdAt, expiresAt: createdAt + ctx.settings.passwordLinkMs }
  await ctx.db
    .insertInto('password_link')
    .values({ ...link, tenantId: ctx.actor.tenantId, tokenHash: hashSecret(token) })
    .execute()
  await putSecret(ctx, { purpose: PURPOSE, ownerId: link.id, plain: token })
  return { linkId: link.id, expiresAt: link.expiresAt }
}

async function endLinks(ctx: TxCtx, principalId: string): Promise<void> {
  const ended = await ctx.db
    .updateTable('password_link')
    .set({ expiresAt: ctx.clock() })
    .where('principalId', '=', principalId)
    .where('usedAt', 'is', null)
    .where('expiresAt', '>', ctx.clock())
    .returning('id')
    .execute()
  for (const { id } of ended) await forgetToken(ctx, id)
}

/** What goes into the mail; undefined for a link that is used or over. */
export async function findMailedLink(
  ctx: Ctx,
  linkId: string,
): Promise<{ token: string; expiresAt: number } | undefined> {
  const link = await ctx.db
    .selectFrom('password_link')
    .select('expiresAt')
    .where('id', '=', linkId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('usedAt', 'is', null)
    .where('expiresAt', '>', ctx.clock())
    .executeTakeFirst()
  const token = link && (await openSecret(ctx, { purpose: PURPOSE, ownerId: linkId }))
  return token === undefined ? undefined : { token, expiresAt: link!.expiresAt }
}

/** The mail is out: from now on only its reader has the token. */
export async function forgetToken(ctx: TxCtx, linkId: string): Promise<void> {
  await removeSecrets(ctx, { purpose: PURPOSE, ownerId: linkId })
}

/** Whose password a link sets. */
export type PasswordLink = Pick<PasswordLinkTable, 'id' | 'tenantId' | 'expiresAt'> &
  Pick<PrincipalTable, 'login' | 'name'> & { userId: string; kind: AccountKind; language: ProfileTable['language'] }

/**
 * The link with that token, of whichever tenant: the mail names one address of the server for all of them. Throws `not-found`
 * for an unknown, used or ended one and for an account that may not be used, and `throttled` for who tries many.
 */
export async function getPasswordLink(ctx: Ctx, { token }: { token: string }): Promise<PasswordLink> {
  const { address } = signInLimits(ctx, { accountId: undefined, login: '', address: ctx.actor.address })
  await requireNotThrottled(ctx, [address])
  const found = await selectLink(ctx, token)
  if (found) return found
  await inTx(ctx, ctx => countFailure(ctx, [address]))
  throw unknownLink()
}

const unknownLink = () => new DomainError('not-found', { what: 'link', id: '' })

async function selectLink(ctx: Ctx, token: string): Promise<PasswordLink | undefined> {
  const row = await ctx.db
    .selectFrom('password_link as link')
    .innerJoin('principal', 'principal.id', 'link.principalId')
    .innerJoin('tenant', 'tenant.id', 'link.tenantId')
    .leftJoin('profile', 'profile.principalId', 'principal.id')
    .select(['link.id', 'link.tenantId', 'link.expiresAt', 'principal.id as userId', 'principal.login'])
    .select(['principal.name', 'principal.kind', 'principal.state', 'principal.expiresAt as accountExpiresAt'])
    .select(['tenant.state as tenantState', 'profile.language'])
    .where('link.tokenHash', '=', hashSecret(token))
    .where('link.usedAt', 'is', null)
    .where('link.expiresAt', '>', ctx.clock())
    .where('principal.kind', 'in', accountKinds)
    .executeTakeFirst()
  if (!row) return undefined
  const { state, accountExpiresAt, tenantState, kind, ...link } = row
  const account = { state, expiresAt: accountExpiresAt, tenantState, principalId: row.userId }
  if (await refusalOfAccount(ctx, account, ctx.clock())) return undefined
  return { ...link, kind: kind as AccountKind } // the query selects no others
}

/**
 * Sets the password, uses the link up and ends the account's sessions. Throws `not-found` and `throttled` as
 * `getPasswordLink`, and `password-refused`, after which the link can still be used. Not for use inside a transaction.
 */
export async function choosePassword(
  ctx: Ctx,
  { token, password }: { token: string; password: string },
): Promise<PasswordLink> {
  const link = await getPasswordLink(ctx, { token })
  checkNewPassword(password, ctx.settings)
  const passwordHash = await hashPassword(password)
  await inTx(makeCtx(ctx, ownerOf(link, ctx.actor), ctx.requestId), async ctx => {
    const used = await ctx.db
      .updateTable('password_link')
      .set({ usedAt: ctx.clock() })
      .where('id', '=', link.id)
      .where('usedAt', 'is', null)
      .where('expiresAt', '>', ctx.clock())
      .returning('id')
      .executeTakeFirst()
    if (!used) throw unknownLink()
    await forgetToken(ctx, link.id)
    await writePasswordHash(ctx, { userId: link.userId, passwordHash })
  })
  return link
}

/** Who holds the link is the account's owner. */
const ownerOf = ({ userId, tenantId, name, kind }: PasswordLink, visitor: Actor): Actor => ({
  ...visitor,
  principalId: userId,
  tenantId,
  name,
  kind,
  capacity: capacityOf(kind),
})

/** Forgets links of all tenants that ended before, and their tokens. Called by a regular job. */
export async function forgetPasswordLinks(ctx: Ctx, { before }: { before: number }): Promise<void> {
  await inTx(ctx, async ctx => {
    const old = ctx.db.selectFrom('password_link').select('id').where('expiresAt', '<', before)
    await ctx.db.deleteFrom('secret').where('purpose', '=', PURPOSE).where('ownerId', 'in', old).execute()
    await ctx.db.deleteFrom('password_link').where('expiresAt', '<', before).execute()
  })
}
