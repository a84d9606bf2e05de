/** Clients that leave, stall, count wrong and lie about their forms. */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { BOUNDARY, clientOf, exchangeRaw, formOf, headOf, signIn, type Client } from './client.ts'
import { eventually, openFiles, openSite, type Server, type Site } from './server.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const STALL_SECONDS = 1

let site: Site
let server: Server
let client: Client

beforeAll(async () => {
  site = await openSite({ env: { ENTREPOT_STALL_TIMEOUT: `${STALL_SECONDS}s` } })
  server = await site.start()
  client = clientOf(server, await signIn(server))
})

afterAll(async () => {
  client?.close()
  await site?.[Symbol.asyncDispose]()
})

/** Whatever a client did: nobody sees a file, nothing is left of it, and the name can be used at once. */
const afterwards = async (name: string) => {
  expect(server.isAlive(), server.log()).toBe(true)
  client.close()
  await eventually('no stage is left', () => site.objects('staging').length === 0)
  if (process.platform === 'linux') {
    await eventually('its connection is closed', () => openFiles(server.pid, server.port).connections === 0)
  }
  expect((await client.list('inbox')).map(entry => entry.name)).not.toContain(name)
  expect((await client.put(`inbox/${name}`, Buffer.from('whole'))).status).toBe(201)
}

let names = 0
let name: string
beforeEach(() => {
  name = `file-${(names += 1)}`
})

const large = randomBytes(400_000)
const basics = () => ({ Host: `127.0.0.1:${server.port}`, Cookie: client.cookie, Connection: 'close' })
const upload = (headers: Record<string, string | number>, body: Buffer | string) =>
  Buffer.concat([headOf('PUT', `/2.0/files/inbox/${name}`, { ...basics(), ...headers }), bytesOf(body)])
