/**
 * Opens a database of either engine. All differences between SQLite and PostgreSQL at run time live in this file and its
 * two drivers (`sqlite.ts`, `postgres.ts`).
 */
import { sql, type Kysely } from 'kysely'
import type { Database, OpenOptions } from './database.ts'
import { migrations } from './migrations/index.ts'
import { openPostgres } from './postgres.ts'
import { openSqlite } from './sqlite.ts'

/** Opens the database and brings it to the newest migration. */
export async function openDatabase(options: OpenOptions): Promise<Database> {
  const database = isPostgres(options.url) ? openPostgres(options) : openSqlite(options.url)
  try {
    await migrate(database)
  } catch (error) {
    await database.close()
    throw error
  }
  return database
}

export const isPostgres = (url: string) => /^postgres(ql)?:\/\//.test(url)

/** Stands among the applied migrations while "entrepot migrate" fills a database, so that no server starts on it. */
export const UNFINISHED_MOVE = 'unfinished-move'

async function migrate(database: Database): Promise<void> {
  await database.transaction(async tx => {
    // Two processes that start together must not migrate twice.
    await database.lock(tx, 'migrate', 'exclusive')
    await sql`create table if not exists migration (name text primary key, "appliedAt" bigint not null)`.execute(tx)
    const applied = await sql<{ name: string }>`select name from migration`.execute(tx)
    const names = new Set(applied.rows.map(row => row.name))
    if (names.has(UNFINISHED_MOVE)) {
      throw new Error('This database is only half moved here: run the "entrepot migrate" to its end that was begun')
    }
    const unknown = [...names].filter(name => !migrations.some(migration => migration.name === name))
    if (unknown.length > 0) throw new Error(`The database was written by a newer version (${unknown.join(', ')})`)
    for (const migration of migrations) {
      if (names.has(migration.name)) continue
      await migration.up(tx as unknown as Kysely<unknown>, database.engine) // migrations know no Schema
      await sql`insert into migration (name, "appliedAt") values (${migration.name}, ${Date.now()})`.execute(tx)
    }
  })
}
