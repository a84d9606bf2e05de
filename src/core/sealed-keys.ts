/**
 * Data keys sealed to the public key of a space: anybody can seal, only who holds the private key can open. X25519 with a
 * key pair of its own for each sealing, HKDF-SHA256, AES-256-GCM; the layout is in docs/adr/0010-password-encryption.md.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { DomainError } from './errors.ts'

const FORMAT = 1
const POINT_BYTES = 32
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const BODY_START = 1 + POINT_BYTES

/** What DER puts before the 32 bytes of an X25519 key (RFC 8410). */
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')
const PUBLIC_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

export interface KeyPair {
  /** 32 bytes each, as RFC 7748 has them. */
  publicKey: Buffer
  privateKey: Buffer
}

const SPACE_KEY = 'space:'

/** The name under which a version says that its key is sealed to that space. */
export const spaceKeyName = (spaceId: number) => `${SPACE_KEY}${spaceId}`

/** The space whose private key opens it; undefined for a key that the server itself can open. */
export const spaceOfKey = (keyName: string): number | undefined =>
  keyName.startsWith(SPACE_KEY) ? Number(keyName.slice(SPACE_KEY.length)) : undefined

/** A version whose content nobody can read without the password of its space. */
export const hasSealedKey = ({ keyName }: { keyName: string | null }): boolean =>
  keyName !== null && spaceOfKey(keyName) !== undefined

export function makeKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return { publicKey: rawPublic(publicKey), privateKey: rawPrivate(privateKey) }
}

/** `context` is bound to it: under another one it does not open. */
export function sealTo(publicKey: Uint8Array, plain: Uint8Array, context: string): Buffer {
  const own = generateKeyPairSync('x25519')
  const point = rawPublic(own.publicKey)
  const shared = diffieHellman({ privateKey: own.privateKey, publicKey: publicObject(publicKey) })
  const { key, nonce } = derive(shared, { point, publicKey, context })
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([Uint8Array.of(FORMAT), point, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Reverses `sealTo`. Throws `content-damaged` for another key or context, or altered bytes. */
export function openSealed(sealed: Uint8Array, privateKey: Uint8Array, context: string): Buffer {
  try {
    if (sealed[0] !== FORMAT) throw new Error('Unknown format')
    const own = privateObject(privateKey)
    const point = sealed.subarray(1, BODY_START)
    const shared = diffieHellman({ privateKey: own, publicKey: publicObject(point) })
    const { key, nonce } = derive(shared, { point, publicKey: rawPublic(createPublicKey(own)), context })
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(sealed.subarray(BODY_START, -TAG_BYTES)), decipher.final()])
  } catch {
    throw new DomainError('content-damaged', { what: 'sealed key' })
  }
}

/** Each sealing has a point of its own, so key and nonce serve once. */
function derive(
  shared: Uint8Array,
  { point, publicKey, context }: { point: Uint8Array; publicKey: Uint8Array; context: string },
): { key: Buffer; nonce: Buffer } {
  const salt = Buffer.concat([point, publicKey])
  const bytes = Buffer.from(hkdfSync('sha256', shared, salt, `sealed-key-1:${context}`, KEY_BYTES + NONCE_BYTES))
  return { key: bytes.subarray(0, KEY_BYTES), nonce: bytes.subarray(KEY_BYTES) }
}

const rawPublic = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' }).subarray(PUBLIC_PREFIX.length)
const rawPrivate = (key: KeyObject): Buffer =>
  key.export({ type: 'pkcs8', format: 'der' }).subarray(PRIVATE_PREFIX.length)

const publicObject = (raw: Uint8Array) =>
  createPublicKey({ key: Buffer.concat([PUBLIC_PREFIX, raw]), format: 'der', type: 'spki' })
const privateObject = (raw: Uint8Array) =>
  createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, raw]), format: 'der', type: 'pkcs8' })
