import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { makeKeyPair, openSealed, sealTo, spaceKeyName, spaceOfKey } from './sealed-keys.ts'

const damaged = expect.objectContaining({ code: 'content-damaged' })

test('what is sealed to a public key opens with its private key, under the same context', () => {
  const { publicKey, privateKey } = makeKeyPair()
  const other = makeKeyPair()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.string(), fc.string(), (plain, context, elsewhere) => {
      const sealed = sealTo(publicKey, plain, context)
      expect(openSealed(sealed, privateKey, context)).toEqual(Buffer.from(plain))
      expect(() => openSealed(sealed, other.privateKey, context)).toThrow(damaged)
      if (elsewhere !== context) expect(() => openSealed(sealed, privateKey, elsewhere)).toThrow(damaged)
    }),
  )
})

test('one altered bit, wherever it is, and nothing opens; nor does a part', () => {
  const { publicKey, privateKey } = makeKeyPair()
  const sealed = sealTo(publicKey, randomBytes(32), 'blob:1')
  expect(sealed).toHaveLength(81)
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const altered = Buffer.from(sealed)
    altered[bit >> 3]! ^= 1 << (bit & 7)
    // X25519 does not look at the highest bit of a point; the derivation does.
    expect(() => openSealed(altered, privateKey, 'blob:1')).toThrow(damaged)
  }
  for (let length = 0; length < sealed.length; length += 1)
    expect(() => openSealed(sealed.subarray(0, length), privateKey, 'blob:1')).toThrow(damaged)
})

test('two sealings of the same share nothing but their form', () => {
  const { publicKey } = makeKeyPair()
  const plain = randomBytes(32)
  const [one, two] = [sealTo(publicKey, plain, 'c'), sealTo(publicKey, plain, 'c')]
  expect(one.subarray(1, 33)).not.toEqual(two.subarray(1, 33))
  expect(one.subarray(33)).not.toEqual(two.subarray(33))
})

test('a point that makes a secret everybody knows is refused', () => {
  const { privateKey } = makeKeyPair()
  const sealed = Buffer.concat([Uint8Array.of(1), Buffer.alloc(32), randomBytes(48)])
  expect(() => openSealed(sealed, privateKey, 'c')).toThrow(damaged)
  expect(() => sealTo(Buffer.alloc(32), Buffer.alloc(32), 'c')).toThrow()
})

test('the name of a key tells whose password opens it', () => {
  expect(spaceOfKey(spaceKeyName(17))).toBe(17)
  expect(spaceOfKey('master:17')).toBeUndefined()
})
