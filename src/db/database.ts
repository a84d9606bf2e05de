/** What the rest of the program knows of a database, whichever engine it is. */
import type { Kysely } from 'kysely'
import type { Engine } from './columns.ts'
import type { Schema } from './schema.ts'

/** The tables inside one transaction. Not assignable from a plain connection, so that a forgotten transaction does not compile. */
export type Tx = Kysely<Schema> & { readonly inTransaction: true }

export interface Database {
  readonly engine: Engine
  /** For reading outside a transaction. Writing through it fails. */
  readonly read: Kysely<Schema>
  /**
   * To be called when a request has just come in: what is read from here until everything that came in with it has had its turn
   * may be read from one state of the database. It is no older than the requests.
   */
  readTogether(): void
  /**
   * Runs `work` atomically and resolves once it is durable. `work` may run again after a clash with another transaction,
   * so it does nothing but SQL. Must not be nested.
   * Throws DatabaseUnavailable, DatabaseBusy or DatabaseFull besides what `work` throws.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Draws `count` ascending ids, never given to anybody before. */
  nextIds(tx: Tx, count: number): Promise<number[]>
  /** Holds a named lock until the transaction ends. */
  lock(tx: Tx, name: string, mode: 'shared' | 'exclusive'): Promise<void>
  /** Overwrites what deleted rows left behind in free pages and the log, as far as the engine can. */
  scrub(): Promise<void>
  /** Consistent copy of the whole database into `file` while others write. SQLite only; PostgreSQL has its own tools. */
  copyTo(file: string): Promise<void>
  close(): Promise<void>
}

/** The database cannot be reached, or went away during the call. */
export class DatabaseUnavailable extends Error {}
/** Others held the database for too long. */
export class DatabaseBusy extends Error {}
/** Thrown by work that finds that another transaction got there first: Database.transaction runs it again. */
export class TransactionLost extends Error {}
/** The medium under the database is full. */
export class DatabaseFull extends Error {}

export interface OpenOptions {
  /** `postgres://…`, or a file name for SQLite. */
  url: string
  /** Connections of the pool (PostgreSQL). */
  poolSize?: number
  /** PostgreSQL schema to work in; tests use one each. */
  schema?: string
}
