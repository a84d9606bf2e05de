import { describe, expect } from 'vitest'
import { signIn } from '#core/auth.ts'
import { grantRight } from '#core/roles.ts'
import { getUser } from '#core/users.ts'
import type { Answer } from '#test/answer.ts'
import { refused, test, type SofieWorld } from '#test/sofie-world.ts'

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl laptop'
const UNKNOWN = '0b0f7a52-2f0e-4b0f-9d5e-5b8f0c1d2e3f'
const json = { username: 'new', email: 'new@example.test', password: 'long enough to do' }

const create = ({ send }: SofieWorld, more: object = {}) =>
  send('POST', '/users', { as: 'admin', json: { ...json, ...more } })
const change = ({ send }: SofieWorld, id: string, more: object) =>
  send('PATCH', `/users/${id}`, { as: 'admin', json: more })
const show = async ({ send }: SofieWorld, id: string) =>
  (await send('GET', `/users/${id}`, { as: 'admin' })).body as Record<string, unknown>
const idOf = ({ body }: Answer) => (body as { id: string }).id

test('users are listed with their groups, administrators are not', async ({ sofie }) => {
  const answer = await sofie.send('GET', '/users', { as: 'admin' })
  const { data } = answer.body as { data: { username: string; userGroups: string[] }[] }
  expect(data.map(({ username }) => username)).toEqual(['blind', 'contributor', 'regular', 'sender', 'stranger'])
  expect(data[0]?.userGroups).toEqual([sofie.groupId])
})

describe('creating', () => {
  test('stores every attribute, and the name of the account follows from it', async ({ sofie }) => {
    const attributes = {
      firstName: 'Ada',
      lastName: 'Byron',
      company: 'Engines',
      phoneNumber: '+44 1',
      ipRanges: '10.0.0.0/24, 192.168.0.0/16',
      language: 'CS',
      expireAt: '2030-01-01T00:00:00+01:00',
      sshPublicKeys: `${KEY}\n\n${KEY}`,
      enabled: false,
    }
    const created = await create(sofie, attributes)
    expect(created).toMatchObject({ status: 201 })
    expect(await show(sofie, idOf(created))).toEqual({
      id: idOf(created),
      username: 'new',
      email: 'new@example.test',
      ...attributes,
      expireAt: '2029-12-31T23:00:00.000Z',
      sshPublicKeys: `${KEY}\n${KEY}`,
      userGroups: [],
    })
    expect(await getUser(sofie.world.system, { userId: idOf(created) })).toMatchObject({
      name: 'Ada Byron',
      onExpiry: 'remove',
    })
    expect(await sofie.world.events()).toEqual(expect.arrayContaining(['user.created', 'profile.changed']))
  })

  test('gives a user who can sign in with the password', async ({ sofie }) => {
    const { world } = sofie
    const userId = idOf(await create(sofie))
    const { actor } = await signIn(world.system, { login: 'new', password: json.password, client: '', address: '::1' })
    expect(actor.principalId).toBe(userId)
  })

  test('without a password the user gets a link by mail', async ({ sofie }) => {
    const created = await create(sofie, { password: undefined, sendResetPasswordToken: true })
    expect(created).toMatchObject({ status: 201 })
    expect(await sofie.world.events()).toContain('password-link.created')
  })

  test.for([
    ['neither password nor link', { password: undefined }, 'password'],
    ['a link that is not wanted', { password: undefined, sendResetPasswordToken: false }, 'password'],
    ['a short password', { password: 'x' }, 'password'],
    ['no username', { username: undefined }, 'username'],
    ['an empty username', { username: '' }, 'username'],
    ['no e-mail address', { email: undefined }, 'email'],
    ['an address that is none', { email: 'nobody' }, 'email'],
    ['a wrong range', { ipRanges: '10.0.0.0/99' }, 'ipRanges'],
    ['an unknown language', { language: 'XX' }, 'language'],
    ['a time without zone', { expireAt: '2030-01-01T00:00:00' }, 'expireAt'],
    ['a key of another type than it says', { sshPublicKeys: KEY.replace('ed25519', 'rsa') }, 'sshPublicKeys'],
    ['an unknown package', { defaultSftpPackage: UNKNOWN }, 'defaultSftpPackage'],
    ['a control character', { company: 'a\u0007' }, 'company'],
    ['a text for a truth value', { enabled: 'true' }, 'enabled'],
  ] as const)('is refused with %s', async ([, more, field], { sofie }) => {
    const answer = await create(sofie, more)
    expect(answer).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect((answer.body as { details: { field: string }[] }).details[0]?.field).toBe(field)
  })

  test.for([{ username: 'SENDER' }, { email: 'Sender@Example.test' }])('is a conflict: %o', async (more, { sofie }) => {
    expect(await create(sofie, more)).toMatchObject(refused(409, 'NAME_CONFLICT'))
  })
})

