import { describe, expect } from 'vitest'
import { createFolderSettled, type NameStrategy } from '#core/conflicts.ts'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { confirmRecord, createFileRecord, getFileRecord, listFolder } from '#core/file-records.ts'
import { setGrant } from '#core/grants.ts'
import { createFolder, getNodeRow, updateNode } from '#core/nodes.ts'
import { getUpload } from '#core/transfers.ts'
import { brokenNodes, makeMember, makeSpace, names, put, wrongTotals } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

const record = (ctx: Ctx, parentId: number, name: string, onConflict: NameStrategy) =>
  createFileRecord(ctx, { parentId, name, onConflict, sizeBytes: 0, mediaType: 'text/plain' })

/** Something new under a name, in the same words for both kinds. */
const makers = {
  folder: async (ctx: Ctx, parentId: number, name: string, onConflict: NameStrategy) => {
    const { folder: node, settled } = await createFolderSettled(ctx, { parentId, name, onConflict })
    return { node, settled }
  },
  file: record,
}

/** What may be in the way. */
const obstacles = {
  file: async (ctx: Ctx, parentId: number) => (await put(ctx, parentId, 'a.txt')).node,
  folder: async (ctx: Ctx, parentId: number) => {
    const folder = await createFolder(ctx, { parentId, name: 'a.txt' })
    await put(ctx, folder.id, 'inside')
    return folder
  },
  reserved: async (ctx: Ctx, parentId: number) => (await record(ctx, parentId, 'a.txt', 'fail')).node,
}

const cases = (['folder', 'file'] as const).flatMap(made =>
  (['file', 'folder', 'reserved'] as const).map(taken => ({ made, taken })),
)

describe.for(cases)('a new $made where a $taken has the name', ({ made, taken }) => {
  async function setUp(world: World) {
    const { id, ctx } = await makeSpace(world)
    const before = await obstacles[taken](ctx, id)
    const { uid, id: nodeId } = before
    const ref = { nodeId, uid, kind: taken === 'folder' ? 'folder' : 'file' }
    return { id, ctx, before, ref, make: (onConflict: NameStrategy) => makers[made](ctx, id, 'a.txt', onConflict) }
  }

  test('is refused with fail, and says what is in the way', async ({ world }) => {
    const { make } = await setUp(world)
    await expect(make('fail')).rejects.toMatchObject({ code: 'name-taken', details: { by: taken } })
  })

  test('gets a numbered name with rename-new, and leaves the other one alone', async ({ world }) => {
    const { make, ctx, before } = await setUp(world)
    const { node, settled } = await make('rename-new')
    expect(node.name).toBe('a (1).txt')
    expect(settled).toEqual({ renamed: [], replaced: [] })
    expect(await getNodeRow(ctx, before.id)).toEqual(before)
  })

  test('takes the name with rename-existing, and tells what the other one is called now', async ({ world }) => {
    const { make, ctx, before, ref } = await setUp(world)
    const { node, settled } = await make('rename-existing')
    expect(node.name).toBe('a.txt')
    expect(settled).toEqual({ renamed: [{ ...ref, name: 'a (1).txt' }], replaced: [] })
    expect(await getNodeRow(ctx, before.id)).toMatchObject({ name: 'a (1).txt', label: 'a (1).txt' })
  })

  test('takes the place with replace, and tells what had it', async ({ world }) => {
    const { make, ctx, before, ref, id } = await setUp(world)
    const { node, settled } = await make('replace')
    expect(node.name).toBe('a.txt')
    expect(settled).toEqual({ renamed: [], replaced: [{ ...ref, name: 'a.txt' }] })
    const gone = await getFileRecord(ctx, { spaceId: id, uid: before.uid }).catch(() => undefined)
    if (taken === 'folder') expect(await getNodeRow(ctx, before.id)).toMatchObject({ state: 'deleted' })
    else expect(gone?.kind).toBe(taken === 'reserved' ? 'cancelled' : 'deleted')
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test.for(['fail', 'replace', 'rename-new', 'rename-existing'] as const)(
    'comes out consistent when many come at once, with %s',
    async (onConflict, { world }) => {
      const { make, ctx, id, before } = await setUp(world)
      const attempts = await Promise.allSettled(Array.from({ length: 5 }, () => make(onConflict)))

      const made = attempts.filter(attempt => attempt.status === 'fulfilled').map(attempt => attempt.value)
      const refused = attempts.filter(attempt => attempt.status === 'rejected')
      expect(refused.every(({ reason }) => isDomainError(reason, 'name-taken'))).toBe(true)
      expect(made).toHaveLength(onConflict === 'fail' ? 0 : 5)
      const listed = await listFolder(ctx, { nodeId: id })
      const there = [...listed.files.map(file => file.node), ...listed.folders.map(folder => folder.node)]
      const alone = onConflict === 'fail' || onConflict === 'replace'
      const numbered = Array.from({ length: 5 }, (_, n) => `a (${n + 1}).txt`)
      expect(there.map(node => node.name).toSorted()).toEqual([...(alone ? [] : numbered), 'a.txt'])
      const { replaced, renamed } = Object.groupBy(
        made.flatMap(({ settled }) => [
          ...settled.replaced.map(ref => ({ how: 'replaced', ref })),
          ...settled.renamed.map(ref => ({ how: 'renamed', ref })),
        ]),
        ({ how }) => how,
      )
      // Everything but the last one gave way, once.
      const all = [before.id, ...made.map(({ node }) => node.id)]
      const last = there.find(node => node.name === 'a.txt')!
      const others = all.filter(nodeId => nodeId !== last.id).toSorted((a, b) => a - b)
      const given = (replaced ?? renamed ?? []).map(({ ref }) => ref.nodeId).toSorted((a, b) => a - b)
      expect(given).toEqual(onConflict === 'replace' || onConflict === 'rename-existing' ? others : [])
      expect(await wrongTotals(ctx)).toEqual([])
      expect(await brokenNodes(ctx)).toEqual([])
    },
  )
})

test('folders and files that come at once under one name each get one of their own', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)

  await Promise.all([
    ...Array.from({ length: 3 }, () => makers.file(ctx, id, 'x', 'rename-new')),
    ...Array.from({ length: 3 }, () => makers.folder(ctx, id, 'x', 'rename-new')),
    ...Array.from({ length: 3 }, () => put(ctx, id, 'x', 'text', { onConflict: 'rename-new' })),
  ])

  const { folders, files } = await listFolder(ctx, { nodeId: id })
  const found = [...folders, ...files].map(({ node }) => node.name).toSorted()
  expect(found).toEqual(['x', ...Array.from({ length: 8 }, (_, n) => `x (${n + 1})`)])
  expect(await wrongTotals(ctx)).toEqual([])
})

