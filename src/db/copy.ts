/**
 * Copies the rows of one database into another of any engine. How far it came is kept in the target, in the transaction of
 * the rows themselves, so that it goes on after any interruption.
 */
import { CompiledQuery, sql } from 'kysely'
import type { Database, Tx } from './database.ts'
import { migrations } from './migrations/index.ts'
import { UNFINISHED_MOVE } from './open.ts'
import { keyOf, readRows, type Key, type Row } from './rows.ts'
import { describeTables, readCounters, writeCounters, type Table } from './tables.ts'

/** What a database that shall be filled holds already. */
export type TargetState = { state: 'empty' | 'taken' } | { state: 'unfinished'; source: string }

interface Progress {
  table: string
  /** Tells what is copied, the same for all tables. */
  source: string
  /** JSON of the key of the last row that arrived; null before the first. */
  lastKey: string | null
  rows: number
}

/** True for a database that this very version of the program would use as it is. */
export async function isCurrent({ read, engine }: Database): Promise<boolean> {
  if (!(await tableNames(read, engine)).includes('migration')) return false
  const { rows } = await sql<{ name: string }>`select name from migration`.execute(read)
  const sorted = (all: readonly { name: string }[]) => all.map(({ name }) => name).toSorted()
  return sorted(rows).join() === sorted(migrations).join()
}

/** Changes nothing. Tables of ours without a single row count as empty. */
export async function surveyTarget(database: Database): Promise<TargetState> {
  const names = await tableNames(database.read, database.engine)
  if (names.length === 0) return { state: 'empty' }
  if (names.includes('migration_progress')) {
    const { rows } = await sql<{ source: string }>`select source from migration_progress limit 1`.execute(database.read)
    return { state: 'unfinished', source: rows[0]?.source ?? '' }
  }
  if (!names.includes('migration') || !names.includes('tenant')) return { state: 'taken' }
  return { state: (await hasRows(database)) ? 'taken' : 'empty' }
}

async function tableNames(db: Database['read'], engine: Database['engine']): Promise<string[]> {
  const query =
    engine === 'sqlite'
      ? sql<{ name: string }>`select name from sqlite_master where type = 'table'`
      : sql<{ name: string }>`select tablename as name from pg_tables where schemaname = current_schema()`
  return (await query.execute(db)).rows.map(row => row.name)
}

async function hasRows({ read, engine }: Database): Promise<boolean> {
  for (const { name } of await describeTables(read, engine)) {
    const { rows } = await sql`select 1 from ${sql.table(name)} limit 1`.execute(read)
    if (rows.length > 0) return true
  }
  return false
}

/** Notes in an empty, migrated target what comes now. From here on no server starts on it. */
export async function beginMove(target: Database, source: string, tables: readonly Table[]): Promise<void> {
  await target.transaction(async tx => {
    await target.lock(tx, 'migrate', 'exclusive')
    const { rows } = await sql`select 1 from tenant`.execute(tx)
    if (rows.length > 0) throw new Error('Somebody else has begun to use the target database')
    await sql`
      create table migration_progress
        ("table" text primary key, source text not null, "lastKey" text, rows bigint not null)`.execute(tx)
    for (const { name } of tables) {
      await sql`insert into migration_progress values (${name}, ${source}, null, 0)`.execute(tx)
    }
    await sql`insert into migration (name, "appliedAt") values (${UNFINISHED_MOVE}, ${Date.now()})`.execute(tx)
  })
}

/** Forgets all that an unfinished move has brought; the target is empty then. */
export async function dropMove(target: Database): Promise<void> {
  const tables = await describeTables(target.read, target.engine)
  await target.transaction(async tx => {
    await emptyTables(tx, target.engine, tables)
    await endMove(tx)
  })
}

async function emptyTables(tx: Tx, engine: Database['engine'], tables: readonly Table[]): Promise<void> {
  if (engine === 'postgres') {
    await sql`truncate ${sql.join(tables.map(({ name }) => sql.table(name)))} restart identity`.execute(tx)
    return
  }
  for (const { name } of tables.toReversed()) await sql`delete from ${sql.table(name)}`.execute(tx)
}

