/** The process is killed while it takes files in, again and again. */
import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { clientOf, signIn, type Client } from './client.ts'
import { inLanes, openLedger, type Ledger } from './ledger.ts'
import { openSite, type Site } from './server.ts'

const UPLOADS = 200
const KILLS = 8
const LANES = 4
/** A kill comes so long after the upload that is due for it, at most. */
const MAX_DELAY_MS = 60

const KIB = 1024
const sizes = [0, 4 * KIB, 4 * KIB, 4 * KIB, 100 * KIB, 100 * KIB, 3 * KIB * KIB]

test(
  `${KILLS} kills during ${UPLOADS} uploads lose nothing that was acknowledged and show nothing half`,
  { timeout: 120_000 },
  async () => {
    await using site = await openSite()
    const ledger = openLedger('inbox')
    const cookie = await signInOnce(site)
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await uploadUntilKilled(site, cookie, ledger, (UPLOADS / (KILLS + 1)) * kill)
      await checkAfterCrash(site, cookie, ledger)
    }
    const server = await site.start()
    const client = clientOf(server, cookie)
    await inLanes(LANES, lane => upload(client, ledger, lane, () => ledger.acknowledged() < UPLOADS))
    client.close()
    expect(await server.stop()).toBe(0)
    await checkAfterCrash(site, cookie, ledger)
  },
)

/** A session outlives the processes. */
async function signInOnce(site: Site): Promise<string> {
  const server = await site.start()
  const cookie = await signIn(server)
  await server.kill()
  return cookie
}

/** Several uploads at a time, until a little after so many were acknowledged in all. */
async function uploadUntilKilled(site: Site, cookie: string, ledger: Ledger, due: number): Promise<void> {
  const server = await site.start()
  const client = clientOf(server, cookie)
  let dying: Promise<void> | undefined
  const kill = async () => {
    await sleep(randomInt(MAX_DELAY_MS))
    await server.kill()
  }
  await inLanes(LANES, lane =>
    upload(client, ledger, lane, () => {
      if (ledger.acknowledged() >= due) dying ??= kill()
      return server.isAlive()
    }),
  )
  await dying
  client.close()
}

/** New names and, now and then, ones that this lane has used before. */
async function upload(client: Client, ledger: Ledger, lane: number, goesOn: () => boolean): Promise<void> {
  while (goesOn()) {
    const own = ledger.names().filter(name => name.startsWith(`lane-${lane}-`))
    const isNew = own.length === 0 || randomInt(3) > 0
    const name = isNew ? `lane-${lane}-${own.length}` : own[randomInt(own.length)]!
    const status = await ledger.put(client, name, randomBytes(sizes[randomInt(sizes.length)]!))
    if (status !== undefined) expect(status).toBe(201)
  }
}

async function checkAfterCrash(site: Site, cookie: string, ledger: Ledger): Promise<void> {
  // On the data as the crash left it.
  const { status, output } = await site.entrepot('verify', '--content')
  expect(status, output).toBe(0)
  const server = await site.start()
  const client = clientOf(server, cookie)
  await ledger.check(client)
  client.close()
  await server.kill()
}
