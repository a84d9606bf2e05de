/**
 * API keys: `ent_` and 32 random bytes, or a text that the caller makes; shown once, stored as a hash. They act as their
 * account, within their scope.
 */
import { randomBytes } from 'node:crypto'
import { remembered } from '#db/prepared.ts'
import type { PrincipalKind, PrincipalTable, TokenTable } from '#db/schema.ts'
import { inTx, type Actor, type Ctx, type Deps, type ScopeEntry, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { isAddressAllowed, loadIpRanges, storeIpRanges } from './ip-ranges.ts'
import { accountKinds, getPrincipal, type AccountKind } from './principals.ts'
import { requireRight } from './roles.ts'
import {
  actingAccount,
  actorOfAccount,
  hashSecret,
  isLoginOf,
  notSignedIn,
  requireAccountRight,
  type ActingAccount,
} from './sessions.ts'
import { noteUse } from './touches.ts'

type TokenRow = Pick<TokenTable, (typeof columns)[number]>

const columns = [
  'id',
  'principalId',
  'name',
  'preview',
  'scope',
  'ipRanges',
  'createdAt',
  'createdBy',
  'expiresAt',
  'lastUsedAt',
  'revokedAt',
] as const

export interface Token extends Omit<TokenRow, 'scope' | 'ipRanges'> {
  /** Undefined: all that the account may do. */
  scope: readonly ScopeEntry[] | undefined
  /** Empty: from anywhere that the account allows. */
  ipRanges: readonly string[]
}

const PREFIX = 'ent_'
const SECRET_BYTES = 32
/** Characters of the secret that lists show: enough to tell tokens apart, too few to guess the rest. */
const PREVIEW_LENGTH = PREFIX.length + 4
/** Of a secret that the caller made: its kind at the beginning, and what differs at the end. */
const MADE_PREVIEW = { start: 10, end: 6 }
const MAX_NAME_LENGTH = 200

/** The secret is in the answer and nowhere else. For oneself, or for others by who manages accounts. */
export async function createToken(
  ctx: Ctx,
  input: {
    principalId: string
    name: string
    scope?: readonly ScopeEntry[]
    expiresAt?: number | null
    ipRanges?: readonly string[]
    /** Gives the secret for the id of the token: at least 256 random bits must be in it. */
    makeSecret?: (tokenId: string) => string | Promise<string>
  },
): Promise<{ token: Token; secret: string }> {
  const { principalId, name, scope, expiresAt = null, ipRanges, makeSecret } = input
  await getPrincipal(ctx, { principalId, kinds: accountKinds, what: 'user' })
  await requireAccountRight(ctx, principalId)
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH)
    throw new DomainError('invalid-input', { field: 'name', rule: 'length' })
  const id = ctx.newId()
  const secret = makeSecret ? await makeSecret(id) : PREFIX + randomBytes(SECRET_BYTES).toString('base64url')
  return inTx(ctx, async ctx => {
    await requireNodes(ctx, scope ?? [])
    const row = await ctx.db
      .insertInto('token')
      .values({
        id,
        secretHash: hashSecret(secret),
        tenantId: ctx.actor.tenantId,
        principalId,
        name,
        preview: previewOf(secret),
        scope: scope ? JSON.stringify(scope) : null,
        ipRanges: storeIpRanges(ipRanges),
        createdAt: ctx.clock(),
        createdBy: ctx.actor.principalId,
        expiresAt,
      })
      .returning(columns)
      .executeTakeFirstOrThrow()
    await ctx.emit({
      type: 'token.created',
      subject1: `token:${row.id}`,
      subject2: `user:${principalId}`,
      facts: { expiresAt },
    })
    return { token: present(row), secret }
  })
}

const previewOf = (secret: string) =>
  secret.startsWith(PREFIX)
    ? secret.slice(0, PREVIEW_LENGTH)
    : `${secret.slice(0, MADE_PREVIEW.start)}...${secret.slice(-MADE_PREVIEW.end)}`

type SecretRow = ActingAccount &
  Pick<PrincipalTable, 'loginKey' | 'handle'> &
  Pick<TokenTable, 'scope' | 'lastUsedAt' | 'revokedAt'> & {
    tokenId: string
    tokenExpiresAt: number | null
    tokenIpRanges: string | null
  }

const selectBySecret = remembered<{ secretHash: string; tenantId: string }, SecretRow>((db, arg) =>
  db
    .selectFrom('token')
    .innerJoin('principal', 'principal.id', 'token.principalId')
    .innerJoin('tenant', 'tenant.id', 'token.tenantId')
    .select([
      'token.id as tokenId',
      'token.scope',
      'token.lastUsedAt',
      'token.revokedAt',
      'token.expiresAt as tokenExpiresAt',
      'token.ipRanges as tokenIpRanges',
      'principal.loginKey',
      'principal.handle',
    ])
    .select(actingAccount)
    .where('token.secretHash', '=', arg('secretHash'))
    .where('token.tenantId', '=', arg('tenantId')),
)

