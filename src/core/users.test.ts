import { expect } from 'vitest'
import { test, type World } from '#test/world.ts'
import { anonymousActor, signIn } from './auth.ts'
import { addMembers, createGroup, subjectsOf } from './groups.ts'
import { findPrincipals } from './principals.ts'
import { grantRight } from './roles.ts'
import { authenticateSession } from './sessions.ts'
import { authenticateToken, createToken } from './tokens.ts'
import {
  changeOwnPassword,
  createUser,
  findUserByLogin,
  getUser,
  listUsers,
  removeExpiredUsers,
  removeUser,
  setPassword,
  updateUser,
} from './users.ts'

const from = { client: 'test', address: '127.0.0.1' }

function signInAs(world: World, login: string, password: string) {
  return signIn(world.ctx(anonymousActor(world.tenant.id, 'test', '127.0.0.1')), { login, password, ...from })
}

const authenticate = (world: World, secret: Uint8Array) =>
  authenticateSession(world.deps, { secret, ...from, tenantId: world.tenant.id })

test('a created account is found by its login without case and can sign in', async ({ world }) => {
  const user = await createUser(world.system, { login: 'Alice', password: 'a good password' })
  expect(user).toMatchObject({ login: 'Alice', name: 'Alice', kind: 'user', state: 'active', ipRanges: [] })
  expect(user).not.toHaveProperty('passwordHash')

  const { actor } = await signInAs(world, 'ALICE', 'a good password')

  expect(actor.principalId).toBe(user.id)
  expect(await findUserByLogin(world.system, 'aLICE')).toMatchObject({ id: user.id })
  expect(await world.events()).toEqual(['user.created', 'sign-in'])
})

test('a login is taken whatever its case, also while another account is being created with it', async ({ world }) => {
  const both = ['straße', 'STRAßE'].map(login => createUser(world.system, { login }))
  const outcomes = await Promise.allSettled(both)

  expect(outcomes.map(outcome => outcome.status).sort()).toEqual(['fulfilled', 'rejected'])
  expect(outcomes.find(outcome => outcome.status === 'rejected')?.reason).toMatchObject({ code: 'login-taken' })
})

test('the same login may be used in another tenant, where it is another account', async ({ world }) => {
  const other = await world.otherTenant()
  const { user, ctx } = await world.user('alice')
  const stranger = await world.user('alice', { tenant: other })
  await grantRight(world.system, { principalId: user.id, right: 'users.manage' })

  await expect(getUser(ctx, { userId: stranger.user.id })).rejects.toMatchObject({ code: 'not-found' })
  await expect(removeUser(ctx, { userId: stranger.user.id })).rejects.toMatchObject({ code: 'not-found' })
  await expect(setPassword(ctx, { userId: stranger.user.id, password: 'long enough' })).rejects.toMatchObject({
    code: 'not-found',
  })
  expect(await findPrincipals(ctx, [user.id, stranger.user.id])).toHaveLength(1)
})

test('a handle is taken like a login, and neither may be the other one of somebody else', async ({ world }) => {
  await createUser(world.system, { login: 'alice@example.com', handle: 'alice' })
  await createUser(world.system, { login: 'bob' })

  await expect(createUser(world.system, { login: 'carol', handle: 'alice' })).rejects.toMatchObject({
    code: 'handle-taken',
  })
  await expect(createUser(world.system, { login: 'carol', handle: 'BOB' })).rejects.toMatchObject({
    code: 'handle-taken',
  })
  await expect(createUser(world.system, { login: 'alice' })).rejects.toMatchObject({ code: 'login-taken' })
  await expect(createUser(world.system, { login: 'carol', handle: 'a b' })).rejects.toMatchObject({
    code: 'invalid-input',
    details: { field: 'handle' },
  })
  expect(await world.events()).toEqual(['user.created', 'user.created'])
})

test('an account may keep its own login and handle when it is changed', async ({ world }) => {
  const user = await createUser(world.system, { login: 'alice', handle: 'alice' })
  const changed = await updateUser(world.system, { userId: user.id, login: 'ALICE', handle: 'alice', name: 'Alice A.' })
  expect(changed).toMatchObject({ login: 'ALICE', name: 'Alice A.' })
})

test.for([
  ['login', { login: ' ' }, 'empty'],
  ['login', { login: 'a\u0000' }, 'forbidden-character'],
  ['login', { login: ' alice' }, 'outer-space'],
  ['login', { login: 'a'.repeat(300) }, 'too-long'],
  ['email', { login: 'alice', email: 'no address' }, 'format'],
  ['ipRanges', { login: 'alice', ipRanges: ['10.0.0.0/33'] }, 'address'],
] as const)('createUser refuses a bad %s: %j', async ([field, input, rule], { world }) => {
  await expect(createUser(world.system, input)).rejects.toMatchObject({
    code: 'invalid-input',
    details: { field, rule },
  })
  expect(await world.events()).toEqual([])
})

