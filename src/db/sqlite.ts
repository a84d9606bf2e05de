/** SQLite through node:sqlite: one connection that writes (with group commit), one that reads. */
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import {
  CompiledQuery,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type QueryResult,
} from 'kysely'
import { DatabaseBusy, DatabaseFull, type Database, type Tx } from './database.ts'
import { answerDirectly } from './prepared.ts'
import type { Schema } from './schema.ts'

/** How long a transaction waits for those of other processes. */
const BUSY_TIMEOUT_MS = 5_000
/** Longest pause between two tries to begin. */
const BEGIN_PAUSE_MS = 3
/** Transactions that share one commit at most. */
const MAX_GROUP = 64
const MAX_CACHED_STATEMENTS = 500
/** How much of the file is read through memory maps instead of copies. */
const MAPPED_BYTES = 64 * 1024 * 1024

export function openSqlite(file: string): Database {
  const writer = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true })
  writer.exec('pragma journal_mode = wal')
  writer.exec('pragma synchronous = full')
  writer.exec('pragma secure_delete = on')
  writer.exec('pragma cache_size = -16000')
  // Savepoints keep pages as they were: in files beside the system's others they would cost more than the commit, and outlive a purge.
  writer.exec('pragma temp_store = memory')
  // From here on waiting is ours to do: the engine's own would stop the whole process.
  writer.exec('pragma busy_timeout = 0')
  const reader = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, readOnly: true })
  reader.exec('pragma cache_size = -16000')
  reader.exec(`pragma mmap_size = ${MAPPED_BYTES}`)
  const reading = new Connection(reader, () => snapshot.begin())
  const snapshot = new Snapshot(reader, () => reading.followSchema())
  const writing = new Connection(writer)
  const tx = kyselyOver(writing) as Tx // the only connection that writes
  const ids = new IdSequence(writing)
  const groups = new GroupCommit(writer, tx, {
    begun: () => writing.followSchema(),
    committing: () => ids.store(),
    ended: () => {
      ids.forget()
      snapshot.end()
    },
  })
  return {
    engine: 'sqlite',
    read: kyselyOver(reading, () => snapshot.state()),
    readTogether: () => snapshot.share(),
    transaction: work => groups.run(work),
    nextIds: async (_tx, count) => ids.draw(count),
    lock: async () => {}, // the writer is alone anyway
    async scrub() {
      snapshot.end() // an open snapshot would keep the log from being reset
      // secure_delete zeroes free pages; old copies of pages stay in the log until it is reset.
      const outcome = writer.prepare('pragma wal_checkpoint(truncate)').get()
      if (outcome?.['busy'] !== 0) throw new DatabaseBusy('Others are reading the log')
    },
    async copyTo(target) {
      // One snapshot. The online backup starts anew whenever another process writes, and would never end beside a busy one.
      snapshot.end()
      reader.prepare('vacuum into ?').run(target)
    },
    async close() {
      await groups.idle()
      snapshot.end()
      reader.close()
      writer.close()
    },
  }
}

/**
 * The ids of everything that has one. The transactions of one commit draw from memory and write the sequence once; what a failed
 * one has drawn is skipped.
 */
class IdSequence {
  readonly #writer: Connection
  #last: number | undefined

  constructor(writer: Connection) {
    this.#writer = writer
  }

  draw(count: number): number[] {
    const last = this.#last ?? this.#load()
    this.#last = last + count
    return Array.from({ length: count }, (_, n) => last + 1 + n)
  }

  /** To be called ahead of the commit. */
  store(): void {
    if (this.#last === undefined) return
    this.#writer.run(`update id_sequence set value = max(value, ?) where name = 'node'`, [this.#last])
  }

  /** To be called when the transaction has ended, either way: others draw too. */
  forget(): void {
    this.#last = undefined
  }

  #load(): number {
    const [row] = this.#writer.run(`select value from id_sequence where name = 'node'`, []).rows as { value: number }[]
    return row?.value ?? 0
  }
}

/**
 * What is read in one go is read from one state of the database: the begin and end of a state, whose locks cost more than most
 * queries, are shared. Ordinarily a go ends with the callback that began it. Requests that came in together make one go
 * (`share`), as the state is taken up after all of them have arrived. A commit ends it too, so nobody reads what is older than
 * his request or than his own write.
 */
class Snapshot {
  readonly #begin: StatementSync
  readonly #end: StatementSync
  readonly #version: StatementSync
  readonly #changed: () => void
  #isOpen = false
  #isShared = false
  #state = 0

  /** `changed` is called whenever another state of the database than before was taken up. */
  constructor(reader: DatabaseSync, changed: () => void) {
    this.#changed = changed
    this.#begin = reader.prepare('begin')
    this.#end = reader.prepare('commit')
    this.#version = reader.prepare('pragma data_version')
  }

