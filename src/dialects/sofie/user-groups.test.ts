import { describe, expect } from 'vitest'
import { addMembers, createGroup, listMembers } from '#core/groups.ts'
import { grantRight, hasRight, rightsOf } from '#core/roles.ts'
import { permissionRights } from './permissions.ts'
import type { Answer } from '#test/answer.ts'
import { refused, test, userRights, type SofieWorld } from '#test/sofie-world.ts'

const UNKNOWN = '0b0f7a52-2f0e-4b0f-9d5e-5b8f0c1d2e3f'
const json = { name: 'Sales', accessibility: 'PUBLIC' }

const create = ({ send }: SofieWorld, more: object = {}) =>
  send('POST', '/user-groups', { as: 'admin', json: { ...json, ...more } })
const change = ({ send }: SofieWorld, id: string, more: object) =>
  send('PATCH', `/user-groups/${id}`, { as: 'admin', json: more })
const show = async ({ send }: SofieWorld, id: string) =>
  (await send('GET', `/user-groups/${id}`, { as: 'admin' })).body as Record<string, unknown>
const idOf = ({ body }: Answer) => (body as { id: string }).id
const list = async ({ send }: SofieWorld, query = '') =>
  (await send('GET', `/user-groups${query}`, { as: 'admin' })).body as {
    total: number
    count: number
    data: { name: string; permissions: string[] }[]
  }

describe('creating', () => {
  test('stores every attribute and all 28 permissions', async ({ sofie }) => {
    const permissions = Object.keys(permissionRights)
    expect(permissions).toHaveLength(28)
    const attributes = { email: 'sales@example.test', distribution: true, permissions }
    const created = await create(sofie, attributes)
    expect(created).toMatchObject({ status: 201 })
    expect(await show(sofie, idOf(created))).toEqual({
      id: idOf(created),
      ...json,
      ...attributes,
      createdAt: expect.stringMatching(/^2026-01-05T08:00:00\.\d{3}Z$/),
    })
    const events = await sofie.world.events()
    expect(events).toEqual(expect.arrayContaining(['group.created', 'group.changed', 'right.changed']))
  })

  test('what is not named is not there', async ({ sofie }) => {
    const group = await show(sofie, idOf(await create(sofie)))
    expect(group).toMatchObject({ distribution: false, permissions: [] })
    expect(group).not.toHaveProperty('email')
  })

  test.for([
    ['no name', { name: undefined }],
    ['an empty name', { name: ' ' }],
    ['a long name', { name: 'x'.repeat(101) }],
    ['no accessibility', { accessibility: undefined }],
    ['an unknown accessibility', { accessibility: 'public' }],
    ['an unknown permission', { permissions: ['FLY'] }],
    ['a permission twice', { permissions: ['LOGIN', 'LOGIN'] }],
    ['an address that is none', { email: 'sales' }],
    ['a text for a truth value', { distribution: 'true' }],
  ] as const)('is refused with %s', async ([, more], { sofie }) => {
    expect(await create(sofie, more)).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(await list(sofie)).toMatchObject({ total: 1 })
  })

  test.for([{ name: 'USERS' }, { email: 'Sender@example.test' }])('is a conflict: %o', async (more, { sofie }) => {
    expect(await create(sofie, more)).toMatchObject(refused(409, 'NAME_CONFLICT'))
  })
})

