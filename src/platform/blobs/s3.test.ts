import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import type { BlobStore } from '#core/ports.ts'
import { makeBucket, testS3, type TestBucket } from '#test/s3-bucket.ts'
import { blobStoreSuite, listed, readSegment, writeSegment } from '#test/suites/blob-store.ts'
import { startProxy, type TcpProxy } from '#test/tcp-proxy.ts'
import type { S3Place } from './location.ts'
import { s3BlobStore } from './s3.ts'
import { startUpload } from './s3-upload.ts'

const MIB = 2 ** 20
const key = randomBytes(32)
const silent = { warn() {}, debug() {} }

interface Opened extends AsyncDisposable {
  bucket: TestBucket
  store: BlobStore
}

async function openStore(change: Partial<S3Place> = {}): Promise<Opened> {
  const bucket = await makeBucket('kept/here/')
  const store = await s3BlobStore({ ...bucket.place, log: silent, ...change })
  return {
    bucket,
    store,
    async [Symbol.asyncDispose]() {
      await store.close()
      await bucket[Symbol.asyncDispose]()
    },
  }
}

interface Proxied extends Opened {
  proxy: TcpProxy
}

async function openBehindProxy(): Promise<Proxied> {
  const proxy = await startProxy(testS3?.endpoint ?? '')
  const opened = await openStore({ endpoint: proxy.url })
  return {
    ...opened,
    proxy,
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

async function runningUploads({ client, place }: TestBucket): Promise<number> {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: place.bucket }))
  return Uploads.length
}

