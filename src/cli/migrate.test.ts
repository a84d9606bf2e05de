/** Whole moves of real installations, by the command as people run it. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { beforeAll, afterAll, describe, expect, test } from 'vitest'
import { clientOf, envelopeOf, signIn } from '#test/faults/client.ts'
import { openSite, type Finished, type Site } from '#test/faults/server.ts'
import { makeBucket, testS3 } from '#test/s3-bucket.ts'

const { TEST_DATABASE_URL: postgres } = process.env
const MAIN = resolve(import.meta.dirname, '../../bin/entrepot.js')
const KILLS = 5
const MANY_EVENTS = 60_000

/** More than the partner of every site: groups, nested spaces, grants that narrow, a token. */
const state = {
  users: [{ username: 'ann', password: 'correct horse 1' }],
  groups: [{ name: 'staff', members: ['ann'] }],
  spaces: [
    {
      name: 'projects',
      grants: [{ group: 'staff', allow: ['list', 'read', 'manage'] }],
      folders: [{ path: 'narrow', grants: [{ group: 'staff', allow: ['list'] }] }],
      spaces: [{ name: 'alpha', folders: ['in'] }],
    },
  ],
  tokens: [{ user: 'ann', name: 'ci', scope: [{ space: 'projects/alpha', allow: ['list'] }] }],
}

const contents: Record<string, Buffer> = {
  empty: Buffer.alloc(0),
  small: randomBytes(3_000),
  large: randomBytes(300_000),
  changed: randomBytes(70_000),
  ...Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`piece-${n}`, randomBytes(20_000 + n)])),
}

/** Takes files in by a server, changes one and deletes one, and stops it. */
async function fill(site: Site): Promise<void> {
  const file = join(site.dataDir, '..', 'more.yaml')
  writeFileSync(file, JSON.stringify(state)) // JSON is YAML too
  expect(await site.entrepot('apply', file)).toMatchObject({ status: 0 })
  const server = await site.start()
  const client = clientOf(server, await signIn(server))
  await client.put('inbox/changed', randomBytes(60_000))
  await client.put('inbox/gone', randomBytes(50_000))
  for (const [name, content] of Object.entries(contents)) {
    expect((await client.put(`inbox/${name}`, content)).status).toBe(201)
  }
  expect((await client.remove('inbox/gone')).status).toBeLessThan(300)
  client.close()
  expect(await server.stop()).toBe(0)
  expect(await site.entrepot('audit', 'seal')).toMatchObject({ status: 0 })
}

/** Digest of every file below a folder, by its path. */
function filesOf(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const paths = entries.map(entry => join(entry.parentPath, entry.name)).toSorted()
  return Object.fromEntries(
    paths.map(path => [path.slice(folder.length), createHash('sha256').update(readFileSync(path)).digest('hex')]),
  )
}

/** A database that does not exist yet, on the server of the tests. */
async function newDatabase(): Promise<AsyncDisposable & { url: string; query(text: string): Promise<pg.QueryResult> }> {
  const name = `move_${randomUUID().replaceAll('-', '')}`
  await ask(postgres!, `create database ${name}`)
  const url = new URL(postgres!)
  url.pathname = `/${name}`
  return {
    url: url.href,
    query: text => ask(url.href, text),
    async [Symbol.asyncDispose]() {
      await ask(postgres!, `drop database ${name} with (force)`)
    },
  }
}

async function ask(url: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}

/** The new home serves: what was stored is there, and new things get ids that nobody had. */
async function expectAlive(site: Site, env: Record<string, string>): Promise<void> {
  const server = await site.start(env)
  const client = clientOf(server, await signIn(server))
  const before = await client.list('inbox')
  expect(before.map(entry => entry.name).toSorted()).toEqual(Object.keys(contents).toSorted())
  for (const [name, content] of Object.entries(contents)) {
    expect((await client.get(`inbox/${name}`)).body.equals(content)).toBe(true)
  }
  const added = envelopeOf(await client.put('inbox/added', Buffer.from('added')))
  expect(added.fileset).toBeGreaterThan(Math.max(...before.map(entry => entry.fileset)))
  expect((await client.get('inbox/added')).body.toString()).toBe('added')
  client.close()
  expect(await server.stop()).toBe(0)
}

