/** The way to PostgreSQL breaks after a commit was done, but before the server has heard so. */
import { randomBytes } from 'node:crypto'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { clientOf, signIn } from './client.ts'
import { openLedger } from './ledger.ts'
import { openSite } from './server.ts'

/** Kept in the database, and in the blob store. */
const sizes = [2_000, 200_000]

test.skipIf(!process.env.TEST_DATABASE_URL)(
  'a file whose commit was done unheard is there and whole, whatever its client was told (PostgreSQL only)',
  { timeout: 120_000 },
  async () => {
    await using site = await openSite()
    await using way = await openWay(site.databaseUrl)
    const server = await site.start({ ENTREPOT_DATABASE_URL: way.url })
    const client = clientOf(server, await signIn(server))
    const ledger = openLedger('inbox')

    for (const size of sizes) {
      const lost = way.lostCommits()
      way.loseCommits(true)
      expect(await ledger.put(client, `unheard-${size}`, randomBytes(size))).toBeGreaterThanOrEqual(500)
      way.loseCommits(false)
      expect(way.lostCommits()).toBeGreaterThan(lost)
    }

    expect(new Set((await client.list('inbox')).map(({ sizeBytes }) => sizeBytes))).toEqual(new Set(sizes))
    await ledger.check(client)
    client.close()
    expect(await server.stop()).toBe(0)
    const { status, output } = await site.entrepot('verify', '--content')
    expect(status, output).toBe(0)
  },
)

/** What the server of the database says once a commit is durable: tag and text of a message of its protocol. */
const COMMITTED = Buffer.from('COMMIT\0')

/** A relay before the database that can break connections at the answer to a commit. */
async function openWay(target: string) {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let losing = false
  let lost = 0
  const relay = createServer(client => {
    const database = connect({ host: hostname, port: Number(port) })
    const drop = () => [client, database].forEach(socket => void socket.destroy())
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.on('error', drop)
      socket.on('close', drop)
    }
    client.on('data', (chunk: Buffer) => void database.write(chunk))
    database.on('data', (chunk: Buffer) => {
      if (!losing || !chunk.includes(COMMITTED)) return void client.write(chunk)
      lost += 1
      drop()
    })
  })
  await new Promise<void>(listening => void relay.listen(0, '127.0.0.1', listening))
  const url = new URL(target)
  url.host = `127.0.0.1:${(relay.address() as AddressInfo).port}` // it listens on a port, not on a pipe
  return {
    url: url.href,
    loseCommits: (lose: boolean) => void (losing = lose),
    lostCommits: () => lost,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(closed => relay.close(closed))
    },
  }
}
