import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { addMasterKey, dropMasterKey, openKeyRing } from '#platform/key-ring.ts'
import { test, type World } from '#test/world.ts'
import { newDataKey, unwrapKey } from './content.ts'
import { inTx, type Ctx } from './ctx.ts'
import { countWraps, rotateMasterKey, shareKeyContext, wrappingKeyContext } from './master-key.ts'
import { openSecret, putSecret } from './secrets.ts'

/** Writes versions of one file with a data key each, and gives the keys by version id. */
async function writeVersions(world: World, count: number): Promise<Map<number, Buffer>> {
  return inTx(world.system, async ctx => {
    const keys = new Map<number, Buffer>()
    const tenantId = world.tenant.id
    for (const id of await ctx.database.nextIds(ctx.db, count)) {
      const blobId = ctx.newId()
      const { key, ...wrapped } = newDataKey(ctx, blobId)
      keys.set(id, key)
      await ctx.db
        .insertInto('blob')
        .values({ id: blobId, tenantId, encryption: 'frames-1', sizeBytes: 0, createdAt: 1 })
        .execute()
      const file = {
        nodeId: world.tenant.rootNodeId,
        chainId: id,
        sizeBytes: 0,
        sha256: '',
        mediaType: 'a/b',
        createdBy: 'x',
      }
      const times = { createdAt: id, writeStartedAt: 1, writeEndedAt: 1, screening: 'clean' as const }
      await ctx.db
        .insertInto('version')
        .values({ id, tenantId, blobId, ...wrapped, ...file, ...times })
        .execute()
    }
    return keys
  })
}

async function expectVersionsOpen(ctx: Ctx, keys: Map<number, Buffer>): Promise<void> {
  const rows = await ctx.db.selectFrom('version').select(['id', 'blobId', 'wrappedKey', 'keyName']).execute()
  for (const row of rows) expect(Buffer.from(unwrapKey(ctx, row))).toEqual(keys.get(row.id))
}

async function writeShareAndUpload(
  world: World,
  userId: string,
): Promise<{ shareKey: Buffer; spaceKey: Buffer; uploadKey: Buffer }> {
  const [shareKey, spaceKey] = [randomBytes(32), randomBytes(32)]
  return inTx(world.system, async ctx => {
    const tenantId = world.tenant.id
    const sealed = (plain: Buffer, context: string) => ({
      sealedKey: ctx.keys.seal(plain, context),
      sealedBy: ctx.keys.current,
    })
    const rules = { kind: 'download' as const, scope: '[]', onNewVersion: 'follow' as const, uses: 0, createdAt: 1 }
    const share = { id: 'share', tenantId, spaceId: 1, ownerId: userId, keyLookup: 'x' }
    await ctx.db
      .insertInto('share')
      .values({ ...share, ...rules, ...sealed(shareKey, shareKeyContext('share')) })
      .execute()
    const wrapping = sealed(spaceKey, wrappingKeyContext('space:1'))
    await ctx.db
      .insertInto('wrapping_key')
      .values({ name: 'space:1', tenantId, createdAt: 1, ...wrapping })
      .execute()
    const { key: uploadKey, ...wrapped } = newDataKey(ctx, 'blob')
    await ctx.db
      .insertInto('blob')
      .values({ id: 'blob', tenantId, encryption: 'frames-1', sizeBytes: 0, createdAt: 1 })
      .execute()
    const times = { createdAt: 1, changedAt: 1, expiresAt: 1 }
    const upload = {
      onConflict: 'fail' as const,
      state: 'open' as const,
      receivedBytes: 0,
      mediaType: 'a/b',
      attributes: '{}',
    }
    const target = { id: 'upload', tenantId, principalId: userId, parentId: 1, name: 'x', blobId: 'blob' }
    await ctx.db
      .insertInto('upload')
      .values({ ...target, ...upload, ...wrapped, ...times })
      .execute()
    return { shareKey, spaceKey, uploadKey }
  })
}

