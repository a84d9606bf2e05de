import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { createFileRecord, getFileRecord, listFolder, putRecordContent } from '#core/file-records.ts'
import { setGrant } from '#core/grants.ts'
import { copyNode, moveNode } from '#core/node-move.ts'
import { createFolder, getNodeRow, updateNode } from '#core/nodes.ts'
import { collectBlobs } from '#core/purge.ts'
import { undoDeletion } from '#core/restore.ts'
import { shredFile, shredFolder, shredSpace } from '#core/shred.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import { setSpaceState } from '#core/spaces.ts'
import { getTotals } from '#core/totals.ts'
import { appendUpload, openUpload } from '#core/transfers.ts'
import { deleteNode } from '#core/trash.ts'
import { bin, brokenNodes, makeMember, makeSpace, names, put, read, wrongTotals } from '#test/tree.ts'
import { test as base, type World } from '#test/world.ts'

const test = base.override({ settings: { inlineBytes: 4 } })

/** Does what the jobs would do that purging has left, and answers what is still stored then: segments, inline ones and objects. */
async function remains(world: World): Promise<number> {
  const { db } = world.system
  const jobs = await db.selectFrom('job').select('payload').where('kind', '=', 'blob.collect').orderBy('id').execute()
  for (const { payload } of jobs) await collectBlobs(world.system, JSON.parse(payload) as { blobIds: string[] })
  const rows = await db.selectFrom('segment').select('id').execute()
  const objects = await Array.fromAsync(world.deps.blobs.list())
  return rows.length + objects.length
}

const keysLeft = async (ctx: Ctx): Promise<number> =>
  (await ctx.db.selectFrom('version').select('id').where('wrappedKey', 'is not', null).execute()).length

const gone = new Error('The database went away')

function isCrash(error: unknown): boolean {
  if (error !== gone) throw error
  return true
}

/** The same server, whose database goes away after so many transactions. */
function dyingAfter(ctx: Ctx, transactions: number): Ctx {
  let left = transactions
  const { database } = ctx
  return {
    ...ctx,
    database: {
      ...database,
      transaction: work => ((left -= 1) < 0 ? Promise.reject(gone) : database.transaction(work)),
    },
  }
}

const record = (ctx: Ctx, parentId: number, name: string) =>
  createFileRecord(ctx, { parentId, name, onConflict: 'fail', sizeBytes: 9, mediaType: 'text/plain' })

/** A folder with files live, deleted and being uploaded, on two levels, and earlier versions of some. */
async function fillFolder(ctx: Ctx, parentId: number, name: string) {
  const folder = await createFolder(ctx, { parentId, name })
  const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
  await put(ctx, folder.id, 'a', 'first version of it')
  await put(ctx, folder.id, 'a')
  await put(ctx, inner.id, 'tiny', 'x')
  const deep = await put(ctx, inner.id, 'deep')
  const gone = await put(ctx, inner.id, 'gone')
  await deleteNode(ctx, { nodeId: gone.node.id })
  const removed = await createFolder(ctx, { parentId: folder.id, name: 'removed' })
  await put(ctx, removed.id, 'below')
  await deleteNode(ctx, { nodeId: removed.id })
  const uploading = await record(ctx, inner.id, 'uploading')
  await putRecordContent(ctx, { uploadId: uploading.upload.id }, [Buffer.from('123456789')])
  const plain = await openUpload(ctx, { parentId: folder.id, name: 'p', onConflict: 'fail', mediaType: 'text/plain' })
  await appendUpload(ctx, { uploadId: plain.id }, [Buffer.from('some bytes')])
  return { folder, inner, removed, deep, uploading }
}

