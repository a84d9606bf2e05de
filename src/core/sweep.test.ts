import { randomUUID } from 'node:crypto'
import { describe, expect } from 'vitest'
import { holdBlobs } from '#core/backup-hold.ts'
import { createFolder } from '#core/nodes.ts'
import { collectBlobs } from '#core/purge.ts'
import { cleanUp, expire, purgeOld } from '#core/retention.ts'
import { createSpace, type SpacePolicy } from '#core/spaces.ts'
import { LEFTOVER_AGE_MS, ORPHAN_AGE_MS, sweep } from '#core/sweep.ts'
import { deleteNode } from '#core/trash.ts'
import { storeFile } from '#core/uploads.ts'
import { updateUser } from '#core/users.ts'
import { verifyStore } from '#core/verify.ts'
import { test, type World } from '#test/world.ts'

const DAY = 86_400_000
const LARGE = Buffer.alloc(200_000, 'large ')

async function makeSpace(world: World, policy: Partial<SpacePolicy> = {}) {
  const { id } = await createSpace(world.system, { name: `space ${randomUUID()}`, policy })
  return id
}

const store = (world: World, parentId: number, name: string, content: Buffer | string) =>
  storeFile(world.system, { parentId, name, onConflict: 'new-version', late: () => ({ mediaType: 'text/plain' }) }, [
    Buffer.from(content),
  ])

const problems = async (world: World, content = true) => {
  const report = await verifyStore(world.system, { content })
  return report.problems.map(({ what }) => what).toSorted()
}

/** An object of which no row knows. */
async function leaveOrphan(world: World): Promise<string> {
  const segmentId = randomUUID()
  const writer = await world.deps.blobs.create({ segmentId, key: Buffer.alloc(32) })
  await writer.write(Buffer.from('orphan'))
  await writer.finish()
  return segmentId
}

