/** What every blob store must do. A store's own test file says how to open one and runs this. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BlobStore, SegmentRef, StoredObject, StoredSegment } from '#core/ports.ts'

export interface OpenedStore {
  store: BlobStore
  /** The bytes as they lie on the medium. */
  stored(segmentId: string): Promise<Buffer>
  overwrite(segmentId: string, bytes: Buffer): Promise<void>
  /** Closes the store and removes all it left. */
  dispose(): Promise<void>
}

export const FRAME = 65_536
const STORED_FRAME = FRAME + 16
const SIZES = [0, 1, FRAME - 1, FRAME, FRAME + 1, 4 * FRAME, 5 * FRAME - 1, 15 * FRAME, 15 * FRAME + 1, 6_000_000]

export async function writeSegment(
  store: BlobStore,
  input: { segmentId?: string; key: Uint8Array; plain: Uint8Array; chunkBytes?: number; md5?: boolean },
): Promise<StoredSegment> {
  const { segmentId = randomUUID(), key, plain, chunkBytes = FRAME, md5 = false } = input
  const writer = await store.create({ segmentId, key, md5 })
  for (let at = 0; at < plain.length; at += chunkBytes) await writer.write(plain.subarray(at, at + chunkBytes))
  return writer.finish()
}

export async function readSegment(
  store: BlobStore,
  segment: SegmentRef,
  key: Uint8Array,
  { start = 0, end = segment.sizeBytes } = {},
): Promise<Buffer> {
  const chunks = await Array.fromAsync(store.read({ segment, key, start, end }))
  return Buffer.concat(chunks)
}

export async function listed(store: BlobStore, segmentId: string): Promise<StoredObject[]> {
  const all = await Array.fromAsync(store.list())
  return all.filter(object => object.segmentId === segmentId)
}

