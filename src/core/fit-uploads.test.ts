/** The part of the proof (fit.test.ts) that is about transfers, totals and bytes on disk. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { World } from '#test/world.ts'
import { makeCtx, type Ctx } from '#core/ctx.ts'
import { copyNode } from '#core/node-move.ts'
import { getNodeRow } from '#core/nodes.ts'
import { collectBlobs, purgeVersion } from '#core/purge.ts'
import { completeUpload } from '#core/transfer-completion.ts'
import { appendUpload, cancelUpload, getUpload, openUpload } from '#core/transfers.ts'
import { deleteNode } from '#core/trash.ts'
import { diskBlobStore } from '#platform/blobs/disk.ts'
import { applyActs, fc, someActs } from '#test/acts.ts'
import { brokenNodes, makeSpace, names, openAgain, put, read, sha256, wrongTotals } from '#test/tree.ts'
import { test } from '#test/world.ts'

const bytes = (text: string) => [Buffer.from(text)]

describe('uploads', () => {
  test('a reserved name blocks other uploads until it is given up or filled, and keeps its node', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const upload = { parentId: id, name: 'a', onConflict: 'fail', mediaType: 'text/plain', reserve: true } as const
    const first = await openUpload(ctx, upload)

    for (const onConflict of ['fail', 'new-version', 'replace', 'rename-existing'] as const) {
      await expect(put(ctx, id, 'a', 'x', { onConflict })).rejects.toMatchObject({
        code: 'name-taken',
        details: { by: 'reserved' },
      })
    }
    expect(await names(ctx, id)).toEqual([])
    await cancelUpload(ctx, { uploadId: first.id })

    const label = 'As asked for'
    const second = await openUpload(ctx, { ...upload, label, attributes: { notes: 'kept', clientModifiedAt: 7 } })
    await appendUpload(ctx, { uploadId: second.id }, bytes('content'))
    const { node } = await completeUpload(ctx, { uploadId: second.id, onRefusal: 'fail' })

    expect(node).toMatchObject({ id: second.reservedNodeId, name: 'a', label, notes: 'kept', clientModifiedAt: 7 })
    expect(await read(ctx, node.id)).toBe('content')
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('an upload that failed while finishing says why for a day, and has freed its name', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const expectedSha256 = sha256('what was meant')
    const upload = { parentId: id, name: 'a', onConflict: 'fail', mediaType: 'text/plain', reserve: true } as const
    const { id: uploadId } = await openUpload(ctx, { ...upload, expectedSha256 })
    await appendUpload(ctx, { uploadId }, bytes('what came'))

    await expect(completeUpload(ctx, { uploadId, onRefusal: 'fail' })).rejects.toMatchObject({
      code: 'checksum-mismatch',
    })

    const failed = await getUpload(ctx, { uploadId })
    expect(failed).toMatchObject({ state: 'failed', failureCode: 'checksum-mismatch', versionId: null })
    expect(JSON.parse(failed.failureDetails ?? '')).toEqual({
      algorithm: 'sha256',
      expected: expectedSha256,
      actual: sha256('what came'),
    })
    expect(failed.expiresAt - (failed.endedAt ?? 0)).toBeGreaterThanOrEqual(world.deps.settings.uploadLifeMs)
    await expect(appendUpload(ctx, { uploadId }, bytes('more'))).rejects.toMatchObject({ code: 'wrong-state' })
    expect((await put(ctx, id, 'a', 'free again', { onConflict: 'fail' })).node.name).toBe('a')
  })

  test('one worker takes the first chunk, another the second, and a resend from the middle replaces the rest', async ({
    world,
  }) => {
    const { id, ctx: a } = await makeSpace(world)
    const deps = await openAgain(world)
    try {
      const b = makeCtx(deps, a.actor, 'other worker')
      const text = 'abcdefghij'.repeat(8_000)
      const half = text.length / 2
      const middle = half + 12_345
      const { id: uploadId } = await openUpload(a, {
        parentId: id,
        name: 'big',
        onConflict: 'fail',
        mediaType: 'text/plain',
        announcedBytes: text.length,
        expectedSha256: sha256(text),
      })

      await appendUpload(a, { uploadId }, bytes(text.slice(0, half)))
      await appendUpload(b, { uploadId, startByte: half }, bytes('?'.repeat(half)))
      await expect(appendUpload(a, { uploadId, startByte: text.length + 1 }, bytes('gap'))).rejects.toMatchObject({
        code: 'upload-out-of-order',
      })
      await appendUpload(a, { uploadId, startByte: half }, bytes(text.slice(half, half + 20_000)))
      const { receivedBytes } = await appendUpload(b, { uploadId, startByte: middle }, bytes(text.slice(middle)))
      expect(receivedBytes).toBe(text.length)
      const { node, version } = await completeUpload(b, { uploadId, onRefusal: 'fail' })

      expect(version).toMatchObject({ sizeBytes: text.length, sha256: sha256(text) })
      expect(await read(a, node.id)).toBe(text)
      expect(await getUpload(a, { uploadId })).toMatchObject({ state: 'stored', versionId: version.id })
    } finally {
      await deps.database.close()
    }
  })
})

test(
  'totals equal a recount after any acts, and no row contradicts another',
  { timeout: 60_000 },
  async ({ world }) => {
    const owner = await world.user()
    let runs = 0
    await fc.assert(
      fc.asyncProperty(someActs, async acts => {
        const outer = await makeSpace(world, { owner, name: `space ${(runs += 1)}` })
        const nested = await makeSpace(world, { within: outer, name: 'nested', policy: { caseRule: 'folded' } })
        await applyActs(owner.ctx, [outer.id, nested.id], acts)
        expect(await wrongTotals(owner.ctx)).toEqual([])
        expect(await brokenNodes(owner.ctx)).toEqual([])
      }),
      { numRuns: 15, endOnFailure: true },
    )
  },
)

describe('shredding', () => {
  test('a copy survives the shredding of its source, of which neither key nor bytes stay on disk', async ({
    world,
  }) => {
    const blobs = await diskBlobStore({ dir: join(world.folder, 'blobs') })
    try {
      const { id, owner } = await makeSpace(world)
      const ctx = makeCtx({ ...world.deps, blobs }, owner.ctx.actor, 'test')
      const big = await put(ctx, id, 'big', 'large '.repeat(20_000))
      const small = await put(ctx, id, 'small', 'short')
      const lonely = await put(ctx, id, 'lonely', 'nobody copies this')
      const copies = [await copyNode(ctx, { nodeId: big.node.id, parentId: id, name: 'big copy' })]
      copies.push(await copyNode(ctx, { nodeId: small.node.id, parentId: id, name: 'small copy' }))
      const traces = await tracesOf(ctx, [big.version.id, small.version.id, lonely.version.id])
      const lonelyBytes = await inlineBytesOf(ctx, lonely.version.blobId)
      expect(onDisk(world, traces)).toBe(true)

      for (const { node, version } of [big, small, lonely]) {
        await deleteNode(ctx, { nodeId: node.id })
        await purgeVersion(ctx, { versionId: version.id })
      }
      await collectBlobs(ctx, { blobIds: [big, small, lonely].map(placed => placed.version.blobId) })
      await ctx.database.scrub()

      expect(await read(ctx, copies[0]!.id)).toBe('large '.repeat(20_000))
      expect(await read(ctx, copies[1]!.id)).toBe('short')
      expect(await getNodeRow(ctx, big.node.id)).toMatchObject({ state: 'purged' })
      for (const trace of [...traces, lonelyBytes]) expect(onDisk(world, [trace])).toBe(isUnreadable(world))
      expect(objects(world)).toHaveLength(1)

      await deleteNode(ctx, { nodeId: copies[0]!.id })
      await purgeVersion(ctx, { versionId: copies[0]!.currentVersionId! })
      await collectBlobs(ctx, { blobIds: [big.version.blobId] })
      expect(objects(world)).toEqual([])
      expect(await wrongTotals(ctx)).toEqual([])
    } finally {
      await blobs.close()
    }
  })

  test('purging a file that came in chunks leaves no key of it with the upload', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await openUpload(ctx, {
      parentId: id,
      name: 'a',
      onConflict: 'fail',
      mediaType: 'text/plain',
    })
    await appendUpload(ctx, { uploadId }, bytes('content'))
    const { node, version } = await completeUpload(ctx, { uploadId, onRefusal: 'fail' })
    const traces = await tracesOf(ctx, [version.id])

    await deleteNode(ctx, { nodeId: node.id })
    await purgeVersion(ctx, { versionId: version.id })
    await ctx.database.scrub()

    expect(onDisk(world, traces)).toBe(isUnreadable(world))
    expect((await getUpload(ctx, { uploadId })).wrappedKey).toHaveLength(0)
  })
})

/** The wrapped keys as they lie in the table. */
async function tracesOf(ctx: Ctx, versionIds: readonly number[]): Promise<Buffer[]> {
  const rows = await ctx.db.selectFrom('version').select('wrappedKey').where('id', 'in', versionIds).execute()
  return rows.map(row => Buffer.from(row.wrappedKey!))
}

async function inlineBytesOf(ctx: Ctx, blobId: string): Promise<Buffer> {
  const row = await ctx.db
    .selectFrom('segment')
    .select('inlineBytes')
    .where('blobId', '=', blobId)
    .executeTakeFirstOrThrow()
  return Buffer.from(row.inlineBytes!)
}

/** The files of a PostgreSQL server are out of a test's reach. */
const isUnreadable = (world: World) => world.deps.database.engine === 'postgres'

/** Whether the database's file or log holds all of these bytes. */
function onDisk(world: World, wanted: readonly Buffer[]): boolean {
  if (isUnreadable(world)) return true
  const files = ['entrepot.db', 'entrepot.db-wal'].map(name => readFileSync(join(world.folder, name)))
  return wanted.every(part => files.some(file => file.includes(part)))
}

/** Stored objects of the disk blob store. */
function objects(world: World): string[] {
  return readdirSync(join(world.folder, 'blobs', 'objects'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => entry.name)
}