describe.skipIf(!testS3)('S3', { timeout: 60_000 }, () => {
  blobStoreSuite('s3', async () => {
    const opened = await openStore()
    const { bucket, store } = opened
    return {
      store,
      stored: segmentId => bucket.read(`kept/here/segments/${segmentId}`),
      overwrite: (segmentId, bytes) => bucket.write(`kept/here/segments/${segmentId}`, bytes),
      dispose: async () => opened[Symbol.asyncDispose](),
    }
  })

  describe('writing', () => {
    test('a segment of many parts comes back as it went in', async () => {
      await using opened = await openStore()
      const { bucket, store } = opened
      const plain = randomBytes(40 * MIB + 12_345)
      const segment = await writeSegment(store, { key, plain, chunkBytes: 1_000_000, md5: true })
      expect(segment.md5).toBe(createHash('md5').update(plain).digest('hex'))
      expect((await readSegment(store, segment, key)).equals(plain)).toBe(true)
      const [start, end] = [8 * MIB - 5, 24 * MIB + 5]
      expect((await readSegment(store, segment, key, { start, end })).equals(plain.subarray(start, end))).toBe(true)
      expect(await bucket.keys()).toEqual([`kept/here/segments/${segment.segmentId}`])
      expect(await runningUploads(bucket)).toBe(0)
    })

    test('parts that have arrived show as staged, and an abort takes them away', async () => {
      await using opened = await openStore()
      const { bucket, store } = opened
      const segmentId = randomUUID()
      const writer = await store.create({ segmentId, key })
      for (let n = 0; n < 20; n += 1) await writer.write(randomBytes(MIB))
      await expect.poll(() => listed(store, segmentId)).toMatchObject([{ state: 'staged', storedBytes: 16 * MIB }])
      await writer.abort()
      expect(await listed(store, segmentId)).toEqual([])
      expect(await runningUploads(bucket)).toBe(0)
    })

    test('a producer that is faster than the medium is held back', async () => {
      await using opened = await openStore()
      const writer = await opened.store.create({ segmentId: randomUUID(), key })
      const chunk = randomBytes(MIB)
      // Nothing is sent before this turn ends: two parts are on their way, one waits for its turn.
      const held = Array.from({ length: 23 }, () => writer.write(chunk))
      expect(held.every(promise => promise === undefined)).toBe(true)
      const waiting = writer.write(chunk)
      expect(waiting).toBeInstanceOf(Promise)
      await waiting
      expect((await writer.finish()).sizeBytes).toBe(24 * MIB)
    })

    test('what is larger than the parts can hold is refused, and leaves nothing', async () => {
      await using opened = await openStore()
      const { bucket } = opened
      const plan = [
        { parts: 1, bytes: 5 * MIB, atOnce: 1 },
        { parts: 2, bytes: 6 * MIB, atOnce: 2 },
      ]
      const inBucket = { client: bucket.client, name: bucket.place.bucket, prefix: '' }
      const whole = startUpload(inBucket, 'whole', plan)
      const content = randomBytes(17 * MIB)
      whole.add(content)
      await whole.room()
      await whole.finish()
      expect((await bucket.read('whole')).equals(content)).toBe(true)

      const larger = startUpload(inBucket, 'larger', plan)
      larger.add(content)
      expect(() => larger.add(Buffer.from('.'))).toThrow('upload-too-large')
      await larger.abandon()
      expect(await bucket.keys()).toEqual(['whole'])
      expect(await runningUploads(bucket)).toBe(0)
    })

    test('an upload goes on after its connections were cut', async () => {
      await using opened = await openBehindProxy()
      const { proxy, store } = opened
      const plain = randomBytes(30 * MIB)
      const writer = await store.create({ segmentId: randomUUID(), key })
      for (let at = 0; at < plain.length; at += MIB) {
        if (at === 20 * MIB) {
          await proxy.down()
          await proxy.up()
        }
        await writer.write(plain.subarray(at, at + MIB))
      }
      expect((await readSegment(store, await writer.finish(), key)).equals(plain)).toBe(true)
    })

    test('after a closed store no segment is begun or read', async () => {
      await using opened = await openStore()
      const { store } = opened
      const segment = await writeSegment(store, { key, plain: Buffer.from('x') })
      await store.close()
      await expect(store.create({ segmentId: randomUUID(), key })).rejects.toThrow('closed')
      await expect(readSegment(store, segment, key)).rejects.toThrow('closed')
    })

    test('an id that is no UUID is refused, as it would become part of a key', async () => {
      await using opened = await openStore()
      await expect(opened.store.create({ segmentId: '../other', key })).rejects.toThrow('UUID')
      await expect(opened.store.remove(['..'])).rejects.toThrow('UUID')
    })
  })

  describe('reading', () => {
    test('a read whose connection breaks goes on from there, as often as it comes forward', async () => {
      await using opened = await openBehindProxy()
      const { proxy, store } = opened
      const plain = randomBytes(8 * MIB)
      const segment = await writeSegment(store, { key, plain })
      proxy.cutAfter(MIB, 7)
      expect((await readSegment(store, segment, key)).equals(plain)).toBe(true)
    })

    test('a read fails in the end when the service stays away', async () => {
      await using opened = await openBehindProxy()
      const { proxy, store } = opened
      const segment = await writeSegment(store, { key, plain: randomBytes(8 * MIB) })
      const chunks = store.read({ segment, key, start: 0, end: 8 * MIB })[Symbol.asyncIterator]()
      await chunks.next()
      await proxy.down()
      const reading = (async () => {
        while (!(await chunks.next()).done);
      })()
      await expect(reading).rejects.toThrow('S3: ')
    })

    test('leaving a read early closes its connection', async () => {
      await using opened = await openBehindProxy()
      const { proxy, store } = opened
      const segment = await writeSegment(store, { key, plain: randomBytes(8 * MIB) })
      const before = proxy.open
      for await (const chunk of store.read({ segment, key, start: 0, end: 8 * MIB })) {
        expect(chunk.length).toBeGreaterThan(0)
        break
      }
      await expect.poll(() => proxy.open).toBeLessThan(before)
    })
  })

  describe('removing', () => {
    test('more segments than one request removes go, with uploads of theirs that still run', async () => {
      await using opened = await openStore()
      const { bucket, store } = opened
      const plain = Buffer.from('x')
      const segments = await Promise.all(Array.from({ length: 3 }, () => writeSegment(store, { key, plain })))
      const left = randomUUID()
      await leaveParts(bucket, left)
      const others = Array.from({ length: 1_200 }, () => randomUUID())
      await store.remove([...others, ...segments.map(({ segmentId }) => segmentId), left])
      expect(await bucket.keys()).toEqual([])
      expect(await runningUploads(bucket)).toBe(0)
      await expect(store.remove([])).resolves.toBeUndefined()
    })
  })

  describe('readiness', () => {
    test('the check fails while the service is away, and passes once it is back', async () => {
      await using opened = await openBehindProxy()
      const { proxy, store } = opened
      await expect(store.check()).resolves.toBeUndefined()
      await proxy.down()
      await expect(store.check()).rejects.toThrow('S3: ')
      await proxy.up()
      await expect(store.check()).resolves.toBeUndefined()
    })

    const wrong: [string, Partial<S3Place>, string][] = [
      ['a bucket that is not there', { bucket: 'test-nowhere' }, 'ENTREPOT_BLOBS_URL'],
      ['an unknown access key', { accessKey: 'nobody' }, 'ENTREPOT_S3_ACCESS_KEY'],
      ['a wrong secret key', { secretKey: 'wrong' }, 'ENTREPOT_S3_SECRET_KEY'],
      ['an endpoint where nothing answers', { endpoint: 'http://127.0.0.1:9' }, 'ENTREPOT_S3_ENDPOINT'],
    ]
    test.for(wrong)('%s is refused at the start by the name of the variable', async ([, change, variable]) => {
      await using bucket = await makeBucket()
      const opening = s3BlobStore({ ...bucket.place, log: silent, ...change })
      await expect(opening).rejects.toThrow(variable)
    })

    test('a bucket without default encryption is worth a warning where clients put into it', async () => {
      await using bucket = await makeBucket()
      const notes: string[] = []
      const log = { warn: (text: string) => notes.push(`warn ${text}`), debug: (text: string) => notes.push(text) }
      await (await s3BlobStore({ ...bucket.place, log })).close()
      // An engine that knows no default encryption says so in its own way.
      expect(notes).toEqual([expect.stringMatching(/^warn .* has no default encryption|is not known/)])
      await (await s3BlobStore({ ...bucket.place, log, direct: false })).close()
      expect(notes).toHaveLength(1)
    })
  })
})

/** What a crash leaves of an upload in parts. */
async function leaveParts({ client, place }: TestBucket, segmentId: string): Promise<void> {
  const target = { Bucket: place.bucket, Key: `${place.prefix}segments/${segmentId}` }
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target))
  await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: randomBytes(1000) }))
}