/** One source for all tests of an engine; who changes it takes a copy. */
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-move-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function sqliteSource(env: Record<string, string> = {}): Promise<Site> {
  const dataDir = join(folder, randomUUID())
  const template = join(folder, 'template')
  if (!readdirSync(folder).includes('template')) {
    await using site = await openSite({ dataDir: template, databaseUrl: `file:${template}/entrepot.db` })
    await fill(site)
  }
  cpSync(template, dataDir, { recursive: true })
  return openSite({ dataDir, databaseUrl: `file:${dataDir}/entrepot.db`, env })
}

const databaseOf = ({ dataDir }: Site) => new DatabaseSync(join(dataDir, 'entrepot.db'))

describe.skipIf(!postgres)('a move to PostgreSQL', { timeout: 180_000 }, () => {
  test('brings everything over, changes nothing at the source, and the new home serves at once', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const blobs = join(folder, randomUUID())
    const before = filesOf(site.dataDir)

    const work = join(folder, randomUUID())
    mkdirSync(work)
    writeFileSync(join(work, 'snapshot-of-somebody-else.db'), 'stays')
    const args = ['migrate', '--to-postgres', target.url, '--to-disk', blobs, '--work', work]

    const moved = await site.entrepot(...args, '--content')
    expect(moved).toMatchObject({ status: 0, output: expect.stringContaining('OK: the new home is whole') })
    expect(moved.output).toContain(`ENTREPOT_BLOBS_URL=${pathToFileURL(blobs).href}`)
    expect(moved.output).toContain(join(site.dataDir, 'master.key'))
    expect(filesOf(site.dataDir)).toEqual(before)
    expect(readdirSync(work)).toEqual(['snapshot-of-somebody-else.db'])
    const { events } = (await target.query('select max(id) as events from event')).rows[0] as { events: string }

    const env = { ENTREPOT_DATABASE_URL: target.url, ENTREPOT_BLOBS_URL: pathToFileURL(blobs).href }
    await expectAlive(site, env)
    const newer = await target.query(`select count(*) as count from event where id > ${events}`)
    expect(Number(newer.rows[0].count)).toBeGreaterThan(0)
  })

  test('shows no password that the address of the target has', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const url = new URL(target.url)
    url.password = 'hunter2'
    const { status, output } = await site.entrepot('migrate', '--to-postgres', url.href)
    expect(status).toBe(0)
    expect(output).not.toContain('hunter2')
    expect(output).toContain(`${site.dataDir}.migration`)
    expect(existsSync(`${site.dataDir}.migration`)).toBe(false)
  })

  test(`goes on after ${KILLS} kills at any moment, and leaves the source as it was`, async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const blobs = join(folder, randomUUID())
    addRows(site, MANY_EVENTS)
    const before = filesOf(site.dataDir)
    const args = ['migrate', '--to-postgres', target.url, '--to-disk', blobs]
    let killed = 1
    const begun = await runAndKill(site, args, /: \d+ rows\n/)
    while (begun && killed < KILLS && (await runAndKill(site, args))) killed += 1
    expect(killed).toBe(KILLS)

    const { status, output } = await site.entrepot(...args, '--content')
    expect(status, output).toBe(0)
    expect(output).toContain('going on with the move that was interrupted')
    const counted = await target.query('select count(*) as count from event')
    expect(Number(counted.rows[0].count)).toBeGreaterThan(MANY_EVENTS)
    expect(filesOf(site.dataDir)).toEqual(before)
    await expectAlive(site, { ENTREPOT_DATABASE_URL: target.url, ENTREPOT_BLOBS_URL: pathToFileURL(blobs).href })
  })

  test('refuses a target that holds something, and leaves it as it is', async () => {
    await using site = await sqliteSource()
    await using other = await openSite()
    expect(other.engine).toBe('postgres')
    const rows = () => other.query('select count(*) as count, max(id) as id from event')
    const before = await rows()
    for (const again of [[], ['--again']]) {
      const { status, output } = await site.entrepot('migrate', '--to-postgres', other.databaseUrl, ...again)
      expect({ status, output }).toMatchObject({
        status: 1,
        output: expect.stringContaining('holds something already'),
      })
    }
    expect(await rows()).toEqual(before)

    await using half = await newDatabase()
    addRows(site, MANY_EVENTS)
    const args = ['migrate', '--to-postgres', half.url]
    expect(await runAndKill(site, args, /: \d+ rows\n/)).toBe(true)
    const dataDir = join(folder, randomUUID())
    await using stranger = await openSite({ dataDir, databaseUrl: `file:${dataDir}/entrepot.db` })
    const refused = await stranger.entrepot(...args, '--again')
    expect(refused).toMatchObject({ status: 1, output: expect.stringContaining('move of another installation') })

    await using foreign = await newDatabase()
    await foreign.query('create table orders (id int)')
    expect(await site.entrepot('migrate', '--to-postgres', foreign.url)).toMatchObject({ status: 1 })
    expect((await foreign.query(tableNames)).rows).toEqual([{ tablename: 'orders' }])
  })

  test('refuses a directory of contents that are those of somebody else, before anything is written', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const blobs = join(folder, randomUUID())
    cpSync(join(site.dataDir, 'blobs'), blobs, { recursive: true })
    for (const [path] of Object.entries(filesOf(blobs)).slice(1)) rmSync(join(blobs, path))
    const [left] = Object.keys(filesOf(blobs))
    cpSync(join(blobs, left!), join(blobs, left!.replace(/[0-9a-f]{8}-/, 'ffffffff-')))
    rmSync(join(blobs, left!))
    const { status, output } = await site.entrepot('migrate', '--to-postgres', target.url, '--to-disk', blobs)
    expect({ status, output }).toMatchObject({ status: 1, output: expect.stringContaining('another installation') })
    expect((await target.query(tableNames)).rows).toEqual([])
  })

  test('says when the source was written to, and starts over with --again', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const blobs = join(folder, randomUUID())
    const args = ['migrate', '--to-postgres', target.url, '--to-disk', blobs]
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const output = await watch(site, args, /: \d+ rows\n/, async () => {
      await client.put('inbox/late', randomBytes(40_000))
      await client.remove('inbox/late')
      const other = await site.entrepot(...args)
      expect(other).toMatchObject({ status: 1, output: expect.stringContaining('Another "entrepot migrate"') })
    })
    expect(output.status).toBe(1)
    expect(output.output).toContain('was written to while it was copied')
    expect(output.output).toContain('--again')
    client.close()
    expect(await server.stop()).toBe(0)

    // No server starts on what is only half there, and no command.
    const half = { ENTREPOT_DATABASE_URL: target.url, ENTREPOT_BLOBS_URL: pathToFileURL(blobs).href }
    await expect(site.start(half)).rejects.toThrow('only half moved')

    const without = await site.entrepot(...args)
    expect(without).toMatchObject({ status: 1, output: expect.stringContaining('written to') })
    const again = await site.entrepot(...args, '--again')
    expect(again.status, again.output).toBe(0)
    expect(again.output).toMatch(/1 objects? copied/)
    await expectAlive(site, half)
    const finished = await site.entrepot(...args, '--again')
    expect(finished).toMatchObject({ status: 1, output: expect.stringContaining('holds something already') })
  })

  test('ends with a reason when the target goes away, and goes on once it is back', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    addRows(site, MANY_EVENTS)
    const args = ['migrate', '--to-postgres', target.url]
    const name = new URL(target.url).pathname.slice(1)
    const cut = await watch(site, args, /: \d+ rows\n/, async () => {
      await ask(postgres!, `alter database ${name} allow_connections false`)
      await ask(postgres!, `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`)
    })
    expect(cut).toMatchObject({
      status: 1,
      output: expect.stringMatching(/went away|terminat|not currently accepting/),
    })
    await ask(postgres!, `alter database ${name} allow_connections true`)
    const { status, output } = await site.entrepot(...args)
    expect(status, output).toBe(0)
    expect(output).toContain('going on with the move that was interrupted')
  })

  test('names the row that the target cannot take', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const database = databaseOf(site)
    database.exec(
      `insert into node_metadata select id, 'test', 'odd', 'a' || char(0) || 'b' from node where kind = 'root'`,
    )
    database.close()
    const { status, output } = await site.entrepot('migrate', '--to-postgres', target.url)
    expect({ status, output }).toMatchObject({
      status: 1,
      output: expect.stringContaining('node_metadata: rows from ['),
    })
  })

  test('moves from one PostgreSQL to another, also after a kill', async () => {
    await using site = await openSite()
    await fill(site)
    await using target = await newDatabase()
    const before = await tablesOf(site)
    const contentsAlone = await site.entrepot('migrate', '--to-disk', join(folder, randomUUID()), '--content')
    expect(contentsAlone.status, contentsAlone.output).toBe(0)
    const args = ['migrate', '--to-postgres', target.url]
    await runAndKill(site, args)
    const { status, output } = await site.entrepot(...args, '--content')
    expect(status, output).toBe(0)
    expect(await tablesOf(site)).toEqual(before)
    await expectAlive(site, { ENTREPOT_DATABASE_URL: target.url })
  })
})