describe('shredding a file', () => {
  test('leaves a tombstone, and nothing of any version, live or deleted', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a', 'the first of two versions')
    await put(ctx, id, 'a', 'x')
    const other = await put(ctx, id, 'deleted', 'deleted before it is shredded')
    await deleteNode(ctx, { nodeId: other.node.id })

    await shredFile(ctx, { nodeId: node.id })
    await shredFile(ctx, { nodeId: other.node.id })

    expect(await remains(world)).toBe(0)
    expect(await keysLeft(ctx)).toBe(0)
    const found = await getFileRecord(ctx, { spaceId: id, uid: node.uid })
    expect(found).toMatchObject({ kind: 'deleted', node: { state: 'purged', name: 'a' } })
    expect(await getTotals(ctx, id)).toEqual({ files: 0, folders: 0, bytes: 0, binBytes: 0 })
    expect((await world.events()).filter(type => type === 'version.purged')).toHaveLength(3)
    await shredFile(ctx, { nodeId: node.id })
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('that is still uploaded cancels it', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node, upload } = await record(ctx, id, 'a')
    await putRecordContent(ctx, { uploadId: upload.id }, [Buffer.from('123456789')])
    await shredFile(world.system, { nodeId: node.id })
    expect(await getFileRecord(ctx, { spaceId: id, uid: node.uid })).toMatchObject({ kind: 'cancelled' })
    expect(await remains(world)).toBe(0)
  })

  test('reaches versions that lie in the bin of another folder, where the right is not missing', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const [from, to] = [
      await createFolder(ctx, { parentId: id, name: 'from' }),
      await createFolder(ctx, { parentId: id, name: 'to' }),
    ]
    const { node } = await put(ctx, from.id, 'a', 'the first version')
    await put(ctx, from.id, 'a')
    await moveNode(ctx, { nodeId: node.id, parentId: to.id })
    const purger = await makeMember(world, id, ['list', 'read', 'trash.purge'])
    await setGrant(ctx, { nodeId: from.id, subjectId: purger.user.id, actions: ['list', 'read'] })

    await expect(shredFile(purger.ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'forbidden' })
    await shredFile(ctx, { nodeId: node.id })
    expect(await remains(world)).toBe(0)
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('leaves a copy of it readable', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a', 'what both say')
    const copy = await copyNode(ctx, { nodeId: node.id, parentId: id, name: 'b' })
    await shredFile(ctx, { nodeId: node.id })
    expect(await remains(world)).toBeGreaterThan(0)
    expect(await read(ctx, copy.id)).toBe('what both say')
  })

  test('needs the right, and gives way to write protection', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const editor = await makeMember(world, id, ['list', 'read', 'create', 'write', 'change', 'delete'])
    const { node } = await put(ctx, id, 'a')
    await expect(shredFile(editor.ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(shredFile((await world.user()).ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'not-found' })
    await updateNode(ctx, { nodeId: node.id, attributes: { writeProtected: true } })
    await expect(shredFile(ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'write-protected' })
    await expect(shredFile(ctx, { nodeId: id })).rejects.toMatchObject({ code: 'not-a-file' })
    expect(await read(ctx, node.id)).toBe('text of a')
  })
})

