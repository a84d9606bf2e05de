/** Whole moves of real installations to PostgreSQL, by the command as people run it. */
import { randomBytes, randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { clientOf, signIn } from '#test/faults/client.ts'
import { openSite, type Site } from '#test/faults/server.ts'
import { databaseOf, expectAlive, filesOf, fill, newPlace, runAndKill, sqliteSource, watch } from '#test/moves.ts'

const { TEST_DATABASE_URL: postgres } = process.env
const KILLS = 5
const MANY_EVENTS = 60_000

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

describe.skipIf(!postgres)('a move to PostgreSQL', { timeout: 180_000 }, () => {
  test('brings everything over, changes nothing at the source, and the new home serves at once', async () => {
    await using site = await sqliteSource()
    await using target = await newDatabase()
    const blobs = newPlace()
    const before = filesOf(site.dataDir)

    const work = newPlace()
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
    const blobs = newPlace()
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
    const dataDir = newPlace()
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
    const blobs = newPlace()
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
    const blobs = newPlace()
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
    const contentsAlone = await site.entrepot('migrate', '--to-disk', newPlace(), '--content')
    expect(contentsAlone.status, contentsAlone.output).toBe(0)
    const args = ['migrate', '--to-postgres', target.url]
    await runAndKill(site, args)
    const { status, output } = await site.entrepot(...args, '--content')
    expect(status, output).toBe(0)
    expect(await tablesOf(site)).toEqual(before)
    await expectAlive(site, { ENTREPOT_DATABASE_URL: target.url })
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
