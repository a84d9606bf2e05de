import { expect } from 'vitest'
import { loadContexts } from '#core/node-context.ts'
import { createFolder, getLiveNode, renameNode } from '#core/nodes.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'

test('the context of a page tells where each node lies, whose it is, and its metadata', async ({ world }) => {
  const outer = await makeSpace(world, { name: 'outer', owner: await world.user('olga') })
  const inner = await makeSpace(world, { name: 'inner', within: outer })
  const folder = await createFolder(inner.ctx, { parentId: inner.id, name: 'folder' })
  const writer = await makeMember(world, inner.id, ['list', 'create', 'change'], 'willi')
  const metadata = { namespace: 'ours', values: { __proto__x: '1', colour: 'red' } }
  const { node: deep } = await put(writer.ctx, folder.id, 'deep.txt', 'text', { metadata })
  const { node: flat } = await put(outer.ctx, outer.id, 'flat.txt')
  await renameNode(writer.ctx, { nodeId: folder.id, name: 'renamed' })
  const top = await getLiveNode(world.system, outer.id)
  const nodes = await Promise.all([deep, flat, folder, top].map(({ id }) => getLiveNode(world.system, id)))
  const contexts = await loadContexts(inner.ctx, nodes, { namespace: 'ours' })

  const way = contexts.get(deep.id)!.above
  const spaces = [await getSpaceRow(world.system, outer.id), await getSpaceRow(world.system, inner.id)]
  expect(way.map(step => step.label)).toEqual(['outer', 'inner', 'renamed'])
  expect(way.map(step => step.kind)).toEqual(['space', 'space', 'folder'])
  expect(way.map(step => step.spaceUid)).toEqual([spaces[0]!.uid, spaces[1]!.uid, null])
  expect(way[0]).toEqual({
    id: top.id,
    uid: top.uid,
    kind: 'space',
    label: 'outer',
    title: null,
    spaceUid: spaces[0]!.uid,
    createdAt: top.createdAt,
  })
  expect(contexts.get(deep.id)).toMatchObject({
    createdByName: writer.user.name,
    changedByName: writer.user.name,
    ownerName: outer.owner.user.name,
    metadata: { __proto__x: '1', colour: 'red' },
  })
  expect(contexts.get(flat.id)!.above.map(step => step.id)).toEqual([outer.id])
  expect(contexts.get(flat.id)!.metadata).toEqual({})
  expect(contexts.get(folder.id)).toMatchObject({
    createdByName: outer.owner.user.name,
    changedByName: writer.user.name,
  })
  expect(contexts.get(top.id)).toEqual({
    above: [],
    createdByName: null,
    changedByName: null,
    ownerName: outer.owner.user.name,
    metadata: {},
  })
})

test('the context brings the metadata of the asked namespace only, and nothing for an empty page', async ({
  world,
}) => {
  const { id, ctx } = await makeSpace(world)
  const { node } = await put(ctx, id, 'file', 'text', { metadata: { namespace: 'ours', values: { key: 'value' } } })
  const contexts = await loadContexts(ctx, [node], { namespace: 'theirs' })
  expect(contexts.get(node.id)!.metadata).toEqual({})
  expect(await loadContexts(ctx, [], { namespace: 'ours' })).toEqual(new Map())
})

test('nothing is told to a caller of another tenant', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { node } = await put(ctx, id, 'file', 'text', { metadata: { namespace: 'ours', values: { key: 'value' } } })
  const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
  expect(await loadContexts(stranger.ctx, [node], { namespace: 'ours' })).toEqual(new Map())
})