export function blobStoreSuite(name: string, open: () => Promise<OpenedStore>): void {
  describe(`blob store: ${name}`, () => {
    const key = randomBytes(32)
    let opened: OpenedStore
    let store: BlobStore
    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened.dispose())

    test.for(SIZES)('%i bytes come back as they went in, with their digests', async size => {
      const plain = randomBytes(size)
      const segment = await writeSegment(store, { key, plain, md5: true })

      expect(segment).toMatchObject({ sizeBytes: size, sha256: digest('sha256', plain), md5: digest('md5', plain) })
      expect((await readSegment(store, segment, key)).equals(plain)).toBe(true)
    })

    test('no MD5 is computed unless it was asked for', async () => {
      const segment = await writeSegment(store, { key, plain: Buffer.from('x') })
      expect(segment).not.toHaveProperty('md5')
    })

    test.for([1, 7, 1000, FRAME - 1, 300_000, 1_048_576])('chunks of %i bytes make no difference', async chunkBytes => {
      const plain = randomBytes(chunkBytes === 1 ? FRAME + 5 : 1_500_000)
      const segment = await writeSegment(store, { key, plain, chunkBytes })
      expect((await readSegment(store, segment, key)).equals(plain)).toBe(true)
    })

    test('a caller may use its chunk again once the write was taken', async () => {
      const writer = await store.create({ segmentId: randomUUID(), key })
      const chunk = Buffer.alloc(100_000)
      for (let n = 0; n < 20; n += 1) await writer.write(chunk.fill(n))
      const plain = await readSegment(store, await writer.finish(), key)
      expect(Array.from({ length: 20 }, (_, n) => plain[n * 100_000 + 99_999])).toEqual([...Array(20).keys()])
    })

    test('any range is the same slice of the whole', async () => {
      const plain = randomBytes(40 * FRAME)
      const whole = await writeSegment(store, { key, plain })
      const cut = await writeSegment(store, { key, plain: plain.subarray(0, 39 * FRAME + 17) })
      const range = fc.tuple(fc.constantFrom(whole, cut), fc.nat(40 * FRAME), fc.nat(40 * FRAME))
      const check = async ([segment, a, b]: [SegmentRef, number, number]) => {
        const [start = 0, end = 0] = [a, b].map(at => Math.min(at, segment.sizeBytes)).toSorted((x, y) => x - y)
        const bytes = await readSegment(store, segment, key, { start, end })
        expect(bytes.equals(plain.subarray(start, end))).toBe(true)
      }
      await fc.assert(fc.asyncProperty(range, check), { numRuns: 60 })
      for (const at of [0, 1, FRAME - 1, FRAME, FRAME + 1, 14 * FRAME, 15 * FRAME, 39 * FRAME])
        await check([whole, at, at + FRAME])
    })

    test('a range asks for no frame that it does not touch', async () => {
      const plain = randomBytes(3 * FRAME)
      const segment = await writeSegment(store, { key, plain })
      await damage(segment, bytes => bytes.fill(0, 0, 100).fill(0, 2 * STORED_FRAME, 2 * STORED_FRAME + 100))
      const middle = await readSegment(store, segment, key, { start: FRAME, end: 2 * FRAME })
      expect(middle.equals(plain.subarray(FRAME, 2 * FRAME))).toBe(true)
    })

    const damage = async (segment: SegmentRef, change: (bytes: Buffer) => Buffer) =>
      opened.overwrite(segment.segmentId, change(Buffer.from(await opened.stored(segment.segmentId))))

    const damages: [string, (bytes: Buffer) => Buffer][] = [
      ['a flipped bit in the first frame', bytes => flip(bytes, 10)],
      ['a flipped bit in a tag', bytes => flip(bytes, FRAME + 3)],
      ['a flipped bit in the empty last frame', bytes => flip(bytes, bytes.length - 1)],
      ['a lost last byte', bytes => bytes.subarray(0, -1)],
      ['a lost last frame', bytes => bytes.subarray(0, -16)],
      ['two lost frames', bytes => bytes.subarray(0, STORED_FRAME)],
      ['lost content', () => Buffer.alloc(0)],
      ['bytes added', bytes => Buffer.concat([bytes, Buffer.alloc(16)])],
      ['swapped frames', bytes => swapFrames(bytes)],
    ]
    test.for(damages)('%s is found', async ([, change]) => {
      const segment = await writeSegment(store, { key, plain: randomBytes(3 * FRAME) })
      await damage(segment, change)
      await expect(readSegment(store, segment, key)).rejects.toMatchObject({ code: 'content-damaged' })
    })

    test('another key, another segment and a segment that is not there are found', async () => {
      const segment = await writeSegment(store, { key, plain: randomBytes(1000) })
      const other = await writeSegment(store, { key, plain: randomBytes(1000) })
      const refused = { code: 'content-damaged' }
      await expect(readSegment(store, segment, randomBytes(32))).rejects.toMatchObject(refused)
      await expect(readSegment(store, { ...segment, sizeBytes: 999 }, key)).rejects.toMatchObject(refused)
      await opened.overwrite(segment.segmentId, await opened.stored(other.segmentId))
      await expect(readSegment(store, segment, key)).rejects.toMatchObject(refused)
      await store.remove([segment.segmentId])
      await expect(readSegment(store, segment, key)).rejects.toMatchObject(refused)
    })

    test('what lies on the medium does not show the content', async () => {
      const segment = await writeSegment(store, { key, plain: Buffer.alloc(200_000, 'strictly private ') })
      expect((await opened.stored(segment.segmentId)).includes('private')).toBe(false)
    })

    test('a segment cannot be read before it is finished', async () => {
      const segmentId = randomUUID()
      const writer = await store.create({ segmentId, key })
      await writer.write(randomBytes(500_000))
      await expect(readSegment(store, { segmentId, sizeBytes: 500_000 }, key)).rejects.toMatchObject({
        code: 'content-damaged',
      })
      expect((await listed(store, segmentId)).map(({ state }) => state)).not.toContain('stored')
      await writer.finish()
      expect(await listed(store, segmentId)).toMatchObject([
        { segmentId, state: 'stored', storedBytes: 500_000 + 8 * 16, changedAt: expect.any(Number) },
      ])
    })

    test('an aborted segment leaves nothing, however often and whenever it is aborted', async () => {
      const segmentId = randomUUID()
      const writer = await store.create({ segmentId, key })
      const writing = Promise.allSettled([writer.write(randomBytes(3_000_000))])
      await Promise.all([writer.abort(), writer.abort()])
      await writing
      await writer.abort()
      expect(await listed(store, segmentId)).toEqual([])
      await expect(writer.finish()).rejects.toThrow('ended')
      await expect(writer.write(Buffer.from('x'))).rejects.toThrow('ended')
    })

    test('an abort after the segment was finished does not take it away', async () => {
      const writer = await store.create({ segmentId: randomUUID(), key })
      await writer.write(Buffer.from('kept'))
      const segment = await writer.finish()
      await writer.abort()
      expect((await readSegment(store, segment, key)).toString()).toBe('kept')
    })

    test('twenty transfers at once do not disturb each other', async () => {
      const plains = Array.from({ length: 20 }, (_, n) => randomBytes(400_000 + n * 12_345))
      const roundTrips = plains.map(async plain => {
        const segment = await writeSegment(store, { key, plain, chunkBytes: 50_000 })
        return (await readSegment(store, segment, key)).equals(plain)
      })
      expect(await Promise.all(roundTrips)).toEqual(plains.map(() => true))
    })

    test('removed segments are gone, unknown ones are no error', async () => {
      const segment = await writeSegment(store, { key, plain: randomBytes(10) })
      await store.remove([segment.segmentId, randomUUID()])
      expect(await listed(store, segment.segmentId)).toEqual([])
    })

    const pieces = (bytes: Buffer, length = 100_000) =>
      Readable.from(
        Array.from({ length: Math.ceil(bytes.length / length) }, (_, n) => slice(bytes, n * length, length)),
      )

    test('the stored form of a segment can be taken out and put under its id in another place', async () => {
      const plain = randomBytes(700_000)
      const segment = await writeSegment(store, { key, plain })
      const form = Buffer.concat(await Array.fromAsync(store.readStored(segment.segmentId)))
      expect(form.equals(await opened.stored(segment.segmentId))).toBe(true)

      await store.remove([segment.segmentId])
      await store.writeStored(segment.segmentId, pieces(form), form.length)
      expect((await readSegment(store, segment, key)).equals(plain)).toBe(true)
      expect(await listed(store, segment.segmentId)).toMatchObject([{ state: 'stored', storedBytes: form.length }])
    })

    test('a stored form replaces what lies under its id, and an empty one is taken too', async () => {
      const segment = await writeSegment(store, { key, plain: randomBytes(1000) })
      await store.writeStored(segment.segmentId, pieces(Buffer.from('other')), 5)
      expect((await opened.stored(segment.segmentId)).toString()).toBe('other')
      await store.writeStored(segment.segmentId, pieces(Buffer.alloc(0)), 0)
      expect(await opened.stored(segment.segmentId)).toHaveLength(0)
    })

    test('a stored form of another length, or that breaks off, leaves what was there', async () => {
      const segment = await writeSegment(store, { key, plain: Buffer.from('kept') })
      const { segmentId } = segment
      for (const announced of [999, 1001]) {
        const writing = store.writeStored(segmentId, pieces(randomBytes(1000)), announced)
        await expect(writing).rejects.toMatchObject({ code: 'content-damaged' })
      }
      await expect(store.writeStored(segmentId, breakingOff(), 300_000)).rejects.toThrow('broke off')
      expect((await readSegment(store, segment, key)).toString()).toBe('kept')
      expect(await listed(store, segmentId)).toMatchObject([{ state: 'stored' }])
    })

    test('the stored form of a segment that is not there is found missing', async () => {
      const reading = Array.fromAsync(store.readStored(randomUUID()))
      await expect(reading).rejects.toMatchObject({ code: 'content-damaged' })
    })

    test('a plain segment is read as it lies there, whole or in ranges', async () => {
      const bytes = randomBytes(1_500_000)
      const segment = { segmentId: randomUUID(), sizeBytes: bytes.length, plain: true }
      await store.writeStored(segment.segmentId, pieces(bytes), bytes.length)
      expect((await readSegment(store, segment, key)).equals(bytes)).toBe(true)
      for (const [start, end] of [
        [0, 0],
        [1, 2],
        [65_530, 1_000_001],
        [1_400_000, 1_500_000],
      ] as const) {
        expect((await readSegment(store, segment, key, { start, end })).equals(bytes.subarray(start, end))).toBe(true)
      }
      for (const sizeBytes of [bytes.length - 1, bytes.length + 1]) {
        const other = readSegment(store, { ...segment, sizeBytes }, key)
        await expect(other).rejects.toMatchObject({ code: 'content-damaged' })
      }
      const beyond = readSegment(store, segment, key, { start: 0, end: bytes.length + 1 })
      await expect(beyond).rejects.toThrow('No range')
    })

    test('the store says that it can take a write', async () => {
      await expect(store.check()).resolves.toBeUndefined()
    })
  })
}

const slice = (bytes: Buffer, start: number, length: number) => bytes.subarray(start, start + length)

async function* breakingOff(): AsyncGenerator<Uint8Array> {
  yield randomBytes(200_000)
  throw new Error('broke off')
}

function digest(algorithm: string, plain: Buffer): string {
  return createHash(algorithm).update(plain).digest('hex')
}

function flip(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

function swapFrames(bytes: Buffer): Buffer {
  const [first, second] = [bytes.subarray(0, STORED_FRAME), bytes.subarray(STORED_FRAME, 2 * STORED_FRAME)]
  return Buffer.concat([second, first, bytes.subarray(2 * STORED_FRAME)])
}
