/** API tokens: JWTs of users and administrators. */
import { randomBytes } from 'node:crypto'
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { findPrincipals, isAccountKind } from '#core/principals.ts'
import { createToken, findTokens, getToken } from '#core/tokens.ts'
import { json } from '#http/request-body.ts'
import { op, refusalsOf, Refused, wrongField } from './errors.ts'
import { parseIpRanges, presentIpRanges } from './ip-ranges.ts'
import { ApiTokenPath, Uuid } from './schemas.ts'

const TYPES = ['USER', 'ADMIN'] as const

const ApiToken = T.Object(
  {
    id: Uuid('API token.'),
    name: T.String({ description: 'Token name.' }),
    type: T.Enum(TYPES),
    ipRanges: T.Optional(T.String({ description: 'Allowed client ranges, CIDR, comma separated.' })),
    token: T.Optional(T.String({ description: 'A shortened preview.' })),
    userId: T.Optional(Uuid('Owner of a USER token.')),
    adminId: T.Optional(Uuid('Owner of an ADMIN token.')),
  },
  { title: 'ApiToken' },
)

const named = {
  name: T.String({ minLength: 1, description: 'Token name.' }),
  ipRanges: T.Optional(T.String({ description: 'Allowed client ranges, CIDR, comma separated.' })),
}
const ApiTokenCreate = T.Union([
  T.Object({ type: T.Literal('USER'), userId: Uuid('Owner.'), ...named }, { title: 'ApiTokenCreateUser' }),
  T.Object(
    { type: T.Literal('ADMIN'), adminId: Uuid('Owning administrator.'), ...named },
    { title: 'ApiTokenCreateAdmin' },
  ),
])

const tag = 'API tokens'

export const apiTokenOperations = [
  op({
    id: 'listApiTokens',
    method: 'GET',
    path: '/api-tokens',
    aliases: [{ method: 'GET', path: '/apiTokens' }],
    roles: 'admin',
    tag,
    summary: 'List API tokens',
    reply: T.Array(ApiToken),
    refusals: refusalsOf(401, 403),
    handler: async ({ ctx }) => (await findTokens(ctx)).map(presentToken),
  }),
  op({
    id: 'createApiToken',
    method: 'POST',
    path: '/api-tokens',
    aliases: [{ method: 'POST', path: '/apiTokens' }],
    roles: 'admin',
    tag,
    summary: 'Create an API token',
    description: 'The answer is the only place where the token can be seen.',
    body: json(ApiTokenCreate),
    status: 201,
    reply: T.Object({ id: Uuid('API token.'), token: T.String({ description: 'The JWT.' }) }),
    refusals: refusalsOf(400, 401, 403),
    handler: async ({ ctx, body, request }) => {
      const owner = await getOwner(ctx, body)
      const { token, secret } = await createToken(ctx, {
        principalId: owner.id,
        name: body.name,
        ipRanges: parseIpRanges(body.ipRanges),
        makeSecret: apiTokenId => signJwt({ owner, apiTokenId, host: request.hostname, issuedAt: ctx.clock() }),
      })
      return { id: token.id, token: secret }
    },
  }),
  op({
    id: 'getApiToken',
    method: 'GET',
    path: '/api-tokens/{apiTokenId}',
    aliases: [{ method: 'GET', path: '/apiTokens/{apiTokenId}' }],
    roles: 'admin',
    tag,
    summary: 'Get an API token',
    params: ApiTokenPath,
    reply: ApiToken,
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params }) => presentToken(await getToken(ctx, { tokenId: params.apiTokenId })),
  }),
]

interface Owner {
  id: string
  login: string
  role: 'user' | 'admin'
}

/** Refuses an id that is no account, and an owner that is not of the type of the token. */
async function getOwner(ctx: Ctx, body: Static<typeof ApiTokenCreate>): Promise<Owner> {
  const [field, given] =
    body.type === 'ADMIN' ? (['adminId', body.adminId] as const) : (['userId', body.userId] as const)
  const id = given.toLowerCase()
  const account = (await findPrincipals(ctx, [id])).get(id)
  if (!account || account.state === 'removed' || !isAccountKind(account.kind))
    throw new Refused(wrongField(field, 'is unknown'))
  const role = account.kind === 'administrator' ? 'admin' : 'user'
  if (role.toUpperCase() !== body.type) throw new Refused(wrongField(field, `is no ${body.type.toLowerCase()}`))
  return { id, login: account.login ?? '', role }
}

const KEY_BYTES = 32

/**
 * What the token says of itself, for its reader. The server knows it by its hash, so the key that signs it is kept by
 * nobody; nothing in it can be forged into another token.
 */
async function signJwt({
  owner,
  apiTokenId,
  host,
  issuedAt,
}: {
  owner: Owner
  apiTokenId: string
  host: string
  /** Epoch milliseconds. */
  issuedAt: number
}): Promise<string> {
  const { SignJWT } = await import('jose')
  return new SignJWT({ uid: owner.id, apiTokenId, role: owner.role })
    .setProtectedHeader({ alg: 'HS256' })
    .setAudience(host)
    .setIssuer(host)
    .setSubject(owner.login)
    .setIssuedAt(Math.floor(issuedAt / 1000))
    .sign(randomBytes(KEY_BYTES))
}

type CoreToken = Awaited<ReturnType<typeof getToken>>

function presentToken({ id, name, ownerKind, principalId, ipRanges, preview }: CoreToken): Static<typeof ApiToken> {
  const isAdmin = ownerKind === 'administrator'
  return {
    id,
    name,
    type: isAdmin ? 'ADMIN' : 'USER',
    ...(ipRanges.length > 0 && { ipRanges: presentIpRanges(ipRanges) }),
    token: preview,
    ...(isAdmin ? { adminId: principalId } : { userId: principalId }),
  }
}
