/** A relay in front of a service, for tests that cut connections or take the service away. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy extends AsyncDisposable {
  /** The service's address by way of the relay. */
  url: string
  /** Connections that are open now. */
  readonly open: number
  /** The next `times` connections are cut once the service has sent that many bytes on each. */
  cutAfter(bytes: number, times: number): void
  /** Cuts all connections and takes no new ones. */
  down(): Promise<void>
  up(): Promise<void>
}

export async function startProxy(target: string): Promise<TcpProxy> {
  const { hostname, port, protocol } = new URL(target)
  const sockets = new Set<Socket>()
  const cuts: number[] = []

  const server = createServer(client => {
    const upstream = connect(Number(port), hostname)
    const end = () => {
      client.destroy()
      upstream.destroy()
      sockets.delete(client)
    }
    sockets.add(client)
    for (const side of [client, upstream]) side.on('error', end).on('close', end)
    let sent = 0
    upstream.on('data', chunk => {
      sent += chunk.length
      const [limit = Infinity] = cuts
      if (sent < limit) return void client.write(chunk)
      cuts.shift()
      end()
    })
    client.pipe(upstream)
  })

  const listen = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
  }
  await listen(0)
  const address = server.address()
  const own = address && typeof address === 'object' ? address.port : 0
  const down = async () => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await new Promise(resolve => server.close(resolve))
  }
  return {
    url: `${protocol}//127.0.0.1:${own}`,
    get open() {
      return sockets.size
    },
    cutAfter: (bytes, times) => void cuts.push(...Array.from({ length: times }, () => bytes)),
    down,
    up: () => listen(own),
    [Symbol.asyncDispose]: down,
  }
}