  /** Changes with every commit of anybody: this connection makes none. */
  state(): number {
    this.begin()
    return this.#state
  }

  begin(): void {
    if (this.#isOpen) return
    this.#begin.run()
    const state = Number(this.#version.get()?.['data_version'])
    if (state !== this.#state) this.#changed()
    this.#state = state
    this.#isOpen = true
    if (!this.#isShared) process.nextTick(() => this.end()) // runs when all promises of this callback have gone on
  }

  /** To be called in the phase of the event loop that hands out what has come in; the state ends right after that phase. */
  share(): void {
    if (this.#isShared) return
    this.#isShared = true
    setImmediate(() => {
      this.#isShared = false
      this.end()
    })
  }

  end(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#end.run()
  }
}

interface Work {
  run: (tx: Tx) => Promise<unknown>
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

interface Done {
  work: Work
  value: unknown
}

interface GroupHooks {
  begun: () => void
  committing: () => void
  /** Committed or rolled back. */
  ended: () => void
}

/**
 * Puts transactions that arrive together into one commit, so that they share one fsync: one that fails takes nobody with it.
 * Answers go out after the commit. Savepoints cost a copy of each page that a transaction touches, so a group does without until one
 * in it fails; then it starts anew with them, and the next group has them from the beginning.
 */
class GroupCommit {
  readonly #connection: DatabaseSync
  readonly #tx: Tx
  readonly #on: GroupHooks
  readonly #savepoint: StatementSync
  readonly #release: StatementSync
  #queue: Work[] = []
  #draining: Promise<void> | undefined
  #expectsFailures = false

  constructor(connection: DatabaseSync, tx: Tx, on: GroupHooks) {
    this.#connection = connection
    this.#tx = tx
    this.#on = on
    this.#savepoint = connection.prepare('savepoint work')
    this.#release = connection.prepare('release work')
  }

  run<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ run: work, resolve: resolve as Work['resolve'], reject })
      this.#draining ??= new Promise<void>(done => setImmediate(() => void this.#drain().then(done)))
    })
  }

  async idle(): Promise<void> {
    while (this.#draining) await this.#draining
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) await this.#commitGroup()
    this.#draining = undefined
  }

  async #commitGroup(): Promise<void> {
    const begun = await this.#begin().catch(error => ({ error }))
    // Whoever came while we waited for our turn goes along.
    const group = this.#queue.splice(0, MAX_GROUP)
    let done: Done[]
    try {
      if (begun) throw begun.error
      done = (await this.#runTogether(group)) ?? (await this.#runApart(group))
      if (this.#connection.isTransaction) {
        this.#on.committing()
        this.#connection.exec('commit')
      }
    } catch (error) {
      // The engine gave up the whole group (full disk, I/O error): nobody in it has been answered yet.
      if (this.#connection.isTransaction) this.#connection.exec('rollback')
      for (const work of group) work.reject(translate(error))
      return
    } finally {
      this.#on.ended()
    }
    for (const { work, value } of done) work.resolve(value)
  }

  /** Waits for the transactions of other processes without stopping this one. */
  async #begin(): Promise<void> {
    for (const deadline = performance.now() + BUSY_TIMEOUT_MS; ;) {
      try {
        this.#connection.exec('begin immediate')
        this.#on.begun()
        return
      } catch (error) {
        if (!(translate(error) instanceof DatabaseBusy) || performance.now() > deadline) throw error
        await sleep(Math.random() * BEGIN_PAUSE_MS)
      }
    }
  }

  /** Undefined when it was not tried, or when somebody failed: then nothing has happened and a transaction has begun again. */
  async #runTogether(group: readonly Work[]): Promise<Done[] | undefined> {
    if (this.#expectsFailures || group.length === 1) return undefined
    const done: Done[] = []
    try {
      for (const work of group) done.push({ work, value: await work.run(this.#tx) })
      return done
    } catch (error) {
      if (!this.#connection.isTransaction) throw error
      this.#connection.exec('rollback')
      this.#on.ended()
      await this.#begin()
      return undefined
    }
  }

  /** Those that did not fail; the others have been answered. */
  async #runApart(group: readonly Work[]): Promise<Done[]> {
    const done: Done[] = []
    for (const work of group) {
      const outcome = await this.#runOne(work, group.length > 1)
      if (outcome) done.push({ work, value: outcome.value })
    }
    if (group.length > 1) this.#expectsFailures = done.length < group.length
    return done
  }

  /** Undefined when the work failed and was answered; throws when the engine ended the whole transaction. */
  async #runOne(work: Work, shared: boolean): Promise<{ value: unknown } | undefined> {
    if (shared) this.#savepoint.run()
    try {
      const value = await work.run(this.#tx)
      if (shared) this.#release.run()
      return { value }
    } catch (error) {
      if (!this.#connection.isTransaction) throw error
      if (shared) this.#connection.exec('rollback to work; release work')
      else this.#connection.exec('rollback')
      work.reject(translate(error))
      return undefined
    }
  }
}

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_FULL = 13

function translate(error: unknown): unknown {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
  if (code === SQLITE_BUSY || code === SQLITE_LOCKED) return new DatabaseBusy('The database is busy', { cause: error })
  if (code === SQLITE_FULL) return new DatabaseFull('The disk under the database is full', { cause: error })
  return error
}

function kyselyOver(single: Connection, state?: () => number): Kysely<Schema> {
  const dialect: Dialect = {
    createAdapter: () => new SqliteAdapter(),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: db => new SqliteIntrospector(db),
    createDriver: () => ({
      init: async () => {},
      acquireConnection: async () => single,
      releaseConnection: async () => {},
      beginTransaction: () => Promise.reject(new Error('Use Database.transaction')),
      commitTransaction: async () => {},
      rollbackTransaction: async () => {},
      destroy: async () => {},
    }),
  }
  const db = new Kysely<Schema>({ dialect })
  const run = (text: string, parameters: readonly unknown[]) => single.run(text, parameters as SQLInputValue[]).rows
  answerDirectly(db, { run, ...(state && { state }) })
  return db
}

/** For reading over a connection that somebody else opens and closes. */
export const kyselyOn = (connection: DatabaseSync): Kysely<Schema> => kyselyOver(new Connection(connection))

type RowMaker = (values: readonly SQLOutputValue[]) => Record<string, SQLOutputValue>

/**
 * Makes rows of one shape, as a literal would. Wide objects that are filled name by name are slow to make and to look into; every
 * request has several. The names are columns of our own statements.
 */
function rowMaker(names: readonly string[]): RowMaker {
  const fields = names.map((name, at) => `${JSON.stringify(name)}: values[${at}]`)
  // oxlint-disable-next-line typescript/no-implied-eval -- no text of a client gets here
  return new Function('values', `return { ${fields.join(', ')} }`) as RowMaker
}

interface Prepared {
  statement: StatementSync
  answersRows: boolean
  changesSchema: boolean
  /** There once it has run. */
  toRow?: RowMaker
}

class Connection implements DatabaseConnection {
  readonly #connection: DatabaseSync
  readonly #before: () => void
  readonly #schemaVersion: StatementSync
  readonly #statements = new Map<string, Prepared>()
  #schema = 0

  /** `before` is called ahead of each query. */
  constructor(connection: DatabaseSync, before = () => {}) {
    this.#connection = connection
    this.#before = before
    this.#schemaVersion = connection.prepare('pragma schema_version')
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes } = this.run(query.sql, query.parameters as SQLInputValue[]) // as the query was built
    return { rows: rows as R[], ...(changes !== undefined && { numAffectedRows: changes }) }
  }

  run(text: string, parameters: readonly SQLInputValue[]): { rows: unknown[]; changes?: bigint } {
    this.#before()
    const entry = this.#prepare(text)
    if (!entry.answersRows) {
      const { changes } = entry.statement.run(...parameters)
      if (entry.changesSchema) this.#statements.clear()
      return { rows: [], changes: BigInt(changes) }
    }
    // The statement answers rows as lists of values, which its types do not tell.
    const rows = entry.statement.all(...parameters) as unknown as SQLOutputValue[][]
    // Only once it has run it knows the columns for sure: the connection may remember an earlier schema.
    entry.toRow ??= rowMaker(entry.statement.columns().map(column => column.name))
    const { toRow } = entry
    const made: unknown[] = rows
    // In place: of a long answer the lists would live on beside the rows, to be copied about by the collector.
    for (let at = 0; at < rows.length; at += 1) made[at] = toRow(rows[at]!)
    return { rows: made }
  }

  /** To be called at the beginning of a transaction: another process may have changed the tables. */
  followSchema(): void {
    const version = Number(this.#schemaVersion.get()?.['schema_version'])
    if (version !== this.#schema) this.#statements.clear()
    this.#schema = version
  }

  // eslint-disable-next-line require-yield
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('Streaming queries are not used: page instead')
  }

  #prepare(text: string): Prepared {
    const known = this.#statements.get(text)
    if (known) return known
    if (this.#statements.size >= MAX_CACHED_STATEMENTS) this.#statements.clear()
    const statement = this.#connection.prepare(text)
    const answersRows = statement.columns().length > 0
    if (answersRows) statement.setReturnArrays(true)
    const entry = { statement, answersRows, changesSchema: /^\s*(create|alter|drop)\b/i.test(text) }
    this.#statements.set(text, entry)
    return entry
  }
}
