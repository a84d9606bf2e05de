import { expect, test } from 'vitest'
import { checkNewPassword, decoyHash, hashPassword, inHashSlot, isHashOutdated, verifyPassword } from './passwords.ts'
import { defaultSettings } from './settings.ts'

test('a hash is salted, in PHC format, and verifies its password only', async () => {
  const [hash, again] = await Promise.all([hashPassword('correct horse'), hashPassword('correct horse')])
  expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(again).not.toBe(hash)
  expect(await verifyPassword('correct horse', hash)).toBe(true)
  expect(await verifyPassword('Correct horse', hash)).toBe(false)
})

test('the test vector of another implementation verifies', async () => {
  // A test vector of the reference implementation of RFC 9106: password `password`, salt `somesalt`.
  const hash = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'
  expect(await verifyPassword('password', hash)).toBe(true)
  expect(isHashOutdated(hash)).toBe(true)
})

test('a password is the same however its accents are composed', async () => {
  const hash = await hashPassword('Zoe\u0308 likes cafe\u0301')
  expect(await verifyPassword('Zoë likes café', hash)).toBe(true)
})

test.for(['', 'plain', '$argon2i$v=19$m=256,t=2,p=1$c29t$bmY', '$argon2id$v=19$m=256$x'])(
  'a hash that cannot be read verifies nothing: %s',
  async hash => {
    expect(await verifyPassword('password', hash)).toBe(false)
    expect(isHashOutdated(hash)).toBe(true)
  },
)

test('the decoy costs what a real hash costs and verifies nothing', async () => {
  expect(isHashOutdated(decoyHash)).toBe(false)
  expect(await verifyPassword('', decoyHash)).toBe(false)
})

test.for([
  ['too-short', 'seven77'],
  ['too-short', '👩‍👩‍👧‍👦'],
  ['too-long', 'x'.repeat(1025)],
  ['forbidden-character', 'with a\nnew line'],
  ['forbidden-character', 'half a pair \ud800'],
] as const)('a new password is refused as %s: %j', ([rule, plain]) => {
  expect(() => checkNewPassword(plain, defaultSettings)).toThrowError(
    expect.objectContaining({ code: 'password-refused', details: { rule } }),
  )
})

test('a long new password in any script is taken', () => {
  checkNewPassword('пароль из многих слов', defaultSettings)
  checkNewPassword('x'.repeat(1024), defaultSettings)
})

test('two computations run at once, the others wait their turn, and too many are refused', async () => {
  let running = 0
  let most = 0
  const order: number[] = []
  const gates: (() => void)[] = []
  const work = (n: number) =>
    inHashSlot(async () => {
      running += 1
      most = Math.max(most, running)
      order.push(n)
      await new Promise<void>(resolve => gates.push(resolve))
      running -= 1
    })
  const all = Array.from({ length: 202 }, (_, n) => work(n))
  await expect(work(202)).rejects.toMatchObject({ code: 'busy' })
  while (order.length < 202 || running > 0) {
    gates.splice(0).forEach(open => open())
    await Promise.resolve()
  }
  await Promise.all(all)
  expect(most).toBe(2)
  expect(order).toEqual(Array.from({ length: 202 }, (_, n) => n))
})

test('a failure gives its slot back', async () => {
  for (let n = 0; n < 3; n += 1) await expect(inHashSlot(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await inHashSlot(async () => 'free')).toBe('free')
})