/** Keeps a second move away from the target while `work` runs. Throws when one is at it. */
export async function holdTarget<T>(target: Database, work: () => Promise<T>): Promise<T> {
  if (target.engine === 'sqlite') return work() // its file tells processes apart by itself
  const key = sql`hashtextextended(current_schema() || 'unfinished-move', 0)`
  return target.read.connection().execute(async connection => {
    const { rows } = await sql<{ held: boolean }>`select pg_try_advisory_lock(${key}) as held`.execute(connection)
    if (!rows[0]?.held) throw new Error('Another "entrepot migrate" is filling the target database')
    try {
      return await work()
    } finally {
      await sql`select pg_advisory_unlock(${key})`.execute(connection).catch(() => {}) // gone with the connection
    }
  })
}

/** Makes the target an installation like any other: servers may start on it. */
export const finishMove = (target: Database): Promise<void> => target.transaction(endMove)

async function endMove(tx: Tx): Promise<void> {
  await sql`drop table migration_progress`.execute(tx)
  await sql`delete from migration where name = ${UNFINISHED_MOVE}`.execute(tx)
}

/** Copies what is not in the target yet, and lets its counters go on where those of the source are. */
export async function copyRows(
  from: Database,
  target: Database,
  tables: readonly Table[],
  onTable: (name: string, rows: number) => void,
): Promise<void> {
  await requireSameTables(target, tables)
  const survey = await surveyTarget(target)
  if (survey.state !== 'unfinished') throw new Error('No move has begun in the target database')
  for (const table of tables) {
    const progress = await readProgress(target, table, survey.source)
    onTable(table.name, await copyTable(from, target, table, progress))
  }
  const counters = await readCounters(from.read, from.engine)
  await target.transaction(tx => writeCounters(tx, target.engine, counters))
}

async function requireSameTables(target: Database, tables: readonly Table[]): Promise<void> {
  const shape = (all: readonly Table[]) => all.map(({ name, columns }) => `${name}(${columns.join()})`).toSorted()
  const own = shape(await describeTables(target.read, target.engine))
  const differing = shape(tables).find((text, at) => text !== own[at])
  if (differing) throw new Error(`The target database has other tables than the source: ${differing}`)
}

/** Answers how many rows of the table are in the target now. */
async function copyTable(from: Database, target: Database, table: Table, before: Progress): Promise<number> {
  let progress = before
  const after = progress.lastKey === null ? undefined : (JSON.parse(progress.lastKey) as Key) // as written below
  for await (const rows of readRows(from.read, table, after)) {
    progress = await writeBatch(target, table, rows, progress).catch((error: unknown) => {
      const first = JSON.stringify(keyOf(table, rows[0]!))
      throw new Error(`${table.name}: rows from ${first} were not taken: ${reasonOf(error)}`, { cause: error })
    })
  }
  return progress.rows
}

/** The engine's own words, which our kinds of failure wrap. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

async function readProgress({ read }: Database, { name }: Table, source: string): Promise<Progress> {
  const { rows } = await sql<Progress>`
    select * from migration_progress where "table" = ${name} and source = ${source}`.execute(read)
  if (!rows[0]) throw anotherMove()
  return rows[0]
}

/** The lock of `holdTarget` goes with its connection, and a second move may come before the first one notices. */
const anotherMove = () => new Error('Another move has begun in the target database')

async function writeBatch(target: Database, table: Table, rows: readonly Row[], progress: Progress): Promise<Progress> {
  const lastKey = JSON.stringify(keyOf(table, rows.at(-1)!))
  const next = { ...progress, lastKey, rows: progress.rows + rows.length }
  await target.transaction(async tx => {
    const values = rows.flatMap(row => table.columns.map(column => row[column]))
    await tx.executeQuery(CompiledQuery.raw(insertText(target, table, rows.length), values))
    const noted = await sql`
      update migration_progress set "lastKey" = ${lastKey}, rows = ${next.rows}
      where "table" = ${table.name} and source = ${progress.source} and rows = ${progress.rows}`.execute(tx)
    if (noted.numAffectedRows !== 1n) throw anotherMove()
  })
  return next
}

function insertText({ engine }: Database, { name, columns }: Table, rows: number): string {
  const width = columns.length
  const place = (n: number) => (engine === 'sqlite' ? '?' : `$${n}`)
  const tuple = (row: number) => `(${columns.map((_, at) => place(row * width + at + 1)).join()})`
  const tuples = Array.from({ length: rows }, (_, row) => tuple(row))
  return `insert into "${name}" (${columns.map(column => `"${column}"`).join()}) values ${tuples.join()}`
}
