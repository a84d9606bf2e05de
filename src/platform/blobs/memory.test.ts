import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { blobStoreSuite, listed, readSegment } from '#test/suites/blob-store.ts'
import { memoryBlobStore } from './memory.ts'

blobStoreSuite('memory', async () => {
  const store = memoryBlobStore()
  return {
    store,
    stored: async segmentId => store.stored.get(segmentId)?.bytes ?? Buffer.alloc(0),
    overwrite: async (segmentId, bytes) => void store.stored.set(segmentId, { bytes, changedAt: 0 }),
    dispose: () => store.close(),
  }
})

function openDirect() {
  let now = 1_000
  const store = memoryBlobStore({ clock: () => now, direct: true })
  const { direct } = store
  if (!direct) throw new Error('The store gives no addresses')
  const [putId, segmentId] = [randomUUID(), randomUUID()]
  const putAddress = () => direct.putAddress({ putId, sizeBytes: 5, contentType: 'text/plain', expiresAt: 2_000 })
  return { store, direct, putId, segmentId, putAddress, pass: (ms: number) => (now += ms) }
}

describe('memory, reached by clients', () => {
  test('gives no addresses unless it was asked to', () => {
    expect(memoryBlobStore()).not.toHaveProperty('direct')
  })

  test('what a client puts becomes a plain segment by adoption, and what it puts later does not reach it', async () => {
    const { store, direct, putId, segmentId, putAddress } = openDirect()
    const address = await putAddress()
    expect(await direct.adopt({ putId, segmentId })).toBeUndefined()
    store.put(address, Buffer.from('first'), 'text/plain')
    expect(await listed(store, putId)).toMatchObject([{ state: 'staged', storedBytes: 5 }])
    expect(await direct.adopt({ putId, segmentId })).toEqual({ sizeBytes: 5 })
    expect(await listed(store, segmentId)).toMatchObject([{ state: 'stored', storedBytes: 5 }])

    store.put(address, Buffer.from('later'), 'text/plain')
    const read = await readSegment(store, { segmentId, sizeBytes: 5, plain: true }, randomBytes(32))
    expect(read.toString()).toBe('first')
    await store.remove([putId])
    expect(await listed(store, putId)).toEqual([])
    expect(await listed(store, segmentId)).toHaveLength(1)
  })

  test('an address takes only what it was signed for', async () => {
    const { store, putAddress, pass } = openDirect()
    const address = await putAddress()
    const put = (given: string, text = 'right', type = 'text/plain') => store.put(given, Buffer.from(text), type)
    expect(() => put(address, 'too long')).toThrow('length')
    expect(() => put(address, 'right', 'text/html')).toThrow('media type')
    expect(() => put(address.replace('size=5', 'size=8'), 'too long')).toThrow('altered')
    expect(() => store.get(address)).toThrow('altered')
    pass(1_000)
    expect(() => put(address)).toThrow('expired')
  })

  test('an address gives the segment with the headers it names, until it expires', async () => {
    const { store, direct, putId, segmentId, putAddress, pass } = openDirect()
    const named = { contentType: 'text/plain', disposition: 'attachment; filename="a & b"' }
    const address = await direct.getAddress({ segmentId, ...named, expiresAt: 1_500 })
    expect(() => store.get(address)).toThrow('no such object')
    store.put(await putAddress(), Buffer.from('right'), 'text/plain')
    await direct.adopt({ putId, segmentId })
    expect(store.get(address)).toEqual({ bytes: Buffer.from('right'), ...named })
    pass(500)
    expect(() => store.get(address)).toThrow('expired')
  })
})