describe.skipIf(postgres)('a move of contents alone', { timeout: 120_000 }, () => {
  test('fills another directory, and the server goes on with the same database', async () => {
    await using site = await sqliteSource()
    const blobs = join(folder, randomUUID())
    addAbandoned(site)
    const before = filesOf(site.dataDir)
    const moved = await site.entrepot('migrate', '--to-disk', blobs, '--content')
    expect(moved).toMatchObject({ status: 0, output: expect.stringContaining('OK') })
    expect(moved.output).not.toContain('ENTREPOT_DATABASE_URL')
    expect(filesOf(site.dataDir)).toEqual(before)
    const url = pathToFileURL(blobs).href
    expect(filesOf(blobs)).toEqual(filesOf(join(site.dataDir, 'blobs')))

    const repeated = await site.entrepot('migrate', '--to-disk', blobs)
    expect(repeated).toMatchObject({ status: 0, output: expect.stringContaining('0 objects copied') })
    rmSync(join(site.dataDir, 'blobs'), { recursive: true })
    await expectAlive(site, { ENTREPOT_BLOBS_URL: url })
  })

  test('replaces what is not whole in the target, and names what the source itself lacks', async () => {
    await using site = await sqliteSource()
    const blobs = join(folder, randomUUID())
    expect(await site.entrepot('migrate', '--to-disk', blobs)).toMatchObject({ status: 0 })
    const [first, second] = Object.keys(filesOf(blobs))
    writeFileSync(join(blobs, first!), 'short')
    const repaired = await site.entrepot('migrate', '--to-disk', blobs)
    expect(repaired).toMatchObject({ status: 0, output: expect.stringContaining('1 objects copied') })
    expect(filesOf(blobs)).toEqual(filesOf(join(site.dataDir, 'blobs')))

    for (const store of [blobs, join(site.dataDir, 'blobs')]) rmSync(join(store, second!))
    const { status, output } = await site.entrepot('migrate', '--to-disk', blobs)
    expect({ status, output }).toMatchObject({
      status: 1,
      output: expect.stringContaining(`missing: ${second!.slice(-36)}`),
    })
  })

  test('wrong targets are refused in one line, and nothing is made', async () => {
    await using site = await sqliteSource()
    const cases: [string[], string][] = [
      [[], 'Name a target'],
      [['--to-postgres', 'mysql://x/y'], 'must be postgres://'],
      [['--to-s3', 'file:/tmp/x'], 'must be s3://'],
      [['--to-s3', 's3://bucket', '--to-disk', 'x'], 'one place'],
      [['--to-disk', join(site.dataDir, 'blobs')], 'in that place already'],
      [['--to-disk', site.dataDir], 'is not empty'],
    ]
    const before = filesOf(folder)
    for (const [args, text] of cases) {
      const { status, output } = await site.entrepot('migrate', ...args)
      expect({ status, output }).toMatchObject({ status: 1, output: expect.stringContaining(text) })
    }
    expect(filesOf(folder)).toEqual(before)
  })
})

