import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import type { FastifyInstance } from 'fastify'
import { addHealth } from '#http/health.ts'
import { createServer, type DoneRequest, type ServerOptions } from '#http/server.ts'

const open: FastifyInstance[] = []
afterEach(async () => {
  for (const app of open.splice(0)) {
    app.server.closeAllConnections()
    await app.close()
  }
})

/** A server with `GET /x`, `PUT /file` that never ends, `GET /stream`, and what its observer saw. */
function testServer(options: Partial<ServerOptions> = {}) {
  const done: DoneRequest[] = []
  const transfers: string[] = []
  const app = createServer({
    log: pino({ level: 'silent' }),
    newId: () => 'request-1',
    trustedProxies: [],
    stallTimeoutMs: 10_000,
    strictTransport: false,
    loggedUrl: url => url,
    observer: {
      requestDone: facts => void done.push(facts),
      transferStarted: direction => void transfers.push(`${direction} started`),
      transferEnded: direction => void transfers.push(`${direction} ended`),
    },
    ...options,
  })
  app.get('/x', { config: { dialect: 'test' } }, request => ({
    address: request.ip,
    host: request.host,
    scheme: request.protocol,
  }))
  app.addContentTypeParser('application/octet-stream', (_request, body, parsed) => parsed(null, body))
  app.put('/file', async request => {
    for await (const _ of request.body as Readable);
    return 'ok'
  })
  app.get('/stream', () => Readable.from(['a', 'b']))
  open.push(app)
  return { app, done, transfers }
}

async function listen(app: FastifyInstance): Promise<Socket> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

test('every answer has the security headers and the id of its request', async () => {
  const { app } = testServer()
  for (const url of ['/x', '/nowhere']) {
    const { headers } = await app.inject(url)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-request-id': 'request-1',
    })
    expect(headers).not.toHaveProperty('strict-transport-security')
  }
})

test('browsers are told to stay with HTTPS where clients use it', async () => {
  const { app } = testServer({ strictTransport: true })
  expect((await app.inject('/x')).headers).toHaveProperty('strict-transport-security')
})

test('a request id that a client sends is not taken over', async () => {
  const { app } = testServer()
  const { headers } = await app.inject({ url: '/x', headers: { 'x-request-id': 'forged', 'request-id': 'forged' } })
  expect(headers['x-request-id']).toBe('request-1')
})

const forwarded = {
  'x-forwarded-for': '203.0.113.9',
  'x-forwarded-host': 'files.example.com',
  'x-forwarded-proto': 'https',
}

test('forwarded addresses count only from a trusted proxy', async () => {
  const { app: trusting } = testServer({ trustedProxies: ['10.0.0.0/8'] })
  const ask = async (app: FastifyInstance, remoteAddress: string) =>
    (await app.inject({ url: '/x', headers: forwarded, remoteAddress })).json<object>()
  expect(await ask(trusting, '10.1.2.3')).toEqual({
    address: '203.0.113.9',
    host: 'files.example.com',
    scheme: 'https',
  })
  expect(await ask(trusting, '192.0.2.1')).toMatchObject({ address: '192.0.2.1', scheme: 'http' })
  expect(await ask(testServer().app, '10.1.2.3')).toMatchObject({ address: '10.1.2.3', scheme: 'http' })
})

test('an encoded path of 8,000 characters finds its route', async () => {
  const { app } = testServer()
  app.get('/path/:name', () => 'found')
  expect((await app.inject(`/path/${'%C3%A4'.repeat(1333)}`)).body).toBe('found')
})

test('a request is reported once it is over, with its API, status and bytes', async () => {
  const { app, done } = testServer()
  const socket = await listen(app)
  socket.write('GET /x HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(socket, 'data')
  await expect.poll(() => done).toMatchObject([{ dialect: 'test', operation: 'none', status: 200 }])
  expect(done[0]?.receivedBytes).toBe(28)
  expect(done[0]?.sentBytes).toBeGreaterThan(100)
  socket.destroy()
})

test('a client that vanishes while it sends a file ends the transfer and counts as aborted', async () => {
  const { app, done, transfers } = testServer()
  const socket = await listen(app)
  socket.write(
    'PUT /file HTTP/1.1\r\nhost: a\r\ncontent-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf',
  )
  await expect.poll(() => transfers).toEqual(['up started'])
  socket.destroy()
  await expect.poll(() => transfers).toEqual(['up started', 'up ended'])
  expect(done).toMatchObject([{ status: 'aborted' }])
})

test('a body that is streamed out counts as a transfer', async () => {
  const { app, transfers } = testServer()
  const socket = await listen(app)
  socket.write('GET /stream HTTP/1.1\r\nhost: a\r\n\r\n')
  await expect.poll(() => transfers).toEqual(['down started', 'down ended'])
  socket.destroy()
})

test('a client that stalls in the middle of a file is cut off', async () => {
  const { app, transfers } = testServer({ stallTimeoutMs: 100 })
  const socket = await listen(app)
  socket.write(
    'PUT /file HTTP/1.1\r\nhost: a\r\ncontent-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf',
  )
  await once(socket, 'close')
  await expect.poll(() => transfers).toEqual(['up started', 'up ended'])
})

test('liveness does not depend on readiness', async () => {
  const { app } = testServer()
  addHealth(app, { checkReady: () => Promise.reject(new Error('disk full: /secret/place')) })
  expect((await app.inject('/healthz')).json()).toEqual({ status: 'ok' })
  const { statusCode, body } = await app.inject('/readyz')
  expect(statusCode).toBe(503)
  expect(body).not.toContain('secret')
})

test('many questions for readiness cost one check', async () => {
  const { app } = testServer()
  let checks = 0
  addHealth(app, { checkReady: async () => void (checks += 1) })
  const answers = await Promise.all(Array.from({ length: 20 }, () => app.inject('/readyz')))
  expect(answers.every(answer => answer.statusCode === 200)).toBe(true)
  expect(checks).toBe(1)
})