test('a removed account frees its login, keeps its name, and can do nothing any more', async ({ world }) => {
  const { user } = await world.user('alice', { handle: 'al', name: 'Alice A.' })
  const group = await createGroup(world.system, { name: 'team' })
  await addMembers(world.system, { groupId: group.id, memberIds: [user.id] })
  const { secret } = await signInAs(world, 'alice', 'correct horse battery')
  const token = await createToken(world.system, { principalId: user.id, name: 'script' })

  await removeUser(world.system, { userId: user.id })

  await expect(authenticate(world, secret)).rejects.toMatchObject({ code: 'not-signed-in' })
  const use = authenticateToken(world.deps, { secret: token.secret, ...from, tenantId: world.tenant.id })
  await expect(use).rejects.toMatchObject({ code: 'not-signed-in' })
  await expect(signInAs(world, 'alice', 'correct horse battery')).rejects.toMatchObject({ code: 'wrong-credentials' })
  await expect(getUser(world.system, { userId: user.id })).rejects.toMatchObject({ code: 'not-found' })
  expect((await findPrincipals(world.system, [user.id])).get(user.id)).toMatchObject({
    name: 'Alice A.',
    state: 'removed',
    login: null,
  })
  expect(await subjectsOf(world.system, user.id)).not.toContain(group.id)
  await expect(createUser(world.system, { login: 'alice', handle: 'al' })).resolves.toMatchObject({ login: 'alice' })
  expect(await world.events()).toEqual(expect.arrayContaining(['sign-out', 'token.revoked', 'user.removed']))
})

test('blocking an account ends its sessions, and they do not come back with it', async ({ world }) => {
  const { user } = await world.user('alice')
  const { secret } = await signInAs(world, 'alice', 'correct horse battery')

  await updateUser(world.system, { userId: user.id, state: 'blocked' })
  await expect(authenticate(world, secret)).rejects.toMatchObject({ code: 'not-signed-in' })
  await expect(signInAs(world, 'alice', 'correct horse battery')).rejects.toMatchObject({
    code: 'account-blocked',
    details: { reason: 'blocked' },
  })

  await updateUser(world.system, { userId: user.id, state: 'active' })
  await expect(authenticate(world, secret)).rejects.toMatchObject({ code: 'not-signed-in' })
  await expect(signInAs(world, 'alice', 'correct horse battery')).resolves.toBeDefined()
})

test('an expired account cannot be used, and only one that said so is removed', async ({ world }) => {
  const expiresAt = world.deps.clock() + 60_000
  const stays = await world.user('stays', { expiresAt, onExpiry: 'block' })
  const goes = await world.user('goes', { expiresAt, onExpiry: 'remove' })
  const other = await world.otherTenant()
  const far = await world.user('far', { tenant: other, expiresAt, onExpiry: 'remove' })
  const { secret } = await signInAs(world, 'stays', 'correct horse battery')
  const token = await createToken(world.system, { principalId: stays.user.id, name: 'script' })
  world.advance(60_000)

  await expect(authenticate(world, secret)).rejects.toMatchObject({
    code: 'not-signed-in',
    details: { reason: 'account' },
  })
  const use = authenticateToken(world.deps, { secret: token.secret, ...from, tenantId: world.tenant.id })
  await expect(use).rejects.toMatchObject({ code: 'not-signed-in', details: { reason: 'account' } })
  await expect(signInAs(world, 'stays', 'correct horse battery')).rejects.toMatchObject({
    details: { reason: 'expired' },
  })

  expect(await removeExpiredUsers(world.system, { limit: 10 })).toBe(2)
  expect(await removeExpiredUsers(world.system, { limit: 10 })).toBe(0)
  expect(await getUser(world.system, { userId: stays.user.id })).toMatchObject({ state: 'active' })
  await expect(getUser(world.system, { userId: goes.user.id })).rejects.toMatchObject({ code: 'not-found' })
  await expect(getUser(far.ctx, { userId: far.user.id })).rejects.toMatchObject({ code: 'not-found' })
})

