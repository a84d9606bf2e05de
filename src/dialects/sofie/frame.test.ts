import { describe, expect } from 'vitest'
import { impersonate } from '#core/impersonation.ts'
import { removeMembers } from '#core/groups.ts'
import { createToken, revokeToken } from '#core/tokens.ts'
import { updateUser } from '#core/users.ts'
import { coredata } from '#dialects/coredata/index.ts'
import { refused, test } from '#test/sofie-world.ts'
import { sofieDescription } from './index.ts'

const UNKNOWN = '0b0f7a52-2f0e-4b0f-9d5e-5b8f0c1d2e3f'
const tokenOf = (secret: string) => ({ authorization: `Bearer ${secret}` })

describe('tokens', () => {
  test('without a token, or with another scheme, nothing is answered', async ({ sofie }) => {
    expect(await sofie.send('GET', '/users')).toMatchObject(refused(401, 'TOKEN_INVALID'))
    const headers = { authorization: `ApiKey ${sofie.tokens.admin}` }
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject({
      ...refused(401, 'TOKEN_INVALID'),
      headers: { 'www-authenticate': 'Bearer' },
    })
  })

  test('an unknown token is refused, and a revoked one', async ({ sofie }) => {
    const { token, secret } = await createToken(sofie.users.admin.ctx, {
      principalId: sofie.users.admin.user.id,
      name: 'old',
    })
    expect(await sofie.send('GET', '/users', { headers: tokenOf(secret) })).toMatchObject({ status: 200 })
    await revokeToken(sofie.users.admin.ctx, { tokenId: token.id })
    for (const headers of [tokenOf(secret), tokenOf('nobody')])
      expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(401, 'TOKEN_INVALID'))
  })

  test('an address outside the ranges of token or account is told before anything of the account', async ({
    sofie,
  }) => {
    const { admin } = sofie.users
    const { secret } = await createToken(admin.ctx, { principalId: admin.user.id, name: 'x', ipRanges: ['10.0.0.0/8'] })
    const headers = tokenOf(secret)
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(403, 'IP_NOT_ALLOWED'))
    await updateUser(sofie.world.system, { userId: admin.user.id, ipRanges: ['10.0.0.0/8'], state: 'blocked' })
    expect(await sofie.send('GET', '/users', { as: 'admin' })).toMatchObject(refused(403, 'IP_NOT_ALLOWED'))
  })

  test('the token of a disabled or expired account says so', async ({ sofie }) => {
    const { world, users } = sofie
    await updateUser(world.system, { userId: users.admin.user.id, state: 'blocked' })
    expect(await sofie.send('GET', '/users', { as: 'admin' })).toMatchObject(refused(401, 'ACCOUNT_DISABLED'))
    await updateUser(world.system, { userId: users.sender.user.id, expiresAt: world.deps.clock() })
    expect(await sofie.send('GET', '/packages/inbox', { as: 'sender' })).toMatchObject(refused(401, 'ACCOUNT_DISABLED'))
  })

  test('users who may not use packages are refused, and those without the role of a call', async ({ sofie }) => {
    expect(await sofie.send('GET', '/users', { as: 'sender' })).toMatchObject(refused(403, 'ADMIN_ONLY'))
    await removeMembers(sofie.world.system, { groupId: sofie.groupId, memberIds: [sofie.users.sender.user.id] })
    expect(await sofie.send('GET', '/users', { as: 'sender' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
  })
})

describe('acting as a user', () => {
  const byName = (login: string) => ({ 'x-sofie-impersonate-username': login })

  test('an administrator who acts as a user is that user: calls of administrators close', async ({ sofie }) => {
    expect(await sofie.send('GET', '/users', { as: 'admin', impersonate: 'sender' })).toMatchObject(
      refused(403, 'ADMIN_ONLY'),
    )
    expect(await sofie.send('GET', '/users', { as: 'admin', headers: byName('SENDER') })).toMatchObject(
      refused(403, 'ADMIN_ONLY'),
    )
  })

  test('both headers are a conflict, whoever sends them', async ({ sofie }) => {
    for (const as of ['admin', 'sender'] as const) {
      const answer = await sofie.send('GET', '/users', {
        as,
        impersonate: 'sender',
        headers: byName('sender'),
        beyondContract: true,
      })
      expect(answer).toMatchObject(refused(400, 'IMPERSONATION_CONFLICT'))
    }
  })

  test.for(['user token', 'unknown', 'disabled', 'administrator'])(
    'refused and recorded: %s',
    async (which, { sofie }) => {
      const { world, users } = sofie
      if (which === 'disabled') await updateUser(world.system, { userId: users.blind.user.id, state: 'blocked' })
      const login = which === 'unknown' ? 'nobody' : which === 'administrator' ? 'admin' : 'blind'
      const as = which === 'user token' ? 'sender' : 'admin'
      const answer = await sofie.send('GET', '/users', { as, headers: byName(login) })
      expect(answer).toMatchObject(refused(403, 'IMPERSONATION_NOT_ALLOWED'))
      expect((await world.events()).at(-1)).toBe('access.refused refused')
    },
  )

  test('events name both', async ({ sofie }) => {
    const { world, users } = sofie
    const ctx = await impersonate(users.admin.ctx, { login: 'sender' })
    await createToken(ctx, { principalId: users.sender.user.id, name: 'by another' })
    const event = await world.deps.database.read
      .selectFrom('event')
      .select(['actorId', 'impersonatorId'])
      .orderBy('id', 'desc')
      .executeTakeFirstOrThrow()
    expect(event).toEqual({ actorId: users.sender.user.id, impersonatorId: users.admin.user.id })
  })

  test('nobody acts as somebody who holds more rights', async ({ sofie }) => {
    const { world, users } = sofie
    const lesser = await world.user('lesser', { kind: 'administrator' })
    await world.deps.database.transaction(db =>
      db.insertInto('principal_right').values({ principalId: lesser.user.id, right: 'users.manage' }).execute(),
    )
    await expect(impersonate(lesser.ctx, { userId: users.sender.user.id })).rejects.toMatchObject({
      code: 'impersonation-refused',
      details: { reason: 'not-an-administrator' },
    })
  })
})

describe('requests that nobody serves', () => {
  test('an unknown path is answered in the words of this API, beside those of the API around it', async ({ sofie }) => {
    await sofie.app.register(coredata, { deps: sofie.world.deps })
    const get = (url: string, authorization: string) =>
      sofie.app.inject({ method: 'GET', url, headers: { authorization } })
    const bearer = `Bearer ${sofie.tokens.sender}`
    const ours = await get('/api/v2/user/users', bearer)
    expect(ours.headers).toMatchObject({ 'x-sofie-response-reason': 'ADMIN_ONLY' })
    const unknown = await get('/api/v2/user/x', bearer)
    expect(unknown.statusCode).toBe(404)
    expect(unknown.headers).toMatchObject({ 'x-sofie-response-reason': 'NOT_FOUND' })
    expect(unknown.json()).toMatchObject({ reason: 'NOT_FOUND' })
    const theirs = await get('/api/v2/user/files/favourites/', bearer)
    expect(theirs.statusCode).toBe(401)
    expect(theirs.body).toBe('')
    expect(theirs.headers).not.toHaveProperty('x-sofie-response-reason')
    const served = await get('/api/v2/user/files/favourites/', `apikey ${sofie.tokens.sender}`)
    expect(served.json()).toMatchObject({ objects: [] })
  })

  test('paths with a slash at the end are the same, and other names of a path', async ({ sofie }) => {
    for (const path of ['/api-tokens', '/api-tokens/', '/apiTokens', '/apiTokens/'])
      expect(await sofie.send('GET', path, { as: 'admin', beyondContract: true })).toMatchObject({ status: 200 })
  })

  test('every other name of an operation leads to it', async ({ sofie }) => {
    const aliases = sofieDescription.operations.flatMap(({ aliases = [] }) => aliases)
    expect(aliases).toHaveLength(21)
    for (const { method, path } of aliases) {
      const answer = await sofie.send(method, path.replaceAll(/\{\w+\}/g, UNKNOWN), { beyondContract: true })
      expect(answer).toMatchObject(refused(401, 'TOKEN_INVALID'))
    }
  })

  test('other methods, malformed ids and broken paths are not there', async ({ sofie }) => {
    for (const [method, path] of [
      ['DELETE', '/users'],
      ['GET', '/users/7'],
      ['GET', '/users/%zz'],
    ] as const) {
      const answer = await sofie.send(method, path, { as: 'admin', beyondContract: true })
      expect(answer).toMatchObject(refused(404, 'NOT_FOUND'))
    }
  })
})

describe('bodies', () => {
  const create = (type: string, payload: string) =>
    ({ as: 'admin', headers: { 'content-type': type }, payload, beyondContract: true }) as const

  test.for([
    ['another media type', 'text/plain', '{}', 400, 'BAD_REQUEST'],
    ['no JSON', 'application/json', '{', 400, 'BAD_REQUEST'],
    ['no object', 'application/json', '7', 400, 'BAD_REQUEST'],
    ['too long', 'application/json', JSON.stringify({ name: 'x'.repeat(70_000) }), 413, 'SIZE_LIMIT'],
  ] as const)('refused: %s', async ([, type, payload, status, reason], { sofie }) => {
    expect(await sofie.send('POST', '/user-groups', create(type, payload))).toMatchObject(refused(status, reason))
  })
})
