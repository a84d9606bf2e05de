/** Thousands of clients that break off wherever they happen to be. */
import { randomBytes, randomInt } from 'node:crypto'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { clientOf, headOf, signIn, uploadBytes, type Client } from './client.ts'
import { digestOf, inLanes } from './ledger.ts'
import { eventually, openFiles, openSite, residentBytes, type Server, type Site } from './server.ts'

/** Each request of PostgreSQL's half waits for a second process on the same two cores. */
const CLIENTS = process.env.TEST_DATABASE_URL ? 2_000 : 10_000
const SIDE_BY_SIDE = 64
const NAMES = 20
const SMALL_BYTES = 4_096
const LARGE_BYTES = 1_048_576
/** One client in so many moves a large file. */
const LARGE_EVERY = 8
/** What buffers and caches may take up beyond what the first clients have made them take. */
const GROWTH_BYTES = 128 * 1024 * 1024
const PATIENCE_MS = 30_000

test.skipIf(process.platform !== 'linux')(
  `${CLIENTS} clients that vanish at random bytes, up and down, leave no socket, stage, row or lock (Linux, as it reads /proc)`,
  { timeout: 240_000 },
  async () => {
    await using site = await openSite()
    const server = await site.start()
    const cookie = await signIn(server)
    const contents = { small: randomBytes(SMALL_BYTES), large: randomBytes(LARGE_BYTES) }
    const client = clientOf(server, cookie)
    for (const [name, content] of Object.entries(contents)) {
      expect((await client.put(`inbox/${name}`, content)).status).toBe(201)
    }
    const visit = visitorOf(client)

    await visitMany(CLIENTS / 4, visit)
    const warmBytes = residentBytes(server.pid)
    await visitMany((CLIENTS * 3) / 4, visit)

    client.close()
    await expectNothingLeft(site, server)
    expect(residentBytes(server.pid)).toBeLessThan(warmBytes + GROWTH_BYTES)
    await expectWorks(clientOf(server, cookie), contents)
    expect(await server.stop()).toBe(0)
    const { status, output } = await site.entrepot('verify', '--content')
    expect(status, output).toBe(0)
    expect(output).not.toContain('without a row')
  },
)

async function visitMany(count: number, visit: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  await inLanes(SIDE_BY_SIDE, async () => {
    while (next < count) await visit((next += 1))
  })
}

/** Half of the clients send a part of an upload, half take a part of a download. */
function visitorOf(client: Client) {
  const { server, cookie } = client
  const uploads = [LARGE_BYTES, SMALL_BYTES].map(size =>
    uploadBytes(client, `inbox/dropped-${'0'.repeat(4)}`, randomBytes(size)),
  )
  const downloads = ['large', 'small'].map(name =>
    headOf('GET', `/2.0/files/inbox/${name}`, { Host: `127.0.0.1:${server.port}`, Cookie: cookie }),
  )
  return (n: number): Promise<void> => {
    const kind = randomInt(LARGE_EVERY) === 0 ? 0 : 1
    const isUpload = n % 2 === 0
    const whole = isUpload ? uploads[kind]! : downloads[kind]!
    const name = String(n % NAMES).padStart(4, '0')
    const bytes = Buffer.from(whole)
    if (isUpload) bytes.write(name, bytes.indexOf('dropped-') + 'dropped-'.length)
    return isUpload
      ? vanish(server, { bytes: bytes.subarray(0, randomInt(bytes.length)), takeBytes: 0 })
      : vanish(server, { bytes, takeBytes: randomInt(kind === 0 ? LARGE_BYTES : SMALL_BYTES) })
  }
}

/** Sends and takes so many bytes, then breaks off: in order or with a reset. */
function vanish({ port }: Server, { bytes, takeBytes }: { bytes: Buffer; takeBytes: number }): Promise<void> {
  return new Promise(done => {
    const socket = connect({ host: '127.0.0.1', port })
    const leave = () => (randomInt(2) === 0 ? socket.destroy() : socket.resetAndDestroy())
    let taken = 0
    socket.on('error', () => {})
    socket.on('close', () => done())
    socket.on('data', (chunk: Buffer) => {
      taken += chunk.length
      if (taken >= takeBytes) leave()
    })
    socket.on('connect', () => {
      socket.write(bytes, () => {
        if (takeBytes === 0) leave()
      })
    })
  })
}

async function expectNothingLeft(site: Site, server: Server): Promise<void> {
  expect(server.isAlive(), server.log()).toBe(true)
  await eventually(
    'all connections are closed',
    () => openFiles(server.pid, server.port).connections === 0,
    PATIENCE_MS,
  )
  await eventually('no stage is left', () => site.objects('staging').length === 0, PATIENCE_MS)
  await eventually('no object is held open', () => openFiles(server.pid, server.port).objects === 0, PATIENCE_MS)
  expect(await count(site, 'upload')).toBe(0)
  expect(await count(site, 'node_lock')).toBe(0)
  expect(await count(site, "node where state = 'reserved'")).toBe(0)
  expect(await count(site, 'blob where not exists (select 1 from version where version."blobId" = blob.id)')).toBe(0)
  if (site.engine === 'sqlite') return
  expect(
    await count(
      site,
      `pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    ),
  ).toBe(0)
  expect(
    await count(site, `pg_stat_activity where state like 'idle in transaction%' and datname = current_database()`),
  ).toBe(0)
}

async function count(site: Site, from: string): Promise<number> {
  const [row] = await site.query<{ rows: number }>(`select count(*) as rows from ${from}`)
  return Number(row?.rows)
}

/** Nothing of what was broken off is there, and nothing stands in the way of the same names. */
async function expectWorks(client: Client, contents: Record<string, Buffer>): Promise<void> {
  const names = Object.keys(contents)
  expect((await client.list('inbox')).map(({ name }) => name).toSorted()).toEqual(names.toSorted())
  for (const [name, content] of Object.entries(contents)) {
    expect(digestOf((await client.get(`inbox/${name}`)).body)).toBe(digestOf(content))
  }
  for (let n = 0; n < NAMES; n += 1) {
    expect((await client.put(`inbox/dropped-${String(n).padStart(4, '0')}`, Buffer.from('whole'))).status).toBe(201)
  }
  client.close()
}