describe.skipIf(!testS3 || postgres)('a move of contents to S3', { timeout: 120_000 }, () => {
  test('goes on after kills, serves from there, and comes back to a disk byte for byte', async () => {
    const access = {
      ENTREPOT_S3_ENDPOINT: testS3!.endpoint,
      ENTREPOT_S3_REGION: testS3!.region,
      ENTREPOT_S3_ACCESS_KEY: testS3!.accessKey,
      ENTREPOT_S3_SECRET_KEY: testS3!.secretKey,
    }
    await using site = await sqliteSource(access)
    await using bucket = await makeBucket()
    const url = `s3://${bucket.place.bucket}/moved`
    const stored = filesOf(join(site.dataDir, 'blobs'))
    const args = ['migrate', '--to-s3', url]
    for (let kill = 0; kill < 3; kill += 1) await runAndKill(site, args, /./, access)
    const there = await site.entrepot(...args, '--content')
    expect(there.status, there.output).toBe(0)
    expect(there.output).toContain(`ENTREPOT_BLOBS_URL=${url}`)
    expect(filesOf(join(site.dataDir, 'blobs'))).toEqual(stored)

    rmSync(join(site.dataDir, 'blobs'), { recursive: true })
    const home = join(site.dataDir, 'blobs-again')
    const moved = await openSite({ ...site, env: { ...access, ENTREPOT_BLOBS_URL: url } })
    const back = await moved.entrepot('migrate', '--to-disk', home)
    expect(back.status, back.output).toBe(0)
    expect(filesOf(home)).toEqual(stored)
    await expectAlive(moved, { ENTREPOT_BLOBS_URL: url })
  })
})

