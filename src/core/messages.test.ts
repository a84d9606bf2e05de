import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { setGrant } from '#core/grants.ts'
import { changeMessage, commentFile, deleteMessage, listComments, writeMessage } from '#core/messages.ts'
import { createFolder } from '#core/nodes.ts'
import { actions } from '#core/permissions.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'

async function texts(ctx: Ctx, query: { nodeId?: number; offset?: number; limit?: number } = {}): Promise<string[]> {
  const { total, rows } = await listComments(ctx, { offset: 0, limit: 100, ...query })
  if (query.limit === undefined) expect(total).toBe(rows.length)
  return rows.map(comment => comment.text)
}

describe('a comment', () => {
  test('is written by who may list and read the file, and remembers the version', async ({ world }) => {
    const space = await makeSpace(world)
    const first = await put(space.ctx, space.id, 'file')
    const reader = await makeMember(world, space.id, ['list', 'read'])
    const before = (await world.events()).length
    const comment = await commentFile(reader.ctx, { nodeId: first.node.id, text: 'good' })
    expect(comment).toMatchObject({ spaceId: space.id, nodeId: first.node.id, versionId: first.version.id })
    expect((await world.events()).slice(before)).toEqual(['message.written'])

    const second = await put(space.ctx, space.id, 'file', 'new text')
    const later = await commentFile(space.ctx, { nodeId: first.node.id, text: 'better' })
    expect(later.versionId).toBe(second.version.id)
    const { rows } = await listComments(reader.ctx, { nodeId: first.node.id, offset: 0, limit: 10 })
    expect(rows).toMatchObject([
      { id: comment.id, text: 'good', authorName: reader.user.name, nodeUid: first.node.uid },
      { id: later.id, text: 'better', authorName: space.owner.user.name },
    ])
  })

  test('is refused to others, on folders, and without text', async ({ world }) => {
    const space = await makeSpace(world)
    const { node } = await put(space.ctx, space.id, 'file')
    const folder = await createFolder(space.ctx, { parentId: space.id, name: 'folder' })
    const lister = await makeMember(world, space.id, ['list', 'log.write'])
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
    const write = (ctx: Ctx, nodeId = node.id, text = 'text') => commentFile(ctx, { nodeId, text })
    await expect(write(lister.ctx)).rejects.toMatchObject({ code: 'forbidden', details: { action: 'read' } })
    await expect(write((await world.user()).ctx)).rejects.toMatchObject({ code: 'not-found' })
    await expect(write(stranger.ctx)).rejects.toMatchObject({ code: 'not-found' })
    await expect(write(world.ctx({ ...space.ctx.actor, kind: 'share' }))).rejects.toMatchObject({ code: 'forbidden' })
    await expect(write(world.system)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(write(space.ctx, folder.id)).rejects.toMatchObject({ code: 'not-a-file' })
    await expect(write(space.ctx, node.id, '')).rejects.toMatchObject({ code: 'invalid-input' })
    await expect(write(space.ctx, node.id, 'a\0')).rejects.toMatchObject({ code: 'invalid-input' })
    await updateSpacePolicy(space.ctx, { spaceId: space.id, policy: { clientEncryption: true } })
    await expect(write(space.ctx)).rejects.toMatchObject({ code: 'not-found' })
    expect((await world.events()).filter(type => type === 'message.written')).toEqual([])
  })
})

describe('a list of comments', () => {
  test('goes across all files that the actor may list, oldest first, in pages', async ({ world }) => {
    const one = await makeSpace(world, { name: 'one' })
    const two = await makeSpace(world, { name: 'two', owner: one.owner })
    const { node: a } = await put(one.ctx, one.id, 'a')
    const { node: b } = await put(two.ctx, two.id, 'b')
    await writeMessage(one.ctx, { spaceId: one.id, text: 'to all' })
    await commentFile(one.ctx, { nodeId: b.id, text: 'first' })
    await writeMessage(one.ctx, { spaceId: one.id, nodeId: a.id, text: 'second' })
    await commentFile(one.ctx, { nodeId: b.id, text: 'third' })
    const reader = await makeMember(world, two.id, ['list'])
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })

    expect(await texts(one.ctx)).toEqual(['first', 'second', 'third'])
    expect(await texts(world.system)).toEqual(['first', 'second', 'third'])
    expect(await texts(one.ctx, { offset: 1, limit: 1 })).toEqual(['second'])
    expect(await texts(reader.ctx)).toEqual(['first', 'third'])
    expect(await texts((await world.user()).ctx)).toEqual([])
    expect(await texts(stranger.ctx)).toEqual([])
    expect(await texts(one.ctx, { nodeId: a.id })).toEqual(['second'])
    const scoped = world.ctx({ ...one.ctx.actor, scope: [{ actions: actions.list, nodeId: a.id }] })
    expect(await texts(scoped)).toEqual(['second'])
    for (const ctx of [reader.ctx, stranger.ctx]) {
      await expect(texts(ctx, { nodeId: a.id })).rejects.toMatchObject({ code: 'not-found' })
    }
    await expect(texts(one.ctx, { nodeId: one.id })).rejects.toMatchObject({ code: 'not-a-file' })
  })

  test('leaves out what was deleted, what lies in the bin, and what a mask or a gate hides', async ({ world }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node: kept } = await put(ctx, id, 'kept')
    const { node: masked } = await put(ctx, folder.id, 'masked')
    const { node: gone } = await put(ctx, id, 'gone')
    await commentFile(ctx, { nodeId: gone.id, text: 'on gone' })
    const taken = await commentFile(ctx, { nodeId: kept.id, text: 'taken back' })
    const edited = await commentFile(ctx, { nodeId: kept.id, text: 'on kpet' })
    await commentFile(ctx, { nodeId: masked.id, text: 'on masked' })
    await changeMessage(ctx, { messageId: edited.id, text: 'on kept' })
    await deleteMessage(ctx, { messageId: taken.id })
    await deleteNode(ctx, { nodeId: gone.id })
    await setGrant(ctx, { nodeId: folder.id, subjectId: owner.user.id, actions: ['list'] })
    const reader = await makeMember(world, id, ['list'])
    expect(await texts(ctx)).toEqual(['on kept', 'on masked'])
    expect(await texts(ctx, { nodeId: kept.id })).toEqual(['on kept'])
    expect(await texts(reader.ctx)).toEqual(['on kept'])
    await updateSpacePolicy(ctx, { spaceId: id, policy: { clientEncryption: true } })
    expect(await texts(ctx)).toEqual([])
  })
})
