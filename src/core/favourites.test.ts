import { expect } from 'vitest'
import { anonymousId, type Ctx } from '#core/ctx.ts'
import { addFavourite, removeFavourite } from '#core/favourites.ts'
import { searchFiles } from '#core/file-search.ts'
import { undoDeletion } from '#core/restore.ts'
import { deleteNode } from '#core/trash.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'

async function favourites(ctx: Ctx): Promise<number[]> {
  const { rows } = await searchFiles(ctx, { favourites: true, offset: 0, limit: 10 })
  return rows.map(({ node }) => node.id)
}

test('a favourite is added and removed once, however often it is asked for', async ({ world }) => {
  const space = await makeSpace(world)
  const { node } = await put(space.ctx, space.id, 'file')
  const member = await makeMember(world, space.id, ['list'])
  const before = (await world.events()).length

  await addFavourite(member.ctx, { nodeId: node.id })
  await addFavourite(member.ctx, { nodeId: node.id })
  expect(await favourites(member.ctx)).toEqual([node.id])
  expect(await favourites(space.ctx)).toEqual([])
  await addFavourite(space.ctx, { nodeId: node.id })
  await removeFavourite(member.ctx, { nodeId: node.id })
  await removeFavourite(member.ctx, { nodeId: node.id })
  expect(await favourites(member.ctx)).toEqual([])
  expect(await favourites(space.ctx)).toEqual([node.id])
  expect((await world.events()).slice(before)).toEqual(['favourite.added', 'favourite.added', 'favourite.removed'])
})

test('a favourite is out of sight while its file lies in the bin, and back when that is undone', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { node } = await put(ctx, id, 'file')
  await addFavourite(ctx, { nodeId: node.id })
  const deletion = await deleteNode(ctx, { nodeId: node.id })
  expect(await favourites(ctx)).toEqual([])
  await expect(addFavourite(ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'not-found' })
  await expect(removeFavourite(ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'not-found' })
  await undoDeletion(ctx, { deletionId: deletion.id })
  expect(await favourites(ctx)).toEqual([node.id])
})

test('who may not list a node cannot have it as a favourite, nor can who is no account', async ({ world }) => {
  const space = await makeSpace(world)
  const { node } = await put(space.ctx, space.id, 'file')
  const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
  const { actor } = space.ctx
  const refused = [
    [(await world.user()).ctx, 'not-found'],
    [stranger.ctx, 'not-found'],
    [world.ctx({ ...actor, kind: 'share' }), 'forbidden'],
    [world.ctx({ ...actor, principalId: anonymousId }), 'forbidden'],
    [world.system, 'forbidden'],
  ] as const
  for (const [ctx, code] of refused) {
    await expect(addFavourite(ctx, { nodeId: node.id })).rejects.toMatchObject({ code })
    await expect(removeFavourite(ctx, { nodeId: node.id })).rejects.toMatchObject({ code })
  }
  await expect(addFavourite(space.ctx, { nodeId: 987_654 })).rejects.toMatchObject({ code: 'not-found' })
})
