/** Request lines and headers that no client library would send. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { BOUNDARY, clientOf, exchangeRaw, formOf, headOf, signIn, type Client } from './client.ts'
import { openSite, type Server, type Site } from './server.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

let site: Site
let server: Server
let client: Client

beforeAll(async () => {
  site = await openSite()
  server = await site.start()
  client = clientOf(server, await signIn(server))
  expect((await client.put('inbox/there', Buffer.from('content'))).status).toBe(201)
})

afterAll(async () => {
  client?.close()
  await site?.[Symbol.asyncDispose]()
})

const form = formOf(Buffer.from('smuggled'))
const basics = () => ({ Host: `127.0.0.1:${server.port}`, Cookie: client.cookie, Connection: 'close' })

interface Scenario {
  name: string
  bytes: () => Buffer | string
  status: number
}

const get = (target: string) => headOf('GET', target, basics())
const put = (target: string, headers: Record<string, string | number> = {}) =>
  Buffer.concat([
    headOf('PUT', target, { ...basics(), ...form.headers, 'Content-Length': form.body.length, ...headers }),
    form.body,
  ])
/** Lines as given, then cookies. */
const lines = (...given: string[]) =>
  `${[...given, `Cookie: ${client.cookie}`, 'Connection: close'].join('\r\n')}\r\n\r\n`
const host = 'Host: localhost'

