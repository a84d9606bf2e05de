import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { memoryBlobStore } from '#platform/blobs/memory.ts'
import { addMasterKey } from '#platform/key-ring.ts'
import { makeDelivery, makeSealed, PASSWORD } from '#test/sealed-space.ts'
import { makeSpace, put, read, wrongTotals } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'
import { announceBlob, storeBlob } from './blob-uploads.ts'
import { loadContent, unwrapKey } from './content.ts'
import { inTx, makeCtx, type Ctx } from './ctx.ts'
import { provePassword } from './delivery-proofs.ts'
import { loadMd5s } from './digests.ts'
import { rotateMasterKey } from './master-key.ts'
import { copyNode, moveNode } from './node-move.ts'
import { createFolder } from './nodes.ts'
import type { ScreeningEngine } from './ports.ts'
import { restoreVersion } from './restore.ts'
import { screenVersion } from './screening.ts'
import { makeKeyPair } from './sealed-keys.ts'
import { shredSpace } from './shred.ts'
import { openSpaceKey, sealSpaceVersions, sealVersionKeys } from './space-keys.ts'
import { completeUpload } from './transfer-completion.ts'
import { appendUpload, openUpload } from './transfers.ts'
import { getSpaceRow } from './space-rows.ts'
import { deleteNode } from './trash.ts'
import { verifyStore } from './verify.ts'
import { getVersionRow, switchVersion } from './versions.ts'

const LARGE = 'large '.repeat(20_000)

/** Sees nothing in anything, but wants to look. */
const looker: ScreeningEngine = {
  name: 'looker',
  mandatory: true,
  timeoutMs: 10_000,
  examine: async () => ({ kind: 'clean', quarantines: false }),
}

/** Keys from passwords take their time, on a busy machine the more. */
const slow = { timeout: 60_000 }

const needsPassword = (spaceId: number) => ({ code: 'proof-required', details: { proof: 'password', spaceId } })

const keyNameOf = async (ctx: Ctx, versionId: number) => (await getVersionRow(ctx, versionId)).keyName

const scrubs = (world: World) =>
  world.deps.database.read.selectFrom('job').select('id').where('kind', '=', 'database.scrub').execute()

describe('a space that a password encrypts', slow, () => {
  test('gives its content to who has shown the password, and to nobody else', async ({ world }) => {
    const { id, ctx, opened, space } = await makeSealed(world)
    for (const text of ['small', LARGE, '']) {
      const { node, version } = await put(ctx, id, 'file', text)

      expect(version.keyName).toBe(`space:${id}`)
      expect(await read(opened, node.id)).toBe(text)
      for (const other of [ctx, world.system]) {
        await expect(read(other, node.id)).rejects.toMatchObject(needsPassword(id))
        await expect(loadContent(other, version)).rejects.toMatchObject(needsPassword(id))
      }
    }
    await expect(openSpaceKey(ctx, { space, password: 'guess' })).rejects.toMatchObject({ code: 'wrong-proof' })
    const { space: plain } = await makeDelivery(world, { name: 'plain' })
    await expect(openSpaceKey(ctx, { space: plain, password: PASSWORD })).rejects.toMatchObject({ code: 'wrong-state' })
  })

  test('opens with its own key only', async ({ world }) => {
    const { id, ctx, opened } = await makeSealed(world)
    const { version } = await put(ctx, id, 'file', 'text')
    const spaceKeys = new Map([[id, makeKeyPair().privateKey]])
    const confused = { ...ctx, actor: { ...ctx.actor, proofs: { ...opened.actor.proofs, spaceKeys } } }
    expect(() => unwrapKey(opened, version)).not.toThrow()
    expect(() => unwrapKey(confused, version)).toThrow('content-damaged')
  })

  test('loses its key together with its content', async ({ world }) => {
    const { id, ctx, space } = await makeSealed(world)
    await shredSpace(world.system, { spaceId: id })
    await expect(openSpaceKey(ctx, { space, password: PASSWORD })).rejects.toMatchObject({ code: 'wrong-state' })
    expect(await getSpaceRow(ctx, id)).toMatchObject({ state: 'purged', wrappingKey: null, passwordEncryption: 1 })
    expect(await scrubs(world)).toHaveLength(1)
  })

  test('takes nothing that lies in the store as it is', async ({ world }) => {
    const { id, ctx: plain } = await makeSealed(world)
    const blobs = memoryBlobStore({ clock: world.deps.clock, direct: true })
    const ctx = makeCtx({ ...world.deps, blobs }, plain.actor, 'test')
    const { blobId, directAddress } = await announceBlob(ctx, { announcedBytes: 4, mediaType: 'text/plain' })
    blobs.put(directAddress ?? '', Buffer.from('text'), 'text/plain')
    const placement = { parentId: id, name: 'a', onConflict: 'fail' } as const

    await expect(storeBlob(ctx, { blobId, placement, mediaType: () => 'text/plain' })).rejects.toMatchObject({
      code: 'encryption-required',
      details: { spaceId: id },
    })
  })

  test('seals what comes by several requests, and leaves no other key with the upload', async ({ world }) => {
    const { id, ctx, opened } = await makeSealed(world)
    const upload = { parentId: id, name: 'a', onConflict: 'fail', mediaType: 'text/plain' } as const
    const { id: uploadId } = await openUpload(ctx, upload)
    await appendUpload(ctx, { uploadId }, [Buffer.from('te')])
    await appendUpload(ctx, { uploadId }, [Buffer.from('xt')])
    const { node, version } = await completeUpload(ctx, { uploadId, onRefusal: 'fail' })
    expect(version.keyName).toBe(`space:${id}`)
    expect(await read(opened, node.id)).toBe('text')
    const uploads = await ctx.db.selectFrom('upload').select('wrappedKey').execute()
    expect(uploads.map(({ wrappedKey }) => wrappedKey.length)).toEqual([0])
  })
})