describe('changing', () => {
  test('what is named changes, the rest stays', async ({ sofie }) => {
    const id = idOf(await create(sofie, { firstName: 'Ada', lastName: 'Byron', company: 'Engines' }))
    const changes = { username: 'ada', lastName: 'Lovelace', company: '', expireAt: '2030-01-01T00:00:00Z' }
    expect(await change(sofie, id, changes)).toMatchObject({ status: 204 })
    expect(await show(sofie, id)).toMatchObject({ username: 'ada', firstName: 'Ada', lastName: 'Lovelace' })
    expect(await show(sofie, id)).not.toHaveProperty('company')
    expect(await getUser(sofie.world.system, { userId: id })).toMatchObject({ name: 'Ada Lovelace' })
    expect(await change(sofie, id, { clearExpireAt: true, firstName: '', lastName: '' })).toMatchObject({ status: 204 })
    expect(await show(sofie, id)).not.toHaveProperty('expireAt')
    expect(await getUser(sofie.world.system, { userId: id })).toMatchObject({ name: 'ada' })
  })

  test('a disabled user is told so, and an enabled one gets in again', async ({ sofie }) => {
    const { id } = sofie.users.sender.user
    await change(sofie, id, { enabled: false })
    expect(await show(sofie, id)).toMatchObject({ enabled: false })
    expect(await sofie.send('GET', '/users', { as: 'sender' })).toMatchObject(refused(401, 'ACCOUNT_DISABLED'))
    await change(sofie, id, { enabled: true })
    expect(await sofie.send('GET', '/users', { as: 'sender' })).toMatchObject(refused(403, 'ADMIN_ONLY'))
  })

  test('a refused change changes nothing, a new password among it', async ({ sofie }) => {
    const id = idOf(await create(sofie))
    const changes = { password: 'another long password', company: 'x', username: 'sender' }
    expect(await change(sofie, id, changes)).toMatchObject(refused(409, 'NAME_CONFLICT'))
    expect(await show(sofie, id)).not.toHaveProperty('company')
    const old = { login: 'new', password: json.password, client: '', address: '::1' }
    await expect(signIn(sofie.world.system, old)).resolves.toBeDefined()
  })

  test.for([
    { email: 'blind@example.test', status: 409, reason: 'NAME_CONFLICT' },
    { clearExpireAt: true, expireAt: '2030-01-01T00:00:00Z', status: 400, reason: 'BAD_REQUEST' },
    { password: 'x', status: 400, reason: 'BAD_REQUEST' },
  ])('is refused: %o', async ({ status, reason, ...more }, { sofie }) => {
    expect(await change(sofie, sofie.users.sender.user.id, more)).toMatchObject(refused(status, reason))
  })
})

describe('which users there are', () => {
  test('ids of nobody, of groups and of administrators are unknown', async ({ sofie }) => {
    for (const id of [UNKNOWN, sofie.groupId, sofie.users.admin.user.id]) {
      expect(await sofie.send('GET', `/users/${id}`, { as: 'admin' })).toMatchObject(refused(404, 'NOT_FOUND'))
      expect(await change(sofie, id, { company: 'x' })).toMatchObject(refused(404, 'NOT_FOUND'))
    }
  })

  test('an id is the same in capitals', async ({ sofie }) => {
    const { id } = sofie.users.sender.user
    const answer = await sofie.send('GET', `/users/${id.toUpperCase()}`, { as: 'admin' })
    expect(answer).toMatchObject({ status: 200, body: { id } })
  })
})

test.for([
  ['GET', '/users', undefined],
  ['POST', '/users', json],
  ['GET', `/users/${UNKNOWN}`, undefined],
  ['PATCH', `/users/${UNKNOWN}`, {}],
] as const)('%s %s is for administrators, and a token', async ([method, path, json], { sofie }) => {
  const body = json && { json }
  expect(await sofie.send(method, path, { as: 'sender', ...body })).toMatchObject(refused(403, 'ADMIN_ONLY'))
  expect(await sofie.send(method, path, { as: 'admin', impersonate: 'sender', ...body })).toMatchObject(
    refused(403, 'ADMIN_ONLY'),
  )
  expect(await sofie.send(method, path, body)).toMatchObject(refused(401, 'TOKEN_INVALID'))
})

test('an administrator changes nobody who holds a right that he lacks', async ({ sofie }) => {
  const { world, users } = sofie
  await world.deps.database.transaction(db =>
    db
      .deleteFrom('principal_right')
      .where('principalId', '=', users.admin.user.id)
      .where('right', '=', 'log.read-all')
      .execute(),
  )
  await grantRight(world.system, { principalId: users.sender.user.id, right: 'log.read-all' })
  expect(await change(sofie, users.sender.user.id, { password: 'taken over by me' })).toMatchObject(
    refused(403, 'PERMISSION_DENIED'),
  )
  expect((await world.events()).at(-1)).toBe('access.refused refused')
})
