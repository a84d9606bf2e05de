import { describe, expect } from 'vitest'
import fc from 'fast-check'
import type { Ctx } from '#core/ctx.ts'
import { setGrant } from '#core/grants.ts'
import { createFolder } from '#core/nodes.ts'
import { collectBlobs } from '#core/purge.ts'
import { completeUpload } from '#core/transfer-completion.ts'
import { expireUploads } from '#core/transfer-expiry.ts'
import { appendUpload, cancelUpload, getUpload, openUpload, putPart, type NewUpload } from '#core/transfers.ts'
import { brokenNodes, makeMember, makeSpace, names, put, read, sha256, wrongTotals } from '#test/tree.ts'
import { test as base } from '#test/world.ts'

const test = base.override({ settings: { inlineBytes: 8, maxFileBytes: 1_000 } })

const text = 'abcdefghijklmnopqrstuvwxyz0123456789'
const bytes = (part: string) => [Buffer.from(part)]

const open = (ctx: Ctx, parentId: number, more: Partial<NewUpload> = {}) =>
  openUpload(ctx, { parentId, name: 'a', onConflict: 'fail', mediaType: 'text/plain', ...more })

const complete = (ctx: Ctx, uploadId: string, onRefusal: 'fail' | 'reopen' = 'fail') =>
  completeUpload(ctx, { uploadId, onRefusal })

describe('chunks', () => {
  test('may be sent again from any byte on, in any sizes, and the last word counts', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    let runs = 0
    const chunk = fc.record({ from: fc.nat(100), part: fc.string({ unit: 'grapheme-ascii', maxLength: 20 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 8 }), async chunks => {
        const { id: uploadId } = await open(ctx, id, { name: `file ${(runs += 1)}` })
        let expected = ''
        for (const { from, part } of chunks) {
          const startByte = from % (expected.length + 1)
          expected = expected.slice(0, startByte) + part
          const { receivedBytes } = await appendUpload(ctx, { uploadId, startByte }, bytes(part))
          expect(receivedBytes).toBe(expected.length)
        }
        const { node, version } = await complete(ctx, uploadId)
        expect(version).toMatchObject({ sizeBytes: expected.length, sha256: sha256(expected) })
        expect(await read(ctx, node.id)).toBe(expected)
      }),
      { numRuns: 15 },
    )
    const stored = await Array.fromAsync(world.deps.blobs.list())
    const segments = await ctx.db.selectFrom('segment').select('id').where('inlineBytes', 'is', null).execute()
    expect(stored.map(object => object.segmentId).toSorted()).toEqual(segments.map(segment => segment.id).toSorted())
  })

  test('that leave a gap, come too late, or are too many are refused and leave nothing', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id)
    await appendUpload(ctx, { uploadId }, bytes(text))
    const before = await Array.fromAsync(world.deps.blobs.list())

    await expect(appendUpload(ctx, { uploadId, startByte: text.length + 1 }, bytes(text))).rejects.toMatchObject({
      code: 'upload-out-of-order',
      details: { expectedStart: text.length, givenStart: text.length + 1 },
    })
    await expect(appendUpload(ctx, { uploadId }, bytes('x'.repeat(1_000)))).rejects.toMatchObject({
      code: 'upload-too-large',
      details: { limitBytes: 1_000 },
    })
    const vanishing = async function* () {
      yield Buffer.from(text)
      throw new Error('The client went away')
    }
    await expect(appendUpload(ctx, { uploadId }, vanishing())).rejects.toThrow('went away')
    expect(await Array.fromAsync(world.deps.blobs.list())).toEqual(before)

    await complete(ctx, uploadId)
    await expect(appendUpload(ctx, { uploadId }, bytes(text))).rejects.toMatchObject({ code: 'wrong-state' })
    await expect(complete(ctx, uploadId)).rejects.toMatchObject({ code: 'wrong-state', details: { state: 'stored' } })
  })
})

describe('parts', () => {
  test('come in any order, may be replaced, and are put together by number', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id)
    await putPart(ctx, { uploadId, partNumber: 3 }, bytes(text.slice(24)))
    await putPart(ctx, { uploadId, partNumber: 1 }, bytes('wrong and longer than it should be'))
    await putPart(ctx, { uploadId, partNumber: 2 }, bytes(text.slice(12, 24)))
    const { receivedBytes } = await putPart(ctx, { uploadId, partNumber: 1 }, bytes(text.slice(0, 12)))
    expect(receivedBytes).toBe(text.length)

    for (const partNumbers of [
      [1, 2],
      [1, 2, 2],
      [1, 2, 4],
    ]) {
      const attempt = completeUpload(ctx, { uploadId, onRefusal: 'fail', partNumbers })
      await expect(attempt).rejects.toMatchObject({ code: 'invalid-input' })
    }
    const { node, version } = await complete(ctx, uploadId)
    expect(await read(ctx, node.id)).toBe(text)
    expect(version.sha256).toBe(sha256(text))
  })

  test('may not add up to more than a file may have', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id)
    for (const partNumber of [1, 2]) await putPart(ctx, { uploadId, partNumber }, bytes('x'.repeat(600)))

    await expect(complete(ctx, uploadId)).rejects.toMatchObject({ code: 'upload-too-large' })
    expect(await names(ctx, id)).toEqual([])
  })
})