describe('shredding a folder', () => {
  test('destroys all in it and nothing beside it, and says since when', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { folder, inner, deep, uploading } = await fillFolder(ctx, id, 'folder')
    const beside = await put(ctx, id, 'beside')
    const binned = await put(ctx, id, 'binned')
    await deleteNode(ctx, { nodeId: binned.node.id })

    await shredFolder(ctx, { nodeId: folder.id })

    expect(await names(ctx, id)).toEqual(['beside'])
    expect(await bin(ctx, id)).toMatchObject([{ nodeId: binned.node.id }])
    expect(await read(ctx, beside.node.id)).toBe('text of beside')
    expect(await keysLeft(ctx)).toBe(2)
    expect(await remains(world)).toBe(4) // two files: a row and an object each
    const { folders } = await listFolder(ctx, { nodeId: id, withDeleted: true })
    expect(folders).toMatchObject([{ node: { id: folder.id, state: 'purged' }, path: '/folder' }])
    expect(folders[0]!.contentPurgedAt).toBeGreaterThanOrEqual(folders[0]!.deletedAt!)
    const below = await listFolder(ctx, { nodeId: folder.id, withDeleted: true })
    expect(below.folders.every(({ contentPurgedAt }) => contentPurgedAt !== null)).toBe(true)
    expect(below.folders.map(({ node }) => node.id)).toContain(inner.id)
    const record = (uid: string) => getFileRecord(ctx, { spaceId: id, uid })
    expect(await record(deep.node.uid)).toMatchObject({ kind: 'deleted', path: '/folder/inner/deep' })
    expect(await record(uploading.node.uid)).toMatchObject({ kind: 'cancelled' })
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
    expect((await world.events()).filter(type => type === 'node.purged')).toHaveLength(1)
  })

  test('takes along what its bin holds of a file that lives elsewhere by now', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node } = await put(ctx, folder.id, 'a', 'the first version')
    await put(ctx, folder.id, 'a', 'x')
    await moveNode(ctx, { nodeId: node.id, parentId: id })
    await shredFolder(ctx, { nodeId: folder.id })
    expect(await bin(ctx, id)).toEqual([])
    expect(await remains(world)).toBe(1)
    expect(await read(ctx, node.id)).toBe('x')
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('that is deleted already works as well, and what is gone cannot be brought back', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { folder } = await fillFolder(ctx, id, 'folder')
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    await shredFolder(ctx, { nodeId: folder.id })
    expect(await remains(world)).toBe(0)
    await expect(undoDeletion(ctx, { deletionId: deletion.id })).rejects.toMatchObject({ code: 'wrong-state' })
    await shredFolder(ctx, { nodeId: folder.id })
    expect((await world.events()).filter(type => type === 'node.purged')).toHaveLength(1)
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('is refused before anything is gone: where a right is missing, something is protected, or a space lies in it', async ({
    world,
  }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const { folder, inner, deep } = await fillFolder(ctx, id, 'folder')
    const shred = (by: Ctx) => shredFolder(by, { nodeId: folder.id })
    const purger = await makeMember(world, id, ['list', 'read', 'trash.purge'])
    await setGrant(ctx, { nodeId: inner.id, subjectId: purger.user.id, actions: ['list', 'read'] })
    await expect(shred(purger.ctx)).rejects.toMatchObject({ code: 'forbidden' })
    await updateNode(ctx, { nodeId: deep.node.id, attributes: { writeProtected: true } })
    await expect(shred(ctx)).rejects.toMatchObject({ code: 'write-protected' })
    await updateNode(ctx, { nodeId: deep.node.id, attributes: { writeProtected: false } })
    await makeSpace(world, { within: space, name: 'nested', parentId: inner.id })
    await expect(shred(ctx)).rejects.toMatchObject({ code: 'wrong-state', details: { what: 'space' } })
    await expect(shredFolder(ctx, { nodeId: id })).rejects.toMatchObject({ code: 'not-a-folder' })
    expect((await world.events()).filter(type => type === 'version.purged')).toEqual([])
    expect(await names(ctx, folder.id)).toEqual(['a', 'inner'])
  })
})

describe('shredding a space', () => {
  test('destroys everything in it, protected or not, and nothing brings it back', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { deep } = await fillFolder(ctx, id, 'folder')
    const { node } = await put(ctx, id, 'at the root')
    for (const nodeId of [node.id, deep.node.id])
      await updateNode(ctx, { nodeId, attributes: { writeProtected: true } })

    const space = await shredSpace(world.system, { spaceId: id })

    expect(space.state).toBe('purged')
    expect(space.contentPurgedAt).toBeGreaterThan(0)
    expect(await remains(world)).toBe(0)
    expect(await keysLeft(ctx)).toBe(0)
    expect(await getTotals(ctx, id)).toEqual({ files: 0, folders: 0, bytes: 0, binBytes: 0 })
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
    await expect(setSpaceState(ctx, { spaceId: id, state: 'active' })).rejects.toMatchObject({ code: 'wrong-state' })
    await expect(put(ctx, id, 'late')).rejects.toMatchObject({ code: 'space-inactive' })
    const { files, folders } = await listFolder(world.system, { nodeId: id, withDeleted: true })
    expect([...files, ...folders].map(({ node: each }) => each.state)).toEqual(['purged', 'purged'])
    const events = await world.events()
    expect(events.filter(type => type === 'space.purged' || type === 'space.state-changed')).toHaveLength(2)
    const { contentPurgedAt } = space
    expect(await shredSpace(ctx, { spaceId: id })).toMatchObject({ contentPurgedAt })
  })

  test.for(['deleted', 'archived'] as const)('works from the state %s as well', async (state, { world }) => {
    const { id, ctx } = await makeSpace(world)
    await put(ctx, id, 'a')
    await setSpaceState(ctx, { spaceId: id, state })
    expect(await shredSpace(ctx, { spaceId: id })).toMatchObject({ state: 'purged' })
    expect(await remains(world)).toBe(0)
  })

  test('is refused where another space lies in it, and to who has not the right', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    await makeSpace(world, { within: space, name: 'nested' })
    await expect(shredSpace(ctx, { spaceId: id })).rejects.toMatchObject({ code: 'wrong-state' })
    const editor = await makeMember(world, id, ['list', 'read', 'delete'])
    await expect(shredSpace(editor.ctx, { spaceId: id })).rejects.toMatchObject({ code: 'forbidden' })
    expect(await getSpaceRow(ctx, id)).toMatchObject({ state: 'active' })
  })
})

