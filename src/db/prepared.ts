/** Queries of the hot paths: built and compiled once, then run with their arguments put in place. */
import { CompiledQuery, type Compilable, type Kysely } from 'kysely'
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

type Build<A, R> = (db: Kysely<Schema>, arg: Argument<A>) => Compilable<R>

/**
 * `build` describes the query once; `arg('x')` stands for the value of `x` in each call. Building it anew each time would
 * cost seven times as much.
 */
export const prepared = <A extends object, R>(build: Build<A, R>) => prepare(build, false)

/**
 * The same for small rows that every request asks for: on a direct connection, an answer is given again for as long as
 * nobody has committed anything. Such rows are frozen.
 */
export const remembered = <A extends object, R>(build: Build<A, R>) => prepare(build, true)

function prepare<A extends object, R>(build: Build<A, R>, remember: boolean) {
  const compiled = new WeakMap<object, CompiledQuery<R>>()
  const memories = new WeakMap<object, Memory<R>>()
  const compile = (db: Kysely<Schema>): CompiledQuery<R> => {
    const { adapter } = db.getExecutor()
    const known = compiled.get(adapter)
    if (known) return known
    // The marker travels through Kysely as an opaque value and comes out in `parameters`.
    const query = build(db, name => new Placeholder(name) as unknown as A[typeof name]).compile()
    compiled.set(adapter, query)
    return query
  }
  const memoryOf = (db: Kysely<Schema>, state: number): Memory<R> => {
    const known = memories.get(db)
    if (known?.state === state && known.answers.size < MAX_REMEMBERED) return known
    const fresh = { state, answers: new Map<string, R[]>() }
    memories.set(db, fresh)
    return fresh
  }
  return async (db: Kysely<Schema>, args: A): Promise<R[]> => {
    const query = compile(db)
    const parameters = query.parameters.map(value =>
      value instanceof Placeholder ? args[value.name as keyof A] : value,
    )
    const connection = direct.get(db)
    if (!connection) return (await db.executeQuery<R>({ ...query, parameters })).rows
    const ask = () => connection.run(query.sql, parameters) as R[] // what the query was built to answer
    if (!remember || !connection.state) return ask()
    const { answers } = memoryOf(db, connection.state())
    const key = JSON.stringify(parameters)
    const known = answers.get(key)
    if (known) return known
    const rows = ask()
    answers.set(key, rows)
    for (const row of rows) Object.freeze(row)
    Object.freeze(rows)
    return rows
  }
}

interface Memory<R> {
  state: number
  /** By the query's parameters. */
  answers: Map<string, R[]>
}

/** Answers of one query; beyond that, it starts anew. */
const MAX_REMEMBERED = 1000