describe('the end of an upload', () => {
  test('holds length and checksums against what was announced, and may be tried again when asked to', async ({
    world,
  }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id, { announcedBytes: text.length, expectedMd5: '0'.repeat(32) })
    await appendUpload(ctx, { uploadId }, bytes(text.slice(0, 20)))

    await expect(complete(ctx, uploadId, 'reopen')).rejects.toMatchObject({
      code: 'upload-incomplete',
      details: { expectedBytes: text.length, receivedBytes: 20 },
    })
    await appendUpload(ctx, { uploadId }, bytes(text.slice(20)))
    await expect(complete(ctx, uploadId)).rejects.toMatchObject({ code: 'checksum-mismatch' })
    expect(await getUpload(ctx, { uploadId })).toMatchObject({ state: 'failed', failureCode: 'checksum-mismatch' })
    expect(await world.events()).toContain('upload.failed')
  })

  test('asks for rights, names and quota as they are then', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'create'])
    const start = async () => {
      const { id: uploadId } = await open(member.ctx, id)
      await appendUpload(member.ctx, { uploadId }, bytes(text))
      return uploadId
    }
    const [first, second] = [await start(), await start()]

    await setGrant(ctx, { nodeId: id, subjectId: member.user.id, actions: ['list'] })
    await expect(complete(member.ctx, first)).rejects.toMatchObject({ code: 'forbidden' })
    await setGrant(ctx, { nodeId: id, subjectId: member.user.id, actions: ['list', 'create'] })
    await put(ctx, id, 'a')
    await expect(complete(member.ctx, second)).rejects.toMatchObject({ code: 'name-taken' })
    expect(await getUpload(member.ctx, { uploadId: second })).toMatchObject({ failureCode: 'name-taken' })
  })

  test('can be taken up by another process where the first one died', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id)
    await appendUpload(ctx, { uploadId }, bytes(text))
    await world.deps.database.transaction(tx =>
      tx.updateTable('upload').set({ state: 'sealed' }).where('id', '=', uploadId).execute(),
    )

    const { node } = await complete(ctx, uploadId)
    expect(await read(ctx, node.id)).toBe(text)
  })

  test('asked for twice at once makes one file', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: uploadId } = await open(ctx, id, { onConflict: 'rename-new' })
    await appendUpload(ctx, { uploadId }, bytes(text))

    const attempts = await Promise.allSettled([complete(ctx, uploadId), complete(ctx, uploadId)])

    expect(attempts.map(attempt => attempt.status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(await getUpload(ctx, { uploadId })).toMatchObject({ state: 'stored' })
    expect(await names(ctx, id)).toEqual(['a'])
  })

  test('makes a new version for who may write but not create', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const writer = await makeMember(world, id, ['list', 'write'])
    const { node } = await put(ctx, id, 'a', 'one')

    const { id: uploadId } = await open(writer.ctx, id, { onConflict: 'new-version' })
    await appendUpload(writer.ctx, { uploadId }, bytes(text))
    await complete(writer.ctx, uploadId)

    expect(await read(ctx, node.id)).toBe(text)
    await expect(open(writer.ctx, id, { name: 'b' })).rejects.toMatchObject({ code: 'forbidden' })
  })
})

test('an upload is known only to who opened it', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const member = await makeMember(world, id, ['list', 'create'])
  const { id: uploadId } = await open(member.ctx, id)

  for (const act of [
    () => getUpload(ctx, { uploadId }),
    () => appendUpload(ctx, { uploadId }, bytes(text)),
    () => complete(ctx, uploadId),
    () => cancelUpload(ctx, { uploadId }),
  ]) {
    await expect(act()).rejects.toMatchObject({ code: 'not-found', details: { what: 'upload' } })
  }
})

test('an abandoned upload ends after a while, and every ended one is forgotten later', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { uploadLifeMs } = world.deps.settings
  const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
  const abandoned = await open(ctx, folder.id, { reserve: true })
  await appendUpload(ctx, { uploadId: abandoned.id }, bytes(text))
  const stored = await open(ctx, id)
  const { node } = await complete(ctx, stored.id)
  expect(await expireUploads(world.system)).toEqual({ expired: 0, forgotten: 0 })

  world.advance(uploadLifeMs)
  expect(await expireUploads(world.system)).toEqual({ expired: 1, forgotten: 1 })
  expect(await getUpload(ctx, { uploadId: abandoned.id })).toMatchObject({
    state: 'expired',
    keyName: '',
  })
  expect((await getUpload(ctx, { uploadId: abandoned.id })).wrappedKey).toHaveLength(0)
  await put(ctx, folder.id, 'a', 'the name is free', { onConflict: 'fail' })

  await collectBlobs(ctx, { blobIds: [abandoned.blobId] })
  expect(await Array.fromAsync(world.deps.blobs.list())).toHaveLength(1)
  world.advance(uploadLifeMs)
  expect(await expireUploads(world.system)).toEqual({ expired: 0, forgotten: 1 })
  await expect(getUpload(ctx, { uploadId: abandoned.id })).rejects.toMatchObject({ code: 'not-found' })
  const blobs = await ctx.db.selectFrom('blob').select('id').where('id', '=', abandoned.blobId).execute()
  expect(blobs).toEqual([])
  expect(await read(ctx, node.id)).toBe('')
  expect(await wrongTotals(ctx)).toEqual([])
  expect(await brokenNodes(ctx)).toEqual([])
})
