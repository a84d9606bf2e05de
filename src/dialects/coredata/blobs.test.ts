import { once } from 'node:events'
import { request as openRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, vi } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { revokeTokensOf } from '#core/tokens.ts'
import {
  altered,
  announce,
  contentPath,
  flipped,
  pathOf,
  storedObjects,
  textOf,
  textOfBlob,
  useBlob,
  type Announced,
} from '#test/coredata-blobs.ts'
import { idIn, test, type CoredataWorld } from '#test/coredata-world.ts'

const uploads = '/api/v3/blob/presigned-upload-url/'
const empty = Buffer.alloc(0)

/** Only so that a hang ends. */
const WAIT = { timeout: 20_000, interval: 10 }

describe('createPresignedUpload', () => {
  test('names a blob and gives an address that takes it for an hour', async ({ coredata }) => {
    const answer = await coredata.send('POST', `${uploads}?content_type=application/pdf&content_length=3028`, {
      as: 'editor',
    })
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': expect.stringMatching(/^application\/json/) as string },
      body: { blobName: expect.stringMatching(/^[0-9a-f]{32}$/) as string },
    })
    const { blobName, presignedUrl } = answer.body as Announced
    const { origin, pathname, searchParams } = new URL(presignedUrl)
    expect({ origin, pathname }).toEqual({ origin: 'http://localhost', pathname: `/laika/${blobName}` })
    expect([...searchParams.keys()].toSorted()).toEqual(['AWSAccessKeyId', 'Expires', 'Signature'])
    expect(searchParams.get('AWSAccessKeyId')).toBe(`s3f:${coredata.users.editor.user.id}`)
    expect(searchParams.get('Signature')).toMatch(/^[A-Za-z0-9+/]{27}=$/)
    const life = Number(searchParams.get('Expires')) - Math.floor(coredata.world.deps.clock() / 1000)
    expect(life).toBeGreaterThan(3590)
    expect(life).toBeLessThanOrEqual(3600)
  })

  test('begins with what the client used', async ({ coredata }) => {
    const headers = { host: 'files.example:8443' }
    const { body } = await coredata.send('POST', `${uploads}?content_length=1`, { as: 'editor', headers })
    expect((body as Announced).presignedUrl).toMatch(/^http:\/\/files\.example:8443\/laika\//)
  })

  test('makes another blob each time, also of no bytes', async ({ coredata }) => {
    const names = []
    for (const _ of [1, 2]) {
      const { status, body } = await coredata.send('POST', `${uploads}?content_length=0`, { as: 'editor' })
      expect(status).toBe(200)
      names.push((body as Announced).blobName)
    }
    expect(new Set(names).size).toBe(2)
  })

  test('takes the key alone as well as with the user, in any spelling of the scheme', async ({ coredata }) => {
    const { editor: key } = coredata.keys
    for (const authorization of [`apikey ${key}`, `ApiKey editor:${key}`, `APIKEY ${key}`, `apikey EDITOR:${key}`]) {
      const answer = await coredata.send('POST', `${uploads}?content_length=1`, { headers: { authorization } })
      expect(answer, authorization.split(' ')[0]).toMatchObject({ status: 200 })
    }
  })

  test('without a key that counts it is 401 with nothing to read', async ({ coredata }) => {
    const { editor, reader } = coredata.keys
    const wrong = [undefined, 'apikey', 'apikey x', 'apikey editor:x', `apikey editor:${reader}`, `Bearer ${editor}`]
    for (const authorization of wrong) {
      const headers = authorization === undefined ? {} : { authorization }
      const answer = await coredata.send('POST', `${uploads}?content_length=1`, { headers })
      expect(answer, String(authorization)).toMatchObject({ status: 401, raw: empty })
    }
    const { world, users } = coredata
    await inTx(world.system, ctx => revokeTokensOf(ctx, users.editor.user.id))
    expect(await coredata.send('POST', `${uploads}?content_length=1`, { as: 'editor' })).toMatchObject({
      status: 401,
      raw: empty,
    })
  })

  test.for([
    ['is missing', ''],
    ['is empty', 'content_length='],
    ['is negative', 'content_length=-1'],
    ['is no number', 'content_length=many'],
    ['has a fraction', 'content_length=1.5'],
    ['comes twice', 'content_length=1&content_length=2'],
    ['is beyond all numbers', 'content_length=1e400'],
    ['is no exact number', 'content_length=9007199254740993'],
    ['is not a number that text could be', 'content_length=Infinity'],
  ] as const)('is 400 where the length %s, and announces nothing', async ([, query], { coredata }) => {
    const answer = await coredata.send('POST', `${uploads}?${query}`, { as: 'editor' })
    expect(answer).toMatchObject({ status: 400, body: { error: expect.any(String) as string } })
    expect(await announcedCount(coredata)).toBe(0)
  })

  test.for([
    ['no slash', 'odd'],
    ['a blank in its name', 'text%2Fpl%20ain'],
    ['a line break', 'text%2Fplain%0AX%3A%20y'],
    ['NUL', 'text%2Fplain%00'],
    ['what no header can carry', 'text%2F%E2%82%AC'],
    ['half a character', 'text%2F%ED%A0%80'],
    ['two of them', 'a%2Fb&content_type=c%2Fd'],
    ['too much of it', `text%2F${'x'.repeat(300)}`],
  ] as const)('is 400 for a media type with %s, and announces nothing', async ([, type], { coredata }) => {
    const answer = await coredata.send('POST', `${uploads}?content_length=1&content_type=${type}`, { as: 'editor' })
    expect(answer).toMatchObject({ status: 400, body: { error: expect.any(String) as string } })
    expect(await announcedCount(coredata)).toBe(0)
  })

  test.for(['', 'text/plain; charset="utf-8"', 'application/vnd.ms-excel'])(
    'takes %o for a media type',
    async (type, { coredata }) => {
      const { status, body } = await coredata.send(
        'POST',
        `${uploads}?content_length=1&content_type=${encodeURIComponent(type)}`,
        { as: 'editor' },
      )
      expect(status).toBe(200)
      const headers = { 'content-type': type || 'any/type' }
      expect(
        await coredata.send('PUT', pathOf((body as Announced).presignedUrl), { payload: 'x', headers }),
      ).toMatchObject({ status: 201 })
    },
  )

  test('other methods are 405, and without its slash the path leads to the one with it', async ({ coredata }) => {
    const got = await coredata.send('GET', uploads, { as: 'editor', beyondContract: true })
    expect(got).toMatchObject({ status: 405, headers: { allow: 'POST' } })
    const path = `${uploads.slice(0, -1)}?content_length=1`
    expect(await coredata.send('POST', path, { as: 'editor' })).toMatchObject({
      status: 301,
      headers: { location: `${uploads}?content_length=1` },
    })
  })

  describe('with a limit on files', () => {
    test.override({ settings: { maxFileBytes: 100 } })

    test('is 400 over it', async ({ coredata }) => {
      const over = await coredata.send('POST', `${uploads}?content_length=101`, { as: 'editor' })
      expect(over).toMatchObject({ status: 400, body: { error: 'Files may have 100 bytes at most.' } })
      expect(await coredata.send('POST', `${uploads}?content_length=100`, { as: 'editor' })).toMatchObject({
        status: 200,
      })
      expect(await announcedCount(coredata)).toBe(1)
    })
  })
})