describe('while screening has not seen a content', slow, () => {
  test.override({ engines: [looker] })

  test('it stays readable for screening alone, and is sealed right after', async ({ world }) => {
    const { id, ctx, opened } = await makeSealed(world)
    const { node, version } = await put(ctx, id, 'file', 'text')
    expect(version).toMatchObject({ screening: 'pending', keyName: 'master:1' })
    await sealVersionKeys(world.system, { versionId: version.id })
    expect(await keyNameOf(ctx, version.id)).toBe('master:1')
    await expect(read(ctx, node.id)).rejects.toMatchObject(needsPassword(id))

    await screenVersion(world.system, { versionId: version.id }, new AbortController().signal)

    expect(await keyNameOf(ctx, version.id)).toBe(`space:${id}`)
    expect(await read(opened, node.id)).toBe('text')
    expect((await world.events()).slice(-2)).toEqual(['version.screened', 'space.encrypted'])
    expect(await scrubs(world)).toHaveLength(1)
  })

  test('all of a space is sealed in one act, its bin as well, and a second one changes nothing', async ({ world }) => {
    const { id, ctx } = await makeSealed(world)
    const { ctx: free, id: freeId } = await makeSpace(world, { name: 'free' })
    const elsewhere = await put(free, freeId, 'file')
    const old = await put(ctx, id, 'file', 'old')
    const current = await put(ctx, id, 'file', 'current')
    const gone = await put(ctx, id, 'gone')
    await deleteNode(ctx, { nodeId: gone.node.id })
    const ids = [old, current, gone, elsewhere].map(({ version }) => version.id)
    await inTx(ctx, ctx => ctx.db.updateTable('version').set({ screening: 'clean' }).where('id', 'in', ids).execute())
    const waiting = await put(ctx, id, 'waiting')
    const before = (await world.events()).length

    await sealSpaceVersions(world.system, { spaceId: id })

    const names = await Promise.all([...ids, waiting.version.id].map(id => keyNameOf(ctx, id)))
    expect(names).toEqual([`space:${id}`, `space:${id}`, `space:${id}`, 'master:1', 'master:1'])
    const wraps = () => ctx.db.selectFrom('version').select('wrappedKey').orderBy('id').execute()
    const sealed = await wraps()
    await sealSpaceVersions(world.system, { spaceId: id })
    await sealVersionKeys(world.system, { versionId: current.version.id })
    expect(await wraps()).toEqual(sealed)
    expect((await world.events()).slice(before)).toEqual(['space.encrypted'])
  })

  test('who has begun to read when it is sealed reads on', async ({ world }) => {
    const { id, ctx } = await makeSealed(world)
    const { version } = await put(ctx, id, 'file', LARGE)
    const content = await loadContent(world.system, version)
    const chunks = content.read()[Symbol.asyncIterator]()
    const first = await chunks.next()

    await screenVersion(world.system, { versionId: version.id }, new AbortController().signal)

    let size = first.done ? 0 : first.value.byteLength
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) size += next.value.byteLength
    expect(size).toBe(LARGE.length)
  })

  test('a version that was purged meanwhile gets no key back', async ({ world }) => {
    const { id, ctx } = await makeSealed(world)
    const { version } = await put(ctx, id, 'file')
    const gone = { wrappedKey: null, keyName: null, purgedAt: 1, screening: 'clean' } as const
    await inTx(ctx, ctx => ctx.db.updateTable('version').set(gone).where('id', '=', version.id).execute())
    await sealVersionKeys(world.system, { versionId: version.id })
    expect(await getVersionRow(ctx, version.id)).toMatchObject({ wrappedKey: null, keyName: null })
  })
})

