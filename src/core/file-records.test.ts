import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import {
  cancelRecord,
  confirmRecord,
  createFileRecord,
  findSame,
  getFileRecord,
  listFolder,
  putRecordContent,
  type NewFileRecord,
} from '#core/file-records.ts'
import { createFolder, renameNode } from '#core/nodes.ts'
import { purgeVersion } from '#core/purge.ts'
import { setSpaceState } from '#core/spaces.ts'
import { appendUpload, cancelUpload } from '#core/transfers.ts'
import { expireUploads } from '#core/transfer-expiry.ts'
import { deleteNode } from '#core/trash.ts'
import { makeMember, makeSpace, names, put, read, sha256, wrongTotals } from '#test/tree.ts'
import { test as base } from '#test/world.ts'

const test = base.override({ settings: { inlineBytes: 8, maxFileBytes: 1_000 } })

const text = 'abcdefghijklmnopqrstuvwxyz'
const bytes = (...parts: string[]) => parts.map(part => Buffer.from(part))
const unknown = '01890000-0000-7000-8000-000000000000'

const open = (ctx: Ctx, parentId: number, more: Partial<NewFileRecord> = {}) =>
  createFileRecord(ctx, {
    parentId,
    name: 'a.txt',
    onConflict: 'fail',
    sizeBytes: text.length,
    mediaType: 'text/plain',
    ...more,
  })

