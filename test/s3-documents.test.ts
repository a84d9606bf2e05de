/** Documents on a server that keeps contents in S3: clients put and get them there by themselves. */
import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test as base } from 'vitest'
import type { S3Place } from '#platform/blobs/location.ts'
import { loadChecker } from '#test/contract-checker.ts'
import { multipart } from '#test/mft-world.ts'
import { clientOf, signIn, type Client } from './faults/client.ts'
import { account, openSite, type Site } from './faults/server.ts'
import { makeBucket, testS3, type TestBucket } from './s3-bucket.ts'

const environment = ({ bucket, prefix, endpoint, accessKey, secretKey }: S3Place) => ({
  ENTREPOT_BLOBS_URL: `s3://${bucket}/${prefix}`,
  ENTREPOT_S3_ENDPOINT: endpoint,
  ENTREPOT_S3_ACCESS_KEY: accessKey,
  ENTREPOT_S3_SECRET_KEY: secretKey,
})

const TYPE = 'application/pdf'
const md5 = (content: Buffer) => createHash('md5').update(content).digest('hex')

interface Documents {
  site: Site
  bucket: TestBucket
  url: string
  /** Over MFT, with the same rights. */
  client: Client
  /** Where files are filed. */
  filespace: string
  send: (method: string, path: string, sent?: { headers?: Record<string, string>; payload?: Buffer }) => Promise<Reply>
}

interface Reply {
  status: number
  headers: Record<string, string>
  raw: Buffer
}

const test = base.extend<{ documents: Documents }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  documents: async ({}, use) => {
    const violations: unknown[] = []
    await using bucket = await makeBucket('files/')
    await using site = await openSite({ env: environment(bucket.place) })
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const key = await makeKey(site)
    const send = sender(server.url, key, await loadChecker('coredata', violations))
    const { raw } = await send('GET', '/api/v2/spaces/')
    const { objects } = JSON.parse(raw.toString()) as { objects: { filespace: string }[] }
    await use({ site, bucket, url: server.url, client, send, filespace: objects[0]?.filespace ?? '' })
    client.close()
    expect(await site.entrepot('verify', '--content')).toMatchObject({ status: 0 })
    expect(violations).toEqual([])
  },
})

async function makeKey(site: Site): Promise<string> {
  const { output } = await site.entrepot('token', 'create', account.username, 'test')
  return /^secret: (\S+)$/m.exec(output)?.[1] ?? ''
}

function sender(url: string, key: string, check: (exchange: object) => void): Documents['send'] {
  return async (method, path, { headers = {}, payload } = {}) => {
    const sent = { authorization: `apikey ${key}`, ...headers }
    const reply = await exchange(url + path, { method, headers: sent, ...(payload && { body: payload }) })
    const { status, headers: got, raw } = reply
    check({ method, url: path, requestHeaders: sent, status, headers: got, body: raw })
    return reply
  }
}

/** One request to whatever address, redirects not followed. */
async function exchange(
  address: string,
  init: { method?: string; headers?: Record<string, string>; body?: Buffer } = {},
): Promise<Reply> {
  const { body, ...rest } = init
  const answer = await fetch(address, { ...rest, redirect: 'manual', ...(body && { body: new Uint8Array(body) }) })
  const raw = Buffer.from(await answer.arrayBuffer())
  return { status: answer.status, headers: Object.fromEntries(answer.headers), raw }
}

async function announce({ send }: Documents, bytes: number): Promise<{ blob: string; address: string }> {
  const path = `/api/v3/blob/presigned-upload-url/?content_length=${bytes}&content_type=${TYPE}`
  const { status, raw } = await send('POST', path)
  expect(status).toBe(200)
  const { blobName, presignedUrl } = JSON.parse(raw.toString()) as { blobName: string; presignedUrl: string }
  return { blob: blobName, address: presignedUrl }
}

const putBytes = (address: string, body: Buffer, type = TYPE) =>
  exchange(address, { method: 'PUT', headers: { 'content-type': type }, body })

function file(
  { send, filespace }: Documents,
  content: { blob_name: string } | { content: Buffer },
  filename = 'a.pdf',
) {
  const fields = { filename, title: 'a', parent: filespace, ...content }
  const parts = Object.entries(fields).map(([name, value]) => ({ name, content: value }))
  return send('POST', '/api/v2/files/', multipart(parts))
}

/** Puts bytes into the bucket and makes a file of them; answers its path. */
async function fileDirectly(documents: Documents, content: Buffer) {
  const { blob, address } = await announce(documents, content.length)
  expect((await putBytes(address, content)).status).toBe(200)
  const { status, headers } = await file(documents, { blob_name: blob })
  expect(status).toBe(201)
  return { path: headers['location'] ?? '', blob, address }
}

/** Where the content of a file is. */
async function contentOf({ send }: Documents, path: string): Promise<URL> {
  const { status, headers } = await send('GET', `${path}content/`)
  expect(status).toBe(302)
  return new URL(headers['location'] ?? '')
}

