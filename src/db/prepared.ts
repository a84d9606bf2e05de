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
  const plans = new WeakMap<object, Plan<A, R>>()
  const memories = new WeakMap<object, Memory<R>>()
  const planOf = (db: Kysely<Schema>): Plan<A, R> => {
    const { adapter } = db.getExecutor()
    const known = plans.get(adapter)
    if (known) return known
    // The marker travels through Kysely as an opaque value and comes out in `parameters`.
    const query = build(db, name => new Placeholder(name) as unknown as A[typeof name]).compile()
    const slots = query.parameters.map(value => (value instanceof Placeholder ? (value.name as keyof A) : undefined))
    const plan = { query, slots, named: [...new Set(slots.filter(name => name !== undefined))] }
    plans.set(adapter, plan)
    return plan
  }
  const memoryOf = (db: Kysely<Schema>, state: number): Memory<R> => {
    const known = memories.get(db)
    if (known?.state === state && known.answers.size < MAX_REMEMBERED) return known
    const fresh = { state, answers: new Map<unknown, R[]>() }
    memories.set(db, fresh)
    return fresh
  }
  return async (db: Kysely<Schema>, args: A): Promise<R[]> => {
    const { query, slots, named } = planOf(db)
    const connection = direct.get(db)
    const fill = () => slots.map((name, at) => (name === undefined ? query.parameters[at] : args[name]))
    if (!connection) return (await db.executeQuery<R>({ ...query, parameters: fill() })).rows
    const ask = () => connection.run(query.sql, fill()) as R[] // what the query was built to answer
    if (!remember || !connection.state) return ask()
    const { answers } = memoryOf(db, connection.state())
    const key = keyOf(args, named)
    const known = answers.get(key)
    if (known) return known
    const rows = ask()
    answers.set(key, rows)
    for (const row of rows) Object.freeze(row)
    Object.freeze(rows)
    return rows
  }
}

interface Plan<A, R> {
  query: CompiledQuery<R>
  /** The argument that each parameter takes its value from; undefined for one that is always the same. */
  slots: readonly (keyof A | undefined)[]
  named: readonly (keyof A)[]
}

interface Memory<R> {
  state: number
  /** By the query's arguments. */
  answers: Map<unknown, R[]>
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