describe('a blob', () => {
  test('becomes a file of the media type that it was put with, and once only', async ({ coredata }) => {
    const blob = await filled(coredata, 'Grüße', 'text/markdown')
    const made = await useBlob(coredata, blob)
    expect(made).toMatchObject({ status: 201, raw: empty })
    const { body } = await coredata.send('GET', String(made.headers.location), { as: 'editor' })
    expect(body).toMatchObject({ blob_name: blob, mime_type: 'text/markdown', size: 7, version: '0.1' })
    expect(await useBlob(coredata, blob)).toMatchObject({ status: 400 })
  })

  test('that was never put, or is unknown, is 400', async ({ coredata }) => {
    const { body } = await coredata.send('POST', `${uploads}?content_length=1`, { as: 'editor' })
    const { blobName } = body as Announced
    expect(await useBlob(coredata, blobName)).toMatchObject({ status: 400, body: { error: 'The blob is empty.' } })
    for (const name of ['0'.repeat(32), 'x', ''])
      expect(await useBlob(coredata, name), name).toMatchObject({ status: 400, body: { error: 'Unknown blob.' } })
  })

  test('is of nobody but who announced it', async ({ coredata }) => {
    const blob = await filled(coredata, 'mine', 'text/plain')
    expect(await useBlob(coredata, blob, { as: 'stranger', parent: coredata.elsewhere.filespace })).toMatchObject({
      status: 400,
      body: { error: 'Unknown blob.' },
    })
    expect(await useBlob(coredata, blob)).toMatchObject({ status: 201 })
  })
})

