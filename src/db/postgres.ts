/** PostgreSQL through pg. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import {
  DatabaseBusy,
  DatabaseFull,
  DatabaseUnavailable,
  TransactionLost,
  type Database,
  type OpenOptions,
  type Tx,
} from './database.ts'
import type { Schema } from './schema.ts'

const INT8 = 20
const RETRIES = 8

export function openPostgres({ url, poolSize = 10, schema }: OpenOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    types: {
      // Ids, sizes and times stay below 2^53.
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
    },
    ...(schema && { options: `-c search_path=${schema}` }),
  })
  pool.on('error', () => {}) // an idle connection that dies is replaced at the next query
  // One that dies between two statements of a transaction would end the process; the next statement says it as well.
  pool.on('connect', client => void client.on('error', () => {}))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  return {
    engine: 'postgres',
    read: db,
    readTogether() {}, // each query sees the newest state
    transaction: work => withRetries(() => db.transaction().execute(tx => work(tx as unknown as Tx))),
    async nextIds(tx, count) {
      const { rows } = await sql<{ id: number }>`
        select nextval('node_id') as id from generate_series(1, ${count})`.execute(tx)
      return rows.map(row => row.id)
    },
    async lock(tx, name, mode) {
      const take = mode === 'shared' ? sql`pg_advisory_xact_lock_shared` : sql`pg_advisory_xact_lock`
      await sql`select ${take}(hashtextextended(current_schema() || ${name}, 0))`.execute(tx)
    },
    async scrub() {
      for (const table of ['segment', 'version', 'version_key', 'upload', 'wrapping_key']) {
        await sql`vacuum ${sql.table(table)}`.execute(db)
      }
    },
    copyTo: () => Promise.reject(new Error('Use pg_dump for a PostgreSQL database')),
    close: () => db.destroy(),
  }
}

/**
 * Serialization failure, deadlock, and a key that somebody took between looking and writing: looked at again, that becomes
 * the refusal it is.
 */
const RETRY_CODES = new Set(['40001', '40P01', '23505'])
const FULL_CODES = new Set(['53100'])

/** Repeats a transaction that lost against another one; says why any other failure of the server happened. */
async function withRetries<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt()
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      if (RETRY_CODES.has(code) || error instanceof TransactionLost) {
        if (failures >= RETRIES) throw new DatabaseBusy('The database is busy', { cause: error })
        await sleep(Math.random() * 5 * 2 ** failures)
        continue
      }
      if (FULL_CODES.has(code)) throw new DatabaseFull('The disk under the database is full', { cause: error })
      throw isLost(error, code) ? new DatabaseUnavailable('The database went away', { cause: error }) : error
    }
  }
}

/** True for errors that mean the server or the way to it is gone, not that a statement was wrong. */
function isLost(error: unknown, code: string): boolean {
  if (/^(08|57P0)/.test(code) || ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'].includes(code)) return true
  return error instanceof Error && /terminat|timeout exceeded when trying to connect|not queryable/i.test(error.message)
}
