/** The parts of ICAP (RFC 3507) messages, as they come over a connection. */

const MAX_LINE_BYTES = 16 * 1024
const MAX_LINES = 200

export interface Head {
  status: number
  /** Names in lower case. */
  headers: ReadonlyMap<string, string>
}

export interface Reader {
  /** Status line and headers. Throws where the other side closes or answers something else. */
  head(protocol: 'ICAP' | 'HTTP'): Promise<Head>
  /** A body in chunks. */
  body(): AsyncIterable<Uint8Array>
}

export function openReader(incoming: AsyncIterable<Uint8Array>): Reader {
  const source = incoming[Symbol.asyncIterator]()
  let buffer: Buffer = Buffer.alloc(0)

  async function more(): Promise<void> {
    const next = await source.next()
    if (next.done) throw new Error('The ICAP service closed the connection in the middle of an answer')
    buffer = Buffer.concat([buffer, next.value])
  }

  async function line(): Promise<string> {
    let end = buffer.indexOf('\r\n')
    for (; end < 0; end = buffer.indexOf('\r\n')) {
      if (buffer.length > MAX_LINE_BYTES) throw new Error('The ICAP service answers lines without an end')
      await more()
    }
    const text = buffer.toString('latin1', 0, end)
    buffer = buffer.subarray(end + 2)
    return text
  }

  async function* take(length: number): AsyncGenerator<Uint8Array> {
    for (let missing = length; missing > 0;) {
      if (buffer.length === 0) await more()
      const piece = buffer.subarray(0, missing)
      buffer = buffer.subarray(piece.length)
      missing -= piece.length
      yield piece
    }
  }

  async function headers(): Promise<Map<string, string>> {
    const found = new Map<string, string>()
    for (let count = 0; count <= MAX_LINES; count++) {
      const text = await line()
      if (text === '') return found
      const colon = text.indexOf(':')
      if (colon > 0) found.set(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim())
    }
    throw new Error('The ICAP service answers with too many headers')
  }

  return {
    async head(protocol) {
      const first = await line()
      const status = new RegExp(`^${protocol}/\\d\\.\\d (\\d{3})`).exec(first)?.[1]
      if (!status) throw new Error(`The ICAP service answers: ${first.slice(0, 100)}`)
      return { status: Number(status), headers: await headers() }
    },
    async *body() {
      for (;;) {
        const size = /^[\da-f]{1,12}(?=\s*(;|$))/i.exec(await line())?.[0]
        if (!size) throw new Error('The ICAP service answers chunks without a length')
        if (parseInt(size, 16) === 0) break
        yield* take(parseInt(size, 16))
        await line()
      }
      await headers()
    },
  }
}

/** One chunk of a body. */
export const chunkOf = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])

export const lastChunk = '0\r\n\r\n'
/** Ends a preview that was the whole body. */
export const lastChunkOfAll = '0; ieof\r\n\r\n'
