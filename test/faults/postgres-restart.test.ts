/** The database server goes away under load and comes back. Servers must get over that by themselves. */
import { randomBytes, randomInt } from 'node:crypto'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { findPostgres, startCluster } from '#test/postgres.ts'
import { clientOf, signIn, type Client } from './client.ts'
import { inLanes, openLedger, type Ledger } from './ledger.ts'
import { eventually, openSite, type Server } from './server.ts'

const RESTARTS = 2
const LANES = 4
const UPLOADS_BETWEEN = 30
/** Kept in the database, and in the blob store. */
const sizes = [500, 4_000, 100_000]

const bin = process.env.TEST_DATABASE_URL ? findPostgres() : undefined

test.skipIf(!bin)(
  `PostgreSQL is cut off ${RESTARTS} times under load: nothing acknowledged is lost, and the server recovers by itself (PostgreSQL's binaries only)`,
  { timeout: 240_000 },
  async () => {
    // Its own, with fsync: the cluster of the other tests must neither be stopped nor may it lose what it has committed.
    await using cluster = await openCluster(bin ?? '')
    await using site = await openSite({ databaseUrl: cluster.url })
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const ledger = openLedger('inbox')
    const load = startLoad(client, ledger)

    for (let restart = 0; restart < RESTARTS; restart += 1) {
      await load.untilMore(UPLOADS_BETWEEN)
      await cluster.stop('immediate')
      await eventually('/readyz turns red', async () => (await readiness(server)) === 503)
      expect(await healthiness(server)).toBe(200)
      await cluster.start()
      await eventually('/readyz turns green', async () => (await readiness(server)) === 200)
    }
    await load.untilMore(UPLOADS_BETWEEN)
    await load.stop()

    await ledger.check(client)
    expect(server.isAlive(), server.log()).toBe(true)
    client.close()
    expect(await server.stop()).toBe(0)
    for (const command of [
      ['verify', '--content'],
      ['audit', 'seal'],
      ['audit', 'verify'],
    ]) {
      const { status, output } = await site.entrepot(...command)
      expect(status, output).toBe(0)
    }
  },
)

async function openCluster(folder: string) {
  const cluster = await startCluster(folder, { durable: true })
  return { ...cluster, [Symbol.asyncDispose]: () => cluster.remove() }
}

/** Uploads and downloads until told to stop. Errors are what clients may see meanwhile; hanging is not. */
function startLoad(client: Client, ledger: Ledger) {
  let running = true
  const refusals = new Set<number>()
  const lanes = inLanes(LANES, async lane => {
    for (let n = 0; running; n += 1) {
      const name = `lane-${lane}-${n % 20}`
      const status = await ledger.put(client, name, randomBytes(sizes[randomInt(sizes.length)]!))
      if (status !== undefined && status !== 201) refusals.add(status)
      await client.get(`inbox/${name}`).catch(() => {})
    }
  })
  lanes.catch(() => (running = false))
  return {
    untilMore(count: number) {
      const target = ledger.acknowledged() + count
      return eventually(`${count} more uploads`, () => ledger.acknowledged() >= target)
    },
    async stop() {
      running = false
      await lanes
      expect([...refusals].filter(status => status < 500)).toEqual([])
    },
  }
}

const readiness = (server: Server) => statusOf(`${server.url}/readyz`)
const healthiness = (server: Server) => statusOf(`${server.url}/healthz`)

function statusOf(url: string): Promise<number> {
  return new Promise((done, fail) => {
    const sent = request(url, { agent: false }, response => {
      response.resume()
      done(response.statusCode ?? 0)
    })
    sent.on('error', fail)
    sent.end()
  })
}
