import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { createFolder, getNode, getNodeRow, renameNode, updateNode } from '#core/nodes.ts'
import { moveNode } from '#core/node-move.ts'
import { purgeVersion } from '#core/purge.ts'
import { restoreVersion, undoDeletion } from '#core/restore.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import { completeUpload } from '#core/transfer-completion.ts'
import { appendUpload, getUpload, openUpload } from '#core/transfers.ts'
import { deleteNode } from '#core/trash.ts'
import { getVersionRow, listVersions } from '#core/versions.ts'
import { bin, brokenNodes, makeMember, makeSpace, names, put, read, wrongTotals, type TestSpace } from '#test/tree.ts'
import { test } from '#test/world.ts'

/** Nothing contradicts anything. */
async function expectSound({ ctx }: TestSpace): Promise<void> {
  expect(await wrongTotals(ctx)).toEqual([])
  expect(await brokenNodes(ctx)).toEqual([])
}

describe('deleting', () => {
  test('frees the name, and keeps a snapshot of where the file was', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node, version } = await put(ctx, folder.id, 'a', 'text', { attributes: { notes: 'n', classification: 3 } })

    const deletion = await deleteNode(ctx, { nodeId: folder.id })

    expect(deletion.versionIds).toEqual([version.id])
    await expect(getNode(ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'not-found' })
    expect(await getVersionRow(ctx, version.id)).toMatchObject({
      deletedBy: ctx.actor.principalId,
      deletionId: deletion.id,
      deletedCause: 'deleted',
      deletedSpaceId: id,
      deletedParentId: folder.id,
      deletedPath: '/space/folder/a',
      deletedName: 'a',
      deletedNotes: 'n',
      deletedClassification: 3,
    })
    await createFolder(ctx, { parentId: id, name: 'folder' })
    await expectSound(space)
  })

  test('raises revision and snapshot of everything that goes', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node } = await put(ctx, folder.id, 'a')
    await deleteNode(ctx, { nodeId: folder.id })

    for (const before of [folder, node]) {
      const after = await getNodeRow(ctx, before.id)
      expect(after).toMatchObject({ state: 'deleted', revision: before.revision + 1 })
      expect(after.snapshotUid).not.toBe(before.snapshotUid)
    }
  })

  test('is refused for a space, for what holds one, and for what is protected or anything in it', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node } = await put(ctx, folder.id, 'a')
    const protect = (nodeId: number, writeProtected: boolean) =>
      updateNode(ctx, { nodeId, attributes: { writeProtected } })

    await expect(deleteNode(ctx, { nodeId: id })).rejects.toMatchObject({ code: 'forbidden' })
    for (const nodeId of [node.id, folder.id]) {
      await protect(nodeId, true)
      await expect(deleteNode(ctx, { nodeId: folder.id })).rejects.toMatchObject({ code: 'write-protected' })
      await protect(nodeId, false)
    }
    await makeSpace(world, { within: space, parentId: folder.id, name: 'nested' })
    await expect(deleteNode(ctx, { nodeId: folder.id })).rejects.toMatchObject({ code: 'wrong-state' })
  })

  test('a folder takes nothing along that is uploaded into it at the same moment, or all of it', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    for (let round = 0; round < 5; round += 1) {
      const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
      const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })

      const uploads = Array.from({ length: 6 }, (_, n) => put(ctx, inner.id, `file ${n}`))
      const [deletion, ...placed] = await Promise.allSettled([deleteNode(ctx, { nodeId: folder.id }), ...uploads])

      if (deletion.status === 'rejected') throw deletion.reason
      const stored = placed.flatMap(attempt => (attempt.status === 'fulfilled' ? [attempt.value.version.id] : []))
      expect(new Set(deletion.value.versionIds)).toEqual(new Set(stored))
      for (const attempt of placed)
        if (attempt.status === 'rejected') expect(attempt.reason).toMatchObject({ code: 'not-found' })
    }
    await expectSound(space)
  })
})

