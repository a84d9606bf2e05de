/** What the store sends and how it takes refusals, seen from a service that says what the test wants. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { BlobStore } from '#core/ports.ts'
import { writeSegment } from '#test/suites/blob-store.ts'
import { PART_PLAN, partSize, planBytes } from './s3-parts.ts'
import { s3BlobStore } from './s3.ts'

interface Seen {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: Buffer
}

interface Said {
  status: number
  headers?: Record<string, string>
  body?: string
}

interface Service extends AsyncDisposable {
  store: BlobStore
  seen: Seen[]
}

const refusal = (status: number, code: string): Said => ({
  status,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`,
})

/** A store over a service that answers with `say`, and 200 where that has nothing to say. */
async function startService(say: (request: Seen) => Said | undefined): Promise<Service> {
  const seen: Seen[] = []
  const server = createServer((request, reply) => {
    void (async () => {
      const { method = '', url = '', headers } = request
      const asked = { method, path: url, headers, body: await buffer(request) }
      seen.push(asked)
      const { status, headers: more, body = '<Answer/>' } = say(asked) ?? { status: 200 }
      reply.writeHead(status, more).end(method === 'HEAD' ? undefined : body)
    })()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port
  const store = await s3BlobStore({
    kind: 's3',
    bucket: 'files',
    prefix: '',
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    accessKey: 'access',
    secretKey: 'very-secret',
    pathStyle: true,
    publicEndpoint: '',
    direct: false,
    log: { warn() {}, debug() {} },
  })
  return {
    store,
    seen,
    async [Symbol.asyncDispose]() {
      await store.close()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

const digest = (algorithm: string, body: Buffer, encoding: 'base64' | 'hex') =>
  createHash(algorithm).update(body).digest(encoding)

const key = randomBytes(32)

describe('S3 requests', () => {
  test('an object goes out with its MD5 and its signed hash, and its length is asked for', async () => {
    let length = 0
    await using service = await startService(({ method, body }) => {
      if (method === 'PUT') length = body.length
      return method === 'HEAD' ? { status: 200, headers: { 'content-length': String(length) } } : undefined
    })
    await writeSegment(service.store, { key, plain: randomBytes(100_000) })
    const put = service.seen.find(({ method }) => method === 'PUT')!
    expect(put.headers['content-md5']).toBe(digest('md5', put.body, 'base64'))
    expect(put.headers['x-amz-content-sha256']).toBe(digest('sha256', put.body, 'hex'))
    expect(put.headers.authorization).toContain('content-md5')
  })

  test('a segment counts as stored only when the object has the right size', async () => {
    const short = { status: 200, headers: { 'content-length': '5' } }
    await using service = await startService(({ method }) => (method === 'HEAD' ? short : undefined))
    await expect(writeSegment(service.store, { key, plain: randomBytes(100) })).rejects.toThrow('not as long')
    expect(service.seen.at(-1)?.method).toBe('DELETE')
  })

  test('a removal carries the one checksum that every engine takes', async () => {
    await using service = await startService(() => undefined)
    await service.store.remove([randomUUID()])
    const { headers, body } = service.seen.find(({ path }) => path.includes('?delete'))!
    expect(headers['content-md5']).toBe(digest('md5', body, 'base64'))
    expect(Object.keys(headers).filter(name => name.startsWith('x-amz-checksum'))).toEqual([])
  })

  const full: Said[] = [refusal(507, 'InsufficientStorage'), refusal(403, 'QuotaExceeded'), { status: 507, body: '' }]
  test.for(full)('a medium without room is told from other refusals: %j', async said => {
    await using service = await startService(({ method }) => (method === 'PUT' ? said : undefined))
    const refused = { code: 'storage-full' }
    await expect(writeSegment(service.store, { key, plain: Buffer.from('x') })).rejects.toMatchObject(refused)
    await expect(service.store.check()).rejects.toMatchObject(refused)
  })

  test('a refusal names its code and no secret', async () => {
    await using service = await startService(({ method }) =>
      method === 'PUT' ? refusal(403, 'SignatureDoesNotMatch') : undefined,
    )
    const error: unknown = await service.store.check().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ message: 'S3: SignatureDoesNotMatch (403): no', code: 'SignatureDoesNotMatch' })
    expect(inspect(error)).not.toMatch(/very-secret|access/)
  })

  test('what cannot be removed is an error, so that it is tried again', async () => {
    const errors = '<DeleteResult><Error><Key>k</Key><Code>InternalError</Code></Error></DeleteResult>'
    await using service = await startService(({ path }) =>
      path.includes('?delete') ? { status: 200, body: errors } : undefined,
    )
    await expect(service.store.remove([randomUUID()])).rejects.toThrow('InternalError')
  })
})

describe('parts', () => {
  test('hold half a terabyte in no more parts than an object may have, none smaller than allowed', () => {
    expect(planBytes(PART_PLAN)).toBeGreaterThan(500e9)
    expect(PART_PLAN.reduce((sum, { parts }) => sum + parts, 0)).toBeLessThanOrEqual(10_000)
    for (const { bytes } of PART_PLAN) expect(bytes).toBeGreaterThanOrEqual(5 * 2 ** 20)
    const sizes = [1, 1_000, 1_001, 2_001, 3_001, 10_000].map(number => partSize(PART_PLAN, number).bytes / 2 ** 20)
    expect(sizes).toEqual([8, 8, 16, 32, 64, 64])
    expect(() => partSize(PART_PLAN, 10_001)).toThrow('upload-too-large')
  })

  test('need no more memory for a transfer than is said', () => {
    const memory = PART_PLAN.map(({ bytes, atOnce }) => (bytes * (atOnce + 1)) / 2 ** 20)
    expect(memory).toEqual([24, 48, 64, 128])
  })
})
