/**
 * The master keys, in one small file that only the server's account may read. Without it no stored content can be read
 * again, so it is never overwritten in place and never made anew where one has been.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { link, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DomainError } from '#core/errors.ts'
import type { KeyRing } from '#core/ports.ts'
import { syncFolder } from './blobs/sync-folder.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

interface Ring {
  keys: ReadonlyMap<string, Buffer>
  current: string
  lookupKey: Buffer
}

/**
 * Opens the file, or with `create` makes it if there is none: only for the first start. A change of the file by another
 * process is noticed in the next turn of the event loop. Throws an Error that names the file when it is missing or malformed.
 */
export async function openKeyRing(file: string, { create }: { create: boolean }): Promise<KeyRing> {
  if (create) await createRing(file)
  let ring = parseRing(file, await readFile(file, 'utf8').catch(error => fail(file, 'cannot be read', error)))
  let stamp = stampOf(file)

  let isFresh = false

  const look = () => {
    const now = stampOf(file)
    if (now === stamp) return
    ring = parseRing(file, readFileSync(file, 'utf8'))
    stamp = now
  }
  const refresh = () => {
    if (isFresh) return
    look()
    isFresh = true // many seals of one turn look at the file once
    setImmediate(() => (isFresh = false))
  }
  const keyOf = (name: string) => {
    if (!ring.keys.has(name)) look()
    return ring.keys.get(name)
  }
  return {
    get current() {
      refresh()
      return ring.current
    },
    get names() {
      refresh()
      return [...ring.keys.keys()]
    },
    seal(plain, context, keyName) {
      if (keyName === undefined) refresh()
      const name = keyName ?? ring.current
      const key = keyOf(name)
      if (!key) throw new Error(`The key ring ${file} has no key ${name}`)
      return seal(key, plain, context)
    },
    open(sealed, context, keyName) {
      const key = keyOf(keyName)
      if (!key) throw new DomainError('content-damaged', { what: keyName })
      return unseal(key, sealed, context)
    },
    lookup: secret => createHmac('sha256', ring.lookupKey).update(secret).digest('hex'),
  }
}

/** Adds a key and makes it the current one; gives its name. Old keys stay until `dropMasterKey`. */
export async function addMasterKey(file: string): Promise<string> {
  const ring = await readRing(file)
  const number = Math.max(...[...ring.keys.keys()].map(name => Number(name.split(':')[1])))
  const name = `master:${number + 1}`
  await replaceRing(file, { ...ring, keys: new Map(ring.keys).set(name, randomBytes(KEY_BYTES)), current: name })
  return name
}

/** Removes a key that wraps nothing any more. What is still wrapped by it is lost. */
export async function dropMasterKey(file: string, name: string): Promise<void> {
  const ring = await readRing(file)
  if (name === ring.current) throw new Error(`The key ring ${file} needs its current key ${name}`)
  const keys = new Map(ring.keys)
  if (!keys.delete(name)) throw new Error(`The key ring ${file} has no key ${name}`)
  await replaceRing(file, { ...ring, keys })
}

/** 12 random bytes, the cipher text, 16 bytes of authentication. */
function seal(key: Buffer, plain: Uint8Array, context: string): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function unseal(key: Buffer, sealed: Uint8Array, context: string): Uint8Array {
  try {
    const nonce = sealed.subarray(0, NONCE_BYTES)
    const tag = sealed.subarray(-TAG_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(context)).setAuthTag(tag)
    const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
    decipher.final() // checks the tag; GCM keeps no bytes back
    return plain
  } catch {
    throw new DomainError('content-damaged', { what: 'sealed' })
  }
}

const readRing = async (file: string) =>
  parseRing(file, await readFile(file, 'utf8').catch(error => fail(file, 'cannot be read', error)))

/** A file that lost a part must not be taken for one with fewer keys: everything is checked. */
function parseRing(file: string, text: string): Ring {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    fail(file, 'is no JSON', error)
  }
  if (!isRecord(json) || !Array.isArray(json['keys'])) fail(file, 'has no keys')
  const keys = new Map<string, Buffer>()
  for (const entry of json['keys'] as unknown[]) {
    if (!isRecord(entry)) fail(file, 'has a malformed key')
    const { name, key } = entry
    if (typeof name !== 'string' || !/^master:\d+$/.test(name) || keys.has(name)) fail(file, 'has a malformed key name')
    keys.set(name, parseKey(file, key))
  }
  const { current, lookupKey } = json
  if (typeof current !== 'string' || !keys.has(current)) fail(file, 'lacks its current key')
  return { keys, current, lookupKey: parseKey(file, lookupKey) }
}

function parseKey(file: string, text: unknown): Buffer {
  const key = typeof text === 'string' ? Buffer.from(text, 'base64') : undefined
  if (key?.length !== KEY_BYTES) fail(file, `has a key that is not ${KEY_BYTES} bytes long`)
  return key
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** The text of the file never enters the message. */
function fail(file: string, what: string, cause?: unknown): never {
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  throw new Error(`The key ring ${file} ${what}${code}`)
}

/** Changes whenever the file is replaced. */
function stampOf(file: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(file)
    return `${ino} ${mtimeMs} ${size}`
  } catch (error) {
    return fail(file, 'cannot be read', error)
  }
}

/** A link, unlike a rename, never takes the place of a file that another process has just made. */
async function createRing(file: string): Promise<void> {
  const key = randomBytes(KEY_BYTES)
  const staged = await stageRing(file, {
    keys: new Map([['master:1', key]]),
    current: 'master:1',
    lookupKey: randomBytes(KEY_BYTES),
  })
  try {
    await link(staged, file)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  } finally {
    await rm(staged)
  }
  await syncFolder(dirname(file))
}

async function replaceRing(file: string, ring: Ring): Promise<void> {
  await rename(await stageRing(file, ring), file)
  await syncFolder(dirname(file))
}

async function stageRing(file: string, { keys, current, lookupKey }: Ring): Promise<string> {
  const entries = [...keys].map(([name, key]) => ({ name, key: key.toString('base64') }))
  const text = JSON.stringify({ keys: entries, current, lookupKey: lookupKey.toString('base64') }, null, 2)
  const staged = `${file}.${randomBytes(6).toString('hex')}`
  const output = await open(staged, 'wx', 0o600)
  try {
    await output.writeFile(`${text}\n`)
    await output.sync()
  } finally {
    await output.close()
  }
  return staged
}