describe('a record', () => {
  test('holds its name, takes its content and becomes the file, under one uid', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { upload, node } = await open(ctx, id, { sha256: sha256(text).toUpperCase() })
    const ref = { spaceId: id, uid: node.uid }
    expect(await names(ctx, id)).toEqual([])
    expect(await getFileRecord(ctx, ref)).toMatchObject({
      kind: 'uploading',
      path: '/a.txt',
      upload: { id: upload.id },
    })

    await putRecordContent(ctx, { uploadId: upload.id }, bytes(text.slice(0, 20), text.slice(20)))
    const placed = await confirmRecord(ctx, { uploadId: upload.id, sha256: sha256(text) })

    expect(placed).toMatchObject({ node: { id: node.id, uid: node.uid }, version: { sha256: sha256(text) } })
    expect(await getFileRecord(ctx, { ...ref, uid: node.uid.toUpperCase() })).toMatchObject({
      kind: 'stored',
      path: '/a.txt',
      node: { id: node.id },
      version: { id: placed.version.id },
    })
    expect(await read(ctx, node.id)).toBe(text)
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('takes other content in place of what came before', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { upload, node } = await open(ctx, id)
    const uploadId = upload.id
    await putRecordContent(ctx, { uploadId }, bytes('x'.repeat(text.length)))
    await putRecordContent(ctx, { uploadId }, bytes(text))
    await confirmRecord(ctx, { uploadId })
    expect(await read(ctx, node.id)).toBe(text)
    expect(await Array.fromAsync(world.deps.blobs.list())).toHaveLength(1)
  })

  test('refuses more bytes than announced, and fewer, and stays as it was', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { upload, node } = await open(ctx, id)
    const uploadId = upload.id
    const state = () => getFileRecord(ctx, { spaceId: id, uid: node.uid })
    const before = await state()

    await expect(putRecordContent(ctx, { uploadId }, bytes(text, '!'))).rejects.toMatchObject({
      code: 'upload-too-large',
      details: { limitBytes: text.length },
    })
    await expect(putRecordContent(ctx, { uploadId }, bytes(text.slice(1)))).rejects.toMatchObject({
      code: 'upload-incomplete',
      details: { expectedBytes: text.length, receivedBytes: text.length - 1 },
    })
    expect(await state()).toEqual(before)
    await putRecordContent(ctx, { uploadId }, bytes(text))
    await expect(putRecordContent(ctx, { uploadId }, bytes('x'))).rejects.toMatchObject({ code: 'upload-incomplete' })
    await confirmRecord(ctx, { uploadId })
    expect(await read(ctx, node.id)).toBe(text)
  })

  test('of no bytes can be confirmed without content, and of some bytes cannot', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const empty = await open(ctx, id, { name: 'empty', sizeBytes: 0 })
    await confirmRecord(ctx, { uploadId: empty.upload.id, sha256: sha256('') })
    expect(await read(ctx, empty.node.id)).toBe('')

    const put = await open(ctx, id, { name: 'put', sizeBytes: 0 })
    await putRecordContent(ctx, { uploadId: put.upload.id }, [])
    await confirmRecord(ctx, { uploadId: put.upload.id })
    expect(await read(ctx, put.node.id)).toBe('')

    const full = await open(ctx, id)
    await expect(confirmRecord(ctx, { uploadId: full.upload.id })).rejects.toMatchObject({
      code: 'wrong-state',
      details: { what: 'upload', state: 'open' },
    })
    expect(await names(ctx, id)).toEqual(['empty', 'put'])
  })

  test('with another hash than the content, from either side, stays and can be confirmed later', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { upload, node } = await open(ctx, id)
    const uploadId = upload.id
    await putRecordContent(ctx, { uploadId }, bytes('y'.repeat(text.length)))
    await expect(confirmRecord(ctx, { uploadId, sha256: sha256(text) })).rejects.toMatchObject({
      code: 'checksum-mismatch',
    })
    expect(await getFileRecord(ctx, { spaceId: id, uid: node.uid })).toMatchObject({ kind: 'uploading' })
    await putRecordContent(ctx, { uploadId }, bytes(text))
    await confirmRecord(ctx, { uploadId, sha256: sha256(text).toUpperCase() })

    const announced = await open(ctx, id, { name: 'b', sha256: sha256(text) })
    const ref = { uploadId: announced.upload.id }
    await putRecordContent(ctx, ref, bytes('y'.repeat(text.length)))
    const wrong = { code: 'checksum-mismatch' }
    await expect(confirmRecord(ctx, ref)).rejects.toMatchObject(wrong)
    await expect(confirmRecord(ctx, { ...ref, sha256: sha256('y'.repeat(text.length)) })).rejects.toMatchObject(wrong)
    expect(await names(ctx, id)).toEqual(['a.txt'])
  })

  test('that has ended takes nothing more', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const stored = await open(ctx, id, { name: 'stored', sizeBytes: 0 })
    await confirmRecord(ctx, { uploadId: stored.upload.id })
    const cancelled = await open(ctx, id, { name: 'cancelled', sizeBytes: 0 })
    await cancelRecord(ctx, { uploadId: cancelled.upload.id })
    for (const { upload } of [stored, cancelled]) {
      const ref = { uploadId: upload.id }
      const over = { code: 'wrong-state' }
      await expect(putRecordContent(ctx, ref, [])).rejects.toMatchObject(over)
      await expect(confirmRecord(ctx, ref)).rejects.toMatchObject(over)
      await expect(cancelRecord(ctx, ref)).rejects.toMatchObject(over)
    }
    expect(await names(ctx, id)).toEqual(['stored'])
  })

  test('is refused for more than a file may have, before anything is made', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await expect(open(ctx, id, { sizeBytes: 1_001 })).rejects.toMatchObject({
      code: 'upload-too-large',
      details: { limitBytes: 1_000 },
    })
    expect(await listFolder(ctx, { nodeId: id })).toMatchObject({ files: [], folders: [] })
  })

  test('that was given up or abandoned is still found by its uid, until it is forgotten', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const [first, second] = [await open(ctx, folder.id), await open(ctx, folder.id, { name: 'b' })]
    await cancelRecord(ctx, { uploadId: first.upload.id })
    const found = (uid: string) => getFileRecord(ctx, { spaceId: id, uid })

    expect(await found(first.node.uid)).toMatchObject({ kind: 'cancelled', path: '/folder/a.txt' })
    expect((await open(ctx, folder.id)).node.name).toBe('a.txt')
    world.advance(world.deps.settings.uploadLifeMs)
    await expireUploads(world.system)
    expect(await found(second.node.uid)).toMatchObject({ kind: 'cancelled', upload: { state: 'expired' } })
    await expect(found(first.node.uid)).rejects.toMatchObject({ code: 'not-found' })
    expect((await listFolder(ctx, { nodeId: folder.id })).files).toEqual([])
  })
})