describe('a name that an unfinished upload holds', () => {
  test('is given up for another one by who opened the upload and by the owner of the space only', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const may = ['list', 'read', 'create', 'write', 'change', 'delete'] as const
    const [opener, other] = [await makeMember(world, id, may), await makeMember(world, id, may)]
    const first = await record(opener.ctx, id, 'a', 'fail')

    await expect(record(other.ctx, id, 'a', 'replace')).rejects.toMatchObject({ code: 'forbidden' })
    const second = await record(opener.ctx, id, 'a', 'replace')
    expect(second.settled.replaced).toMatchObject([{ uid: first.node.uid }])
    const third = await record(ctx, id, 'a', 'replace')
    expect(third.settled.replaced).toMatchObject([{ uid: second.node.uid }])
    expect(await getUpload(opener.ctx, { uploadId: first.upload.id })).toMatchObject({ state: 'cancelled' })
  })

  test('can be taken from it by renaming; the upload ends under its new one', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const held = await record(ctx, id, 'a.txt', 'fail')

    await makers.folder(ctx, id, 'a.txt', 'rename-existing')
    const { node } = await confirmRecord(ctx, { uploadId: held.upload.id })

    expect(node).toMatchObject({ id: held.node.id, name: 'a (1).txt' })
    expect(await names(ctx, id)).toEqual(['a (1).txt', 'a.txt'])
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('can be taken from it even while it is being finished', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const held = await record(ctx, id, 'a.txt', 'fail')
    const { database } = ctx
    let transactions = 0
    const slow: Ctx = {
      ...ctx,
      database: {
        ...database,
        async transaction(work) {
          transactions += 1
          // The first one seals the content, the second one makes it a file.
          if (transactions === 2) await makers.folder(ctx, id, 'a.txt', 'rename-existing')
          return database.transaction(work)
        },
      },
    }

    const { node } = await confirmRecord(slow, { uploadId: held.upload.id })

    expect(node).toMatchObject({ id: held.node.id, name: 'a (1).txt' })
    expect(await names(ctx, id)).toEqual(['a (1).txt', 'a.txt'])
    expect(await wrongTotals(ctx)).toEqual([])
  })
})

describe('what is in the way stays', () => {
  test('where the right to delete or to change it is missing, also below a folder', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const author = await makeMember(world, id, ['list', 'read', 'create'])
    await put(ctx, id, 'file')
    for (const onConflict of ['replace', 'rename-existing'] as const)
      await expect(record(author.ctx, id, 'file', onConflict)).rejects.toMatchObject({ code: 'forbidden' })

    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    const editor = await makeMember(world, id, ['list', 'read', 'create', 'delete'])
    await setGrant(ctx, { nodeId: inner.id, subjectId: editor.user.id, actions: ['list', 'read'] })
    await expect(record(editor.ctx, id, 'folder', 'replace')).rejects.toMatchObject({ code: 'forbidden' })
    expect(await names(ctx, id)).toEqual(['file', 'folder'])
  })

  test('where it is write-protected, or is a space', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    const { node } = await put(ctx, id, 'file')
    await updateNode(ctx, { nodeId: node.id, attributes: { writeProtected: true } })
    await makeSpace(world, { within: space, name: 'nested' })
    for (const onConflict of ['replace', 'rename-existing'] as const) {
      await expect(record(ctx, id, 'file', onConflict)).rejects.toMatchObject({ code: 'write-protected' })
      await expect(record(ctx, id, 'nested', onConflict)).rejects.toMatchObject({
        code: 'name-taken',
        details: { by: 'space' },
      })
    }
    expect(await names(ctx, id)).toEqual(['file', 'nested'])
  })
})