describe('restoring', () => {
  test('brings the latest version back as the file it was, an older one as a file of its own', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const one = await put(ctx, id, 'a', 'one')
    const two = await put(ctx, id, 'a', 'two', { label: 'A label', attributes: { notes: 'n' } })
    await deleteNode(ctx, { nodeId: one.node.id })

    const older = await restoreVersion(ctx, { versionId: one.version.id, name: 'older', onConflict: 'fail' })
    const latest = await restoreVersion(ctx, { versionId: two.version.id, onConflict: 'fail' })

    expect(older.node.id).not.toBe(one.node.id)
    expect(await read(ctx, older.node.id)).toBe('one')
    expect(latest).toMatchObject({
      renamed: false,
      node: { id: one.node.id, uid: one.node.uid, notes: 'n', state: 'live' },
    })
    expect(await read(ctx, one.node.id)).toBe('two')
    expect(await names(ctx, id)).toEqual(['a', 'older'])
    await expectSound(space)
  })

  test('settles a taken name as asked', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const drop = async (text: string) => {
      const { node, version } = await put(ctx, id, 'a', text)
      await deleteNode(ctx, { nodeId: node.id })
      return version.id
    }
    const [a, b, c, d] = [await drop('a'), await drop('b'), await drop('c'), await drop('d')]
    const there = await put(ctx, id, 'a', 'there')

    await expect(restoreVersion(ctx, { versionId: a, onConflict: 'fail' })).rejects.toMatchObject({
      code: 'name-taken',
    })
    const renamed = await restoreVersion(ctx, { versionId: a, onConflict: 'rename-new' })
    expect(renamed).toMatchObject({ renamed: true, node: { name: 'a (1)', nameFold: 'a (1)', label: 'a' } })
    await restoreVersion(ctx, { versionId: b, onConflict: 'rename-existing' })
    expect(await getNodeRow(ctx, there.node.id)).toMatchObject({ name: 'a (2)', nameFold: 'a (2)' })
    const { node } = await restoreVersion(ctx, { versionId: c, onConflict: 'replace' })
    expect(await read(ctx, node.id)).toBe('c')
    const current = await restoreVersion(ctx, { versionId: d, onConflict: 'new-version' })
    expect(current).toMatchObject({ renamed: false, node: { id: node.id, currentVersionId: d } })
    expect((await listVersions(ctx, { nodeId: node.id })).map(version => version.id)).toEqual([d, c])
    expect(await names(ctx, id)).toEqual(['a', 'a (1)', 'a (2)'])
    await expectSound(space)
  })

  test('as the version of another file leaves nothing that an undo could bring back twice', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { version } = await put(ctx, folder.id, 'a', 'moved')
    await put(ctx, folder.id, 'b', 'stays')
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    const target = await put(ctx, id, 'a', 'there')

    await restoreVersion(ctx, { versionId: version.id, parentId: id, onConflict: 'new-version' })
    await undoDeletion(ctx, { deletionId: deletion.id })

    expect(await read(ctx, target.node.id)).toBe('moved')
    expect(await names(ctx, folder.id)).toEqual(['b'])
    await expectSound(space)
  })

  test('tells what hangs on a place that is gone, and goes elsewhere when asked', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { version } = await put(ctx, folder.id, 'a')
    await deleteNode(ctx, { nodeId: folder.id })

    await expect(restoreVersion(ctx, { versionId: version.id, onConflict: 'fail' })).rejects.toMatchObject({
      code: 'parent-gone',
      details: { parentId: folder.id, versionIds: [version.id] },
    })
    await restoreVersion(ctx, { versionId: version.id, parentId: id, onConflict: 'fail' })
    expect(await names(ctx, id)).toEqual(['a'])
    await expectSound(space)
  })

  test('is refused for what is live, what is purged, and who lacks the right', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'read', 'create', 'trash.read'])
    const { node, version } = await put(ctx, id, 'a')
    const restore = (as = ctx) => restoreVersion(as, { versionId: version.id, onConflict: 'fail' })

    await expect(restore()).rejects.toMatchObject({ code: 'not-deleted' })
    await deleteNode(ctx, { nodeId: node.id })
    await expect(restore(member.ctx)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(purgeVersion(member.ctx, { versionId: version.id })).rejects.toMatchObject({ code: 'forbidden' })
    await purgeVersion(ctx, { versionId: version.id })
    await expect(restore()).rejects.toMatchObject({ code: 'wrong-state', details: { state: 'purged' } })
    await expect(purgeVersion(ctx, { versionId: version.id })).rejects.toMatchObject({ code: 'wrong-state' })
  })

  test('by several at once succeeds once', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const { version } = await put(ctx, id, 'a', 'one')
    await put(ctx, id, 'a', 'two')

    const attempts = await Promise.allSettled([
      ...Array.from({ length: 5 }, (_, n) =>
        restoreVersion(ctx, { versionId: version.id, name: `copy ${n}`, onConflict: 'fail' }),
      ),
      purgeVersion(ctx, { versionId: version.id }),
    ])

    expect(attempts.filter(attempt => attempt.status === 'fulfilled')).toHaveLength(1)
    await expectSound(space)
  })

  test('what had expired does not expire again at once', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node, version } = await put(ctx, id, 'a', 'text', { attributes: { expiresAt: 1 } })
    await deleteNode(ctx, { nodeId: node.id })

    const restored = await restoreVersion(ctx, { versionId: version.id, onConflict: 'fail' })
    expect(restored.node.expiresAt).toBeNull()
  })
})