describe('who may create in the space', () => {
  const may = ['list', 'read', 'create'] as const

  test('goes on with what somebody else has begun; who may not is refused', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const [author, reader, stranger] = [
      await makeMember(world, id, may),
      await makeMember(world, id, ['list', 'read']),
      await world.user(),
    ]
    const { upload, node } = await open(author.ctx, id)
    const ref = { uploadId: upload.id }
    for (const [who, code] of [
      [reader, 'forbidden'],
      [stranger, 'not-found'],
    ] as const) {
      await expect(putRecordContent(who.ctx, ref, bytes(text))).rejects.toMatchObject({ code })
      await expect(confirmRecord(who.ctx, ref)).rejects.toMatchObject({ code })
      await expect(cancelRecord(who.ctx, ref)).rejects.toMatchObject({ code })
    }
    expect(await getFileRecord(reader.ctx, { spaceId: id, uid: node.uid })).toMatchObject({ kind: 'uploading' })

    await putRecordContent(ctx, ref, bytes(text))
    const { version } = await confirmRecord((await makeMember(world, id, may)).ctx, ref)
    expect(version.sha256).toBe(sha256(text))
    const dropped = await open(author.ctx, id, { name: 'b' })
    await cancelRecord(ctx, { uploadId: dropped.upload.id })
  })

  test('has no hand on uploads that came another way', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const author = await makeMember(world, id, may)
    const { upload } = await open(author.ctx, id)
    const ref = { uploadId: upload.id }
    await expect(appendUpload(ctx, ref, bytes(text))).rejects.toMatchObject({ code: 'not-found' })
    await expect(cancelUpload(ctx, ref)).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('what is of another space or tenant', () => {
  test('is not there', async ({ world }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const other = await makeSpace(world, { owner, name: 'other' })
    const stored = await put(ctx, other.id, 'stored')
    const [uploading, cancelled] = [await open(ctx, other.id), await open(ctx, other.id, { name: 'b' })]
    await cancelRecord(ctx, { uploadId: cancelled.upload.id })
    const foreign = world.ctx({ ...owner.ctx.actor, tenantId: (await world.otherTenant()).id })
    const missing = { code: 'not-found' }

    for (const { node } of [stored, uploading, cancelled]) {
      const { uid } = node
      await getFileRecord(ctx, { spaceId: other.id, uid })
      await expect(getFileRecord(ctx, { spaceId: id, uid })).rejects.toMatchObject(missing)
      await expect(getFileRecord(foreign, { spaceId: other.id, uid })).rejects.toMatchObject(missing)
      await expect(getFileRecord((await world.user()).ctx, { spaceId: other.id, uid })).rejects.toMatchObject(missing)
    }
    await expect(getFileRecord(ctx, { spaceId: id, uid: unknown })).rejects.toMatchObject(missing)
    const ref = { uploadId: uploading.upload.id }
    await expect(putRecordContent(foreign, ref, bytes(text))).rejects.toMatchObject(missing)
    await expect(confirmRecord(foreign, ref)).rejects.toMatchObject(missing)
    await expect(listFolder(foreign, { nodeId: other.id, withDeleted: true })).rejects.toMatchObject(missing)
    await expect(findSame(foreign, { spaceId: other.id, name: 'a', sha256: '' })).rejects.toMatchObject(missing)
  })

  test('shows neither while the space is out of reach, except to the server', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a')
    await setSpaceState(ctx, { spaceId: id, state: 'deleted' })
    const closed = { code: 'space-inactive' }
    await expect(getFileRecord(ctx, { spaceId: id, uid: node.uid })).rejects.toMatchObject(closed)
    await expect(listFolder(ctx, { nodeId: id })).rejects.toMatchObject(closed)
    await expect(open(ctx, id, { name: 'b' })).rejects.toMatchObject(closed)
    expect((await listFolder(world.system, { nodeId: id })).files).toHaveLength(1)
  })
})

describe('a deleted file', () => {
  test('is found by who may look into the bin, with the times of its deletion and its end', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const reader = await makeMember(world, id, ['list', 'read'])
    const { node, version } = await put(ctx, id, 'a')
    await deleteNode(ctx, { nodeId: node.id })
    const ref = { spaceId: id, uid: node.uid }

    await expect(getFileRecord(reader.ctx, ref)).rejects.toMatchObject({ code: 'not-found' })
    const found = await getFileRecord(ctx, ref)
    expect(found).toMatchObject({ kind: 'deleted', version: { purgedAt: null } })
    expect(found.kind === 'deleted' && found.node.deletedAt).toBeGreaterThan(0)
    await purgeVersion(ctx, { versionId: version.id })
    const purged = await getFileRecord(ctx, ref)
    expect(purged.kind === 'deleted' && purged.version.purgedAt).toBeGreaterThan(0)
  })
})

