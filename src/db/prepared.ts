/** Queries of the hot paths: built and compiled once, then run with their arguments put in place. */
import { CompiledQuery, type Compilable, type Insertable, type Kysely } from 'kysely'
import type { Schema } from './schema.ts'

class Placeholder {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

type Argument<A> = <K extends keyof A & string>(name: K) => A[K]
type Run = (text: string, parameters: readonly unknown[]) => readonly unknown[]

/** A connection that answers at once; for it the ceremony of a pool would cost as much as the query. */
interface Direct {
  run: Run
  /** Names the state of the database that is read: another one after every commit. Missing where writes are under way. */
  state?: () => number
}

const direct = new WeakMap<Kysely<Schema>, Direct>()

/** Lets prepared queries over `db` go straight to its only connection. */
export function answerDirectly(db: Kysely<Schema>, connection: Direct): void {
  direct.set(db, connection)
}

/** Describes a query once: `arg('x')` stands for the value of `x` in each call. */
export type Build<A, R> = (db: Kysely<Schema>, arg: Argument<A>) => Compilable<R>

/** A query that is built and compiled once. Doing so each time would cost seven times as much. */
export const prepared = <A extends object, R>(build: Build<A, R>) => prepare(build, false)

/**
 * The same for small rows that every request asks for: on a direct connection, an answer is given again for as long as
 * nobody has committed anything. Such rows are frozen; a list of them would be slow to filter if it were.
 */
export const remembered = <A extends object, R>(build: Build<A, R>) => prepare(build, true)

/** Rows per statement over a pool: well below the limit on parameters. */
const ROWS_PER_INSERT = 200

/**
 * Rows into a table, all with the same columns. A direct connection takes them one by one, as to build a long statement costs more
 * than to run a short one often; over a pool, where each statement is a journey, many go at a time.
 */
export function preparedInsert<T extends keyof Schema, C extends keyof Insertable<Schema[T]> & string>(
  table: T,
  columns: readonly C[],
) {
  type Row = Pick<Insertable<Schema[T]>, C>
  const insertOne = prepared<Row, never>((db, arg) => {
    const values = Object.fromEntries(columns.map(name => [name, arg(name)]))
    return db.insertInto(table).values(values as Insertable<Schema[T]>) // all columns that the caller has named
  })
  return async (db: Kysely<Schema>, rows: readonly Row[]): Promise<void> => {
    if (rows.length === 1 || direct.has(db)) {
      for (const row of rows) await insertOne(db, row)
      return
    }
    for (let start = 0; start < rows.length; start += ROWS_PER_INSERT) {
      const some = rows.slice(start, start + ROWS_PER_INSERT) as Insertable<Schema[T]>[] // as above
      await db.insertInto(table).values(some).execute()
    }
  }
}

/** A query as the engine takes it. */
interface Plan<A, R> {
  query: CompiledQuery<R>
  /** The argument that each parameter takes its value from; undefined for one that is always the same. */
  slots: readonly (keyof A | undefined)[]
}

type Ask<A, R> = (args: A) => readonly R[]

function prepare<A extends object, R>(build: Build<A, R>, remember: boolean) {
  const plans = new WeakMap<object, Plan<A, R>>()
  const asks = new WeakMap<Kysely<Schema>, Ask<A, R>>()
  const planOf = (db: Kysely<Schema>): Plan<A, R> => {
    const { adapter } = db.getExecutor() // transactions have one Kysely each, but the adapter of their pool
    const plan = plans.get(adapter) ?? compile(db, build)
    plans.set(adapter, plan)
    return plan
  }
  const askOf = (db: Kysely<Schema>): Ask<A, R> | undefined => {
    const connection = direct.get(db)
    if (!connection) return undefined
    const ask = askDirectly(planOf(db), connection, remember)
    asks.set(db, ask)
    return ask
  }
  return async (db: Kysely<Schema>, args: A): Promise<readonly R[]> => {
    const ask = asks.get(db) ?? askOf(db)
    if (ask) return ask(args)
    const plan = planOf(db)
    return (await db.executeQuery<R>({ ...plan.query, parameters: fill(plan, args) })).rows
  }
}

function compile<A, R>(db: Kysely<Schema>, build: Build<A, R>): Plan<A, R> {
  // The marker travels through Kysely as an opaque value and comes out in `parameters`.
  const query = build(db, name => new Placeholder(name) as unknown as A[typeof name]).compile()
  const slots = query.parameters.map(value => (value instanceof Placeholder ? (value.name as keyof A) : undefined))
  return { query, slots }
}

const fill = <A, R>({ query, slots }: Plan<A, R>, args: A): unknown[] =>
  slots.map((name, at) => (name === undefined ? query.parameters[at] : args[name]))

function askDirectly<A, R>(plan: Plan<A, R>, { run, state }: Direct, remember: boolean): Ask<A, R> {
  const ask = (args: A) => run(plan.query.sql, fill(plan, args)) as readonly R[] // what the query was built to answer
  return remember && state ? remembering(ask, plan, state) : ask
}

/** Gives an answer again for as long as the state of the database is the same. */
function remembering<A, R>(ask: Ask<A, R>, { slots }: Plan<A, R>, stateOf: () => number): Ask<A, R> {
  const named = [...new Set(slots.filter(name => name !== undefined))]
  const answers = new Map<unknown, readonly R[]>()
  let state = stateOf()
  return args => {
    const now = stateOf()
    if (now !== state || answers.size >= MAX_REMEMBERED) answers.clear()
    state = now
    const key = keyOf(args, named)
    const known = answers.get(key)
    if (known) return known
    const rows = ask(args)
    for (const row of rows) Object.freeze(row)
    answers.set(key, rows)
    return rows
  }
}

/** Most queries have one argument, which is its own key; several stand with their lengths, so that no two lists look the same. */
function keyOf<A>(args: A, named: readonly (keyof A)[]): unknown {
  const [only] = named
  if (only !== undefined && named.length === 1) return args[only]
  let key = ''
  for (const name of named) {
    const text = String(args[name])
    key += `${text.length}:${text}`
  }
  return key
}

/** Answers of one query; beyond that, it starts anew. */
const MAX_REMEMBERED = 1000