describe('changing', () => {
  test('what is named changes, the rest stays', async ({ sofie }) => {
    const id = idOf(await create(sofie, { email: 'sales@example.test', permissions: ['LOGIN', 'LOG_ACCESS'] }))
    expect(await change(sofie, id, { name: 'Sellers', accessibility: 'PRIVATE' })).toMatchObject({ status: 204 })
    expect(await show(sofie, id)).toMatchObject({
      name: 'Sellers',
      accessibility: 'PRIVATE',
      email: 'sales@example.test',
      permissions: ['LOGIN', 'LOG_ACCESS'],
    })
    expect(await change(sofie, id, { permissions: ['LOG_ACCESS'], email: '' })).toMatchObject({ status: 204 })
    expect(await show(sofie, id)).toMatchObject({ permissions: ['LOG_ACCESS'] })
    expect(await show(sofie, id)).not.toHaveProperty('email')
  })

  test('rights that this API has no word for stay', async ({ sofie }) => {
    const id = idOf(await create(sofie, { permissions: ['LOGIN'] }))
    await grantRight(sofie.world.system, { principalId: id, right: 'spaces.create' })
    expect(await show(sofie, id)).toMatchObject({ permissions: ['LOGIN'] })
    await change(sofie, id, { permissions: [] })
    expect([...(await rightsOf(sofie.world.system, id))]).toEqual(['spaces.create'])
  })

  test('members hold a permission from then on, and lose it', async ({ sofie }) => {
    const { ctx } = sofie.users.sender
    const permissions = ['LOGIN', 'SET_PACKAGE_PERSISTENT']
    await change(sofie, sofie.groupId, { permissions })
    expect(await hasRight(ctx, 'deliveries.persistent')).toBe(true)
    expect(await hasRight(ctx, 'deliveries.receive')).toBe(false)
  })

  test.for([
    { name: 'Users', status: 409, reason: 'NAME_CONFLICT' },
    { email: 'blind@example.test', status: 409, reason: 'NAME_CONFLICT' },
    { permissions: ['FLY'], status: 400, reason: 'BAD_REQUEST' },
  ])('is refused: %o', async ({ status, reason, ...more }, { sofie }) => {
    const id = idOf(await create(sofie))
    expect(await change(sofie, id, more)).toMatchObject(refused(status, reason))
  })

  test('nobody gives a permission that he does not hold', async ({ sofie }) => {
    const { world, users } = sofie
    await world.deps.database.transaction(db =>
      db
        .deleteFrom('principal_right')
        .where('principalId', '=', users.admin.user.id)
        .where('right', '=', permissionRights.LOG_ACCESS)
        .execute(),
    )
    const answer = await change(sofie, sofie.groupId, { permissions: ['LOG_ACCESS'] })
    expect(answer).toMatchObject(refused(403, 'PERMISSION_DENIED'))
  })
})

describe('listing', () => {
  test('comes newest first, in pages', async ({ sofie }) => {
    for (const name of ['A', 'B', 'C']) await create(sofie, { name })
    const all = await list(sofie)
    expect(all).toMatchObject({ total: 4, count: 4 })
    expect(all.data.map(({ name }) => name)).toEqual(['C', 'B', 'A', 'Users'])
    const page = await list(sofie, '?$top=2&$skip=1')
    expect(page).toMatchObject({ total: 4, count: 2, data: [{ name: 'B' }, { name: 'A' }] })
    expect(page.data[0]?.permissions).toEqual([])
    expect(all.data[3]?.permissions).toHaveLength(userRights.length)
  })

  test.for([
    [{ '==': [{ var: 'name' }, 'Sales'] }, ['Sales']],
    [{ contains: [{ var: 'name' }, 'ale'] }, ['Sales']],
    [{ icontains: [{ var: 'name' }, 'SALE'] }, ['Sales']],
    [{ icontains: [{ var: 'email' }, 'LES@'] }, ['Sales']],
    [{ '==': [{ var: 'accessibility' }, 'INTERNAL'] }, ['Users']],
    [{ contains: [{ var: 'accessibility' }, 'PUB'] }, ['Sales']],
    [{ '==': [{ var: 'distribution' }, true] }, ['Sales']],
    [{ in: ['RECEIVE_PACKAGE', { var: 'permissions' }] }, ['Users']],
    [{ in: ['LOGIN', { var: 'permissions' }] }, ['Sales', 'Users']],
    [{ '!': { '==': [{ var: 'name' }, 'Sales'] } }, ['Users']],
  ] as const)('by %j', async ([filter, names], { sofie }) => {
    await create(sofie, { email: 'sales@example.test', distribution: true, permissions: ['LOGIN'] })
    const { data } = await list(sofie, `?$filter=${encodeURIComponent(JSON.stringify(filter))}`)
    expect(data.map(({ name }) => name)).toEqual(names)
  })

  test.for([
    ['$top=0', 'BAD_REQUEST'],
    ['$top=5001', 'BAD_REQUEST'],
    ['$top=x', 'BAD_REQUEST'],
    ['$skip=-1', 'BAD_REQUEST'],
    ['$filter=x', 'FILTER_NOT_SUPPORTED'],
    [`$filter=${'x'.repeat(8193)}`, 'FILTER_NOT_SUPPORTED'],
    ['$filter={"==":[{"var":"flags"},"x"]}', 'FILTER_NOT_SUPPORTED'],
  ] as const)('is refused with %s', async ([query, reason], { sofie }) => {
    const answer = await sofie.send('GET', `/user-groups?${encodeURI(query)}`, { as: 'admin' })
    expect(answer).toMatchObject(refused(400, reason))
  })
})

