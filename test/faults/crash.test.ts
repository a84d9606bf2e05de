/** The process is killed while it takes files in, again and again. */
import { randomBytes, randomInt } from 'node:crypto'
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { clientOf, exchangeRaw, signIn, uploadBytes, type Client } from './client.ts'
import { inLanes, openLedger, type Ledger } from './ledger.ts'
import { eventually, openSite, type Server, type Site } from './server.ts'

const UPLOADS = 200
const KILLS = 8
const LANES = 4
/** A kill comes so long after the upload that is due for it, at most. */
const MAX_DELAY_MS = 60

const KIB = 1024
const DAY_MS = 86_400_000
const sizes = [0, 4 * KIB, 4 * KIB, 4 * KIB, 100 * KIB, 100 * KIB, 3 * KIB * KIB]

test(
  `${KILLS} kills during ${UPLOADS} uploads lose nothing that was acknowledged and show nothing half`,
  { timeout: 240_000 },
  async () => {
    await using site = await openSite()
    const ledger = openLedger('inbox')
    let server = await site.start()
    const cookie = await signIn(server) // a session outlives the processes
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await uploadUntilKilled(clientOf(server, cookie), ledger, (UPLOADS / (KILLS + 1)) * kill)
      server = await restartAndCheck(site, cookie, ledger)
    }
    const client = clientOf(server, cookie)
    await inLanes(LANES, lane => upload(client, ledger, lane, () => ledger.acknowledged() < UPLOADS))
    client.close()
    expect(await server.stop()).toBe(0)
    await restartAndCheck(site, cookie, ledger)
  },
)

test(
  'what a kill leaves of an upload is no damage, and the sweep removes it once it is old',
  {
    timeout: 120_000,
  },
  async () => {
    await using site = await openSite()
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const bytes = uploadBytes(client, 'inbox/half', randomBytes(3 * KIB * KIB))
    const answer = exchangeRaw(server, bytes.subarray(0, bytes.length / 2))
    await eventually('the upload has begun', () => site.objects('staging').length === 1)
    await server.kill()
    await answer
    client.close()

    const [segmentId] = site.objects('staging')
    const { status, output } = await site.entrepot('verify', '--content')
    expect({ status, output }).toMatchObject({ status: 0, output: expect.stringContaining('1 young object') })

    const longAgo = new Date(Date.now() - DAY_MS)
    utimesSync(join(site.dataDir, 'blobs', 'staging', segmentId ?? ''), longAgo, longAgo)
    const again = clientOf(await site.start(), client.cookie)
    expect(await again.list('inbox')).toEqual([])
    again.close()
    expect(await again.server.stop()).toBe(0) // the first start has run the job already
    await site.makeDue('sweep')
    await site.start()
    await eventually('the stage is gone', () => site.objects('staging').length === 0)
  },
)

/** Several uploads at a time, until a little after so many were acknowledged in all. */
async function uploadUntilKilled(client: Client, ledger: Ledger, due: number): Promise<void> {
  const { server } = client
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

async function restartAndCheck(site: Site, cookie: string, ledger: Ledger): Promise<Server> {
  const verifying = site.entrepot('verify', '--content')
  const server = await site.start()
  const client = clientOf(server, cookie)
  await ledger.check(client)
  client.close()
  const { status, output } = await verifying
  expect(status, output).toBe(0)
  return server
}
