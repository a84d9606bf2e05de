/** A server on a free port that behaves as a test says, for engines that are reached over a connection. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

interface EngineServer {
  /** Host and port. */
  address: string
  /** The connections there are. */
  sockets: ReadonlySet<Socket>
  server: Server
}

/** Ends with the test. */
export async function engineServer(serve: (socket: Socket) => void): Promise<EngineServer> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { address: `127.0.0.1:${address && typeof address === 'object' ? address.port : 0}`, sockets, server }
}
