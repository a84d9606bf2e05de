import { createHash } from 'node:crypto'
import { describe, expect } from 'vitest'
import { announceBlob, receiveBlob, storeBlob, storeBlobAsVersion } from '#core/blob-uploads.ts'
import type { Ctx } from '#core/ctx.ts'
import { expireUploads } from '#core/transfer-expiry.ts'
import { sweep } from '#core/sweep.ts'
import { verifyStore } from '#core/verify.ts'
import { memoryBlobStore } from '#platform/blobs/memory.ts'
import { makeMember, makeSpace, put, read } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const bytes = (text: string) => [Buffer.from(text)]
/** As uploaded. */
const mediaType = (uploaded: string) => uploaded

/** Announces a blob and fills it. */
async function filled(ctx: Ctx, text: string, type = ''): Promise<string> {
  const { blobId } = await announceBlob(ctx, { announcedBytes: Buffer.byteLength(text) })
  await receiveBlob(ctx, { blobId, mediaType: type, lengthBytes: undefined }, bytes(text))
  return blobId
}

const placement = (parentId: number, name = 'a.txt') => ({ parentId, name, onConflict: 'rename-new' as const })

describe('a blob', () => {
  test('becomes a file with the type that it was uploaded with', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const blobId = await filled(ctx, 'text', 'text/markdown')

    const { node, version } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })

    expect(await read(ctx, node.id)).toBe('text')
    expect(version).toMatchObject({ blobId, mediaType: 'text/markdown', md5: md5('text') })
    expect(await verifyStore(world.system, { content: true })).toMatchObject({ problems: [], versions: 1 })
  })

  test('is overwritten by a second upload until it is used, and never after', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const blobId = await filled(ctx, 'one')
    await receiveBlob(ctx, { blobId, mediaType: '', lengthBytes: 3 }, bytes('two'))
    const { node } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })

    await expect(receiveBlob(ctx, { blobId, mediaType: '', lengthBytes: 3 }, bytes('six'))).rejects.toMatchObject({
      code: 'wrong-state',
    })
    expect(await read(ctx, node.id)).toBe('two')
  })

  test('may be empty', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const blobId = await filled(ctx, '')

    const { version } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })
    expect(version).toMatchObject({ sizeBytes: 0, md5: md5('') })
  })

  test.for([
    ['announced by the request', 5],
    ['found at its end', undefined],
  ] as const)(
    'of another length than announced is refused, %s, and leaves what was there',
    async ([, length], { world }) => {
      const { id, ctx } = await makeSpace(world)
      const blobId = await filled(ctx, 'good')

      const other = receiveBlob(ctx, { blobId, mediaType: '', lengthBytes: length }, bytes('wrong'))
      await expect(other).rejects.toMatchObject({
        code: 'upload-incomplete',
        details: { expectedBytes: 4, receivedBytes: 5 },
      })
      const { node } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })
      expect(await read(ctx, node.id)).toBe('good')
    },
  )

  test('is used once, also by many at a time', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const blobId = await filled(ctx, 'text')

    const tries = Array.from({ length: 8 }, (_, n) =>
      storeBlob(ctx, { blobId, mediaType, placement: placement(id, `${n}`) }),
    )
    const outcomes = await Promise.allSettled(tries)

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'wrong-state' })
  })

  test('without bytes, unknown, or of somebody else cannot be used', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const other = await makeMember(world, id, ['list', 'read', 'create'])
    const { blobId: empty } = await announceBlob(ctx, { announcedBytes: 4 })
    const foreign = await filled(other.ctx, 'text')

    await expect(storeBlob(ctx, { blobId: empty, mediaType, placement: placement(id) })).rejects.toMatchObject({
      code: 'wrong-state',
    })
    for (const blobId of [foreign, world.deps.newId()]) {
      await expect(storeBlob(ctx, { blobId, mediaType, placement: placement(id) })).rejects.toMatchObject({
        code: 'not-found',
        details: { what: 'blob' },
      })
    }
  })

  test('whose use was refused can be used elsewhere', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { id: closed } = await makeSpace(world, { name: 'closed' })
    const blobId = await filled(ctx, 'text')

    await expect(storeBlob(ctx, { blobId, mediaType, placement: placement(closed) })).rejects.toMatchObject({
      code: 'not-found',
    })
    const { node } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })
    expect(await read(ctx, node.id)).toBe('text')
  })

  test('becomes the new content of a file, if its digest is the expected one', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a.txt', 'old')
    const blobId = await filled(ctx, 'new')
    const use = (expectedMd5: string) =>
      storeBlobAsVersion(ctx, { blobId, expectedMd5, mediaType, version: { nodeId: node.id } })

    await expect(use(md5('other'))).rejects.toMatchObject({ code: 'checksum-mismatch' })
    expect(await read(ctx, node.id)).toBe('old')
    await use(md5('new'))
    expect(await read(ctx, node.id)).toBe('new')
  })

  test('that nobody used is gone after its time', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const blobId = await filled(ctx, 'text')
    world.advance(world.deps.settings.uploadLifeMs)

    expect(await expireUploads(world.system)).toMatchObject({ expired: 1 })
    await expect(storeBlob(ctx, { blobId, mediaType, placement: placement(id) })).rejects.toMatchObject({
      code: 'wrong-state',
    })
  })

  test('over the limit is refused when it is announced', async ({ world }) => {
    const { ctx } = await makeSpace(world)
    const limited = { ...ctx, settings: { ...ctx.settings, maxFileBytes: 3 } }

    await expect(announceBlob(limited, { announcedBytes: 4 })).rejects.toMatchObject({ code: 'upload-too-large' })
  })
})