describe('undoing a deletion', () => {
  test('brings masks, notes and nested folders back, under a free name where the old one is taken', async ({
    world,
  }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const member = await makeMember(world, id, ['list', 'read'])
    const folder = await createFolder(ctx, { parentId: id, name: 'folder', attributes: { notes: 'kept' } })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    await setGrant(ctx, { nodeId: inner.id, subjectId: member.user.id, actions: ['list'] })
    const { node } = await put(ctx, inner.id, 'a')
    const before = await put(ctx, inner.id, 'deleted before')
    await deleteNode(ctx, { nodeId: before.node.id })
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    await createFolder(ctx, { parentId: id, name: 'folder' })

    const back = await undoDeletion(ctx, { deletionId: deletion.id })

    expect(back).toMatchObject({ id: folder.id, name: 'folder (1)', nameFold: 'folder (1)', notes: 'kept' })
    expect(await names(ctx, inner.id)).toEqual(['a'])
    expect(await read(ctx, node.id)).toBe('text of a')
    await expect(read(member.ctx, node.id)).rejects.toMatchObject({ code: 'forbidden' })
    expect((await bin(ctx, id)).map(row => row.deletedName)).toEqual(['deleted before'])
    await expectSound(space)
  })

  test('leaves out what was purged, and follows a parent that was moved meanwhile', async ({ world }) => {
    const space = await makeSpace(world)
    const other = await makeSpace(world, { name: 'other', owner: space.owner })
    const { id, ctx } = space
    const parent = await createFolder(ctx, { parentId: id, name: 'parent' })
    const folder = await createFolder(ctx, { parentId: parent.id, name: 'folder' })
    const purged = await put(ctx, folder.id, 'purged')
    await put(ctx, folder.id, 'kept')
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    await purgeVersion(ctx, { versionId: purged.version.id })
    await moveNode(ctx, { nodeId: parent.id, parentId: other.id })

    const back = await undoDeletion(ctx, { deletionId: deletion.id })

    expect(back).toMatchObject({ spaceId: other.id })
    expect(await names(ctx, folder.id)).toEqual(['kept'])
    await expectSound(space)
  })

  test('copes with names that a new case rule makes one', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await put(ctx, folder.id, 'A')
    await put(ctx, folder.id, 'a')
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    await updateSpacePolicy(ctx, { spaceId: id, policy: { caseRule: 'folded' } })

    await undoDeletion(ctx, { deletionId: deletion.id })

    expect(await names(ctx, folder.id)).toEqual(['A', 'a (1)'])
    await expectSound(space)
  })

  test('gives an upload its folder back, which could not end while that was gone', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const upload = {
      parentId: folder.id,
      name: 'a',
      onConflict: 'fail',
      mediaType: 'text/plain',
      reserve: true,
    } as const
    const { id: uploadId, reservedNodeId } = await openUpload(ctx, upload)
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    await appendUpload(ctx, { uploadId }, [Buffer.from('text')])

    await expect(completeUpload(ctx, { uploadId, onRefusal: 'reopen' })).rejects.toMatchObject({ code: 'not-found' })
    await undoDeletion(ctx, { deletionId: deletion.id })
    expect(await names(ctx, folder.id)).toEqual([])
    const { node } = await completeUpload(ctx, { uploadId, onRefusal: 'fail' })

    expect(node.id).toBe(reservedNodeId)
    expect(await getUpload(ctx, { uploadId })).toMatchObject({ state: 'stored' })
    await expectSound(space)
  })
})

test('a rename changes the name a file is found by, and keeps its versions', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { node } = await put(ctx, id, 'before', 'text', { label: 'Label' })

  const renamed = await renameNode(ctx, { nodeId: node.id, name: 'After' })

  expect(renamed).toMatchObject({ name: 'After', label: 'After', nameKey: 'After', nameFold: 'after', revision: 2 })
  expect(await read(ctx, node.id)).toBe('text')
})
