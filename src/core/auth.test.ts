import { argon2Sync, randomBytes } from 'node:crypto'
import { describe, expect } from 'vitest'
import { test, type World } from '#test/world.ts'
import { anonymousActor, signIn } from './auth.ts'
import { inTx } from './ctx.ts'
import { requireRight, rightsOf } from './roles.ts'
import { subjectsOf } from './groups.ts'
import { updateTenant } from './tenants.ts'
import { forgetFailures } from './throttle.ts'
import { createUser } from './users.ts'

const PASSWORD = 'correct horse battery'

function attempt(world: World, login: string, password: string, address = '192.0.2.1', tenantId = world.tenant.id) {
  return signIn(world.ctx(anonymousActor(tenantId, 'browser', address)), {
    login,
    password,
    client: 'browser',
    address,
  })
}

const fail = (world: World, login: string, address?: string) =>
  expect(attempt(world, login, 'wrong password', address)).rejects.toMatchObject({ code: 'wrong-credentials' })

test('signing in opens a session and remembers when', async ({ world }) => {
  const { user } = await world.user('alice')
  const { actor, secret, session } = await attempt(world, 'alice', PASSWORD)

  expect(secret).toHaveLength(16)
  expect(actor).toMatchObject({
    principalId: user.id,
    name: 'alice',
    kind: 'user',
    capacity: 'user',
    sessionId: session.id,
  })
  const row = await world.deps.database.read.selectFrom('session').selectAll().executeTakeFirstOrThrow()
  expect(row.tokenHash).toMatch(/^[0-9a-f]{64}$/)
  expect(JSON.stringify(row)).not.toContain(secret.toString('hex'))
  expect(JSON.parse(row.factors)).toEqual({ password: expect.any(Number) })
})

test('a handle signs in as well, but somebody else’s login goes first', async ({ world }) => {
  const { user } = await world.user('alice@example.com', { handle: 'alice' })
  const { actor } = await attempt(world, 'alice', PASSWORD)
  expect(actor.principalId).toBe(user.id)
})

test('unknown login, wrong password, no password and another tenant are refused alike and audited without what was typed', async ({
  world,
}) => {
  const other = await world.otherTenant()
  const { user } = await world.user('alice')
  await createUser(world.system, { login: 'robot', kind: 'service' })

  await fail(world, 'alice')
  await fail(world, 'nobody-there')
  await expect(attempt(world, 'robot', PASSWORD)).rejects.toMatchObject({ code: 'wrong-credentials' })
  await expect(attempt(world, 'alice', PASSWORD, '192.0.2.1', other.id)).rejects.toMatchObject({
    code: 'wrong-credentials',
  })

  const events = await world.deps.database.read
    .selectFrom('event')
    .selectAll()
    .where('type', '=', 'sign-in')
    .orderBy('id')
    .execute()
  expect(events.map(event => event.outcome)).toEqual(Array(4).fill('refused'))
  expect(events[0]).toMatchObject({ subject1: `user:${user.id}`, actorId: 'anonymous', address: '192.0.2.1' })
  expect(events[1]?.subject1).toBeNull()
  expect(JSON.stringify(events)).not.toMatch(/wrong password|nobody-there/)
})

test('after some failures an account has to wait, twice as long each time, even with the right password', async ({
  world,
}) => {
  await world.user('alice')
  const { throttleAfter, throttleMs } = world.deps.settings
  for (let n = 0; n < throttleAfter; n += 1) await fail(world, 'alice', `192.0.2.${n}`)

  await expect(attempt(world, 'alice', PASSWORD)).rejects.toMatchObject({ code: 'throttled' })
  world.advance(throttleMs)
  await fail(world, 'alice')
  world.advance(throttleMs)
  const refusal = await attempt(world, 'alice', PASSWORD).catch((error: unknown) => error)
  expect(refusal).toMatchObject({ code: 'throttled', details: { retryAfterMs: expect.any(Number) } })
  world.advance(throttleMs)

  await attempt(world, 'alice', PASSWORD)
  for (let n = 1; n < throttleAfter; n += 1) await fail(world, 'alice')
  await attempt(world, 'alice', PASSWORD)
})

test('a throttled attempt is not verified and leaves no trace', async ({ world }) => {
  await world.user('alice')
  for (let n = 0; n < world.deps.settings.throttleAfter; n += 1) await fail(world, 'alice')
  const before = await world.events()
  const counters = () => world.deps.database.read.selectFrom('throttle').selectAll().orderBy('key').execute()
  const counted = await counters()

  await expect(attempt(world, 'alice', PASSWORD)).rejects.toMatchObject({ code: 'throttled' })

  expect(await world.events()).toEqual(before)
  expect(await counters()).toEqual(counted)
})