describe('the listing of a folder', () => {
  test('shows folders with totals and files by name, those being uploaded among them', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const [b, a] = [
      await createFolder(ctx, { parentId: folder.id, name: 'b' }),
      await createFolder(ctx, { parentId: folder.id, name: 'a' }),
    ]
    await put(ctx, a.id, 'deep', '12345')
    await put(ctx, folder.id, 'z', '1')
    await open(ctx, folder.id, { name: 'm' })
    await put(ctx, folder.id, 'Z', '1')
    const cancelled = await open(ctx, folder.id, { name: 'c' })
    await cancelRecord(ctx, { uploadId: cancelled.upload.id })

    const listed = await listFolder(ctx, { nodeId: folder.id })

    expect(listed.folder).toMatchObject({ path: '/folder', totals: { files: 3, bytes: 7 }, deletedAt: null })
    expect(listed.folders).toMatchObject([
      { node: { id: a.id }, path: '/folder/a', totals: { files: 1, bytes: 5 }, contentPurgedAt: null },
      { node: { id: b.id }, path: '/folder/b', totals: { files: 0, bytes: 0 } },
    ])
    expect(listed.files.map(({ kind, path }) => [kind, path])).toEqual([
      ['stored', '/folder/Z'],
      ['uploading', '/folder/m'],
      ['stored', '/folder/z'],
    ])
    expect((await listFolder(ctx, { nodeId: id })).folder).toMatchObject({ path: '' })
  })

  test('shows deleted entries only when asked, to who may look into the bin', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const reader = await makeMember(world, id, ['list', 'read'])
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await put(ctx, folder.id, 'inner')
    const { node } = await put(ctx, id, 'a', 'old')
    await deleteNode(ctx, { nodeId: node.id })
    await deleteNode(ctx, { nodeId: folder.id })
    await put(ctx, id, 'a', 'new')

    expect((await listFolder(ctx, { nodeId: id })).files).toHaveLength(1)
    const all = await listFolder(ctx, { nodeId: id, withDeleted: true })
    expect(all.files.map(({ kind, path }) => [kind, path])).toEqual([
      ['deleted', '/a'],
      ['stored', '/a'],
    ])
    expect(all.folders[0]!.deletedAt).toBeGreaterThan(0)
    await expect(listFolder(reader.ctx, { nodeId: id, withDeleted: true })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(listFolder(ctx, { nodeId: folder.id })).rejects.toMatchObject({ code: 'not-found' })
    const within = await listFolder(ctx, { nodeId: folder.id, withDeleted: true })
    expect(within.files).toMatchObject([{ kind: 'deleted', node: { id: inner.node.id } }])
  })

  test('costs the same number of queries for one entry and for many', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const count = async () => {
      let queries = 0
      const db = new Proxy(ctx.db, {
        get: (target, key) => {
          if (key === 'getExecutor' || key === 'selectFrom') queries += 1
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      await listFolder({ ...ctx, db }, { nodeId: id })
      return queries
    }
    await put(ctx, id, 'a')
    await createFolder(ctx, { parentId: id, name: 'b' })
    await open(ctx, id, { name: 'c' })
    const before = await count()
    for (let n = 0; n < 10; n += 1) {
      await put(ctx, id, `a${n}`)
      await createFolder(ctx, { parentId: id, name: `b${n}` })
      await open(ctx, id, { name: `c${n}` })
    }
    expect(before).toBeGreaterThan(3)
    expect(await count()).toBe(before)
  })

  test('is refused for a file', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a')
    for (const withDeleted of [false, true])
      await expect(listFolder(ctx, { nodeId: node.id, withDeleted })).rejects.toMatchObject({ code: 'not-a-folder' })
  })
})

test('files of one name and content are found anywhere in the space, as long as they live', async ({ world }) => {
  const space = await makeSpace(world)
  const { id, ctx } = space
  const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
  const deep = await createFolder(ctx, { parentId: folder.id, name: 'deep' })
  const there = [await put(ctx, deep.id, 'a', text), await put(ctx, id, 'a', text)]
  await put(ctx, folder.id, 'a', 'another')
  await put(ctx, folder.id, 'A', text)
  await put(ctx, folder.id, 'b', text)
  const nested = await makeSpace(world, { within: space, name: 'nested' })
  await put(ctx, nested.id, 'a', text)
  const search = (name: string) => findSame(ctx, { spaceId: id, name, sha256: sha256(text).toUpperCase() })

  expect((await search('a')).map(({ path, node }) => [path, node.id])).toEqual([
    ['/folder/deep/a', there[0]!.node.id],
    ['/a', there[1]!.node.id],
  ])
  await put(ctx, id, 'a', 'changed')
  await renameNode(ctx, { nodeId: folder.id, name: 'renamed' })
  expect((await search('a')).map(({ path }) => path)).toEqual(['/renamed/deep/a'])
  await deleteNode(ctx, { nodeId: folder.id })
  expect(await search('a')).toEqual([])
})
