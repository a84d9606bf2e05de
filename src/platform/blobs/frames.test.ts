import { createCipheriv, createHmac, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decryptSmall, encryptSmall, frameSpan, sealFrames, STORED_FRAME_BYTES, storedSize } from './frames.ts'

const segmentId = '0198c0de-0000-7000-8000-00000000abcd'
const key = randomBytes(32)

test('the stored form is the documented one', () => {
  const plain = randomBytes(65_536 + 5)
  const secret = createHmac('sha256', key).update(`${segmentId}\x01`).digest()
  const frame = (nonce: string, bytes: Buffer) => {
    const cipher = createCipheriv('aes-256-gcm', secret, Buffer.from(nonce, 'hex'))
    return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  }
  const expected = Buffer.concat([
    frame('000000000000000000000000', plain.subarray(0, 65_536)),
    frame('010000000000000000000001', plain.subarray(65_536)),
  ])
  expect(encryptSmall(key, segmentId, plain).equals(expected)).toBe(true)
})

test('the stored form of a known content never changes', () => {
  const stored = encryptSmall(Buffer.alloc(32, 1), segmentId, Buffer.from('Entrepot'))
  expect(stored.toString('hex')).toBe('3a2b37a1bae2abd2d88fd0568fb25d091ea29da298c4cf50')
})

test.for([0, 1, 65_535, 65_536, 65_537, 131_072])('%i bytes take up the computed size and come back', size => {
  const plain = randomBytes(size)
  const stored = encryptSmall(key, segmentId, plain)
  expect(stored.length).toBe(storedSize(size))
  expect(Buffer.from(decryptSmall(key, segmentId, stored)).equals(plain)).toBe(true)
})

test('a small content that was altered, cut, or belongs elsewhere is refused', () => {
  const stored = encryptSmall(key, segmentId, randomBytes(65_536))
  const other = randomBytes(32)
  const damaged = expect.objectContaining({ code: 'content-damaged' })
  expect(() => decryptSmall(other, segmentId, stored)).toThrow(damaged)
  expect(() => decryptSmall(key, 'another', stored)).toThrow(damaged)
  for (const length of [0, 5, 16, 100, STORED_FRAME_BYTES, STORED_FRAME_BYTES + 15]) {
    expect(() => decryptSmall(key, segmentId, stored.subarray(0, length))).toThrow(damaged)
  }
})

test('a span holds its range and nothing that could be left out', () => {
  const sizes = fc.nat(5 * 65_536)
  fc.assert(
    fc.property(sizes, sizes, sizes, (...values) => {
      const [start = 0, end = 0, size = 0] = values.toSorted((a, b) => a - b)
      fc.pre(start < end)
      const span = frameSpan(size, start, end)
      expect(span.firstFrame).toBe(Math.floor(start / 65_536))
      expect(span.skipBytes).toBe(start % 65_536)
      expect(span.endFrame * 65_536).toBeGreaterThanOrEqual(end)
      expect(span.endFrame).toBeLessThanOrEqual(Math.floor((end === size ? end : end - 1) / 65_536) + 1)
      expect(span.storedEnd).toBe(Math.min(span.endFrame * STORED_FRAME_BYTES, storedSize(size)))
    }),
  )
  expect(() => frameSpan(10, 5, 11)).toThrow(RangeError)
  expect(() => frameSpan(10, 6, 5)).toThrow(RangeError)
})

test('only a last frame may be short', () => {
  expect(() => sealFrames(key, 0, Buffer.alloc(10), false)).toThrow(RangeError)
})
