import { expect } from 'vitest'
import { test, type World, type WorldUser } from '#test/world.ts'
import { anonymousActor, signIn } from './auth.ts'
import { inTx } from './ctx.ts'
import { grantRight } from './roles.ts'
import { authenticateSession, endSession, endSessionsOf, forgetSessions, listSessions } from './sessions.ts'
import { updateTenant } from './tenants.ts'
import { authenticateToken, createToken } from './tokens.ts'
import { flushTouches, startTouches, TOUCH_LAG_MS } from './touches.ts'
import { updateUser } from './users.ts'

const ADDRESS = '192.0.2.1'

function open(world: World, { user, password }: WorldUser) {
  const ctx = world.ctx(anonymousActor(user.tenantId, 'browser', ADDRESS))
  return signIn(ctx, { login: user.login ?? '', password, client: 'browser', address: ADDRESS })
}

const use = (world: World, secret: Uint8Array, input: { login?: string; address?: string; tenantId?: string } = {}) =>
  authenticateSession(world.deps, { secret, client: 'browser', address: ADDRESS, tenantId: world.tenant.id, ...input })

const expired = { code: 'not-signed-in', details: { reason: 'expired' } }
const unknown = { code: 'not-signed-in', details: { reason: 'unknown' } }

test('a session authenticates as its account, with the client and address of the request', async ({ world }) => {
  const alice = await world.user('alice', { name: 'Alice A.' })
  const { secret, session } = await open(world, alice)
  expect(await use(world, secret, { address: '192.0.2.99' })).toMatchObject({
    principalId: alice.user.id,
    name: 'Alice A.',
    sessionId: session.id,
    address: '192.0.2.99',
    capacity: 'user',
  })
})

test('an unknown secret, another tenant and somebody else’s login are refused', async ({ world }) => {
  const other = await world.otherTenant()
  const { secret } = await open(world, await world.user('Alice', { handle: 'al' }))
  await world.user('bob')

  await expect(use(world, Buffer.alloc(16))).rejects.toMatchObject(unknown)
  await expect(use(world, secret, { tenantId: other.id })).rejects.toMatchObject(unknown)
  await expect(use(world, secret, { login: 'bob' })).rejects.toMatchObject(unknown)
  for (const login of ['Alice', 'aLICE', 'al']) await expect(use(world, secret, { login })).resolves.toBeDefined()
})

test('a session that is not used ends, one that is used goes on, until its life is over', async ({ world }) => {
  const { sessionIdleMs, sessionLifeMs } = world.deps.settings
  const { secret, session } = await open(world, await world.user())
  const idle = await open(world, await world.user())

  for (let used = 0; used < 3; used += 1) {
    world.advance(sessionIdleMs - TOUCH_LAG_MS)
    await use(world, secret)
  }
  await expect(use(world, idle.secret)).rejects.toMatchObject(expired)
  world.advance(sessionIdleMs + TOUCH_LAG_MS)
  await expect(use(world, secret)).rejects.toMatchObject(expired)

  const lasting = await open(world, await world.user())
  while (world.deps.clock() + sessionIdleMs < lasting.session.expiresAt) {
    world.advance(sessionIdleMs / 2)
    await use(world, lasting.secret)
  }
  world.advance(sessionIdleMs)
  await expect(use(world, lasting.secret)).rejects.toMatchObject(expired)
  expect(lasting.session.expiresAt - lasting.session.createdAt).toBe(sessionLifeMs)
  expect(session.idleTimeoutMs).toBe(sessionIdleMs)
})

test('using a session writes nothing until the flush, which brings its time to other processes', async ({ world }) => {
  const { secret, session } = await open(world, await world.user())
  const stored = async () => {
    const row = await world.deps.database.read
      .selectFrom('session')
      .select('lastSeenAt')
      .where('id', '=', session.id)
      .executeTakeFirst()
    return row?.lastSeenAt ?? 0
  }
  world.advance(120_000)
  await use(world, secret)
  await use(world, secret)
  expect(await stored()).toBe(session.lastSeenAt)

  await flushTouches(world.deps)
  const seenAt = await stored()
  expect(seenAt).toBeGreaterThan(session.lastSeenAt + 120_000)

  // A late flush of another process does not turn the time back.
  await use(world, secret)
  await flushTouches(world.deps)
  expect(await stored()).toBe(seenAt)
})

test('another process that knows only the stored time does not end a session early', async ({ world }) => {
  const { secret } = await open(world, await world.user())
  const elsewhere = { ...world.deps, database: { ...world.deps.database } }
  const there = () =>
    authenticateSession(elsewhere, { secret, client: 'x', address: ADDRESS, tenantId: world.tenant.id })
  world.advance(TOUCH_LAG_MS - 25_000)
  await use(world, secret)
  world.advance(world.deps.settings.sessionIdleMs - 1_000)
  await expect(there()).resolves.toBeDefined()
})