describe('a crash in the middle of shredding', () => {
  /** More files than one transaction takes, so that there is a middle. */
  async function fillBoth(ctx: Ctx, id: number) {
    const { folder } = await fillFolder(ctx, id, 'folder')
    await Promise.all(Array.from({ length: 60 }, (_, n) => put(ctx, folder.id, `file ${n}`)))
    return folder
  }

  /** Lets it die after one transaction, after two, …, until it comes to its end. Answers how often it died. */
  async function dieEachTime(ctx: Ctx, shred: (ctx: Ctx) => Promise<unknown>): Promise<number> {
    for (let survived = 1; ; survived += 1) {
      const died = await shred(dyingAfter(ctx, survived)).then(() => false, isCrash)
      expect(await wrongTotals(ctx)).toEqual([])
      expect(await brokenNodes(ctx)).toEqual([])
      if (!died) return survived - 1
    }
  }

  test('of a folder leaves sound rows, and the next call goes on', { timeout: 60_000 }, async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await fillBoth(ctx, id)
    expect(await dieEachTime(ctx, by => shredFolder(by, { nodeId: folder.id }))).toBeGreaterThan(2)
    expect(await getNodeRow(ctx, folder.id)).toMatchObject({ state: 'purged' })
    expect(await remains(world)).toBe(0)
    expect((await world.events()).filter(type => type === 'node.purged')).toHaveLength(1)
  })

  test('of a space leaves it out of reach, and the next call goes on', { timeout: 60_000 }, async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await fillBoth(ctx, id)
    await expect(shredSpace(dyingAfter(ctx, 1), { spaceId: id })).rejects.toThrow('went away')
    expect(await getSpaceRow(ctx, id)).toMatchObject({ state: 'purged', contentPurgedAt: null })
    expect(await dieEachTime(ctx, by => shredSpace(by, { spaceId: id }))).toBeGreaterThan(2)
    expect((await getSpaceRow(ctx, id)).contentPurgedAt).toBeGreaterThan(0)
    expect(await remains(world)).toBe(0)
  })
})

test('files that come while a folder is shredded are either refused or shredded with it', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { folder } = await fillFolder(ctx, id, 'folder')

  const [shredded, ...late] = await Promise.allSettled([
    shredFolder(ctx, { nodeId: folder.id }),
    ...Array.from({ length: 10 }, (_, n) => put(ctx, folder.id, `late ${n}`)),
    record(ctx, folder.id, 'late record'),
  ])

  expect(shredded.status).toBe('fulfilled')
  for (const attempt of late)
    if (attempt.status === 'rejected') expect(attempt.reason).toMatchObject({ code: 'not-found' })
  expect(await keysLeft(ctx)).toBe(0)
  expect(await remains(world)).toBe(0)
  expect(await wrongTotals(ctx)).toEqual([])
  expect(await brokenNodes(ctx)).toEqual([])
})