const scenarios: Scenario[] = [
  {
    name: 'a whole address finds the file',
    bytes: () => get('http://elsewhere.example/2.0/files/inbox/there'),
    status: 200,
  },
  { name: 'a whole address with a name and no path', bytes: () => get('http://elsewhere.example'), status: 404 },
  { name: 'two slashes at the start', bytes: () => get('//2.0/files/inbox/there'), status: 404 },
  { name: 'two slashes inside', bytes: () => get('/2.0/files//inbox/there'), status: 400 },
  { name: 'two slashes before the name', bytes: () => put('/2.0/files/inbox//there'), status: 400 },
  { name: 'a way up', bytes: () => get('/2.0/files/inbox/../inbox/there'), status: 400 },
  { name: 'a way up in percent signs', bytes: () => get('/2.0/files/inbox/%2e%2e/there'), status: 400 },
  { name: 'backslashes', bytes: () => get('/2.0/files/inbox\\..\\there'), status: 404 },
  { name: 'an asterisk', bytes: () => get('*'), status: 404 },
  { name: 'a path without its first slash', bytes: () => get('2.0/files/inbox/there'), status: 400 },
  {
    name: 'raw UTF-8 in the path',
    bytes: () => lines(`GET /2.0/files/inbox/${latin1('ä')} HTTP/1.1`, host),
    status: 400,
  },
  {
    name: 'raw bytes that are no UTF-8',
    bytes: () => lines('GET /2.0/files/inbox/\xff\xfe HTTP/1.1', host),
    status: 400,
  },
  { name: 'a raw NUL in the path', bytes: () => lines('GET /2.0/files/inbox/a\0b HTTP/1.1', host), status: 400 },
  { name: 'an encoded NUL in the path', bytes: () => get('/2.0/files/inbox/a%00b'), status: 400 },
  { name: 'an encoded slash', bytes: () => get('/2.0/files/inbox%2fthere'), status: 400 },
  { name: 'a broken escape', bytes: () => get('/2.0/files/inbox/%zz'), status: 400 },
  { name: 'a raw tab in the path', bytes: () => lines('GET /2.0/files/inbox/a\tb HTTP/1.1', host), status: 400 },
  { name: 'a blank in the path', bytes: () => lines('GET /2.0/files/inbox/a b HTTP/1.1', host), status: 400 },
  { name: 'a fragment', bytes: () => get('/2.0/files/inbox/there#part'), status: 200 },
  { name: 'a name of 8 KiB', bytes: () => put(`/2.0/files/inbox/${'x'.repeat(8192)}`), status: 400 },
  { name: 'a path of 8 KiB in short segments', bytes: () => get(`/2.0/files/${'x/'.repeat(4096)}there`), status: 404 },
  { name: 'a path of 64 KiB', bytes: () => get(`/2.0/files/${'x'.repeat(65_536)}`), status: 431 },
  { name: 'no Host', bytes: () => lines('GET /2.0/files/inbox/there HTTP/1.1'), status: 400 },
  { name: 'two Hosts', bytes: () => lines('GET /2.0/files/inbox/there HTTP/1.1', host, 'Host: other'), status: 400 },
  { name: 'an empty Host', bytes: () => lines('GET /2.0/files/inbox/there HTTP/1.1', 'Host:'), status: 200 },
  { name: 'an unknown method', bytes: () => lines('FETCH /2.0/files/inbox/there HTTP/1.1', host), status: 400 },
  { name: 'no HTTP at all', bytes: () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', status: 400 },
  {
    name: 'a version that does not exist',
    bytes: () => lines('GET /2.0/files/inbox/there HTTP/9.9', host),
    status: 400,
  },
  {
    name: 'two lengths that differ',
    bytes: () => lines('PUT /2.0/files/inbox/new HTTP/1.1', host, 'Content-Length: 5', 'Content-Length: 50'),
    status: 400,
  },
  {
    name: 'two lengths in one header',
    bytes: () => lines('PUT /2.0/files/inbox/new HTTP/1.1', host, 'Content-Length: 5, 5'),
    status: 400,
  },
  {
    name: 'a negative length',
    bytes: () => lines('PUT /2.0/files/inbox/new HTTP/1.1', host, 'Content-Length: -1'),
    status: 400,
  },
  {
    name: 'a length and chunks',
    bytes: () => put('/2.0/files/inbox/new', { 'Transfer-Encoding': 'chunked' }),
    status: 400,
  },
  {
    name: 'an unknown transfer encoding',
    bytes: () => lines('PUT /2.0/files/inbox/new HTTP/1.1', host, 'Transfer-Encoding: gzip'),
    status: 400,
  },
  {
    name: 'a header that is continued on the next line',
    bytes: () => lines('PUT /2.0/files/inbox/new HTTP/1.1', host, 'Content-Length: 5', ' 0'),
    status: 400,
  },
  {
    name: 'a boundary that is named twice',
    bytes: () =>
      put('/2.0/files/inbox/new', { 'content-type': `multipart/form-data; boundary=${BOUNDARY}; boundary=x` }),
    status: 201,
  },
]

const latin1 = (text: string) => Buffer.from(text).toString('latin1')
const bytesOf = (sent: Buffer | string) => (typeof sent === 'string' ? Buffer.from(sent, 'latin1') : sent)

describe('a request with', () => {
  test.for(scenarios.map(scenario => [scenario.name, scenario.status, scenario.bytes] as const))(
    '%s is answered %i',
    async ([, status, bytes]) => {
      expect(await exchangeRaw(server, bytesOf(bytes()))).toMatchObject({ status })
    },
  )
})

test('a second request behind a length that is too short is not taken for one of its own', async () => {
  const inner = get('/2.0/files/inbox/there').toString('latin1')
  const answer = await exchangeRaw(
    server,
    Buffer.concat([
      headOf('PUT', '/2.0/files/inbox/new', { ...basics(), ...form.headers, 'Content-Length': 3 }),
      Buffer.from(inner),
    ]),
  )
  expect(answer.text.match(/HTTP\/1\.1 \d{3}/g)).toHaveLength(1)
})

test('after all that, the server lives and has what it had', async () => {
  expect(server.isAlive(), server.log()).toBe(true)
  const names = (await client.list('inbox')).map(entry => entry.name)
  expect(names.filter(name => name !== 'new')).toEqual(['there'])
  expect(site.objects('staging')).toEqual([])
  const { status, output } = await site.entrepot('verify', '--content')
  expect(status, output).toBe(0)
})
