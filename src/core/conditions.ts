/**
 * Conditions that a client makes up, as SQL with the same meaning on both engines. What came from outside travels in
 * parameters only, and each condition is true or false: where nothing is stored, every comparison is false.
 */
import { sql, type RawBuilder } from 'kysely'
import type { Engine } from '#db/columns.ts'
import { DomainError } from './errors.ts'
import { fold } from './names.ts'

export type Condition = { all: readonly Condition[] } | { any: readonly Condition[] } | { not: Condition } | Comparison

export interface Comparison {
  field: string
  /** `contains` minds case, `contains-folded` does not; `has`: the value is among several. */
  test: 'equals' | 'contains' | 'contains-folded' | 'has'
  /** Equal to null is what is not there. A value of another type than the field equals nothing. */
  value: string | number | boolean | null
}

/** What may be compared: by its value, in its folded form, and as a set. What is absent cannot be asked so. */
export interface Field {
  /** Times are epoch milliseconds; numbers are whole, below 2^53. */
  type: 'text' | 'number' | 'boolean' | 'time'
  sql?: RawBuilder<unknown>
  /** The value as `fold` leaves it. */
  folded?: RawBuilder<unknown>
  has?: (value: string) => RawBuilder<boolean>
}

export type Fields = Readonly<Record<string, Field>>

export const always = sql<boolean>`1 = 1`
export const never = sql<boolean>`1 = 0`

/** Throws `invalid-input` for a field that there is not, or that cannot be asked so. */
export function compileCondition(engine: Engine, fields: Fields, condition: Condition): RawBuilder<boolean> {
  const compile = (inner: Condition) => compileCondition(engine, fields, inner)
  if ('all' in condition) return join(condition.all.map(compile), sql` and `) ?? always
  if ('any' in condition) return join(condition.any.map(compile), sql` or `) ?? never
  if ('not' in condition) return sql`not (${compile(condition.not)})`
  return compileComparison(engine, fields, condition)
}

/** All that it asks for, at whatever depth. */
export function comparisonsIn(condition: Condition): Comparison[] {
  if ('all' in condition) return condition.all.flatMap(comparisonsIn)
  if ('any' in condition) return condition.any.flatMap(comparisonsIn)
  return 'not' in condition ? comparisonsIn(condition.not) : [condition]
}

/** In halves: engines limit how deep an expression may be, and a chain is as deep as it is long. */
function join(parts: readonly RawBuilder<boolean>[], word: RawBuilder<unknown>): RawBuilder<boolean> | undefined {
  if (parts.length < 2) return parts[0]
  const middle = Math.ceil(parts.length / 2)
  return sql`(${join(parts.slice(0, middle), word)}${word}${join(parts.slice(middle), word)})`
}

function compileComparison(engine: Engine, fields: Fields, { field: name, test, value }: Comparison) {
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined
  const compiled = field && tests[test](field, value, engine)
  if (!compiled) throw new DomainError('invalid-input', { field: name, rule: `cannot be asked: ${test}` })
  return compiled
}

type Test = (field: Field, value: Comparison['value'], engine: Engine) => RawBuilder<boolean> | undefined

/** Each undefined for a field that cannot be asked so. */
const tests: Record<Comparison['test'], Test> = {
  equals: (field, value) => field.sql && equals(field.sql, field.type, value),
  contains: (field, value, engine) =>
    field.type === 'text' && field.sql ? contains(engine, field.sql, value) : undefined,
  'contains-folded': (field, value, engine) =>
    field.folded && contains(engine, field.folded, isText(value) ? fold(value) : value),
  has: (field, value) => field.has && (isText(value) ? sql`(${field.has(value)}) is true` : never),
}

/** No stored text holds NUL or lone surrogates, and PostgreSQL would refuse to be asked. */
const isText = (value: Comparison['value']): value is string =>
  typeof value === 'string' && !value.includes('\0') && value.isWellFormed()

const isOfType: Record<Field['type'], (value: Comparison['value']) => boolean> = {
  text: isText,
  number: Number.isSafeInteger,
  time: Number.isSafeInteger,
  boolean: value => typeof value === 'boolean',
}

function equals(column: RawBuilder<unknown>, type: Field['type'], value: Comparison['value']): RawBuilder<boolean> {
  if (value === null) return sql`(${column}) is null`
  if (!isOfType[type](value)) return never
  if (type === 'boolean') return value === true ? sql`(${column}) is true` : sql`(${column}) is false`
  return sql`(${column} = ${value}) is true`
}

/** Without patterns, so that nothing in the text means anything. */
function contains(engine: Engine, column: RawBuilder<unknown>, value: Comparison['value']): RawBuilder<boolean> {
  if (!isText(value)) return never
  const place = engine === 'sqlite' ? sql`instr` : sql`strpos`
  return sql`(${place}(${column}, ${value}) > 0) is true`
}
