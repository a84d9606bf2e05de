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

/** Connections that answer at once; for them the ceremony of a pool would cost as much as the query. */
const direct = new WeakMap<Kysely<Schema>, Run>()

/** Lets prepared queries over `db` go straight to its only connection. */
export function answerDirectly(db: Kysely<Schema>, run: Run): void {
  direct.set(db, run)
}

/**
 * `build` describes the query once; `arg('x')` stands for the value of `x` in each call. Building it anew each time would
 * cost seven times as much.
 */
export function prepared<A extends object, R>(build: (db: Kysely<Schema>, arg: Argument<A>) => Compilable<R>) {
  const compiled = new WeakMap<object, CompiledQuery<R>>()
  const compile = (db: Kysely<Schema>): CompiledQuery<R> => {
    const { adapter } = db.getExecutor()
    const known = compiled.get(adapter)
    if (known) return known
    // The marker travels through Kysely as an opaque value and comes out in `parameters`.
    const query = build(db, name => new Placeholder(name) as unknown as A[typeof name]).compile()
    compiled.set(adapter, query)
    return query
  }
  return async (db: Kysely<Schema>, args: A): Promise<R[]> => {
    const query = compile(db)
    const parameters = query.parameters.map(value =>
      value instanceof Placeholder ? args[value.name as keyof A] : value,
    )
    const run = direct.get(db)
    if (run) return run(query.sql, parameters) as R[] // what the query was built to answer
    const { rows } = await db.executeQuery<R>({ ...query, parameters })
    return rows
  }
}
