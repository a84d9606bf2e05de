import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { BlobStore, DirectAccess } from '#core/ports.ts'
import { makeBucket, testS3 } from '#test/s3-bucket.ts'
import { listed, readSegment } from '#test/suites/blob-store.ts'
import { s3BlobStore } from './s3.ts'

const silent = { warn() {}, debug() {} }
const MINUTE_MS = 60_000

interface Opened extends AsyncDisposable {
  store: BlobStore
  direct: DirectAccess
}

async function openStore({ clock = Date.now, publicEndpoint = '' } = {}): Promise<Opened> {
  const bucket = await makeBucket('p/')
  const store = await s3BlobStore({ ...bucket.place, publicEndpoint, log: silent, clock })
  if (!store.direct) throw new Error('The store gives no addresses')
  return {
    store,
    direct: store.direct,
    async [Symbol.asyncDispose]() {
      await store.close()
      await bucket[Symbol.asyncDispose]()
    },
  }
}

const put = (address: string, body: string, headers: Record<string, string> = { 'content-type': 'text/plain' }) =>
  fetch(address, { method: 'PUT', body, headers })

const text = (store: BlobStore, segmentId: string, sizeBytes: number) =>
  readSegment(store, { segmentId, sizeBytes, plain: true }, randomBytes(32)).then(String)

describe.skipIf(!testS3)('S3, reached by clients', { timeout: 60_000 }, () => {
  const askFor = (direct: DirectAccess, putId: string, expiresAt = Date.now() + MINUTE_MS) =>
    direct.putAddress({ putId, sizeBytes: 5, contentType: 'text/plain', expiresAt })

  test('what a client puts becomes a plain segment, and what it puts later does not reach it', async () => {
    await using opened = await openStore()
    const { store, direct } = opened
    const [putId, segmentId] = [randomUUID(), randomUUID()]
    const address = await askFor(direct, putId)
    expect(await direct.adopt({ putId, segmentId })).toBeUndefined()
    expect((await put(address, 'first')).status).toBe(200)
    expect(await listed(store, putId)).toMatchObject([{ state: 'staged', storedBytes: 5 }])
    expect(await direct.adopt({ putId, segmentId })).toEqual({ sizeBytes: 5 })
    expect(await listed(store, segmentId)).toMatchObject([{ state: 'stored', storedBytes: 5 }])

    expect((await put(address, 'later')).status).toBe(200)
    expect(await text(store, segmentId, 5)).toBe('first')
    await store.remove([putId])
    expect(await listed(store, putId)).toEqual([])
    expect(await text(store, segmentId, 5)).toBe('first')
  })

  test('the medium refuses what the address was not signed for', async () => {
    await using opened = await openStore()
    const { store, direct } = opened
    const putId = randomUUID()
    const address = await askFor(direct, putId)
    const other = address.replace(putId, randomUUID())
    const statuses = [
      await put(address, 'longer'),
      await put(address, 'less'),
      await put(address, 'right', { 'content-type': 'text/html' }),
      await put(other, 'right'),
      await put(address.replace(/(?<=X-Amz-Expires=)\d+/, '600'), 'right'),
      await fetch(address, { headers: { 'content-type': 'text/plain' } }),
    ].map(({ status }) => status)
    expect(statuses).toEqual([403, 403, 403, 403, 403, 403])
    expect(await Array.fromAsync(store.list())).toEqual([])
  })

  test('an address that names no media type takes any', async () => {
    await using opened = await openStore()
    const { direct } = opened
    const [putId, segmentId] = [randomUUID(), randomUUID()]
    const address = await direct.putAddress({ putId, sizeBytes: 5, expiresAt: Date.now() + MINUTE_MS })
    expect((await put(address, 'right', { 'content-type': 'image/png' })).status).toBe(200)
    expect(await direct.adopt({ putId, segmentId })).toEqual({ sizeBytes: 5 })
  })

  test('an address that has expired is refused by the medium', async () => {
    const clock = () => Date.now() - 10 * MINUTE_MS
    await using opened = await openStore({ clock })
    const address = await askFor(opened.direct, randomUUID(), clock() + MINUTE_MS)
    expect((await put(address, 'right')).status).toBe(403)
  })

  test('an address gives the segment with the headers it names, and ranges of it, but cannot be altered', async () => {
    await using opened = await openStore()
    const { direct } = opened
    const [putId, segmentId] = [randomUUID(), randomUUID()]
    await put(await askFor(direct, putId), 'right')
    await direct.adopt({ putId, segmentId })
    const disposition = `attachment; filename="a & b.txt"; filename*=UTF-8''%E2%82%AC.txt`
    const named = { contentType: 'text/x-own', disposition }
    const address = await direct.getAddress({ segmentId, ...named, expiresAt: Date.now() + MINUTE_MS })
    const answer = await fetch(address)
    expect(await answer.text()).toBe('right')
    expect(answer.headers.get('content-type')).toBe('text/x-own')
    expect(answer.headers.get('content-disposition')).toBe(disposition)
    expect(await (await fetch(address, { headers: { range: 'bytes=1-2' } })).text()).toBe('ig')
    expect((await fetch(address.replace('text%2Fx-own', 'text%2Fhtml'))).status).toBe(403)
  })

  test('an empty object is taken over and read as well', async () => {
    await using opened = await openStore()
    const { store, direct } = opened
    const [putId, segmentId] = [randomUUID(), randomUUID()]
    const address = await direct.putAddress({ putId, sizeBytes: 0, expiresAt: Date.now() + MINUTE_MS })
    expect((await put(address, '')).status).toBe(200)
    expect(await direct.adopt({ putId, segmentId })).toEqual({ sizeBytes: 0 })
    expect(await text(store, segmentId, 0)).toBe('')
  })

  test('addresses name the public endpoint', async () => {
    await using opened = await openStore({ publicEndpoint: 'https://files.example.com' })
    expect(await askFor(opened.direct, randomUUID())).toMatch(/^https:\/\/files\.example\.com\/test-[^/]+\/p\/direct\//)
  })
})