test('everything that the old key wraps is wrapped by the new one, and the old one can go', async ({ world }) => {
  const { user } = await world.user()
  const keys = await writeVersions(world, 3)
  const { shareKey, spaceKey, uploadKey } = await writeShareAndUpload(world, user.id)
  await inTx(world.system, ctx => putSecret(ctx, { purpose: 'seed', ownerId: 'a', plain: 'secret' }))
  await addMasterKey(world.keyFile)

  expect(await countWraps(world.system, 'master:1')).toBe(7)
  expect(await rotateMasterKey(world.system)).toEqual({ rewrapped: 7, failed: 0 })
  expect(await countWraps(world.system, 'master:1')).toBe(0)
  await dropMasterKey(world.keyFile, 'master:1')

  const after = { ...world.system, keys: await openKeyRing(world.keyFile, { create: false }) }
  await expectVersionsOpen(after, keys)
  expect(await openSecret(after, { purpose: 'seed', ownerId: 'a' })).toBe('secret')
  const { read } = world.deps.database
  const share = await read.selectFrom('share').select('sealedKey').executeTakeFirstOrThrow()
  expect(Buffer.from(after.keys.open(share.sealedKey, shareKeyContext('share'), 'master:2'))).toEqual(shareKey)
  const wrapping = await read.selectFrom('wrapping_key').select('sealedKey').executeTakeFirstOrThrow()
  expect(Buffer.from(after.keys.open(wrapping.sealedKey, wrappingKeyContext('space:1'), 'master:2'))).toEqual(spaceKey)
  const upload = await read.selectFrom('upload').select(['blobId', 'wrappedKey', 'keyName']).executeTakeFirstOrThrow()
  expect(Buffer.from(unwrapKey(after, upload))).toEqual(uploadKey)
  expect(await world.events()).toEqual(Array(5).fill('master-key.rotated'))
})

test('many rows are wrapped in batches, and a rotation that was stopped goes on', async ({ world }) => {
  const keys = await writeVersions(world, 1_100)
  await addMasterKey(world.keyFile)
  let left = 1
  const { database } = world.deps
  const transaction: typeof database.transaction = work =>
    left-- > 0 ? database.transaction(work) : Promise.reject(new Error('stopped'))
  const stopping = { ...world.system, database: { ...database, transaction } }
  await expect(rotateMasterKey(stopping)).rejects.toThrow('stopped')
  expect(await countWraps(world.system, 'master:2')).toBe(500)
  await expectVersionsOpen(world.system, keys)

  expect(await rotateMasterKey(world.system)).toEqual({ rewrapped: 600, failed: 0 })
  await expectVersionsOpen(world.system, keys)
  expect(await rotateMasterKey(world.system)).toEqual({ rewrapped: 0, failed: 0 })
})

test('a wrap that does not open is counted and left, and the rest goes on; purged versions stay without a key', async ({
  world,
}) => {
  const keys = await writeVersions(world, 3)
  const [damaged = 0, purged = 0, whole = 0] = keys.keys()
  await world.deps.database.transaction(async tx => {
    await tx
      .updateTable('version')
      .set({ wrappedKey: randomBytes(60) })
      .where('id', '=', damaged)
      .execute()
    await tx.updateTable('version').set({ wrappedKey: null }).where('id', '=', purged).execute()
  })
  await addMasterKey(world.keyFile)

  expect(await rotateMasterKey(world.system)).toEqual({ rewrapped: 1, failed: 1 })

  const rows = await world.deps.database.read
    .selectFrom('version')
    .select(['id', 'keyName', 'wrappedKey'])
    .orderBy('id')
    .execute()
  expect(rows.map(row => [row.id, row.keyName, row.wrappedKey !== null])).toEqual([
    [damaged, 'master:1', true],
    [purged, 'master:1', false],
    [whole, 'master:2', true],
  ])
})

test('only who manages the configuration rotates the key', async ({ world }) => {
  const { ctx } = await world.user()
  await expect(rotateMasterKey(ctx)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(countWraps(ctx, 'master:1')).rejects.toMatchObject({ code: 'forbidden' })
})
