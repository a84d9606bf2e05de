/**
 * A lean HTTP/1.1 client over one keepalive socket: hand-written requests, minimal parsing of answers. A full client
 * would cost more per request than the servers it is to measure.
 */
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'

/** How to speak to a started server; plain values, so that it can be sent to the load's own Node. */
export interface Wire {
  port: number
  /** What stands before a file's path in an address. */
  filesPath: string
  /** Header lines that every request carries, each ended by CRLF. */
  headers: string
  /** Uploads are one multipart part instead of the bare bytes. */
  multipart: boolean
}

export interface Answer {
  status: number
  head: string
  bodyBytes: number
}

type OnBody = (part: Buffer) => void
/** Takes body bytes; answers what follows the end of the body, or undefined while it goes on. */
type Body = (bytes: Buffer) => Buffer | undefined

const readBufferBytes = 1024 * 1024
const empty = Buffer.alloc(0)

function lengthBody(totalBytes: number, onBody: OnBody): Body {
  let left = totalBytes
  return bytes => {
    const part = bytes.subarray(0, left)
    left -= part.length
    if (part.length > 0) onBody(part)
    return left === 0 ? bytes.subarray(part.length) : undefined
  }
}

function chunkedBody(onBody: OnBody): Body {
  let line = ''
  let left = 0
  let expected: 'size' | 'end of chunk' | 'trailer' = 'size'
  return bytes => {
    let rest = bytes
    while (rest.length > 0) {
      if (left > 0) {
        const part = rest.subarray(0, left)
        left -= part.length
        rest = rest.subarray(part.length)
        onBody(part)
        continue
      }
      const end = rest.indexOf('\n')
      line += rest.toString('latin1', 0, end === -1 ? rest.length : end)
      if (end === -1) return undefined
      rest = rest.subarray(end + 1)
      const text = line.trim()
      line = ''
      if (expected === 'trailer' && text === '') return rest
      if (expected === 'size') left = parseInt(text, 16)
      if (expected !== 'trailer')
        expected = expected === 'end of chunk' ? 'size' : left > 0 ? 'end of chunk' : 'trailer'
    }
    return undefined
  }
}

function bodyOf(head: string, status: number, onBody: OnBody): Body {
  if (status === 204 || status === 304) return lengthBody(0, onBody)
  const length = /^content-length: *(\d+)/im.exec(head)
  if (length) return lengthBody(Number(length[1]), onBody)
  if (/^transfer-encoding: *chunked/im.test(head)) return chunkedBody(onBody)
  throw new Error(`answer without a length: ${head}`)
}

/** Cuts a byte stream into answers. Parts given to `onBody` are only valid during the call. */
function createReader(onAnswer: (answer: Answer) => void, onBody: OnBody): (bytes: Buffer) => void {
  let unfinishedHead = empty
  let answer: Answer = { status: 0, head: '', bodyBytes: 0 }
  let body: Body | undefined
  const startBody = (bytes: Buffer): Buffer => {
    const all = unfinishedHead.length > 0 ? Buffer.concat([unfinishedHead, bytes]) : bytes
    const end = all.indexOf('\r\n\r\n')
    unfinishedHead = end === -1 ? Buffer.from(all) : empty
    if (end === -1) return empty
    const head = all.toString('latin1', 0, end)
    const current = (answer = { status: Number(head.slice(9, 12)), head, bodyBytes: 0 })
    if (current.status >= 200) {
      body = bodyOf(head, current.status, part => {
        current.bodyBytes += part.length
        onBody(part)
      })
    }
    return all.subarray(end + 4)
  }
  return bytes => {
    let rest = bytes
    while (rest.length > 0) {
      if (!body) rest = startBody(rest)
      const after = body?.(rest)
      if (body && !after) return
      if (!after) continue
      body = undefined
      onAnswer(answer)
      rest = after
    }
  }
}

/** One socket, one request at a time. */
export class Connection implements Disposable {
  readonly #socket: Socket
  #waiting: PromiseWithResolvers<Answer> | undefined
  #failure: Error | undefined

  constructor(port: number, onBody: OnBody = () => {}) {
    const buffer = Buffer.allocUnsafe(readBufferBytes)
    const read = createReader(answer => this.#settle(answer), onBody)
    // The types do not know that a socket takes the options of its streams too.
    const options: TcpNetConnectOpts & { writableHighWaterMark: number } = {
      host: '127.0.0.1',
      port,
      noDelay: true,
      writableHighWaterMark: 2 * readBufferBytes,
      onread: {
        buffer,
        callback: count => {
          try {
            read(buffer.subarray(0, count))
          } catch (error) {
            this.#socket.destroy(error instanceof Error ? error : new Error(String(error)))
          }
          return true
        },
      },
    }
    this.#socket = connect(options)
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')))
  }

  /** Sends part of a request; resolves when more may follow, at the latest when the answer is there. */
  async write(bytes: Buffer | string): Promise<void> {
    if (this.#failure) throw this.#failure
    if (this.#socket.write(bytes)) return
    await new Promise<void>(resolve => {
      const done = () => {
        this.#socket.off('drain', done).off('close', done)
        resolve()
      }
      this.#socket.on('drain', done).on('close', done)
    })
  }

  /** The answer to what was written; rejects when the connection breaks first. */
  answer(): Promise<Answer> {
    if (this.#failure) return Promise.reject(this.#failure)
    this.#waiting = Promise.withResolvers<Answer>()
    return this.#waiting.promise
  }

  /** Sends a whole request. The bytes may be reused once the answer is there. Throws unless the status is 2xx. */
  async request(bytes: Buffer | string): Promise<Answer> {
    const answered = this.answer()
    this.#socket.write(bytes)
    return expectSuccess(await answered)
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  #settle(answer: Answer): void {
    if (!this.#waiting) return this.#fail(new Error(`answered too early: ${answer.head}`))
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting.resolve(answer)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
    this.#waiting = undefined
  }
}

export function expectSuccess(answer: Answer): Answer {
  if (answer.status < 200 || answer.status > 299) throw new Error(`refused: ${answer.head.split('\r\n')[0]}`)
  return answer
}

/** Request line and headers of a request; a length of 0 sends no body. */
export function requestHead(wire: Wire, method: string, address: string, headers = ''): string {
  return `${method} ${address} HTTP/1.1\r\nHost: 127.0.0.1:${wire.port}\r\n${wire.headers}${headers}\r\n`
}

/** What comes before and after the content of an upload. */
export function uploadFrame(wire: Wire, path: string, sizeBytes: number): { before: string; after: string } {
  const address = `${wire.filesPath}/${path}`
  if (!wire.multipart)
    return { before: requestHead(wire, 'PUT', address, `Content-Length: ${sizeBytes}\r\n`), after: '' }
  const boundary = 'bench-5f0c9a1be7d24c6a'
  const part = 'Content-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: application/octet-stream'
  const opening = `--${boundary}\r\n${part}\r\n\r\n`
  const after = `\r\n--${boundary}--\r\n`
  const length = opening.length + sizeBytes + after.length
  const headers = `Content-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${length}\r\n`
  return { before: requestHead(wire, 'PUT', address, headers) + opening, after }
}

/** Removes a file; answers once the server has. */
export async function removeFile(wire: Wire, path: string): Promise<void> {
  using connection = new Connection(wire.port)
  await connection.request(requestHead(wire, 'DELETE', `${wire.filesPath}/${path}`))
}
