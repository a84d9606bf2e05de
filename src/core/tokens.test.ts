import { expect } from 'vitest'
import { test, type World } from '#test/world.ts'
import { actionSet } from './permissions.ts'
import { hashSecret } from './sessions.ts'
import { authenticateToken, createToken, listTokens, revokeToken } from './tokens.ts'

const use = (world: World, secret: string, { address = '192.0.2.1', tenantId = world.tenant.id } = {}) =>
  authenticateToken(world.deps, { secret, client: 'script', address, tenantId })

const unknown = { code: 'not-signed-in', details: { reason: 'unknown' } }

test('a token acts as its account within its scope; its secret is stored as a hash only', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const scope = [{ actions: actionSet(['list', 'read']), nodeId: world.tenant.rootNodeId }]
  const { token, secret } = await createToken(ctx, { principalId: user.id, name: 'backup', scope })

  expect(secret).toMatch(/^ent_[A-Za-z0-9_-]{43}$/)
  expect(await use(world, secret)).toMatchObject({ principalId: user.id, tokenId: token.id, scope, client: 'script' })
  const row = await world.deps.database.read.selectFrom('token').selectAll().executeTakeFirstOrThrow()
  expect(row.secretHash).toBe(hashSecret(secret))
  expect(JSON.stringify([row, await listTokens(ctx, { principalId: user.id })])).not.toContain(secret)
  expect(token.preview).toBe(secret.slice(0, 8))
  expect(await world.events()).toEqual(['token.created'])
})

test('a token without a scope does all that its account may do', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const { secret } = await createToken(ctx, { principalId: user.id, name: 'all' })
  expect(await use(world, secret)).not.toHaveProperty('scope')
})

test('a login that comes with a token is that of its account; a wrong one looks like an unknown token', async ({
  world,
}) => {
  const { user, ctx } = await world.user('Ann@example.org', { handle: 'ann' })
  await world.user('bob')
  const { secret } = await createToken(ctx, { principalId: user.id, name: 'a' })
  const from = { secret, client: 'script', address: '192.0.2.1', tenantId: world.tenant.id }
  for (const login of ['Ann@example.org', 'ann@EXAMPLE.org', 'ann']) {
    expect(await authenticateToken(world.deps, { ...from, login })).toMatchObject({ principalId: user.id })
  }
  for (const login of ['bob', 'nobody', '']) {
    await expect(authenticateToken(world.deps, { ...from, login })).rejects.toMatchObject(unknown)
  }
})

test('a token ends with its time, with its revocation, and outside its addresses and tenant', async ({ world }) => {
  const other = await world.otherTenant()
  const { user, ctx } = await world.user('alice')
  const expiresAt = world.deps.clock() + 60_000
  const { token, secret } = await createToken(ctx, {
    principalId: user.id,
    name: 'a',
    expiresAt,
    ipRanges: ['192.0.2.0/24', '2001:db8::/32'],
  })

  await expect(use(world, secret, { address: '198.51.100.1' })).rejects.toMatchObject({
    details: { reason: 'address' },
  })
  await expect(use(world, secret, { tenantId: other.id })).rejects.toMatchObject(unknown)
  await expect(use(world, 'ent_guess')).rejects.toMatchObject(unknown)
  await expect(use(world, secret, { address: '2001:db8::7' })).resolves.toBeDefined()
  world.advance(60_000)
  await expect(use(world, secret)).rejects.toMatchObject({ details: { reason: 'expired' } })

  await revokeToken(ctx, { tokenId: token.id })
  await revokeToken(ctx, { tokenId: token.id })
  await expect(use(world, secret)).rejects.toMatchObject(unknown)
  expect(await listTokens(ctx, { principalId: user.id })).toEqual([])
  expect(await world.events()).toEqual(['token.created', 'token.revoked'])
})

test('nobody makes, sees or revokes tokens of others without the right to', async ({ world }) => {
  const other = await world.otherTenant()
  const alice = await world.user('alice')
  const bob = await world.user('bob')
  const far = await world.user('far', { tenant: other })
  const { token } = await createToken(alice.ctx, { principalId: alice.user.id, name: 'a' })

  await expect(createToken(bob.ctx, { principalId: alice.user.id, name: 'b' })).rejects.toMatchObject({
    code: 'forbidden',
  })
  await expect(listTokens(bob.ctx, { principalId: alice.user.id })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(revokeToken(bob.ctx, { tokenId: token.id })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(revokeToken(far.ctx, { tokenId: token.id })).rejects.toMatchObject({ code: 'not-found' })
  await expect(createToken(world.system, { principalId: far.user.id, name: 'c' })).rejects.toMatchObject({
    code: 'not-found',
  })
})

test('a token with a scope cannot make one without', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const { secret } = await createToken(ctx, {
    principalId: user.id,
    name: 'narrow',
    scope: [{ actions: actionSet(['read']) }],
  })
  const scoped = world.ctx(await use(world, secret))
  await expect(createToken(scoped, { principalId: user.id, name: 'wide' })).rejects.toMatchObject({ code: 'forbidden' })
})

test('a scope names only nodes of the tenant', async ({ world }) => {
  const other = await world.otherTenant()
  const { user, ctx } = await world.user('alice')
  const scope = [{ actions: actionSet(['read']), nodeId: other.rootNodeId }]
  await expect(createToken(ctx, { principalId: user.id, name: 'far', scope })).rejects.toMatchObject({
    code: 'not-found',
  })
})
