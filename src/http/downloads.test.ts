import { once } from 'node:events'
import http, { type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DomainError } from '#core/errors.ts'
import { contentDisposition, parseRange, selectContent, sendContent, type Content, type Sent } from './downloads.ts'

const modifiedAt = Date.parse('2026-03-01T10:00:00.700Z')
const date = 'Sun, 01 Mar 2026 10:00:00 GMT'
const file = { sizeBytes: 10, etag: '"v1"', modifiedAt }

test.for([
  ['bytes=0-3', { start: 0, end: 4 }],
  ['bytes=0-0', { start: 0, end: 1 }],
  ['bytes=4-', { start: 4, end: 10 }],
  ['bytes=-3', { start: 7, end: 10 }],
  ['bytes=-99', { start: 0, end: 10 }],
  ['bytes=9-99', { start: 9, end: 10 }],
  ['Bytes = 2-3 ', { start: 2, end: 4 }],
  [`bytes=0-${'9'.repeat(400)}`, { start: 0, end: 10 }],
  ['bytes=10-', 'unsatisfiable'],
  ['bytes=10-12', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  [`bytes=${'9'.repeat(400)}-`, 'unsatisfiable'],
  ['bytes=5-3', undefined],
  ['bytes=-', undefined],
  ['bytes=0-1,4-5', undefined],
  ['bytes=a-b', undefined],
  ['items=0-1', undefined],
  ['', undefined],
  [undefined, undefined],
] as const)('the range %j of ten bytes', ([header, expected]) => {
  expect(parseRange(header, 10)).toEqual(expected)
})

test('no range of an empty file can be satisfied', () => {
  expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable')
  expect(parseRange('bytes=-5', 0)).toBe('unsatisfiable')
})

const range = 'bytes=0-3'
test.for<[IncomingHttpHeaders, number]>([
  [{}, 200],
  [{ range }, 206],
  [{ range, 'if-range': '"v1"' }, 206],
  [{ range, 'if-range': '"v2"' }, 200],
  [{ range, 'if-range': 'W/"v1"' }, 200],
  [{ range, 'if-range': date }, 206],
  [{ range, 'if-range': 'Sun, 01 Mar 2026 09:59:59 GMT' }, 200],
  [{ range, 'if-range': 'nonsense' }, 200],
  [{ range: 'bytes=10-', 'if-range': '"v2"' }, 200],
  [{ range: 'bytes=10-' }, 416],
  [{ 'if-none-match': '"v1"' }, 304],
  [{ 'if-none-match': 'W/"v1"' }, 304],
  [{ 'if-none-match': '"v0", "v1"' }, 304],
  [{ 'if-none-match': '*' }, 304],
  [{ 'if-none-match': '"v2"' }, 200],
  [{ 'if-none-match': '"v2"', 'if-modified-since': date }, 200],
  [{ 'if-modified-since': date }, 304],
  [{ 'if-modified-since': 'Sun, 01 Mar 2026 09:59:59 GMT' }, 200],
  [{ 'if-modified-since': 'nonsense' }, 200],
  [{ 'if-match': '"v1"' }, 200],
  [{ 'if-match': '"v2"' }, 412],
  [{ 'if-match': 'W/"v1"' }, 412],
  [{ 'if-unmodified-since': date }, 200],
  [{ 'if-unmodified-since': 'Sun, 01 Mar 2026 09:59:59 GMT' }, 412],
])('a GET with %j is answered %i', ([headers, status]) => {
  expect(selectContent('GET', headers, file).status).toBe(status)
})

test('a HEAD knows no range', () => {
  expect(selectContent('HEAD', { range }, file)).toEqual({ status: 200, start: 0, end: 10 })
})

test.for([
  ['report.pdf', `attachment; filename="report.pdf"`],
  ['a "b" \\c.txt', `attachment; filename="a _b_ _c.txt"; filename*=UTF-8''a%20%22b%22%20%5Cc.txt`],
  ['100%25.txt', `attachment; filename="100_25.txt"; filename*=UTF-8''100%2525.txt`],
  ['Übung(1)*.txt', `attachment; filename="_bung(1)*.txt"; filename*=UTF-8''%C3%9Cbung%281%29%2A.txt`],
  ['😀.png', `attachment; filename="_.png"; filename*=UTF-8''%F0%9F%98%80.png`],
  ['a\r\nb', `attachment; filename="a__b"; filename*=UTF-8''a%0D%0Ab`],
  ['\ud800x', `attachment; filename="_x"; filename*=UTF-8''%EF%BF%BDx`],
])('the name %j is sent as %s', ([name, header]) => {
  expect(contentDisposition(name ?? '')).toBe(header)
})

describe('sendContent', () => {
  const plain = Buffer.from(Array.from({ length: 300_000 }, (_, n) => n % 251))
  let open: Content['open']
  let settled: Promise<Sent>
  const server = http.createServer((request, raw) => {
    const reply = { raw, hijack: () => {}, getHeaders: () => ({ 'x-request-id': 'r1' }) }
    const content = { sizeBytes: plain.length, etag: '"v1"', modifiedAt, contentType: 'image/png', open }
    settled = sendContent({ method: request.method ?? '', headers: request.headers }, reply, content)
    settled.catch(() => {
      if (!raw.headersSent) raw.writeHead(500).end()
    })
  })
  let port = 0
  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    port = (server.address() as AddressInfo).port // a TCP server has no other kind of address
  })
  afterAll(() => server.close())

  async function* chunked(start: number, end: number) {
    for (let at = start; at < end; at += 65_536) yield Uint8Array.from(plain.subarray(at, Math.min(at + 65_536, end)))
  }

  const get = (headers = {}, method = 'GET') => fetch(`http://127.0.0.1:${port}/`, { method, headers })

  test('chunks arrive whole, with the headers of a download and those of hooks', async () => {
    open = chunked
    const response = await get()
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'accept-ranges': 'bytes',
      'content-length': '300000',
      'content-type': 'image/png',
      etag: '"v1"',
      'last-modified': date,
      'x-content-type-options': 'nosniff',
      'x-request-id': 'r1',
    })
    expect(Buffer.from(await response.arrayBuffer()).equals(plain)).toBe(true)
    expect(await settled).toEqual({ status: 200, sentBytes: 300_000, complete: true })
  })

  test('a range is read and sent alone', async () => {
    open = chunked
    const response = await get({ range: 'bytes=100000-199999' })
    expect(response.status).toBe(206)
    expect(response.headers.get('content-range')).toBe('bytes 100000-199999/300000')
    expect(Buffer.from(await response.arrayBuffer()).equals(plain.subarray(100_000, 200_000))).toBe(true)
  })

  test('one buffer is sent at once', async () => {
    open = (start, end) => plain.subarray(start, end)
    const response = await get({ range: 'bytes=-10' })
    expect(Buffer.from(await response.arrayBuffer()).equals(plain.subarray(-10))).toBe(true)
    expect(await settled).toEqual({ status: 206, sentBytes: 10, complete: true })
  })

  test('HEAD, 304 and 416 open no content', async () => {
    open = () => {
      throw new Error('opened')
    }
    const head = await get({}, 'HEAD')
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '300000'])
    const same = await get({ 'if-none-match': '"v1"' })
    expect([same.status, same.headers.get('etag')]).toEqual([304, '"v1"'])
    const beyond = await get({ range: 'bytes=300000-' })
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */300000'])
  })

  test('a refusal before the first byte is thrown while it can still be answered', async () => {
    open = async function* (start) {
      if (start === 0) throw new DomainError('content-damaged', { what: 'segment' })
      yield plain
    }
    expect((await get()).status).toBe(500)
    await expect(settled).rejects.toMatchObject({ code: 'content-damaged' })
  })

  test('a failure under way cuts the connection', async () => {
    open = async function* () {
      yield Uint8Array.from(plain.subarray(0, 65_536))
      throw new DomainError('content-damaged', { what: 'segment' })
    }
    await expect(get().then(response => response.arrayBuffer())).rejects.toThrow()
    await expect(settled).rejects.toMatchObject({ code: 'content-damaged' })
  })

  test('a client that goes away ends it quietly and the content is closed', async () => {
    let closed = false
    open = async function* () {
      try {
        for (;;) yield new Uint8Array(65_536)
      } finally {
        closed = true
      }
    }
    const request = http.get({ port, host: '127.0.0.1' })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage] // the event's only argument
    await once(response, 'readable')
    request.destroy()
    expect(await settled).toMatchObject({ status: 200, complete: false })
    expect(closed).toBe(true)
  })
})
