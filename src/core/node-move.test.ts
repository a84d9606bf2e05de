import { describe, expect } from 'vitest'
import { effectiveActions } from '#core/access.ts'
import { setGrant } from '#core/grants.ts'
import { loadMetadata } from '#core/metadata.ts'
import { copyNode, moveNode } from '#core/node-move.ts'
import { createFolder, getNodeRow } from '#core/nodes.ts'
import { actionNames } from '#core/permissions.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import { getVersionRow } from '#core/versions.ts'
import { brokenNodes, makeMember, makeSpace, names, put, read, wrongTotals } from '#test/tree.ts'
import { test } from '#test/world.ts'

describe('moving', () => {
  test('keeps ids, versions and bin, and takes on the rights of the new place', async ({ world }) => {
    const from = await makeSpace(world, { name: 'from' })
    const to = await makeSpace(world, { name: 'to', owner: from.owner })
    const { ctx } = from
    const reader = await makeMember(world, to.id, ['list', 'read'])
    const masked = await makeMember(world, to.id, ['list', 'read'])
    const folder = await createFolder(ctx, { parentId: from.id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    await setGrant(ctx, { nodeId: inner.id, subjectId: masked.user.id, actions: ['list', 'read'] })
    const { node, version } = await put(ctx, folder.id, 'a', 'one')
    const second = await put(ctx, folder.id, 'a', 'two')
    const deep = await put(ctx, inner.id, 'deep')

    const moved = await moveNode(ctx, { nodeId: folder.id, parentId: to.id })

    expect(moved).toMatchObject({ id: folder.id, spaceId: to.id, parentId: to.id, revision: folder.revision + 1 })
    expect(await read(reader.ctx, node.id)).toBe('two')
    expect(await read(reader.ctx, node.id, version.id)).toBe('one')
    expect(await getNodeRow(ctx, node.id)).toMatchObject({ currentVersionId: second.version.id, spaceId: to.id })
    expect(await getVersionRow(ctx, version.id)).toMatchObject({ deletedSpaceId: to.id })
    await expect(read(reader.ctx, deep.node.id)).rejects.toMatchObject({ code: 'not-found' })
    expect(await read(masked.ctx, deep.node.id)).toBe('text of deep')
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('takes nested spaces along, which then lie in the other space but keep their own grants', async ({ world }) => {
    const from = await makeSpace(world, { name: 'from' })
    const to = await makeSpace(world, { name: 'to', owner: from.owner, policy: { caseRule: 'folded' } })
    const { ctx } = from
    const folder = await createFolder(ctx, { parentId: from.id, name: 'folder' })
    const nested = await makeSpace(world, { within: from, parentId: folder.id, name: 'Nested' })
    const member = await makeMember(world, nested.id, ['list'])
    await put(ctx, nested.id, 'A')
    await put(ctx, nested.id, 'a')

    await moveNode(ctx, { nodeId: folder.id, parentId: to.id })

    expect(await getSpaceRow(ctx, nested.id)).toMatchObject({ parentSpaceId: to.id })
    expect(await getNodeRow(ctx, nested.id)).toMatchObject({ nameKey: 'nested', spaceId: nested.id })
    expect(await names(ctx, nested.id)).toEqual(['A', 'a'])
    expect(actionNames(await effectiveActions(member.ctx, await getNodeRow(ctx, nested.id)))).toEqual(['list'])
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('settles a taken name, and refuses a place inside itself and a space', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const other = await makeSpace(world, { name: 'other' })
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    const { node } = await put(ctx, id, 'a', 'moved')
    const taken = await put(ctx, folder.id, 'a', 'there')

    const move = { nodeId: node.id, parentId: folder.id }
    await expect(moveNode(ctx, move)).rejects.toMatchObject({ code: 'name-taken' })
    expect(await moveNode(ctx, { ...move, onConflict: 'rename-new' })).toMatchObject({ name: 'a (1)', label: 'a' })
    await moveNode(ctx, { ...move, parentId: id, name: 'a' })
    await moveNode(ctx, { ...move, onConflict: 'replace' })
    expect(await getNodeRow(ctx, taken.node.id)).toMatchObject({ state: 'deleted' })
    expect(await names(ctx, folder.id)).toEqual(['a', 'inner'])

    const intoItself = moveNode(ctx, { nodeId: folder.id, parentId: inner.id })
    await expect(intoItself).rejects.toMatchObject({ code: 'into-itself' })
    const aSpace = moveNode(world.system, { nodeId: other.id, parentId: id })
    await expect(aSpace).rejects.toMatchObject({ code: 'cannot-move-space' })
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('into a space that does not tell cases apart is refused where two names become one', async ({ world }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const folded = await makeSpace(world, { name: 'folded', owner, policy: { caseRule: 'folded' } })
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await put(ctx, folder.id, 'A')
    await put(ctx, folder.id, 'a')

    const move = moveNode(ctx, { nodeId: folder.id, parentId: folded.id })
    await expect(move).rejects.toMatchObject({ code: 'name-taken' })
    expect(await getNodeRow(ctx, folder.id)).toMatchObject({ spaceId: id })
  })

  test('away needs the right to delete there and to create here', async ({ world }) => {
    const from = await makeSpace(world, { name: 'from' })
    const to = await makeSpace(world, { name: 'to', owner: from.owner })
    const member = await makeMember(world, from.id, ['list', 'read', 'create', 'change'])
    const { node } = await put(from.ctx, from.id, 'a')
    const folder = await createFolder(from.ctx, { parentId: from.id, name: 'folder' })
    const move = (parentId: number) => moveNode(member.ctx, { nodeId: node.id, parentId })

    await moveNode(member.ctx, { nodeId: node.id, parentId: from.id, name: 'b' })
    await expect(move(folder.id)).rejects.toMatchObject({ code: 'forbidden', details: { action: 'delete' } })
    await setGrant(from.ctx, { nodeId: from.id, subjectId: member.user.id, actions: ['list', 'delete'] })
    await expect(move(to.id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(move(folder.id)).rejects.toMatchObject({ code: 'forbidden', details: { action: 'create' } })
  })

  test('both ways at once ends in one of the two trees that are possible', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const a = await createFolder(ctx, { parentId: id, name: 'a' })
    const b = await createFolder(ctx, { parentId: id, name: 'b' })

    const moves = await Promise.allSettled([
      moveNode(ctx, { nodeId: a.id, parentId: b.id }),
      moveNode(ctx, { nodeId: b.id, parentId: a.id }),
    ])

    const lost = moves.filter(move => move.status === 'rejected')
    expect(lost).toHaveLength(1)
    expect(lost[0]!.reason).toMatchObject({ code: 'into-itself' })
    expect(await wrongTotals(ctx)).toEqual([])
  })
})

describe('copying', () => {
  test('makes new files with the content, notes and metadata of the old ones, but not their history', async ({
    world,
  }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const to = await makeSpace(world, { name: 'to', owner })
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    await put(ctx, inner.id, 'a', 'one')
    const source = await put(ctx, inner.id, 'a', 'two', {
      attributes: { notes: 'n' },
      metadata: { namespace: 'test', values: { key: 'value' } },
    })

    const copy = await copyNode(ctx, { nodeId: folder.id, parentId: to.id })

    expect(await names(ctx, to.id)).toEqual(['folder'])
    const [copiedInner] = await ctx.db.selectFrom('node').selectAll().where('parentId', '=', copy.id).execute()
    const [copied] = await ctx.db.selectFrom('node').selectAll().where('parentId', '=', copiedInner!.id).execute()
    expect(copied).toMatchObject({ name: 'a', notes: 'n', spaceId: to.id, revision: 1 })
    expect(await read(ctx, copied!.id)).toBe('two')
    expect(await loadMetadata(ctx, { nodeId: copied!.id, namespace: 'test' })).toEqual({ key: 'value' })
    const version = await getVersionRow(ctx, copied!.currentVersionId!)
    expect(version).toMatchObject({ blobId: source.version.blobId, chainId: version.id })
    expect(Buffer.from(version.wrappedKey!)).not.toEqual(Buffer.from(source.version.wrappedKey!))
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('counts against the quota of where it goes, all or nothing', async ({ world }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const to = await makeSpace(world, { name: 'to', owner, policy: { quotaBytes: 15 } })
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await put(ctx, folder.id, 'a', '0123456789')
    await put(ctx, folder.id, 'b', '0123456789')

    const copy = copyNode(ctx, { nodeId: folder.id, parentId: to.id })
    await expect(copy).rejects.toMatchObject({ code: 'quota-exceeded' })
    expect(await names(ctx, to.id)).toEqual([])
    expect(await wrongTotals(ctx)).toEqual([])
  })
})