const tableNames = 'select tablename from pg_tables where schemaname = current_schema()'

/** Every row of every table, as text. */
async function tablesOf(site: Site): Promise<Record<string, unknown>> {
  const names = await site.query<{ tablename: string }>(tableNames)
  const all: Record<string, unknown> = {}
  for (const { tablename } of names) {
    all[tablename] = await site.query(`select md5(string_agg(t::text, ',' order by t::text)) from "${tablename}" t`)
  }
  return all
}

/** So that there is something to be interrupted in. */
function addRows(site: Site, count: number): void {
  const database = databaseOf(site)
  const { tenantId } = database.prepare('select "tenantId" from event limit 1').get() as { tenantId: string }
  const insert = database.prepare(
    `insert into event ("tenantId", type, outcome, at, "actorId", "actorName", client, address, "requestId")
     values (?, 'test', 'done', ?, 'x', 'x', 'x', '', ?)`,
  )
  database.exec('begin')
  for (let n = 0; n < count; n += 1) insert.run(tenantId, n, `request ${n}`)
  // Keys in an order that engines might disagree about.
  const { id } = database.prepare('select id from node limit 1').get() as { id: number }
  const note = database.prepare('insert into node_metadata values (?, ?, ?, ?)')
  for (const key of ['z', 'é', '𝒳', '\uffff', 'Z', '_', 'a b']) note.run(id, 'test', key, `value of ${key}`)
  database.exec('commit')
  database.close()
}

/** A piece of an upload that was given up: its object is gone, its row not yet. */
function addAbandoned(site: Site): void {
  const database = databaseOf(site)
  const id = randomUUID()
  database.exec(`
    insert into blob (id, "tenantId", encryption, "sizeBytes", "createdAt") select '${id}', id, 'frames-1', 9, 1 from tenant;
    insert into segment (id, "blobId", "startByte", "sizeBytes", "usedBytes", sha256, "createdAt")
      values ('${id}', '${id}', 0, 9, 9, 'x', 1)`)
  database.close()
}

function startMigrate(site: Site, args: readonly string[], more: Record<string, string> = {}) {
  const env = {
    ...more,
    PATH: process.env.PATH,
    ENTREPOT_DATA_DIR: site.dataDir,
    ENTREPOT_DATABASE_URL: site.databaseUrl,
  }
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = { output: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', text => (texts.output += text))
  const ended = new Promise<number | null>(done => child.once('close', code => done(code)))
  return { child, texts, ended }
}

const MAX_DELAY_MS = 150

/** Kills the command a little after it said this, or anything. True when the kill came before the end. */
async function runAndKill(
  site: Site,
  args: readonly string[],
  text = /./,
  env: Record<string, string> = {},
): Promise<boolean> {
  const { child, texts, ended } = startMigrate(site, args, env)
  while (!text.test(texts.output) && child.exitCode === null) await sleep(2)
  await sleep(randomInt(MAX_DELAY_MS))
  child.kill('SIGKILL')
  await ended
  return child.signalCode === 'SIGKILL'
}

/** Does something once the output says so. */
async function watch(site: Site, args: string[], text: RegExp, act: () => Promise<void>): Promise<Finished> {
  const { child, texts, ended } = startMigrate(site, args)
  while (!text.test(texts.output) && child.exitCode === null) await sleep(2)
  child.kill('SIGSTOP')
  await act()
  child.kill('SIGCONT')
  return { status: (await ended) ?? -1, output: texts.output }
}