describe('over a connection', () => {
  const LARGE_BYTES = 600_000
  const large = Buffer.alloc(LARGE_BYTES, 'entrepot')

  test('a client that goes away in the middle leaves nothing, and the next one is served', async ({ coredata }) => {
    const port = await listen(coredata)
    const { blob, path } = await announce(coredata, LARGE_BYTES, 'text/plain')
    const gone = openPut(port, path, { 'content-length': LARGE_BYTES })
    gone.on('error', () => {})
    gone.write(large.subarray(0, LARGE_BYTES / 2))
    await vi.waitUntil(async () => (await storedObjects(coredata)).includes('staged'), WAIT)
    gone.destroy()
    await vi.waitUntil(async () => (await storedObjects(coredata)).length === 0, WAIT)
    expect(await useBlob(coredata, blob)).toMatchObject({ status: 400 })

    const next = openPut(port, path, { 'content-length': LARGE_BYTES })
    next.end(large)
    expect(await answerOf(next)).toMatchObject({ status: 201, text: '' })
    const made = await useBlob(coredata, blob)
    expect(made.status).toBe(201)
    const got = await coredata.send('GET', await contentPath(coredata, idIn(made)))
    expect(got.raw.equals(large)).toBe(true)
  })

  test('a body without a length may have no other than the announced one', async ({ coredata }) => {
    const port = await listen(coredata)
    const { blob, path } = await announce(coredata, LARGE_BYTES, 'text/plain')
    const send = (content: Buffer) => {
      const put = openPut(port, path, { 'transfer-encoding': 'chunked' })
      put.end(content)
      return answerOf(put)
    }
    expect(await send(large)).toMatchObject({ status: 201 })
    const wrong = [Buffer.from('short'), large.subarray(1), Buffer.concat([large, Buffer.from('x')])]
    for (const content of wrong) {
      expect(await send(content)).toMatchObject({
        status: 400,
        text: expect.stringContaining('<Code>BadRequest</Code>') as string,
      })
    }
    expect(await storedObjects(coredata)).toEqual(['stored'])
    expect(await textOfBlob(coredata, blob)).toBe(large.toString())
  })

  test('another length than the announced one is refused before the bytes come', async ({ coredata }) => {
    const port = await listen(coredata)
    const { path } = await announce(coredata, LARGE_BYTES, 'text/plain')
    const put = openPut(port, path, { 'content-length': LARGE_BYTES + 1 })
    put.on('error', () => {}) // it is given up below
    put.flushHeaders()
    expect(await answerOf(put)).toMatchObject({ status: 400 })
    put.destroy()
  })

  test('a large body under a wrong address is refused, and the server goes on', async ({ coredata }) => {
    const port = await listen(coredata)
    const { path } = await announce(coredata, LARGE_BYTES, 'text/plain')
    const put = openPut(port, altered(path, 'Signature', flipped), { 'content-length': LARGE_BYTES })
    put.on('error', () => {}) // it may be cut off while we still write
    put.end(large)
    expect(await answerOf(put)).toMatchObject({ status: 403 })
    expect(await storedObjects(coredata)).toEqual([])
  })
})

async function listen({ app }: CoredataWorld): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port // it listens on a port, not on a pipe
}

const openPut = (port: number, path: string, headers: Record<string, string | number>): ClientRequest =>
  openRequest({
    host: '127.0.0.1',
    port,
    path,
    method: 'PUT',
    headers: { 'content-type': 'text/plain', connection: 'close', ...headers },
  })

async function answerOf(sent: ClientRequest): Promise<{ status: number; text: string }> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks = await Array.fromAsync(response as AsyncIterable<Buffer>)
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }
}

/** Blobs that were announced and are no file. */
async function announcedCount({ world }: CoredataWorld): Promise<number> {
  const rows = await world.system.db.selectFrom('upload').select('id').execute()
  return rows.length
}

/** A blob with bytes. */
async function filled(coredata: CoredataWorld, text: string, type: string): Promise<string> {
  const { blob, path } = await announce(coredata, Buffer.byteLength(text), type)
  expect(await coredata.send('PUT', path, textOf(text, type))).toMatchObject({ status: 201, raw: empty })
  return blob
}