describe.skipIf(!testS3)('a server with its contents in S3', { timeout: 120_000 }, () => {
  test('lets a client put and get the bytes of a file at the medium itself', async ({ documents }) => {
    const { bucket, client, send } = documents
    const { host } = new URL(bucket.place.endpoint)
    const content = randomBytes(3_000_000)
    const { path, address, blob } = await fileDirectly(documents, content)
    expect(new URL(address).host).toBe(host)
    expect(await bucket.keys()).toHaveLength(1)

    const from = await contentOf(documents, path)
    expect(from.host).toBe(host)
    expect(await exchange(from.href)).toMatchObject({
      status: 200,
      headers: {
        'content-type': TYPE,
        'content-length': '3000000',
        'content-disposition': expect.stringMatching(/^ ?attachment; filename\*=utf-8''a\.pdf$/) as string,
        'accept-ranges': 'bytes',
      },
      raw: content,
    })
    const part = await exchange(from.href, { headers: { range: 'bytes=100-199' } })
    expect(part).toMatchObject({ status: 206, raw: content.subarray(100, 200) })

    const shown = JSON.parse((await send('GET', path)).raw.toString()) as object
    expect(shown).toMatchObject({ blob_name: blob, digest: md5(content), size: content.length, mime_type: TYPE })
    const overMft = await client.get('a.pdf')
    expect(overMft).toMatchObject({ status: 200, headers: { 'content-type': TYPE } })
    expect(overMft.body.equals(content)).toBe(true)
  })

  test('takes a file of no bytes', async ({ documents }) => {
    const { path } = await fileDirectly(documents, Buffer.alloc(0))
    expect(await exchange((await contentOf(documents, path)).href)).toMatchObject({ status: 200, raw: Buffer.alloc(0) })
    expect(await documents.client.get('a.pdf')).toMatchObject({ status: 200, body: Buffer.alloc(0) })
  })

  test('has the medium refuse another length and another type than announced', async ({ documents }) => {
    const { blob, address } = await announce(documents, 1000)
    const content = randomBytes(1000)
    for (const bytes of [content.subarray(1), Buffer.concat([content, content])])
      expect((await putBytes(address, bytes)).status).toBe(403)
    expect((await putBytes(address, content, 'text/html')).status).toBe(403)
    expect((await exchange(address)).status).toBe(403)
    expect(await file(documents, { blob_name: blob })).toMatchObject({ status: 400 })
    expect(await documents.bucket.keys()).toEqual([])

    expect((await putBytes(address, content)).status).toBe(200)
    expect(await file(documents, { blob_name: blob })).toMatchObject({ status: 201 })
  })

  test('keeps a file as it is, whatever is put to the address of its blob later', async ({ documents }) => {
    const content = randomBytes(1000)
    const { path, blob, address } = await fileDirectly(documents, content)
    await putBytes(address, randomBytes(1000))
    expect((await exchange((await contentOf(documents, path)).href)).raw.equals(content)).toBe(true)
    expect((await documents.client.get('a.pdf')).body.equals(content)).toBe(true)
    expect(await file(documents, { blob_name: blob }, 'b.pdf')).toMatchObject({ status: 400 })
  })

  test('takes new content from the medium, if it has the digest named', async ({ documents }) => {
    const { path } = await fileDirectly(documents, randomBytes(1000))
    const before = await contentOf(documents, path)
    const old = await exchange(before.href)
    const content = randomBytes(2000)
    const { blob, address } = await announce(documents, content.length)
    await putBytes(address, content)
    const replace = (digest: string) => documents.send('PUT', `${path}content/?blob_name=${blob}&digest=${digest}`)
    expect(await replace(md5(Buffer.from('other')))).toMatchObject({ status: 400 })
    expect((await exchange((await contentOf(documents, path)).href)).raw.equals(old.raw)).toBe(true)
    expect(await replace(md5(content))).toMatchObject({
      status: 201,
      headers: { 'x-coredata-fields-filedigest': md5(content) },
    })
    expect((await exchange((await contentOf(documents, path)).href)).raw.equals(content)).toBe(true)
    expect((await exchange(before.href)).raw.equals(old.raw)).toBe(true)
  })

  test('gives by itself what came through it, small or large', async ({ documents }) => {
    const { url, client, send } = documents
    for (const [n, content] of [randomBytes(100), randomBytes(300_000)].entries()) {
      await client.put(`mft-${n}`, content)
      const { status, headers } = await file(documents, { content }, `coredata-${n}`)
      expect(status).toBe(201)
      const { raw } = await send('GET', `/api/v2/files/?title=mft-${n}`)
      const { objects } = JSON.parse(raw.toString()) as { objects: { resource_uri: string }[] }
      for (const path of [objects[0]?.resource_uri ?? '', headers['location'] ?? '']) {
        const from = await contentOf(documents, path)
        expect(from.href.startsWith(`${url}/laika/`)).toBe(true)
        expect((await exchange(from.href)).raw.equals(content)).toBe(true)
      }
    }
  })
})
