import { createHmac } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect } from 'vitest'
import { revokeToken } from '#core/tokens.ts'
import { refused, test, type SofieWorld } from '#test/sofie-world.ts'

const UNKNOWN = '0b0f7a52-2f0e-4b0f-9d5e-5b8f0c1d2e3f'

const create = ({ send }: SofieWorld, json: object) => send('POST', '/api-tokens', { as: 'admin', json })

async function made(sofie: SofieWorld, json: object): Promise<{ id: string; token: string }> {
  const answer = await create(sofie, json)
  expect(answer).toMatchObject({ status: 201 })
  return answer.body as { id: string; token: string }
}

describe('creating', () => {
  test('gives a JWT that says whose it is, and opens the API for him', async ({ sofie }) => {
    const { id: userId } = sofie.users.sender.user
    const { id, token } = await made(sofie, { type: 'USER', userId: userId.toUpperCase(), name: 'script' })
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256' })
    expect(decodeJwt(token)).toEqual({
      aud: 'localhost',
      iss: 'localhost',
      sub: 'sender',
      uid: userId,
      apiTokenId: id,
      role: 'user',
      iat: expect.any(Number),
    })
    const headers = { authorization: `Bearer ${token}` }
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(403, 'ADMIN_ONLY'))
    expect(await sofie.world.events()).toContain('token.created')
  })

  test('a JWT of an administrator opens the calls of administrators, until it is revoked', async ({ sofie }) => {
    const { user, ctx } = sofie.users.admin
    const { id, token } = await made(sofie, { type: 'ADMIN', adminId: user.id, name: 'script' })
    expect(decodeJwt(token)).toMatchObject({ role: 'admin', uid: user.id })
    const headers = { authorization: `Bearer ${token}` }
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject({ status: 200 })
    await revokeToken(ctx, { tokenId: id })
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(401, 'TOKEN_INVALID'))
  })

  test('a JWT with the same claims under another signature opens nothing', async ({ sofie }) => {
    const { token } = await made(sofie, { type: 'ADMIN', adminId: sofie.users.admin.user.id, name: 'script' })
    const claims = token.split('.').slice(0, 2).join('.')
    const forged = `${claims}.${createHmac('sha256', '').update(claims).digest('base64url')}`
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${token.split('.')[1]}.`
    for (const secret of [forged, none, claims]) {
      const headers = { authorization: `Bearer ${secret}` }
      expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(401, 'TOKEN_INVALID'))
    }
  })

  test('a token counts from its ranges only', async ({ sofie }) => {
    const { user } = sofie.users.admin
    const { token } = await made(sofie, { type: 'ADMIN', adminId: user.id, name: 'x', ipRanges: '10.0.0.0/8, ::1' })
    const headers = { authorization: `Bearer ${token}` }
    expect(await sofie.send('GET', '/users', { headers })).toMatchObject(refused(403, 'IP_NOT_ALLOWED'))
  })

  test.for([
    ['no type', () => ({ userId: UNKNOWN, name: 'x' })],
    ['no owner', () => ({ type: 'USER', name: 'x' })],
    ['no name', ({ users }: SofieWorld) => ({ type: 'USER', userId: users.sender.user.id })],
    ['an empty name', ({ users }: SofieWorld) => ({ type: 'USER', userId: users.sender.user.id, name: '' })],
    ['an unknown owner', () => ({ type: 'USER', userId: UNKNOWN, name: 'x' })],
    ['an administrator as user', ({ users }: SofieWorld) => ({ type: 'USER', userId: users.admin.user.id, name: 'x' })],
    [
      'a user as administrator',
      ({ users }: SofieWorld) => ({ type: 'ADMIN', adminId: users.sender.user.id, name: 'x' }),
    ],
    [
      'a wrong range',
      ({ users }: SofieWorld) => ({ type: 'USER', userId: users.sender.user.id, name: 'x', ipRanges: 'here' }),
    ],
  ] as const)('is refused with %s', async ([, json], { sofie }) => {
    expect(await create(sofie, json(sofie))).toMatchObject(refused(400, 'BAD_REQUEST'))
  })
})

test('tokens are listed and shown with a preview only', async ({ sofie }) => {
  const { sender, admin } = sofie.users
  const ipRanges = '10.0.0.0/8'
  const { id, token } = await made(sofie, { type: 'USER', userId: sender.user.id, name: 'script', ipRanges })
  const shown = await sofie.send('GET', `/api-tokens/${id}`, { as: 'admin' })
  const preview = `eyJhbGciOi...${token.slice(-6)}`
  expect(shown.body).toEqual({ id, name: 'script', type: 'USER', userId: sender.user.id, ipRanges, token: preview })
  const list = (await sofie.send('GET', '/api-tokens', { as: 'admin' })).body as { adminId?: string; type: string }[]
  expect(list).toHaveLength(7)
  expect(list[0]).toEqual(shown.body)
  expect(list.filter(({ type }) => type === 'ADMIN')).toMatchObject([{ adminId: admin.user.id }])
  expect(JSON.stringify(list)).not.toContain(token.slice(20, -10))
})

test('unknown and revoked tokens are not there', async ({ sofie }) => {
  const { id } = await made(sofie, { type: 'USER', userId: sofie.users.sender.user.id, name: 'x' })
  await revokeToken(sofie.world.system, { tokenId: id })
  for (const tokenId of [id, UNKNOWN])
    expect(await sofie.send('GET', `/api-tokens/${tokenId}`, { as: 'admin' })).toMatchObject(refused(404, 'NOT_FOUND'))
})

test.for([
  ['GET', '/api-tokens', undefined],
  ['POST', '/api-tokens', { type: 'USER', userId: UNKNOWN, name: 'x' }],
  ['GET', `/api-tokens/${UNKNOWN}`, undefined],
] as const)('%s %s is for administrators, and a token', async ([method, path, json], { sofie }) => {
  const body = json && { json }
  expect(await sofie.send(method, path, { as: 'sender', ...body })).toMatchObject(refused(403, 'ADMIN_ONLY'))
  expect(await sofie.send(method, path, body)).toMatchObject(refused(401, 'TOKEN_INVALID'))
})
