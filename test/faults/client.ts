/** Clients of the MFT API: one that behaves, and bare sockets for those that do not. */
import { request, Agent, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { account, type Server } from './server.ts'

/** An answer that takes longer counts as none: a server must never let its clients hang. */
const ANSWER_TIMEOUT_MS = 30_000

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

/** The envelope of answers. */
export interface Envelope {
  result?: string
  message?: string
  errorType?: string
  fileset?: number
}

export interface Entry {
  name: string
  sizeBytes: number
  fileset: number
}

export interface Client {
  server: Server
  cookie: string
  call(method: string, path: string, options?: { headers?: Record<string, string>; body?: Buffer }): Promise<Answer>
  put(path: string, content: Buffer): Promise<Answer>
  get(path: string): Promise<Answer>
  remove(path: string): Promise<Answer>
  /** Files of a directory. */
  list(path: string): Promise<Entry[]>
  close(): void
}

export function logIn(server: Server): Promise<Answer> {
  const body = Buffer.from(new URLSearchParams(account).toString())
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  return exchange({ url: `${server.url}/2.0/login/basic`, method: 'POST', headers, body })
}

/** The cookies of a new session, as the header `Cookie`. */
export async function signIn(server: Server): Promise<string> {
  const answer = await logIn(server)
  if (answer.status !== 200) throw new Error(`The login answered ${answer.status}: ${answer.body.toString()}`)
  return (answer.headers['set-cookie'] ?? []).map(cookie => cookie.split(';', 1)[0]).join('; ')
}

export function clientOf(server: Server, cookie: string): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const call: Client['call'] = (method, path, { headers = {}, body } = {}) =>
    exchange({ url: server.url + path, method, headers: { cookie, ...headers }, agent, ...(body && { body }) })
  return {
    server,
    cookie,
    call,
    put: (path, content) => call('PUT', `/2.0/files/${path}`, formOf(content)),
    get: path => call('GET', `/2.0/files/${path}`),
    remove: path => call('DELETE', `/2.0/files/${path}`),
    list: async path => parseListing(await call('GET', `/2.0/directories/${path}?type=files&limit=10000`)),
    close: () => agent.destroy(),
  }
}

interface Exchange {
  url: string
  method: string
  headers: Record<string, string>
  body?: Buffer
  agent?: Agent
}

/** Rejects where there is no whole answer. An answer that comes before the request was sent counts as one. */
function exchange({ url, body, ...options }: Exchange): Promise<Answer> {
  return new Promise((done, fail) => {
    const length = body && { 'content-length': String(body.length) }
    const sent = request(url, { ...options, headers: { ...options.headers, ...length } })
    sent.setTimeout(ANSWER_TIMEOUT_MS, () => sent.destroy(new Error(`No answer within ${ANSWER_TIMEOUT_MS} ms`)))
    sent.on('error', fail)
    sent.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', fail)
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        done({ status, headers, body: Buffer.concat(chunks) })
      })
      response.on('close', () => fail(new Error('The answer broke off')))
    })
    sent.end(body)
  })
}

interface Listing {
  files: { filename: string; fileset?: number; attributes: { size: string } }[]
}

function parseListing({ status, body }: Answer): Entry[] {
  if (status !== 200) throw new Error(`The listing answered ${status}: ${body.toString()}`)
  const { files } = JSON.parse(body.toString()) as Listing // the contract's shape
  return files.map(({ filename, fileset = 0, attributes }) => ({
    name: filename,
    fileset,
    sizeBytes: Number(attributes.size),
  }))
}

export const envelopeOf = ({ body }: Answer): Envelope => JSON.parse(body.toString()) as Envelope // the contract's shape

export const BOUNDARY = 'fault-7d2c1b9e'

/** A form with one file. */
export function formOf(content: Buffer, boundary = BOUNDARY) {
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="sent.bin"\r\n\r\n`
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: Buffer.concat([Buffer.from(head), content, Buffer.from(`\r\n--${boundary}--\r\n`)]),
  }
}

/** Request line and headers, each ended by CRLF, and the empty line. */
export function headOf(method: string, target: string, headers: Record<string, string | number>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}

/** An upload as it goes over the wire: head and body. */
export function uploadBytes({ server, cookie }: Client, path: string, content: Buffer): Buffer {
  const { headers, body } = formOf(content)
  const all = { Host: `127.0.0.1:${server.port}`, Cookie: cookie, ...headers, 'Content-Length': body.length }
  return Buffer.concat([headOf('PUT', `/2.0/files/${path}`, all), body])
}

export interface RawAnswer {
  /** Undefined where the server closed without a word. */
  status: number | undefined
  text: string
}

/** Sends bytes and takes what comes until the server closes; `then` may end or break off the client's side. */
export function exchangeRaw(
  { port }: Server,
  bytes: Buffer | string,
  then: (socket: Socket) => void | Promise<void> = () => {},
): Promise<RawAnswer> {
  return new Promise((done, fail) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    const chunks: Buffer[] = []
    const timer = setTimeout(() => {
      socket.destroy()
      const text = Buffer.concat(chunks).toString('latin1')
      fail(new Error(`The connection was still open after ${ANSWER_TIMEOUT_MS} ms, with: ${text}`))
    }, ANSWER_TIMEOUT_MS)
    socket.on('error', () => {}) // a reset is an answer too
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => socket.end())
    socket.on('close', () => {
      clearTimeout(timer)
      const text = Buffer.concat(chunks).toString('latin1')
      const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(text) ?? []
      done({ status: status === undefined ? undefined : Number(status), text })
    })
    socket.on('connect', () => socket.write(bytes, () => void then(socket)))
  })
}
