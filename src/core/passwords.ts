/** Passwords: rules, Argon2id hashes in PHC format, and a bound on how many are computed at once. */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { DomainError } from './errors.ts'
import type { Settings } from './settings.ts'

/** OWASP's recommendation: 19 MiB, two passes, one lane. */
const COST = { memory: 19 * 1024, passes: 2, parallelism: 1 }
const SALT_BYTES = 16
const HASH_BYTES = 32
const MAX_PASSWORD_BYTES = 1024
/** Each computation takes 19 MiB and a thread of the pool that file reads also need. */
const MAX_PARALLEL = 2
/** Beyond this the wait would outlast the client's patience. */
const MAX_WAITING = 200

const derive = promisify(argon2)

/** Verified in place of a missing hash, so that an unknown login takes as long as a wrong password. */
export const decoyHash = formatPhc({ ...COST, salt: Buffer.alloc(SALT_BYTES), hash: Buffer.alloc(HASH_BYTES) })

/** Throws `password-refused`. */
export function checkNewPassword(plain: string, settings: Settings): void {
  const refuse = (rule: 'too-short' | 'too-long' | 'forbidden-character') =>
    new DomainError('password-refused', { rule })
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!plain.isWellFormed() || /[\u0000-\u001f\u007f]/.test(plain)) throw refuse('forbidden-character')
  if (Array.from(plain).length < settings.passwordMinLength) throw refuse('too-short')
  if (Buffer.byteLength(plain) > MAX_PASSWORD_BYTES) throw refuse('too-long')
}

/** PHC string. Throws `busy` when too many are waiting. */
export function hashPassword(plain: string): Promise<string> {
  return inHashSlot(() => hashNow(plain))
}

/** Throws `busy` when too many are waiting. */
export function verifyPassword(plain: string, hash: string): Promise<boolean> {
  return inHashSlot(() => verifyNow(plain, hash))
}

/** True when the hash was made with other parameters than today's. */
export function isHashOutdated(hash: string): boolean {
  const parsed = parsePhc(hash)
  return (
    !parsed || parsed.memory !== COST.memory || parsed.passes !== COST.passes || parsed.parallelism !== COST.parallelism
  )
}

/** For use inside `inHashSlot`. */
export async function hashNow(plain: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  return formatPhc({ ...COST, salt, hash: await compute(plain, salt, COST, HASH_BYTES) })
}

/** For use inside `inHashSlot`. False for a hash that cannot be read. */
export async function verifyNow(plain: string, hash: string): Promise<boolean> {
  const expected = parsePhc(hash)
  if (!expected) return false
  const actual = await compute(plain, expected.salt, expected, expected.hash.length)
  return timingSafeEqual(actual, expected.hash)
}

let running = 0
const waiting: (() => void)[] = []

/** Runs `work` when a slot is free. What must hold right before a computation is checked inside. Must not be nested. */
export async function inHashSlot<T>(work: () => Promise<T>): Promise<T> {
  if (running < MAX_PARALLEL) running += 1
  else {
    if (waiting.length >= MAX_WAITING) throw new DomainError('busy', {})
    await new Promise<void>(resolve => waiting.push(resolve))
  }
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }
}

interface Phc {
  memory: number
  passes: number
  parallelism: number
  salt: Buffer
  hash: Buffer
}

/** Composed, so that the same password typed on another system gives the same bytes. */
function compute(plain: string, salt: Buffer, cost: typeof COST, tagLength: number): Promise<Buffer> {
  const { memory, passes, parallelism } = cost
  const message = Buffer.from(plain.normalize('NFC'))
  return derive('argon2id', { message, nonce: salt, memory, passes, parallelism, tagLength })
}

function formatPhc({ memory, passes, parallelism, salt, hash }: Phc): string {
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${unpadded(salt)}$${unpadded(hash)}`
}

function parsePhc(text: string): Phc | undefined {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(text)
  if (!match) return undefined
  const [, memory, passes, parallelism, salt = '', hash = ''] = match
  return {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  }
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