const bytesOf = (body: Buffer | string) => (typeof body === 'string' ? Buffer.from(body, 'latin1') : body)
const formType = { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}` }
/** A body of that form with its true length. */
const formBody = (body: Buffer | string) => upload({ ...formType, 'Content-Length': bytesOf(body).length }, body)

describe.for([
  ['small', Buffer.from('content')],
  ['large', large],
] as const)('a %s upload', ([, content]) => {
  const { body } = formOf(content)
  const half = body.subarray(0, body.length / 2)

  test('that breaks off in its middle stores nothing', async () => {
    const sent = upload({ ...formType, 'Content-Length': body.length }, half)
    await exchangeRaw(server, sent, socket => void socket.destroy())
    await afterwards(name)
  })

  test('that is reset in its middle stores nothing', async () => {
    const sent = upload({ ...formType, 'Content-Length': body.length }, half)
    await exchangeRaw(server, sent, socket => void socket.resetAndDestroy())
    await afterwards(name)
  })

  test('whose client stops sending, but stays to hear, stores nothing', async () => {
    const sent = upload({ ...formType, 'Content-Length': body.length }, half)
    const { status } = await exchangeRaw(server, sent, socket => void socket.end())
    expect(status ?? 400).toBe(400)
    await afterwards(name)
  })

  test('that is shorter than its length is ended by the stall timeout and stores nothing', async () => {
    const { status } = await exchangeRaw(server, upload({ ...formType, 'Content-Length': body.length + 10 }, body))
    expect(status ?? 408).toBe(408)
    await afterwards(name)
  })

  test('that is longer than its length stores nothing', async () => {
    const { status } = await exchangeRaw(server, upload({ ...formType, 'Content-Length': body.length - 10 }, body))
    expect(status).toBe(400)
    await afterwards(name)
  })

  test('that stalls in its middle is ended by the stall timeout and stores nothing', async () => {
    const { status } = await exchangeRaw(server, upload({ ...formType, 'Content-Length': body.length }, half))
    expect(status ?? 408).toBe(408)
    await afterwards(name)
  })

  test('that is slow, but moves, is taken', async () => {
    const sent = upload({ ...formType, 'Content-Length': body.length }, body)
    const pieces = 7 // together they take longer than the timeout
    const size = Math.ceil(sent.length / pieces)
    const answer = await exchangeRaw(server, sent.subarray(0, size), async socket => {
      for (let n = 1; n < pieces; n += 1) {
        await sleep((STALL_SECONDS * 1000) / 5)
        socket.write(sent.subarray(n * size, (n + 1) * size))
      }
    })
    expect(answer.status).toBe(201)
    expect((await client.get(`inbox/${name}`)).body.equals(content)).toBe(true)
  })

  test('without a session is refused and stores nothing', async () => {
    const sent = upload({ ...formType, 'Content-Length': body.length, Cookie: 'sp-http-usr=partner5' }, body)
    expect(await exchangeRaw(server, sent)).toMatchObject({ status: 401 })
    await afterwards(name)
  })
})

const disposition = 'Content-Disposition: form-data; name="file"; filename="f"'
const part = (head: string, content: string) => `--${BOUNDARY}\r\n${head}\r\n\r\n${content}\r\n`
const end = `--${BOUNDARY}--\r\n`

const lies: [what: string, body: string][] = [
  ['is empty', ''],
  ['has no boundary at all', 'just text'],
  ['has only the last boundary', end],
  ['ends without its last boundary', part(disposition, 'content')],
  ['ends in its last boundary', part(disposition, 'content') + end.slice(0, -5)],
  ['has another boundary than it says', (part(disposition, 'content') + end).replaceAll(BOUNDARY, 'other')],
  ['has no part called file', part('Content-Disposition: form-data; name="other"', 'content') + end],
  ['has two parts called file', part(disposition, 'one') + part(disposition, 'two') + end],
  ['has a part without a head', `--${BOUNDARY}\r\n\r\ncontent\r\n${end}`],
  ['has a part without a disposition', part('Content-Type: text/plain', 'content') + end],
  ['has a disposition without a name', part('Content-Disposition: form-data', 'content') + end],
  ['has a part that is an attachment', part('Content-Disposition: attachment; name="file"', 'x') + end],
  ['has the head of a part without an end', `--${BOUNDARY}\r\n${disposition}\r\n`],
  ['has a head of 100 KiB', part(`${disposition}\r\nX-Long: ${'x'.repeat(102_400)}`, 'content') + end],
  ['has 10,000 headers in a part', part(`${disposition}\r\n${'X: y\r\n'.repeat(10_000)}X: z`, 'c') + end],
  [
    'has 200 parts before the file',
    part(disposition.replace('file', 'o'), '').repeat(200) + part(disposition, 'c') + end,
  ],
  ['has a NUL in a head', part(`${disposition}\r\nX: a\0b`, 'content') + end],
  ['has bare line feeds', (part(disposition, 'content') + end).replaceAll('\r\n', '\n')],
  ['goes on after its boundary line', `--${BOUNDARY}junk\r\n${disposition}\r\n\r\ncontent\r\n${end}`],
  ['claims base64', part(`${disposition}\r\nContent-Transfer-Encoding: base64`, 'Y29udGVudA==') + end],
]

test.for(lies)('a form that %s is refused and stores nothing', async ([, body]) => {
  const { status, text } = await exchangeRaw(server, formBody(body))
  expect({ status, text }).toMatchObject({ status: 400 })
  expect(text).toContain('"result":"failed"')
  await afterwards(name)
})

test('a form that is cut off at any place of its structure, and says so in its length, is refused', async () => {
  const whole = formOf(Buffer.from('content')).body
  const needed = whole.length - '\r\n'.length // the last line break may be missing
  for (let length = 0; length < needed; length += 1) {
    expect(await exchangeRaw(server, formBody(whole.subarray(0, length)))).toMatchObject({ status: 400 })
  }
  await afterwards(name)
})

test('what looks like a boundary in the content is content', async () => {
  const tricks = [
    `--${BOUNDARY}`,
    `\r\n--${BOUNDARY.slice(0, -1)}`,
    `\n--${BOUNDARY}--\r\n`,
    `\r\n-${BOUNDARY}`,
    '\r\n--',
    '\r\n',
  ]
  const content = Buffer.from(`x${tricks.join('x')}${'\r\n-'.repeat(50_000)}`)
  expect((await client.put(`inbox/${name}`, content)).status).toBe(201)
  expect((await client.get(`inbox/${name}`)).body.equals(content)).toBe(true)
})

test('a real boundary in the content ends the file, and what follows is no file', async () => {
  const content = `first\r\n--${BOUNDARY}\r\nsecond`
  expect(await exchangeRaw(server, formBody(part(disposition, content) + end))).toMatchObject({ status: 400 })
  await afterwards(name)
})

const types = [
  ['no content type', {}],
  ['a form without a boundary', { 'Content-Type': 'multipart/form-data' }],
  ['an empty boundary', { 'Content-Type': 'multipart/form-data; boundary=' }],
  ['a boundary of 200 characters', { 'Content-Type': `multipart/form-data; boundary=${'b'.repeat(200)}` }],
  ['a boundary with line breaks', { 'Content-Type': 'multipart/form-data; boundary="a\\\r\\\nb"' }],
  ['JSON', { 'Content-Type': 'application/json' }],
  ['a form of another kind', { 'Content-Type': `multipart/mixed; boundary=${BOUNDARY}` }],
] as const

test.for(types)('an upload with %s is refused and stores nothing', async ([, type]) => {
  const { body } = formOf(Buffer.from('content'))
  expect(await exchangeRaw(server, upload({ ...type, 'Content-Length': body.length }, body))).toMatchObject({
    status: 400,
  })
  await afterwards(name)
})

const chunked = (text: string) => upload({ ...formType, 'Transfer-Encoding': 'chunked' }, text)
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const wholeForm = part(disposition, 'content') + end

describe('an upload in chunks', () => {
  test('is taken', async () => {
    const pieces = [wholeForm.slice(0, 30), wholeForm.slice(30)].map(chunk).join('')
    expect(await exchangeRaw(server, chunked(`${pieces}0\r\n\r\n`))).toMatchObject({ status: 201 })
    expect((await client.get(`inbox/${name}`)).body.toString()).toBe('content')
  })

  const broken = [
    ['a size that is no number', `zz\r\n${wholeForm}\r\n0\r\n\r\n`],
    ['a negative size', `-5\r\n${wholeForm}\r\n0\r\n\r\n`],
    ['a size beyond all numbers', `${'f'.repeat(40)}\r\n${wholeForm}`],
    ['a chunk that is longer than its size', `5\r\n${wholeForm}\r\n0\r\n\r\n`],
    ['a last chunk in the middle of the form', `${chunk(wholeForm.slice(0, 60))}0\r\n\r\n`],
    ['a size line without an end', `${chunk(wholeForm)}${'0'.repeat(100_000)}`],
    ['an extension of 100 KiB', `5;x=${'y'.repeat(102_400)}\r\nhello\r\n0\r\n\r\n`],
  ] as const
  test.for(broken)('with %s is refused and stores nothing', async ([, text]) => {
    const { status } = await exchangeRaw(server, chunked(text))
    expect([400, 408, 413, 431, undefined]).toContain(status)
    await afterwards(name)
  })

  test('whose last chunk never comes is ended by the stall timeout and stores nothing', async () => {
    const { status } = await exchangeRaw(server, chunked(chunk(wholeForm)))
    expect(status ?? 408).toBe(408)
    await afterwards(name)
  })
})

test.skipIf(process.platform !== 'linux')('a download that nobody takes is ended by the stall timeout', async () => {
  expect((await client.put(`inbox/${name}`, randomBytes(20_000_000))).status).toBe(201)
  client.close()
  const open = () => openFiles(server.pid, server.port)
  const head = headOf('GET', `/2.0/files/inbox/${name}`, basics())
  const paused = Promise.withResolvers<Socket>()
  const taken = exchangeRaw(server, head, socket => paused.resolve(socket.pause()))
  await eventually('the download runs', () => open().objects === 1)
  await eventually('its connection is closed', () => open().connections === 0)
  expect(open().objects).toBe(0)
  // The client finds out when it looks again.
  ;(await paused.promise).resume()
  expect((await taken).text.length).toBeLessThan(20_000_000)
})

test('a client that connects and says nothing is sent away', async () => {
  expect((await exchangeRaw(server, '')).status ?? 408).toBe(408)
})

test('half a request line is sent away', async () => {
  expect((await exchangeRaw(server, 'GET /2.0/files')).status ?? 408).toBe(408)
})

test('after all that, what is stored is sound', async () => {
  const { status, output } = await site.entrepot('verify', '--content')
  expect(status, output).toBe(0)
  expect(output).not.toContain('without a row')
})