describe('members', () => {
  const path = (id: string) => `/user-groups/${id}/users`
  const members = async ({ send }: SofieWorld, id: string, query = '') =>
    (await send('GET', path(id) + query, { as: 'admin' })).body as { total: number; count: number; data: string[] }

  test('are added, replaced, removed, and those who were there before stay as they are', async ({ sofie }) => {
    const { sender, regular, blind } = sofie.users
    const [a, b, c] = [sender.user.id, regular.user.id, blind.user.id]
    const { send, world } = sofie
    const id = idOf(await create(sofie))
    await addMembers(world.system, { groupId: id, memberIds: [a], level: 'manager' })
    expect(await send('POST', path(id), { as: 'admin', json: [a, b.toUpperCase()] })).toMatchObject({ status: 204 })
    expect(await members(sofie, id)).toEqual({ total: 2, count: 2, data: [b, a] }) // by name
    expect(await listMembers(world.system, { groupId: id })).toMatchObject([{ level: 'member' }, { level: 'manager' }])
    expect(await send('PUT', path(id), { as: 'admin', json: [c, a] })).toMatchObject({ status: 204 })
    expect(await members(sofie, id, '?$top=1&$skip=1')).toEqual({ total: 2, count: 1, data: [a] })
    for (const userId of [c, c, UNKNOWN])
      expect(await send('DELETE', `${path(id)}/${userId}`, { as: 'admin' })).toMatchObject({ status: 204 })
    expect(await members(sofie, id)).toMatchObject({ data: [a] })
    expect(await send('PUT', path(id), { as: 'admin', json: [] })).toMatchObject({ status: 204 })
    expect(await members(sofie, id)).toMatchObject({ total: 0, data: [] })
  })

  test('that are no users are not shown, and stay when users are replaced', async ({ sofie }) => {
    const { world, send, users } = sofie
    const id = idOf(await create(sofie))
    const inner = await createGroup(world.system, { name: 'Inner' })
    await addMembers(world.system, { groupId: id, memberIds: [inner.id, users.admin.user.id] })
    expect(await members(sofie, id)).toMatchObject({ total: 0 })
    await send('PUT', path(id), { as: 'admin', json: [users.sender.user.id] })
    await send('DELETE', `${path(id)}/${inner.id}`, { as: 'admin' })
    expect(await listMembers(world.system, { groupId: id })).toHaveLength(3)
  })

  test.for(['POST', 'PUT'])(
    '%s refuses unknown ids, repeated ones, and what are no users',
    async (method, { sofie }) => {
      const { send, users, groupId } = sofie
      const { id } = users.sender.user
      for (const json of [[UNKNOWN], ['x'], [id, id.toUpperCase()], [groupId], [users.admin.user.id], {}, [7]]) {
        expect(await send(method, path(groupId), { as: 'admin', json })).toMatchObject(refused(400, 'BAD_REQUEST'))
      }
      expect(await members(sofie, groupId)).toMatchObject({ total: 5 })
    },
  )
})

test.for([
  ['GET', '/user-groups', undefined],
  ['POST', '/user-groups', json],
  ['GET', `/user-groups/${UNKNOWN}`, undefined],
  ['PATCH', `/user-groups/${UNKNOWN}`, {}],
  ['GET', `/user-groups/${UNKNOWN}/users`, undefined],
  ['POST', `/user-groups/${UNKNOWN}/users`, []],
  ['PUT', `/user-groups/${UNKNOWN}/users`, []],
  ['DELETE', `/user-groups/${UNKNOWN}/users/${UNKNOWN}`, undefined],
] as const)('%s %s is for administrators, and knows its groups', async ([method, path, json], { sofie }) => {
  const body = json && { json }
  expect(await sofie.send(method, path, { as: 'sender', ...body })).toMatchObject(refused(403, 'ADMIN_ONLY'))
  expect(await sofie.send(method, path, body)).toMatchObject(refused(401, 'TOKEN_INVALID'))
  if (path.includes(UNKNOWN))
    expect(await sofie.send(method, path, { as: 'admin', ...body })).toMatchObject(refused(404, 'NOT_FOUND'))
})
