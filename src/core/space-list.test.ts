import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { setGrant } from '#core/grants.ts'
import { createFolder, renameNode } from '#core/nodes.ts'
import { actions } from '#core/permissions.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import { findNodeByUid, getSpaceByUid, listSpaces, type SpaceQuery } from '#core/space-list.ts'
import { setSpaceState, updateSpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

async function list(ctx: Ctx, query: Partial<SpaceQuery> & Pick<SpaceQuery, 'depth'>): Promise<string[]> {
  const { total, rows } = await listSpaces(ctx, { offset: 0, limit: 100, ...query })
  if (query.limit === undefined) expect(total).toBe(rows.length)
  expect(rows.every(({ space, node }) => space.id === node.id)).toBe(true)
  return rows.map(({ node }) => node.label)
}

async function makeTree(world: World) {
  const north = await makeSpace(world, { name: 'north' })
  const south = await makeSpace(world, { name: 'south', owner: north.owner })
  const inner = await makeSpace(world, { name: 'inner', within: north })
  const other = await makeSpace(world, { name: 'other', within: south })
  const deep = await makeSpace(world, { name: 'deep', within: inner })
  return { north, south, inner, other, deep }
}

describe('a list of spaces', () => {
  test('holds those of one level that the actor may list, oldest first', async ({ world }) => {
    const { north, inner } = await makeTree(world)
    const member = await makeMember(world, inner.id, ['list'])
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
    for (const ctx of [north.ctx, world.system]) {
      expect(await list(ctx, { depth: 1 })).toEqual(['north', 'south'])
      expect(await list(ctx, { depth: 2 })).toEqual(['inner', 'other'])
    }
    expect(await list(member.ctx, { depth: 1 })).toEqual([])
    expect(await list(member.ctx, { depth: 2 })).toEqual(['inner'])
    expect(await list(stranger.ctx, { depth: 1 })).toEqual([])
    expect(await list(north.ctx, { depth: 1, offset: 1, limit: 1 })).toEqual(['south'])
    expect(await listSpaces(north.ctx, { depth: 1, offset: 2, limit: 1 })).toEqual({ total: 2, rows: [] })
  })

  test('keeps to one parent and to labels', async ({ world }) => {
    const { north } = await makeTree(world)
    const { uid } = await getSpaceRow(world.system, north.id)
    expect(await list(north.ctx, { depth: 2, parentSpaceUid: uid })).toEqual(['inner'])
    expect(await list(north.ctx, { depth: 2, parentSpaceUid: uid.toUpperCase() })).toEqual(['inner'])
    expect(await list(north.ctx, { depth: 1, parentSpaceUid: uid })).toEqual([])
    expect(await list(north.ctx, { depth: 2, parentSpaceUid: world.deps.newId() })).toEqual([])
    expect(await list(north.ctx, { depth: 2, parentSpaceUid: 'nonsense\0' })).toEqual([])
    expect(await list(north.ctx, { depth: 1, title: 'south' })).toEqual(['south'])
    expect(await list(north.ctx, { depth: 1, title: 'South' })).toEqual([])
    expect(await list(north.ctx, { depth: 1, titlePrefix: 'no' })).toEqual(['north'])
    expect(await list(north.ctx, { depth: 1, titlePrefix: '' })).toEqual(['north', 'south'])
    expect(await list(north.ctx, { depth: 1, title: 'a\0' })).toEqual([])
    await renameNode(north.ctx, { nodeId: north.id, name: 'polar' })
    expect(await list(north.ctx, { depth: 1, titlePrefix: 'pol' })).toEqual(['polar'])
  })

  test('leaves out what a gate hides, with all that lies in it, and what a scope does not name', async ({ world }) => {
    const { north, south, inner } = await makeTree(world)
    const member = await makeMember(world, inner.id, ['list'])
    await updateSpacePolicy(north.ctx, { spaceId: north.id, policy: { deliveryPasswordHash: '$argon2id$x' } })
    expect(await list(member.ctx, { depth: 2 })).toEqual([])
    await setSpaceState(world.system, { spaceId: south.id, state: 'deleted' })
    expect(await list(north.ctx, { depth: 1 })).toEqual(['north'])
    expect(await list(north.ctx, { depth: 2 })).toEqual(['inner'])
    const scoped = world.ctx({ ...north.ctx.actor, scope: [{ actions: actions.list, nodeId: inner.id }] })
    expect(await list(scoped, { depth: 1 })).toEqual([])
    expect(await list(scoped, { depth: 2 })).toEqual(['inner'])
  })
})

describe('by its uid', () => {
  test('a space is found by who may list it', async ({ world }) => {
    const { north, inner } = await makeTree(world)
    const { uid } = await getSpaceRow(world.system, inner.id)
    const found = await getSpaceByUid(north.ctx, uid.toUpperCase())
    expect([found.space.id, found.node.id]).toEqual([inner.id, inner.id])
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
    const nobody = await world.user()
    await expect(getSpaceByUid(north.ctx, found.node.uid)).rejects.toMatchObject({ code: 'not-found' })
    await expect(getSpaceByUid(north.ctx, 'nonsense\0')).rejects.toMatchObject({ code: 'not-found' })
    for (const { ctx } of [stranger, nobody]) {
      await expect(getSpaceByUid(ctx, uid)).rejects.toMatchObject({ code: 'not-found', details: { what: 'space' } })
    }
    await setSpaceState(world.system, { spaceId: north.id, state: 'deleted' })
    await expect(getSpaceByUid(north.ctx, uid)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('a node is found while it lives and lists would show it', async ({ world }) => {
    const { north } = await makeTree(world)
    const { node } = await put(north.ctx, north.id, 'file')
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
    const reader = await makeMember(world, north.id, ['read'])
    expect((await findNodeByUid(north.ctx, node.uid.toUpperCase())).id).toBe(node.id)
    expect((await findNodeByUid(world.system, node.uid)).id).toBe(node.id)
    const missing = { code: 'not-found', details: { what: 'node' } }
    for (const { ctx } of [stranger, reader, await world.user()]) {
      await expect(findNodeByUid(ctx, node.uid)).rejects.toMatchObject(missing)
    }
    const folder = await createFolder(north.ctx, { parentId: north.id, name: 'folder' })
    const lister = await makeMember(world, north.id, ['list'])
    expect((await findNodeByUid(lister.ctx, folder.uid)).id).toBe(folder.id)
    await setGrant(north.ctx, { nodeId: folder.id, subjectId: north.owner.user.id, actions: ['list'] })
    await expect(findNodeByUid(lister.ctx, folder.uid)).rejects.toMatchObject(missing)
    const scoped = world.ctx({ ...lister.ctx.actor, scope: [{ actions: actions.list, nodeId: folder.id }] })
    await expect(findNodeByUid(scoped, node.uid)).rejects.toMatchObject(missing)
    await expect(findNodeByUid(north.ctx, `${node.uid} `)).rejects.toMatchObject(missing)
    await expect(findNodeByUid(north.ctx, '\0')).rejects.toMatchObject(missing)
    await updateSpacePolicy(north.ctx, { spaceId: north.id, policy: { clientEncryption: true } })
    await expect(findNodeByUid(north.ctx, node.uid)).rejects.toMatchObject(missing)
    await updateSpacePolicy(north.ctx, { spaceId: north.id, policy: { clientEncryption: false } })
    await deleteNode(north.ctx, { nodeId: node.id })
    await expect(findNodeByUid(north.ctx, node.uid)).rejects.toMatchObject(missing)
  })
})
