/** The API over real connections, byte for byte as clients send it. */
import { connect, type AddressInfo } from 'node:net'
import { expect } from 'vitest'
import { test as base, type MftWorld } from '#test/mft-world.ts'

interface Raw {
  status: number
  /** Header lines as they came. */
  head: string[]
  body: string
}

/** Sends bytes, reads until the server closes. */
function exchange(port: number, request: string | Buffer, { hangUp = false } = {}): Promise<Raw> {
  const { promise, resolve, reject } = Promise.withResolvers<Raw>()
  const chunks: Buffer[] = []
  const socket = connect(port, '127.0.0.1', () => {
    socket.write(request)
    if (hangUp) socket.end()
  })
  socket.on('data', chunk => chunks.push(Buffer.from(chunk))).on('error', reject)
  socket.on('close', () => {
    const [head = '', ...body] = Buffer.concat(chunks).toString().split('\r\n\r\n')
    resolve({ status: Number(head.slice(9, 12)), head: head.split('\r\n').slice(1), body: body.join('\r\n\r\n') })
  })
  return promise
}

const test = base.extend<{ port: number }>({
  port: async ({ mft }, use) => {
    await mft.app.listen({ host: '127.0.0.1', port: 0 })
    await use((mft.app.server.address() as AddressInfo).port) // it listens on a port, not on a pipe
  },
})

const lines = (...text: string[]) => `${text.join('\r\n')}\r\n\r\n`
const get = (path: string, cookie: string) =>
  lines(`GET ${path} HTTP/1.1`, 'Host: mft.example:81', `Cookie: ${cookie}`, 'Connection: close')

function put(path: string, cookie: string, body: string, ...more: string[]): string {
  const head = [
    `PUT ${path} HTTP/1.1`,
    'Host: x',
    `Cookie: ${cookie}`,
    'Connection: close',
    'Content-Type: multipart/form-data; boundary=b1',
  ]
  return lines(...head, `Content-Length: ${Buffer.byteLength(body)}`, ...more) + body
}
const part = (content: string) =>
  lines('--b1', 'Content-Disposition: form-data; name="file"; filename="x"', 'Content-Type: text/plain') + content
const form = (content: string) => `${part(content)}\r\n--b1--\r\n`

test('a login sets two cookies in two headers, and they come back as they are', async ({ port }) => {
  const body = 'username=partner&password=correct+horse+battery'
  const type = 'Content-Type: application/x-www-form-urlencoded'
  const login = await exchange(
    port,
    lines('POST /2.0/login/basic HTTP/1.1', 'Host: x', 'Connection: close', type, `Content-Length: ${body.length}`) +
      body,
  )
  const cookies = login.head.filter(line => /^set-cookie:/i.test(line)).map(line => line.slice('set-cookie: '.length))
  expect(login).toMatchObject({ status: 200, body: '{"result":"ok"}' })
  expect(cookies).toEqual([
    'sp-http-usr=partner;Version=1;Path=/;HttpOnly',
    expect.stringMatching(/^sp-http-ses=[A-Za-z0-9+/]{22}==;Version=1;Path=\/;HttpOnly$/),
  ])
  const list = await exchange(port, get('/2.0/directories', cookies.map(cookie => cookie.split(';')[0]).join('; ')))
  expect(list.status).toBe(200)
  expect(list.body).toContain('"uri":"http://mft.example:81/2.0/directories/inbox"')
})

test('an upload in small pieces arrives whole', async ({ port, mft }) => {
  const body = form('one\r\n--b\r\ntwo')
  const request = put('/2.0/files/inbox/x', mft.cookies.partner, body)
  const socket = connect(port, '127.0.0.1')
  for (let at = 0; at < request.length; at += 7) {
    socket.write(request.slice(at, at + 7))
    await new Promise(resolve => setImmediate(resolve))
  }
  await new Promise(resolve => socket.resume().on('close', resolve))
  expect((await exchange(port, get('/2.0/files/inbox/x', mft.cookies.partner))).body).toBe('one\r\n--b\r\ntwo')
})

test('a client that leaves in the middle, or promises more than it sends, stores nothing', async ({ port, mft }) => {
  for (const body of [part('half'), form('whole')]) {
    const request = put('/2.0/files/inbox/gone', mft.cookies.partner, body).replace(
      /Content-Length: (\d+)/,
      (_, n: string) => `Content-Length: ${Number(n) + 10}`,
    )
    await exchange(port, request, { hangUp: true })
  }
  expect((await exchange(port, get('/2.0/files/inbox/gone', mft.cookies.partner))).status).toBe(404)
  expect(await sizesOf(mft)).toEqual([])
})

const sizesOf = (mft: MftWorld) => mft.world.deps.database.read.selectFrom('version').select('sizeBytes').execute()

test.for([
  '/2.0/files/inbox/../x',
  '/2.0/files/inbox/%2e%2e/x',
  '/2.0/files/inbox/%2e%2E%2fx',
  '/2.0/files/..%2f..%2fetc/passwd',
  '/2.0/files/inbox/.',
  '/2.0/files/inbox/%c0%ae%c0%ae/x',
  '/2.0/files/inbox/%',
  '/2.0/files/inbox/%zz',
  '/2.0/files/inbox/%u002e',
  '/2.0/files/inbox/a%00.txt',
  '/2.0/files//inbox/x',
  '/2.0/files/inbox//x',
  '/2.0/files/./inbox/x',
  '/2.0/files/inbox/%ed%a0%80',
])('%s is refused, and for strangers it is 401', async (path, { port, mft }) => {
  expect(await exchange(port, get(path, mft.cookies.partner))).toMatchObject({
    status: 400,
    body: expect.stringContaining('request_syntax'),
  })
  expect(await exchange(port, put(path, mft.cookies.partner, form('x')))).toMatchObject({ status: 400 })
  expect((await exchange(port, get(path, 'none=x'))).status).toBe(401)
})

test('a path that leaves the API leaves it: it is no operation', async ({ port, mft }) => {
  const answer = await exchange(port, get('/2.0/../2.0/files/x', mft.cookies.partner))
  expect(answer).toMatchObject({ status: 404, body: expect.stringContaining('"No such operation"') })
})

test('all spellings of an address name the same file', async ({ port, mft }) => {
  expect(
    (await exchange(port, put('/2.0/files/inbox/%C3%A4%20%252F+.txt', mft.cookies.partner, form('ä')))).status,
  ).toBe(201)
  const whole = get('http://elsewhere/2.0/files/inbox/%c3%a4%20%252F%2B.txt', mft.cookies.partner)
  expect((await exchange(port, whole)).body).toBe('ä')
  expect((await exchange(port, get('/2.0/%66iles/inbox/%C3%A4%20%252F+.txt', mft.cookies.partner))).body).toBe('ä')
})

test('a host that is no host does not get into answers', async ({ port, mft }) => {
  const request = get('/2.0/directories', mft.cookies.partner).replace('mft.example:81', 'evil"/><x>')
  expect((await exchange(port, request)).body).toContain('"uri":"http://localhost/2.0/directories"')
})

test('a name with everything that HTTP finds hard comes back in the header', async ({ port, mft }) => {
  const path = '/2.0/files/inbox/%22a%3B%20%C3%A4%27%25.txt'
  expect((await exchange(port, put(path, mft.cookies.partner, form('x')))).status).toBe(201)
  const { head } = await exchange(port, get(path, mft.cookies.partner))
  expect(head.find(line => /^content-disposition/i.test(line))).toContain("filename*=UTF-8''%22a%3B%20%C3%A4%27%25.txt")
})