test('attempts at once do not slip past the limit', async ({ world }) => {
  await world.user('alice')
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => attempt(world, 'alice', 'wrong password')))
  const codes = outcomes.map(outcome => outcome.status === 'rejected' && outcome.reason.code)
  const verified = codes.filter(code => code === 'wrong-credentials').length
  expect(verified).toBeGreaterThanOrEqual(world.deps.settings.throttleAfter)
  expect(verified).toBeLessThanOrEqual(world.deps.settings.throttleAfter + 1)
})

test('many sign-ins of one account at once all succeed', async ({ world }) => {
  await world.user('robot', { kind: 'service' })
  const outcomes = await Promise.all(Array.from({ length: 12 }, () => attempt(world, 'robot', PASSWORD)))
  expect(new Set(outcomes.map(outcome => outcome.session.id)).size).toBe(12)
})

test('an unknown login has to wait like a known one', async ({ world }) => {
  for (let n = 0; n < world.deps.settings.throttleAfter; n += 1) await fail(world, 'nobody', `192.0.2.${n}`)
  await expect(attempt(world, 'Nobody', 'x', '192.0.2.99')).rejects.toMatchObject({ code: 'throttled' })
})

describe('with one free failure', () => {
  test.override({ settings: { throttleAfter: 1 } })

  test('an address that tries many logins has to wait, and one /64 network counts as one address', async ({
    world,
  }) => {
    await world.user('alice')
    for (let n = 0; n < 10; n += 1) await fail(world, `guess${n}`, `2001:db8::${n}`)
    await expect(attempt(world, 'alice', PASSWORD, '2001:db8::ffff')).rejects.toMatchObject({ code: 'throttled' })
    await expect(attempt(world, 'alice', PASSWORD, '2001:db8:0:1::1')).resolves.toBeDefined()
  })
})

test('failures are forgotten after a day', async ({ world }) => {
  await world.user('alice')
  await fail(world, 'alice')
  world.advance(25 * 3_600_000)
  await inTx(world.system, forgetFailures)
  expect(await world.deps.database.read.selectFrom('throttle').selectAll().execute()).toEqual([])
})

test('an account that may only be used from some addresses is refused elsewhere, after the right password only', async ({
  world,
}) => {
  await world.user('alice', { ipRanges: ['192.0.2.0/24'] })
  await expect(attempt(world, 'alice', 'wrong password', '198.51.100.1')).rejects.toMatchObject({
    code: 'wrong-credentials',
  })
  world.advance(60_000)
  await expect(attempt(world, 'alice', PASSWORD, '198.51.100.1')).rejects.toMatchObject({
    code: 'not-signed-in',
    details: { reason: 'address' },
  })
  await expect(attempt(world, 'alice', PASSWORD, '::ffff:192.0.2.7')).resolves.toBeDefined()
  expect(await world.events()).toEqual(['sign-in refused', 'sign-in refused', 'sign-in'])
})

test('a locked tenant lets nobody in', async ({ world }) => {
  const other = await world.otherTenant()
  await world.user('alice', { tenant: other })
  await updateTenant(world.system, { tenantId: other.id, state: 'locked' })
  await expect(attempt(world, 'alice', PASSWORD, '192.0.2.1', other.id)).rejects.toMatchObject({
    code: 'account-blocked',
    details: { reason: 'tenant' },
  })
})

test('a hash with outdated parameters is replaced at the next sign-in', async ({ world }) => {
  const { user } = await world.user('alice')
  const nonce = randomBytes(16)
  const tag = argon2Sync('argon2id', { message: PASSWORD, nonce, memory: 64, passes: 1, parallelism: 1, tagLength: 32 })
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  const passwordHash = `$argon2id$v=19$m=64,t=1,p=1$${text(nonce)}$${text(tag)}`
  await world.deps.database.transaction(tx =>
    tx.updateTable('principal').set({ passwordHash }).where('id', '=', user.id).execute(),
  )

  await attempt(world, 'alice', PASSWORD)

  const row = await world.deps.database.read
    .selectFrom('principal')
    .select('passwordHash')
    .where('id', '=', user.id)
    .executeTakeFirstOrThrow()
  expect(row.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  await attempt(world, 'alice', PASSWORD)
})

test('who has not signed in holds no rights and is not among the signed-in', async ({ world }) => {
  const ctx = world.ctx(anonymousActor(world.tenant.id, 'browser', '192.0.2.1'))
  expect(await rightsOf(ctx, ctx.actor.principalId)).toEqual(new Set())
  expect(await subjectsOf(ctx, ctx.actor.principalId)).toEqual(['anonymous'])
  await expect(requireRight(ctx, 'users.read')).rejects.toMatchObject({ code: 'forbidden' })
})