describe('a blob that a client puts into the medium itself', () => {
  /** The same world over a medium that clients reach. */
  function direct(world: World, ctx: Ctx) {
    const blobs = memoryBlobStore({ clock: world.deps.clock, direct: true })
    return { blobs, ctx: { ...ctx, blobs }, system: { ...world.system, blobs } }
  }

  test('becomes a file whose bytes never came by us, hashed when it is used', async ({ world }) => {
    const { id, ctx: plain } = await makeSpace(world)
    const { blobs, ctx, system } = direct(world, plain)
    const { blobId, directAddress } = await announceBlob(ctx, { announcedBytes: 4, mediaType: 'text/plain' })
    blobs.put(directAddress ?? '', Buffer.from('text'), 'text/plain')

    const { node, version } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })

    expect(version).toMatchObject({ md5: md5('text'), sizeBytes: 4, mediaType: 'text/plain' })
    expect(version.sha256).toBe(createHash('sha256').update('text').digest('hex'))
    expect(await read(ctx, node.id)).toBe('text')
    expect(await verifyStore(system, { content: true })).toMatchObject({ problems: [], versions: 1 })
  })

  test('cannot be changed by its address once it is used', async ({ world }) => {
    const { id, ctx: plain } = await makeSpace(world)
    const { blobs, ctx, system } = direct(world, plain)
    const { blobId, directAddress } = await announceBlob(ctx, { announcedBytes: 4 })
    blobs.put(directAddress ?? '', Buffer.from('text'))
    const { node } = await storeBlob(ctx, { blobId, mediaType, placement: placement(id) })

    blobs.put(directAddress ?? '', Buffer.from('evil'))
    await expect(storeBlob(ctx, { blobId, mediaType, placement: placement(id) })).rejects.toMatchObject({
      code: 'wrong-state',
    })

    expect(await read(ctx, node.id)).toBe('text')
    world.advance(3 * 3_600_000)
    await sweep(system)
    expect(blobs.stored.size).toBe(1)
    expect(await verifyStore(system, { content: true })).toMatchObject({ problems: [], objects: 1 })
  })

  test('is not there before it was put', async ({ world }) => {
    const { id, ctx: plain } = await makeSpace(world)
    const { ctx } = direct(world, plain)
    const { blobId } = await announceBlob(ctx, { announcedBytes: 0 })

    await expect(storeBlob(ctx, { blobId, mediaType, placement: placement(id) })).rejects.toMatchObject({
      code: 'wrong-state',
    })
  })

  test('is used once, also by many at a time', async ({ world }) => {
    const { id, ctx: plain } = await makeSpace(world)
    const { blobs, ctx, system } = direct(world, plain)
    const { blobId, directAddress } = await announceBlob(ctx, { announcedBytes: 4 })
    blobs.put(directAddress ?? '', Buffer.from('text'))

    const tries = Array.from({ length: 8 }, (_, n) =>
      storeBlob(ctx, { blobId, mediaType, placement: placement(id, `${n}`) }),
    )
    const outcomes = await Promise.allSettled(tries)

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await verifyStore(system, { content: true })).toMatchObject({ problems: [], versions: 1 })
  })
})
