import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Connection } from './connection.ts'

async function send(socket: Socket, answer: string, pieceBytes: number): Promise<void> {
  for (let n = 0; n < answer.length; n += pieceBytes) {
    socket.write(answer.slice(n, n + pieceBytes))
    await turn()
  }
}

/** Answers every request with these bytes, cut into pieces. */
async function serve(answer: string, pieceBytes: number) {
  const server = createServer({ noDelay: true }, socket => {
    socket.on('error', () => socket.destroy())
    socket.on('data', () => void send(socket, answer, pieceBytes))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  // An address is a text only for sockets in the file system.
  const { port } = server.address() as AddressInfo
  return { port, [Symbol.dispose]: () => void server.close() }
}

const sized = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
const chunked =
  'HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n'
const continued = `HTTP/1.1 100 Continue\r\n\r\n${sized}`

test.for([
  ['a length', sized],
  ['chunks', chunked],
  ['an interim answer', continued],
])('an answer with %s is read whole however it is cut', async ([, answer]) => {
  for (const pieceBytes of [1, 2, 7, 1000]) {
    using server = await serve(answer ?? '', pieceBytes)
    let body = ''
    using connection = new Connection(server.port, part => (body += part.toString()))
    for (const round of [1, 2]) {
      const { bodyBytes } = await connection.request('GET / HTTP/1.1\r\n\r\n')
      expect([bodyBytes, body]).toEqual([5, 'hello'.repeat(round)])
    }
  }
})

test('a refusal is an error with its status line', async () => {
  using server = await serve('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', 1000)
  using connection = new Connection(server.port)
  await expect(connection.request('GET / HTTP/1.1\r\n\r\n')).rejects.toThrow('HTTP/1.1 404 Not Found')
})

test('an answer that does not say where it ends is an error', async () => {
  using server = await serve('HTTP/1.1 200 OK\r\n\r\nhello', 1000)
  using connection = new Connection(server.port)
  await expect(connection.request('GET / HTTP/1.1\r\n\r\n')).rejects.toThrow('answer without a length')
})