describe('verify', () => {
  test('finds nothing wrong with large, small and empty files and their older versions', async ({ world }) => {
    const space = await makeSpace(world)
    for (const content of [LARGE, 'small', '']) await store(world, space, 'file', content)
    await store(world, space, 'other', '')
    const report = await verifyStore(world.system, { content: true })
    expect(report).toMatchObject({
      versions: 4,
      objects: 1,
      checkedBytes: LARGE.length + 5,
      leftovers: 0,
      problems: [],
    })
    expect(await problems(world, false)).toEqual([])
  })

  test('finds an object that is gone or shorter, without reading all contents', async ({ world }) => {
    const space = await makeSpace(world)
    await store(world, space, 'gone', LARGE)
    const { stored } = world.deps.blobs
    const [[segmentId, kept]] = [...stored] as [[string, { bytes: Buffer; changedAt: number }]]
    stored.set(segmentId, { ...kept, bytes: kept.bytes.subarray(0, -1000) })
    expect(await problems(world, false)).toEqual(['content-unreadable'])
    stored.delete(segmentId)
    expect(await problems(world, false)).toEqual(['content-unreadable'])
  })

  test('finds a changed byte in the middle when it reads contents', async ({ world }) => {
    await store(world, await makeSpace(world), 'changed', LARGE)
    const [kept] = world.deps.blobs.stored.values()
    kept!.bytes[1000]! ^= 1
    expect(await problems(world, false)).toEqual([])
    expect(await problems(world)).toEqual(['content-unreadable'])
  })

  test('finds a hash, a key, a segment and a current version that do not fit', async ({ world }) => {
    const space = await makeSpace(world)
    const ids: number[] = []
    for (const name of ['hash', 'key', 'segment', 'current'])
      ids.push((await store(world, space, name, name)).version.id)
    await world.deps.database.transaction(async tx => {
      await tx
        .updateTable('version')
        .set({ sha256: '0'.repeat(64) })
        .where('id', '=', ids[0]!)
        .execute()
      await tx
        .updateTable('version')
        .set({ wrappedKey: Buffer.alloc(60) })
        .where('id', '=', ids[1]!)
        .execute()
      const blob = tx.selectFrom('version').select('blobId').where('id', '=', ids[2]!)
      await tx.deleteFrom('segment').where('blobId', '=', blob).execute()
      await tx.updateTable('node').set({ currentVersionId: 999_999 }).where('currentVersionId', '=', ids[3]!).execute()
    })
    expect(await problems(world)).toEqual([
      'digest-differs',
      'file-without-content',
      'key-unusable',
      'segments-missing',
    ])
  })

  test('tells young leavings from old ones, and repairs neither', async ({ world }) => {
    await leaveOrphan(world)
    expect(await verifyStore(world.system, { content: false })).toMatchObject({ leftovers: 1, problems: [] })
    world.advance(LEFTOVER_AGE_MS + 1_000)
    expect(await problems(world)).toEqual(['object-without-row'])
    expect(world.deps.blobs.stored.size).toBe(1)
  })

  test('is for who may look after the installation', async ({ world }) => {
    const { ctx } = await world.user()
    await expect(verifyStore(ctx, { content: false })).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('sweep', () => {
  test('removes old objects without a row, leaves young ones and those in use', async ({ world }) => {
    await store(world, await makeSpace(world), 'file', LARGE)
    await leaveOrphan(world)
    world.advance(ORPHAN_AGE_MS + 1_000)
    const young = await leaveOrphan(world)
    expect(await sweep(world.system)).toEqual({ objects: 1, blobs: 0 })
    expect([...world.deps.blobs.stored.keys()]).toContain(young)
    expect(await problems(world)).toEqual([])
  })

  test('collects old blobs to which nothing refers', async ({ world }) => {
    await store(world, await makeSpace(world), 'file', LARGE)
    await world.deps.database.transaction(tx => tx.updateTable('version').set({ purgedAt: 1 }).execute())
    expect(await sweep(world.system)).toMatchObject({ blobs: 0 })
    world.advance(ORPHAN_AGE_MS + 1_000)
    expect(await sweep(world.system)).toMatchObject({ blobs: 1 })
    expect(world.deps.blobs.stored.size).toBe(0)
  })

  test('a running backup keeps every blob, until it ends or its lease runs out', async ({ world }) => {
    const { version } = await store(world, await makeSpace(world), 'file', LARGE)
    await world.deps.database.transaction(tx => tx.updateTable('version').set({ purgedAt: 1 }).execute())
    const blobIds = [version.blobId]
    const hold = await holdBlobs(world.system)
    await expect(collectBlobs(world.system, { blobIds })).rejects.toMatchObject({ code: 'busy' })
    await hold.release()
    const lost = await holdBlobs(world.system)
    world.advance(120_000)
    await collectBlobs(world.system, { blobIds })
    expect(world.deps.blobs.stored.size).toBe(0)
    await expect(lost.release()).rejects.toThrow('lost')
  })
})

describe('time', () => {
  test('takes files whose time has come to the trash, in all tenants', async ({ world }) => {
    const space = await makeSpace(world)
    const { node } = await store(world, space, 'short', 'x')
    await store(world, space, 'long', 'x')
    const folder = await createFolder(world.system, { parentId: space, name: 'folder' })
    const expiresAt = world.deps.clock() + DAY
    const ids = [node.id, folder.id]
    await world.deps.database.transaction(tx =>
      tx.updateTable('node').set({ expiresAt }).where('id', 'in', ids).execute(),
    )
    expect(await expire(world.system)).toEqual({ files: 0, users: 0 })
    world.advance(DAY)
    expect(await expire(world.system)).toEqual({ files: 2, users: 0 })
    expect(await expire(world.system)).toEqual({ files: 0, users: 0 })
  })

  test('removes accounts that asked for it', async ({ world }) => {
    const { user } = await world.user('temp')
    await updateUser(world.system, { userId: user.id, expiresAt: world.deps.clock() + DAY, onExpiry: 'remove' })
    world.advance(2 * DAY)
    expect(await expire(world.system)).toEqual({ files: 0, users: 1 })
  })

  test('purges the trash when the space, or else the server, says so', async ({ world }) => {
    const usual = await makeSpace(world)
    const hasty = await makeSpace(world, { trashRetentionMs: DAY })
    for (const space of [usual, hasty]) {
      const { node } = await store(world, space, 'file', LARGE)
      await deleteNode(world.system, { nodeId: node.id })
    }
    expect(await purgeOld(world.system)).toBe(0)
    world.advance(2 * DAY)
    expect(await purgeOld(world.system)).toBe(1)
    world.advance(30 * DAY)
    expect(await purgeOld(world.system)).toBe(1)
    expect(await problems(world)).toEqual([])
  })

  test('purges superseded versions beyond the number that the space keeps, oldest first', async ({ world }) => {
    const space = await makeSpace(world, { versionRetention: 2 })
    const ids: number[] = []
    for (const content of ['1', '2', '3', '4', '5']) ids.push((await store(world, space, 'file', content)).version.id)
    expect(await purgeOld(world.system)).toBe(2)
    const left = await world.deps.database.read
      .selectFrom('version')
      .select('id')
      .where('purgedAt', 'is', null)
      .orderBy('id')
      .execute()
    expect(left.map(row => row.id)).toEqual(ids.slice(2))
  })

  test('forgets ended sessions and old failures without an error when there are none', async ({ world }) => {
    await expect(cleanUp(world.system)).resolves.toBeUndefined()
  })
})