test('changing the own password needs the old one and ends all other sessions', async ({ world }) => {
  const { user } = await world.user('alice')
  const here = await signInAs(world, 'alice', 'correct horse battery')
  const there = await signInAs(world, 'alice', 'correct horse battery')
  const ctx = world.ctx(here.actor)

  await expect(changeOwnPassword(ctx, { oldPassword: 'wrong', newPassword: 'another good one' })).rejects.toMatchObject(
    {
      code: 'wrong-credentials',
    },
  )
  await expect(
    changeOwnPassword(ctx, { oldPassword: 'correct horse battery', newPassword: 'correct horse battery' }),
  ).rejects.toMatchObject({ code: 'password-refused', details: { rule: 'same' } })
  await changeOwnPassword(ctx, { oldPassword: 'correct horse battery', newPassword: 'another good one' })

  expect(await authenticate(world, here.secret)).toMatchObject({ principalId: user.id })
  await expect(authenticate(world, there.secret)).rejects.toMatchObject({ code: 'not-signed-in' })
  await expect(signInAs(world, 'alice', 'correct horse battery')).rejects.toMatchObject({ code: 'wrong-credentials' })
  await expect(signInAs(world, 'alice', 'another good one')).resolves.toBeDefined()
  expect(await world.events()).toContain('user.password-changed refused')
})

test('setting the password of an account ends its sessions', async ({ world }) => {
  const { user } = await world.user('alice')
  const { secret } = await signInAs(world, 'alice', 'correct horse battery')
  await setPassword(world.system, { userId: user.id, password: 'set by the administrator' })
  await expect(authenticate(world, secret)).rejects.toMatchObject({ code: 'not-signed-in' })
  await expect(signInAs(world, 'alice', 'set by the administrator')).resolves.toBeDefined()
})

test('accounts are managed only with the right to, and a refusal is audited', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const { user: bob } = await world.user('bob')

  for (const act of [
    () => createUser(ctx, { login: 'carol' }),
    () => updateUser(ctx, { userId: user.id, name: 'Queen' }),
    () => removeUser(ctx, { userId: bob.id }),
    () => getUser(ctx, { userId: bob.id }),
    () => listUsers(ctx, { limit: 10 }),
  ]) {
    await expect(act()).rejects.toMatchObject({ code: 'forbidden' })
  }
  expect(await getUser(ctx, { userId: user.id })).toMatchObject({ login: 'alice' })
  expect(await world.events()).toEqual(Array(5).fill('access.refused refused'))
})

test('who manages accounts cannot take over one that holds more rights', async ({ world }) => {
  const manager = await world.user('manager')
  const chief = await world.user('chief')
  await grantRight(world.system, { principalId: manager.user.id, right: 'users.manage' })
  await grantRight(world.system, { principalId: chief.user.id, right: 'config.manage' })

  await expect(setPassword(manager.ctx, { userId: chief.user.id, password: 'mine now, thanks' })).rejects.toMatchObject(
    {
      code: 'forbidden',
    },
  )
  await expect(createToken(manager.ctx, { principalId: chief.user.id, name: 'mine' })).rejects.toMatchObject({
    code: 'forbidden',
  })
  await expect(updateUser(manager.ctx, { userId: chief.user.id, login: 'x' })).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('users are listed by name, a page at a time, and searched without case or patterns', async ({ world }) => {
  for (const login of ['Charlie', 'alice', 'Bob_1', 'bobx1']) await world.user(login, { email: `${login}@example.com` })
  const removed = await world.user('zoe')
  await removeUser(world.system, { userId: removed.user.id })

  const page = await listUsers(world.system, { offset: 1, limit: 2 })
  expect(page.total).toBe(4)
  expect(page.rows.map(row => row.login)).toEqual(['Bob_1', 'bobx1'])
  expect((await listUsers(world.system, { search: 'BOB_', limit: 9 })).rows.map(row => row.login)).toEqual(['Bob_1'])
  expect((await listUsers(world.system, { search: 'CHARLIE@', limit: 9 })).total).toBe(1)
  expect((await listUsers(world.system, { states: ['removed'], limit: 9 })).rows).toMatchObject([
    { name: 'zoe', login: null },
  ])
})

test('a change records which fields changed, and values only of those that are no free text', async ({ world }) => {
  const { user } = await world.user('alice')
  await updateUser(world.system, { userId: user.id, name: 'Secret Name', expiresAt: 5_000_000_000_000 })
  const { facts } = await world.deps.database.read
    .selectFrom('event')
    .select('facts')
    .where('type', '=', 'user.changed')
    .executeTakeFirstOrThrow()
  expect(JSON.parse(facts ?? '')).toEqual({
    fields: ['name', 'expiresAt'],
    expiresAtBefore: null,
    expiresAt: 5_000_000_000_000,
  })
})

test('a home must be a live folder or space of the tenant', async ({ world }) => {
  const { user } = await world.user('alice')
  await expect(updateUser(world.system, { userId: user.id, homeNodeId: 999_999 })).rejects.toMatchObject({
    code: 'not-found',
  })
  await expect(
    updateUser(world.system, { userId: user.id, homeNodeId: world.tenant.rootNodeId }),
  ).rejects.toMatchObject({
    code: 'not-a-folder',
  })
})