test('stopping the batches writes what is left, and a failure keeps it for the next time', async ({ world }) => {
  const { secret, session } = await open(world, await world.user())
  const errors: unknown[] = []
  let isAway = true
  const { database } = world.deps
  const transaction: typeof database.transaction = work =>
    isAway ? Promise.reject(new Error('away')) : database.transaction(work)
  const failing = { ...world.deps, database: { ...database, transaction } }
  world.advance(120_000)
  await authenticateSession(failing, { secret, client: 'x', address: ADDRESS, tenantId: world.tenant.id })
  await startTouches(failing, error => errors.push(error)).stop()
  expect(errors).toHaveLength(1)

  isAway = false
  await startTouches(failing, error => errors.push(error)).stop()
  const row = await world.deps.database.read.selectFrom('session').select('lastSeenAt').executeTakeFirstOrThrow()
  expect(row.lastSeenAt).toBeGreaterThan(session.lastSeenAt)
  expect(errors).toHaveLength(1)
})

test('an account is refused as soon as it may not be used, or not from there', async ({ world }) => {
  const other = await world.otherTenant()
  const alice = await world.user('alice')
  const far = await world.user('far', { tenant: other })
  const { secret } = await open(world, alice)
  const abroad = await open(world, far)

  await updateUser(world.system, { userId: alice.user.id, ipRanges: ['198.51.100.0/24'] })
  await expect(use(world, secret)).rejects.toMatchObject({ code: 'not-signed-in', details: { reason: 'address' } })
  await expect(use(world, secret, { address: '::ffff:198.51.100.7' })).resolves.toBeDefined()
  await updateTenant(world.system, { tenantId: other.id, state: 'locked' })
  await expect(use(world, abroad.secret, { tenantId: other.id })).rejects.toMatchObject({
    details: { reason: 'account' },
  })
})

test('an ended session is over at once; ending it again changes nothing', async ({ world }) => {
  const { actor, secret, session } = await open(world, await world.user())
  await endSession(world.ctx(actor), session.id)
  await endSession(world.ctx(actor), session.id)
  await expect(use(world, secret)).rejects.toMatchObject(unknown)
  expect(await world.events()).toEqual(['sign-in', 'sign-out'])
})

test('somebody else’s session is ended only by who manages accounts, another tenant’s by nobody', async ({ world }) => {
  const other = await world.otherTenant()
  const { session } = await open(world, await world.user('alice'))
  const abroad = await open(world, await world.user('far', { tenant: other }))
  const { user, ctx } = await world.user('bob')

  await expect(endSession(ctx, session.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(endSession(world.system, abroad.session.id)).rejects.toMatchObject({ code: 'not-found' })
  await grantRight(world.system, { principalId: user.id, right: 'users.manage' })
  await endSession(ctx, session.id)
})

test('live sessions of an account are listed, latest first', async ({ world }) => {
  const alice = await world.user('alice')
  const sessions = [await open(world, alice), await open(world, alice), await open(world, alice)]
  await endSession(alice.ctx, sessions[1]?.session.id ?? '')
  const listed = await listSessions(alice.ctx, { principalId: alice.user.id })
  expect(listed.map(session => session.id)).toEqual([sessions[2]?.session.id, sessions[0]?.session.id])
  expect(listed[0]).not.toHaveProperty('tokenHash')

  world.advance(world.deps.settings.sessionIdleMs + TOUCH_LAG_MS)
  expect(await listSessions(alice.ctx, { principalId: alice.user.id })).toEqual([])
})

test('ended sessions are forgotten when told so, live ones are not', async ({ world }) => {
  const alice = await world.user('alice')
  const first = await open(world, alice)
  await inTx(world.system, ctx => endSessionsOf(ctx, alice.user.id))
  const second = await open(world, alice)
  await inTx(world.system, ctx => forgetSessions(ctx, { before: ctx.clock() }))
  const rows = await world.deps.database.read.selectFrom('session').select('id').execute()
  expect(rows).toEqual([{ id: second.session.id }])
  expect(first.session.id).not.toBe(second.session.id)
})

test('the use of a token is noted in batches too', async ({ world }) => {
  const alice = await world.user('alice')
  const { secret, token } = await createToken(alice.ctx, { principalId: alice.user.id, name: 'script' })
  await authenticateToken(world.deps, { secret, client: 'x', address: ADDRESS, tenantId: world.tenant.id })
  const lastUsedAt = async () =>
    (
      await world.deps.database.read
        .selectFrom('token')
        .select('lastUsedAt')
        .where('id', '=', token.id)
        .executeTakeFirst()
    )?.lastUsedAt
  expect(await lastUsedAt()).toBeNull()
  await flushTouches(world.deps)
  expect(await lastUsedAt()).toBeGreaterThan(token.createdAt)
})
