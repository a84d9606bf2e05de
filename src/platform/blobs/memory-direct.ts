/** A medium in memory that clients reach by addresses, for tests; it enforces what an address has signed. */
import { createHmac, randomBytes } from 'node:crypto'
import type { DirectAccess } from '#core/ports.ts'

/** Bytes as they lie in the store. */
export interface Kept {
  bytes: Buffer
  changedAt: number
}

/** What a client does with the addresses. A refusal is an error whose message says what was wrong. */
export interface MemoryClient {
  put(address: string, bytes: Uint8Array, contentType?: string): void
  get(address: string): { bytes: Buffer; contentType: string; disposition: string }
}

export interface MemoryDirect {
  access: DirectAccess
  client: MemoryClient
  /** What was put, by its `putId`. */
  staged: Map<string, Kept>
}

export function memoryDirect({ clock, stored }: { clock: () => number; stored: Map<string, Kept> }): MemoryDirect {
  const secret = randomBytes(32)
  const staged = new Map<string, Kept>()
  const sign = (text: string) => createHmac('sha256', secret).update(text).digest('hex')

  const address = (verb: 'put' | 'get', id: string, signed: Record<string, string>) => {
    const text = `memory://${verb}/${id}?${new URLSearchParams(signed).toString()}`
    return `${text}&signature=${sign(text)}`
  }

  const open = (verb: 'put' | 'get', given: string) => {
    const [text = '', signature] = given.split('&signature=')
    if (signature !== sign(text) || !text.startsWith(`memory://${verb}/`)) throw new Error('The address was altered')
    const { pathname, searchParams } = new URL(text)
    if (clock() >= Number(searchParams.get('expires'))) throw new Error('The address has expired')
    return { id: pathname.slice(1), signed: searchParams }
  }

  return {
    staged,
    access: {
      async putAddress({ putId, sizeBytes, contentType, expiresAt }) {
        const size = { size: String(sizeBytes), expires: String(expiresAt) }
        return address('put', putId, contentType === undefined ? size : { ...size, type: contentType })
      },
      async adopt({ putId, segmentId }) {
        const found = staged.get(putId)
        if (!found) return undefined
        stored.set(segmentId, { bytes: found.bytes, changedAt: clock() })
        return { sizeBytes: found.bytes.length }
      },
      async getAddress({ segmentId, contentType, disposition, expiresAt }) {
        return address('get', segmentId, { type: contentType, disposition, expires: String(expiresAt) })
      },
    },
    client: {
      put(given, bytes, contentType) {
        const { id, signed } = open('put', given)
        if (String(bytes.length) !== signed.get('size')) throw new Error('Another length was signed')
        const type = signed.get('type')
        if (type !== null && type !== contentType) throw new Error('Another media type was signed')
        staged.set(id, { bytes: Buffer.from(bytes), changedAt: clock() })
      },
      get(given) {
        const { id, signed } = open('get', given)
        const found = stored.get(id)
        if (!found) throw new Error('There is no such object')
        const [contentType, disposition] = [signed.get('type') ?? '', signed.get('disposition') ?? '']
        return { bytes: Buffer.from(found.bytes), contentType, disposition }
      },
    },
  }
}
