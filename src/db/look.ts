/** Looking at a database that others own: one state of it, and nothing in or beside it is changed. */
import { existsSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { Kysely } from 'kysely'
import type { Engine } from './columns.ts'
import type { Database } from './database.ts'
import { isPostgres } from './open.ts'
import { openPostgres } from './postgres.ts'
import type { Schema } from './schema.ts'
import { kyselyOn } from './sqlite.ts'

const BUSY_TIMEOUT_MS = 5_000

/** Runs `work` on one state of the database, whatever is written meanwhile. No migration runs, and writing is refused. */
export async function lookAt<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
  return isPostgres(url) ? lookAtPostgres(url, work) : lookAtSqlite(url, work)
}

async function lookAtPostgres<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
  const database = openPostgres({ url, poolSize: 1 })
  try {
    const snapshot = database.read.transaction().setIsolationLevel('repeatable read').setAccessMode('read only')
    return await snapshot.execute(tx => work(lookOnly('postgres', tx)))
  } finally {
    await database.close()
  }
}

async function lookAtSqlite<T>(file: string, work: (database: Database) => Promise<T>): Promise<T> {
  const connection = openGently(file)
  try {
    connection.exec('begin')
    return await work(lookOnly('sqlite', kyselyOn(connection)))
  } finally {
    connection.close()
  }
}

/** A consistent copy of a SQLite file, made while others may write to it. `target` must not exist. */
export function copySqlite(file: string, target: string): void {
  const connection = openGently(file)
  try {
    connection.prepare('vacuum into ?').run(target)
  } finally {
    connection.close()
  }
}

/**
 * Whoever closes a file last and may write brings its log into it; who may not write leaves an empty log behind. So a log
 * with content (a running server's, or a crash's) is looked at read-only, and a file without one is not.
 */
function openGently(file: string): DatabaseSync {
  const log = `${file}-wal`
  const readOnly = existsSync(log) && statSync(log).size > 0
  return new DatabaseSync(file, { readOnly, timeout: BUSY_TIMEOUT_MS })
}

function lookOnly(engine: Engine, read: Kysely<Schema>): Database {
  const refuse = () => Promise.reject(new Error('This database is only looked at'))
  return {
    engine,
    read,
    readTogether() {},
    transaction: refuse,
    nextIds: refuse,
    lock: refuse,
    scrub: refuse,
    copyTo: refuse,
    close: async () => {},
  }
}