describe('sealed content leaves its space', slow, () => {
  test('with its key only, by moving, copying and restoring, and is plain elsewhere', async ({ world }) => {
    const sealed = await makeSealed(world)
    const { id, ctx, opened, owner } = sealed
    const { id: freeId } = await makeSpace(world, { name: 'free', owner })
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await put(ctx, folder.id, 'file', 'older')
    const { node } = await put(ctx, folder.id, 'file', 'moved')
    const { node: copied } = await put(ctx, id, 'copied', 'copied')
    const { node: binned, version: restored } = await put(ctx, id, 'restored', 'restored')
    await deleteNode(ctx, { nodeId: binned.id })
    const acts = [
      (ctx: Ctx) => moveNode(ctx, { nodeId: folder.id, parentId: freeId }),
      (ctx: Ctx) => copyNode(ctx, { nodeId: copied.id, parentId: freeId }),
      (ctx: Ctx) => restoreVersion(ctx, { versionId: restored.id, parentId: freeId, onConflict: 'fail' }),
    ]
    for (const act of acts) {
      await expect(act(ctx)).rejects.toMatchObject(needsPassword(id))
      await act(opened)
    }
    expect(await read(ctx, node.id)).toBe('moved')
    const older = await ctx.db.selectFrom('version').selectAll().where('deletedSpaceId', '=', freeId).execute()
    expect(older.map(({ keyName }) => keyName)).toEqual(['master:1'])
    expect(await read(ctx, node.id, older[0]!.id)).toBe('older')
    expect(await read(ctx, binned.id)).toBe('restored')
    const copy = await ctx.db
      .selectFrom('node')
      .select('id')
      .where('parentId', '=', freeId)
      .where('name', '=', 'copied')
      .executeTakeFirstOrThrow()
    expect(await read(ctx, copy.id)).toBe('copied')
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('and its earlier versions, which stay in the bin there, become current only with the key', async ({ world }) => {
    const { id, ctx, opened, owner } = await makeSealed(world)
    const { id: freeId } = await makeSpace(world, { name: 'free', owner })
    const { version: older } = await put(ctx, id, 'file', 'older')
    const { node } = await put(ctx, id, 'file', 'newer')
    await moveNode(opened, { nodeId: node.id, parentId: freeId })
    await expect(switchVersion(ctx, { nodeId: node.id, versionId: older.id })).rejects.toMatchObject(needsPassword(id))
    await switchVersion(opened, { nodeId: node.id, versionId: older.id })
    expect(await read(ctx, node.id)).toBe('older')
  })
})

test('what comes from elsewhere is sealed by moving, copying and restoring', slow, async ({ world }) => {
  const { id, opened, ctx, owner } = await makeSealed(world)
  const { id: freeId } = await makeSpace(world, { name: 'free', owner })
  const moved = await put(ctx, freeId, 'moved', 'moved')
  const copied = await put(ctx, freeId, 'copied', 'copied')
  const restored = await put(ctx, freeId, 'restored', 'restored')
  await deleteNode(ctx, { nodeId: restored.node.id })

  await moveNode(ctx, { nodeId: moved.node.id, parentId: id })
  const copy = await copyNode(ctx, { nodeId: copied.node.id, parentId: id })
  await restoreVersion(ctx, { versionId: restored.version.id, parentId: id, onConflict: 'fail' })

  for (const [nodeId, text] of [
    [moved.node.id, 'moved'],
    [copy.id, 'copied'],
    [restored.node.id, 'restored'],
  ] as const) {
    await expect(read(ctx, nodeId)).rejects.toMatchObject(needsPassword(id))
    expect(await read(opened, nodeId)).toBe(text)
  }
  expect(await read(ctx, copied.node.id)).toBe('copied')
})

test('a copy within the space is sealed like its source', slow, async ({ world }) => {
  const { id, ctx, opened } = await makeSealed(world)
  const { node } = await put(ctx, id, 'file', 'text')
  await expect(copyNode(ctx, { nodeId: node.id, parentId: id, name: 'copy' })).rejects.toMatchObject(needsPassword(id))
  const copy = await copyNode(opened, { nodeId: node.id, parentId: id, name: 'copy' })
  expect(await keyNameOf(ctx, copy.currentVersionId!)).toBe(`space:${id}`)
  expect(await read(opened, copy.id)).toBe('text')
})

describe('work that nobody attends', slow, () => {
  test('verify measures what it cannot read, and misses what is gone or cut', async ({ world }) => {
    const { id, ctx } = await makeSealed(world)
    await put(ctx, id, 'small', 'small')
    await put(ctx, id, 'large', LARGE)
    await put(ctx, id, 'empty', '')
    for (const content of [false, true])
      expect(await verifyStore(world.system, { content })).toMatchObject({
        versions: 3,
        sealed: 3,
        checkedBytes: 0,
        problems: [],
      })

    const { stored } = world.deps.blobs
    const [[segmentId, kept]] = [...stored] as [[string, { bytes: Buffer; changedAt: number }]]
    stored.set(segmentId, { ...kept, bytes: kept.bytes.subarray(0, -1) })
    const problems = async (content: boolean) => (await verifyStore(world.system, { content })).problems
    expect(await problems(true)).toMatchObject([{ what: 'content-unreadable' }])
    stored.delete(segmentId)
    for (const content of [false, true]) expect(await problems(content)).toMatchObject([{ what: 'content-unreadable' }])
  })

  test('a digest that nobody can make is absent, and made by who holds the key', async ({ world }) => {
    const { id, ctx, opened } = await makeSealed(world)
    const { version } = await put(ctx, id, 'large', LARGE)
    expect(await loadMd5s(ctx, [version])).toEqual(new Map())
    expect((await loadMd5s(opened, [version])).get(version.id)).toMatch(/^[0-9a-f]{32}$/)
  })

  test('a new master key leaves it alone', async ({ world }) => {
    const { id, ctx, opened, space } = await makeSealed(world)
    const { node, version } = await put(ctx, id, 'file', 'text')
    await addMasterKey(world.keyFile)
    expect(await rotateMasterKey(world.system)).toEqual({ rewrapped: 0, failed: 0 })
    expect(await getVersionRow(ctx, version.id)).toEqual(version)
    expect(await read(opened, node.id)).toBe('text')
    await openSpaceKey(ctx, { space, password: PASSWORD })
  })

  test('a repeated screening of what is sealed ends without a verdict', async ({ world }) => {
    const { id, ctx } = await makeSealed(world)
    const { version } = await put(ctx, id, 'file', 'text')
    await inTx(ctx, ctx => ctx.db.updateTable('version').set({ recheckAt: 1 }).where('id', '=', version.id).execute())
    const looking = { ...world.system, engines: [looker] }
    await screenVersion(looking, { versionId: version.id }, new AbortController().signal)
    expect(await getVersionRow(ctx, version.id)).toMatchObject({ screening: 'clean', recheckAt: null })
  })
})

test(
  'a recipient who has the password reads; the password of the account that sent it does not help',
  slow,
  async ({ world }) => {
    const { id, ctx, space } = await makeSealed(world)
    const { node } = await put(ctx, id, 'file', 'text')
    const { ctx: recipient, user } = await world.user()
    await setGrant(world.system, { nodeId: id, subjectId: user.id, actions: ['list', 'read'] })
    await expect(read(recipient, node.id)).rejects.toMatchObject(needsPassword(id))
    const { ctx: opened } = await provePassword(recipient, { space, password: PASSWORD })
    expect(await read(opened, node.id)).toBe('text')
  },
)
