import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test as base } from 'vitest'
import { addMasterKey, dropMasterKey, openKeyRing } from './key-ring.ts'

const test = base.extend<{ file: string }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  file: async ({}, use) => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-keys-'))
    await use(join(folder, 'master-key.json'))
    rmSync(folder, { recursive: true })
  },
})

const plain = Buffer.from('a data key of some bytes')
const first = (file: string) => openKeyRing(file, { create: true })

test('what was sealed opens again, also after a restart, and under its context only', async ({ file }) => {
  const keys = await first(file)
  const sealed = keys.seal(plain, 'blob:1')
  const later = await openKeyRing(file, { create: false })

  expect(sealed).toHaveLength(12 + plain.length + 16)
  expect(later.current).toBe('master:1')
  expect(Buffer.from(later.open(sealed, 'blob:1', 'master:1'))).toEqual(plain)
  expect(() => later.open(sealed, 'blob:2', 'master:1')).toThrowError(
    expect.objectContaining({ code: 'content-damaged' }),
  )
  expect(() => later.open(sealed, 'blob:1', 'master:9')).toThrowError(
    expect.objectContaining({ code: 'content-damaged' }),
  )
  expect(keys.seal(plain, 'blob:1')).not.toEqual(sealed)
})

test('a change of any byte is noticed, and so is a cut', async ({ file }) => {
  const keys = await first(file)
  const sealed = keys.seal(plain, 'x')
  for (let at = 0; at < sealed.length; at += 1) {
    const altered = Buffer.from(sealed)
    altered[at] = (altered[at] ?? 0) ^ 1
    expect(() => keys.open(altered, 'x', 'master:1')).toThrowError(expect.objectContaining({ code: 'content-damaged' }))
  }
  for (const length of [0, 11, 12, 27, sealed.length - 1]) {
    expect(() => keys.open(sealed.subarray(0, length), 'x', 'master:1')).toThrowError(
      expect.objectContaining({ code: 'content-damaged' }),
    )
  }
})

test('nothing sealed is as long as nothing', async ({ file }) => {
  const keys = await first(file)
  expect(Buffer.from(keys.open(keys.seal(Buffer.alloc(0), 'x'), 'x', 'master:1'))).toHaveLength(0)
})

test('only the owner may read the file, and nothing else is left in the folder', async ({ file }) => {
  await first(file)
  await addMasterKey(file)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(file, '..'))).toEqual(['master-key.json'])
})

test('an existing file is never made anew, also when many processes start at once', async ({ file }) => {
  const rings = await Promise.all(Array.from({ length: 8 }, () => first(file)))
  const sealed = rings[0]?.seal(plain, 'x') ?? plain
  for (const ring of rings) expect(Buffer.from(ring.open(sealed, 'x', 'master:1'))).toEqual(plain)
})

test('a missing file is an error that names it', async ({ file }) => {
  await expect(openKeyRing(file, { create: false })).rejects.toThrow(`The key ring ${file} cannot be read (ENOENT)`)
})

test.for([
  ['is no JSON', (text: string) => text.slice(0, 40)],
  ['has no keys', () => '{}'],
  ['has no keys', () => 'null'],
  ['has a malformed key name', (text: string) => text.replace('"master:1",', '"other",')],
  ['lacks its current key', (text: string) => text.replace('"current": "master:1"', '"current": "master:2"')],
  ['has a key that is not 32 bytes long', (text: string) => text.replace(/"key": "..../, '"key": "')],
  ['has a key that is not 32 bytes long', (text: string) => text.replace(/"lookupKey".*/, '"lookupKey": ""')],
] as const)('a malformed file %s, and the error shows no key', async ([what, spoil], { file }) => {
  await first(file)
  const text = readFileSync(file, 'utf8')
  const secrets = [...text.matchAll(/[A-Za-z0-9+/]{20,}/g)].map(match => match[0])
  writeFileSync(file, spoil(text))
  const error = await openKeyRing(file, { create: true }).catch((error: unknown) => error)
  expect(error).toMatchObject({ message: `The key ring ${file} ${what}` })
  for (const secret of secrets) expect(String((error as Error).stack)).not.toContain(secret)
})

test('a key that is added becomes the current one for running processes too, old ones still open', async ({ file }) => {
  const keys = await first(file)
  const running = await openKeyRing(file, { create: false })
  const old = keys.seal(plain, 'x')

  expect(await addMasterKey(file)).toBe('master:2')

  expect(running.current).toBe('master:2')
  expect(running.names).toEqual(['master:1', 'master:2'])
  const sealed = running.seal(plain, 'x')
  expect(Buffer.from(keys.open(sealed, 'x', 'master:2'))).toEqual(plain)
  expect(Buffer.from(running.open(old, 'x', 'master:1'))).toEqual(plain)
  expect(Buffer.from(keys.open(keys.seal(plain, 'x', 'master:1'), 'x', 'master:1'))).toEqual(plain)
})

test('a key that is dropped opens nothing any more; the current one cannot be dropped', async ({ file }) => {
  const keys = await first(file)
  const old = keys.seal(plain, 'x')
  await addMasterKey(file)
  await expect(dropMasterKey(file, 'master:2')).rejects.toThrow('needs its current key')
  await dropMasterKey(file, 'master:1')
  await expect(dropMasterKey(file, 'master:1')).rejects.toThrow('has no key master:1')

  const later = await openKeyRing(file, { create: false })
  expect(later.names).toEqual(['master:2'])
  expect(() => later.open(old, 'x', 'master:1')).toThrowError(expect.objectContaining({ code: 'content-damaged' }))
  expect(() => later.seal(plain, 'x', 'master:1')).toThrow('has no key master:1')
})

test('a file that goes while the server runs stops new wraps, not reading', async ({ file }) => {
  const keys = await first(file)
  const sealed = keys.seal(plain, 'x')
  rmSync(file)
  await nextTurn()
  expect(() => keys.seal(plain, 'x')).toThrow(`The key ring ${file} cannot be read`)
  expect(Buffer.from(keys.open(sealed, 'x', 'master:1'))).toEqual(plain)
})

test('look-ups are the same for the life of the installation and different in every other', async ({ file }) => {
  const keys = await first(file)
  const hash = keys.lookup('share key')
  await addMasterKey(file)
  expect((await openKeyRing(file, { create: false })).lookup('share key')).toBe(hash)
  expect(hash).toMatch(/^[0-9a-f]{64}$/)
  expect((await first(`${file}2`)).lookup('share key')).not.toBe(hash)
})
