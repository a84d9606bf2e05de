import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { sql } from 'kysely'
import { expect } from 'vitest'
import { deleteNode } from '#core/trash.ts'
import { makeSpace, put } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'
import { beginMove, copyRows, dropMove, finishMove, isCurrent, surveyTarget } from './copy.ts'
import type { Database } from './database.ts'
import { openDatabase } from './open.ts'
import { digestTable, readRows } from './rows.ts'
import { describeTables, readCounters, type Table } from './tables.ts'

/** Of the engine of the project; the targets of these tests are SQLite. */
interface Source {
  database: Database
  tables: Table[]
}

async function fill(world: World): Promise<Source> {
  const { database } = world.deps
  const space = await makeSpace(world)
  const kept = await put(space.ctx, space.id, 'kept', 'x'.repeat(40_000))
  const metadata = { namespace: 'test', values: { z: '1', é: '2', '𝒳': '3', '\uffff': '4' } }
  await put(space.ctx, space.id, 'small', 'small', { metadata })
  await deleteNode(space.ctx, { nodeId: kept.node.id })
  return { database, tables: await describeTables(database.read, database.engine) }
}

const openTarget = ({ folder }: World) => openDatabase({ url: join(folder, 'target.db') })

async function digests({ read }: Database, tables: readonly Table[]) {
  const all: Record<string, object> = {}
  for (const table of tables) all[table.name] = await digestTable(read, table)
  return all
}

test('all rows arrive as they were, and ids go on where those of the source are', async ({ world }) => {
  const source = await fill(world)
  await using target = closing(await openTarget(world))
  await beginMove(target, 'origin', source.tables)
  await copyRows(source.database, target, source.tables, () => {})
  await finishMove(target)

  const copied = await digests(target, await describeTables(target.read, 'sqlite'))
  expect(copied).toEqual(await digests(source.database, source.tables))
  expect(copied['node_metadata']).toMatchObject({ rows: 4 })
  const counters = await readCounters(source.database.read, source.database.engine)
  expect(await readCounters(target.read, 'sqlite')).toEqual(counters)
  const [next] = await target.transaction(tx => target.nextIds(tx, 1))
  expect([next]).toEqual(await source.database.transaction(tx => source.database.nextIds(tx, 1)))
})

test('a move that was broken off goes on behind the last row that arrived', async ({ world }) => {
  const source = await fill(world)
  await using target = closing(await openTarget(world))
  await beginMove(target, 'origin', source.tables)
  const broken = copyRows(source.database, target, source.tables, name => {
    if (name === 'node') throw new Error('broken off')
  })
  await expect(broken).rejects.toThrow('broken off')
  expect(await surveyTarget(target)).toEqual({ state: 'unfinished', source: 'origin' })
  await expect(openTarget(world)).rejects.toThrow('only half moved')

  await copyRows(source.database, target, source.tables, () => {})
  expect(await digests(target, source.tables)).toEqual(await digests(source.database, source.tables))
})

test('a move ends when another one has begun in its target', async ({ world }) => {
  const source = await fill(world)
  await using target = closing(await openTarget(world))
  await beginMove(target, 'first', source.tables)
  let second: Promise<unknown> | undefined
  const first = copyRows(source.database, target, source.tables, () => {
    second ??= target.transaction(tx => sql`update migration_progress set source = 'second'`.execute(tx))
  })
  await expect(first).rejects.toThrow('Another move has begun')
  await second
})

test('a target is empty until a move begins and after it was dropped, and taken for good once it is finished', async ({
  world,
}) => {
  const source = await fill(world)
  await using target = closing(await openTarget(world))
  expect(await surveyTarget(target)).toEqual({ state: 'empty' })
  await beginMove(target, 'first', source.tables)
  await copyRows(source.database, target, source.tables, () => {})
  await dropMove(target)
  expect(await surveyTarget(target)).toEqual({ state: 'empty' })
  await beginMove(target, 'second', source.tables)
  await copyRows(source.database, target, source.tables, () => {})
  await finishMove(target)
  expect(await surveyTarget(target)).toEqual({ state: 'taken' })
  expect(await isCurrent(target)).toBe(true)
  await expect(beginMove(target, 'third', source.tables)).rejects.toThrow('Somebody else')
})

test('a batch stays small however large its rows are', async ({ world }) => {
  const source = await fill(world)
  const rows = 20
  const { id: blobId } = await source.database.read.selectFrom('blob').select('id').executeTakeFirstOrThrow()
  const MEBIBYTE = 1024 * 1024
  await source.database.transaction(async tx => {
    for (let n = 0; n < rows; n += 1) {
      await sql`insert into segment ("id", "blobId", "startByte", "sizeBytes", "usedBytes", sha256, "inlineBytes", "createdAt")
        values (${`zz-${n}`}, ${blobId}, 0, ${MEBIBYTE}, ${MEBIBYTE}, 'x', ${randomBytes(MEBIBYTE)}, 0)`.execute(tx)
    }
  })
  const table = source.tables.find(({ name }) => name === 'segment')!
  const sizes: number[] = []
  for await (const batch of readRows(source.database.read, table)) sizes.push(batch.length)
  expect(sizes.reduce((sum, size) => sum + size)).toBeGreaterThanOrEqual(rows)
  expect(Math.max(...sizes)).toBeLessThan(10)
})

test('tables come after those that they refer to', async ({ world }) => {
  const { database } = world.deps
  const names = (await describeTables(database.read, database.engine)).map(table => table.name)
  const order = ['tenant', 'principal', 'access_grant', 'grant_member'].map(name => names.indexOf(name))
  expect(order).toEqual(order.toSorted((a, b) => a - b))
  expect(names.indexOf('version')).toBeGreaterThan(names.indexOf('blob'))
  expect(names).not.toContain('migration')
})

const closing = <T extends Database>(database: T): T & AsyncDisposable => ({
  ...database,
  [Symbol.asyncDispose]: () => database.close(),
})
