import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Database } from './database.ts'
import { openDatabase } from './open.ts'
import { openSqlite } from './sqlite.ts'

let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'entrepot-sqlite-'))))
afterEach(() => rmSync(folder, { recursive: true }))

// The other engine has a driver of its own.
describe.skipIf(process.env.TEST_DATABASE_URL)('openSqlite', () => {
  test('rows have the columns that the table has now, also when somebody else has changed it meanwhile', async () => {
    const file = join(folder, 'a.db')
    const database = openSqlite(file)
    const all = sql<Record<string, unknown>>`select * from thing`
    await database.transaction(async tx => {
      await sql`create table thing (id integer, old text, kept text)`.execute(tx)
      await sql`insert into thing values (1, 'old', 'kept')`.execute(tx)
      expect((await all.execute(tx)).rows).toEqual([{ id: 1, old: 'old', kept: 'kept' }])
      await sql`alter table thing add column own text default 'own'`.execute(tx)
      expect((await all.execute(tx)).rows).toEqual([{ id: 1, old: 'old', kept: 'kept', own: 'own' }])
    })
    expect((await all.execute(database.read)).rows).toHaveLength(1)
    const other = new DatabaseSync(file)
    other.exec("alter table thing drop column old; alter table thing add column fresh text default 'fresh'")
    other.close()
    const changed = [{ id: 1, kept: 'kept', own: 'own', fresh: 'fresh' }]
    await new Promise(done => setImmediate(done))
    expect((await all.execute(database.read)).rows).toEqual(changed)
    await database.transaction(async tx => expect((await all.execute(tx)).rows).toEqual(changed))
    await database.close()
  })

  test('an id is given once, also among several processes, failed transactions and failed commits', async () => {
    const file = join(folder, 'a.db')
    await (await openDatabase({ url: file })).close()
    const servers = [openSqlite(file), openSqlite(file)]
    const given: number[] = []
    const draw = async (database: Database, n: number) =>
      database
        .transaction(async tx => {
          const ids = await database.nextIds(tx, 1 + (n % 3))
          if (n % 4 === 1) throw new Error('changed his mind')
          // Fails with the commit, and takes all with it that came along.
          if (n % 50 === 3) await sql`pragma defer_foreign_keys = on`.execute(tx)
          if (n % 50 === 3) await sql`insert into node_total ("nodeId") values (-1)`.execute(tx)
          return ids
        })
        .then(ids => given.push(...ids))
        .catch(() => {})
    for (let round = 0; round < 20; round += 1) {
      const works = Array.from({ length: 10 }, (_, n) => draw(servers[n % 2]!, round * 10 + n))
      await Promise.all(works)
    }
    expect(given.length).toBeGreaterThan(100)
    expect(new Set(given).size).toBe(given.length)
    await Promise.all(servers.map(server => server.close()))
  })

  test('of transactions that share a commit, whoever fails fails alone, and the others count once', async () => {
    const file = join(folder, 'a.db')
    const database = openSqlite(file)
    await database.transaction(tx => sql`create table thing (id integer primary key)`.execute(tx))
    const add = (id: number, outcome: 'stays' | 'fails') =>
      database.transaction(async tx => {
        await sql`insert into thing values (${id})`.execute(tx)
        if (outcome === 'fails') throw new Error(`changed his mind about ${id}`)
        return id
      })
    const kept: number[] = []
    // Groups without a failure follow groups with some: which way a group is run depends on the one before.
    for (const [round, failing] of [[], [3], [0, 9], [], [], [7], []].entries()) {
      const ids = Array.from({ length: 10 }, (_, n) => round * 10 + n)
      const fails = (id: number) => failing.includes(id % 10)
      const outcomes = await Promise.allSettled(ids.map(id => add(id, fails(id) ? 'fails' : 'stays')))
      expect(outcomes).toEqual(
        ids.map(id =>
          fails(id)
            ? { status: 'rejected', reason: new Error(`changed his mind about ${id}`) }
            : { status: 'fulfilled', value: id },
        ),
      )
      kept.push(...ids.filter(id => !fails(id)))
    }
    const { rows } = await sql<{ id: number }>`select id from thing order by id`.execute(database.read)
    expect(rows.map(row => row.id)).toEqual(kept)
    // One whose failure depends on another of the same group: what he saw is what stays.
    const taken = await Promise.allSettled([add(900, 'fails'), add(901, 'stays'), add(901, 'stays'), add(900, 'stays')])
    expect(taken.map(one => one.status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled'])
    await database.close()
  })

  test('what somebody else commits is seen in the next go, and by requests that come in later', async () => {
    const file = join(folder, 'a.db')
    const database = openSqlite(file)
    await database.transaction(tx => sql`create table thing (id integer)`.execute(tx))
    const other = new DatabaseSync(file)
    const count = async () => {
      const { rows } = await sql<{ n: number }>`select count(*) as n from thing`.execute(database.read)
      return rows[0]!.n
    }
    const insert = () => other.exec('insert into thing values (1)')
    expect(await count()).toBe(0)
    insert()
    await new Promise(done => process.nextTick(done))
    expect(await count()).toBe(1)
    // Those that came in together share one state, which ends with their turn.
    await new Promise(done => setImmediate(done))
    database.readTogether()
    expect(await count()).toBe(1)
    await new Promise(done => process.nextTick(done))
    insert()
    expect(await count()).toBe(1)
    await new Promise(done => setImmediate(done))
    expect(await count()).toBe(2)
    other.close()
    await database.close()
  })
})