/** The actor of a request with a token; a `login` that comes with it must be the account's (or its handle). Throws `not-signed-in`. */
export async function authenticateToken(
  deps: Deps,
  input: { secret: string; login?: string; client: string; address: string; tenantId: string },
): Promise<Actor> {
  const { secret, address, tenantId } = input
  const [row] = await selectBySecret(deps.database.read, { secretHash: hashSecret(secret), tenantId })
  if (!row || row.revokedAt !== null || !isLoginOf(row, input.login)) throw notSignedIn('unknown')
  const now = deps.clock()
  if (row.tokenExpiresAt !== null && row.tokenExpiresAt <= now) throw notSignedIn('expired')
  if (!isAddressAllowed(row.tokenIpRanges, address)) throw notSignedIn('address')
  const actor = await actorOfAccount(deps, row, input)
  noteUse(deps, 'tokens', row.tokenId, row.lastUsedAt)
  return { ...actor, tokenId: row.tokenId, ...(row.scope !== null && { scope: loadScope(row.scope) }) }
}

/** Ends a token for good. Revoking a revoked one changes nothing. */
export async function revokeToken(ctx: Ctx, { tokenId }: { tokenId: string }): Promise<void> {
  const token = await ctx.db
    .selectFrom('token')
    .select('principalId')
    .where('id', '=', tokenId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  if (!token) throw new DomainError('not-found', { what: 'token', id: tokenId })
  await requireAccountRight(ctx, token.principalId)
  await inTx(ctx, async ctx => {
    const row = await ctx.db
      .updateTable('token')
      .set({ revokedAt: ctx.clock() })
      .where('id', '=', tokenId)
      .where('revokedAt', 'is', null)
      .returning('id')
      .executeTakeFirst()
    if (row)
      await ctx.emit({ type: 'token.revoked', subject1: `token:${tokenId}`, subject2: `user:${token.principalId}` })
  })
}

/** Revokes every token of an account and answers how many. Authorises nothing: part of other acts. */
export async function revokeTokensOf(ctx: TxCtx, principalId: string): Promise<number> {
  const rows = await ctx.db
    .updateTable('token')
    .set({ revokedAt: ctx.clock() })
    .where('principalId', '=', principalId)
    .where('revokedAt', 'is', null)
    .returning('id')
    .execute()
  for (const { id } of rows)
    await ctx.emit({ type: 'token.revoked', subject1: `token:${id}`, subject2: `user:${principalId}` })
  return rows.length
}

/** Tokens of an account that are not revoked, latest first. */
export async function listTokens(ctx: Ctx, { principalId }: { principalId: string }): Promise<Token[]> {
  await getPrincipal(ctx, { principalId, kinds: accountKinds, what: 'user' })
  await requireAccountRight(ctx, principalId)
  const rows = await ctx.db
    .selectFrom('token')
    .select(columns)
    .where('principalId', '=', principalId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('revokedAt', 'is', null)
    .orderBy('createdAt', 'desc')
    .orderBy('id', 'desc')
    .execute()
  return rows.map(present)
}

type OwnedToken = Token & { ownerKind: AccountKind }

/** All tokens of the tenant that are not revoked, latest first, for who manages accounts. */
export async function findTokens(ctx: Ctx): Promise<OwnedToken[]> {
  await requireRight(ctx, 'users.manage')
  const rows = await ownedTokens(ctx).orderBy('token.createdAt', 'desc').orderBy('token.id', 'desc').execute()
  return rows.map(presentOwned)
}

/** A token that is not revoked. Throws `not-found`. */
export async function getToken(ctx: Ctx, { tokenId }: { tokenId: string }): Promise<OwnedToken> {
  await requireRight(ctx, 'users.manage')
  const row = await ownedTokens(ctx).where('token.id', '=', tokenId).executeTakeFirst()
  if (!row) throw new DomainError('not-found', { what: 'token', id: tokenId })
  return presentOwned(row)
}

const ownedTokens = (ctx: Ctx) =>
  ctx.db
    .selectFrom('token')
    .innerJoin('principal', 'principal.id', 'token.principalId')
    .select(columns.map(column => `token.${column}` as const))
    .select('principal.kind as ownerKind')
    .where('token.tenantId', '=', ctx.actor.tenantId)
    .where('token.revokedAt', 'is', null)

/** A scope may only name nodes of the tenant. */
async function requireNodes(ctx: TxCtx, scope: readonly ScopeEntry[]): Promise<void> {
  for (const { nodeId } of scope) {
    if (nodeId === undefined) continue
    const node = await ctx.db
      .selectFrom('node')
      .select('id')
      .where('id', '=', nodeId)
      .where('tenantId', '=', ctx.actor.tenantId)
      .executeTakeFirst()
    if (!node) throw new DomainError('not-found', { what: 'node', id: String(nodeId) })
  }
}

const loadScope = (stored: string) => JSON.parse(stored) as ScopeEntry[] // written by createToken

const presentOwned = ({ ownerKind, ...row }: TokenRow & { ownerKind: PrincipalKind }): OwnedToken => ({
  ...present(row),
  ownerKind: ownerKind as AccountKind, // `createToken` takes no others
})

const present = (row: TokenRow): Token => ({
  ...row,
  scope: row.scope === null ? undefined : loadScope(row.scope),
  ipRanges: loadIpRanges(row.ipRanges),
})
