import fc from 'fast-check'
import { sql } from 'kysely'
import { describe, expect } from 'vitest'
import { compileCondition, type Comparison, type Condition, type Fields } from '#core/conditions.ts'
import { fold } from '#core/names.ts'
import type { Database, Tx } from '#db/database.ts'
import { test } from '#test/world.ts'

interface Thing {
  words: string | null
  figure: number | null
  truth: boolean | null
  tags: string[]
}

const fields: Fields = {
  words: { type: 'text', sql: sql`words`, folded: sql`folded` },
  figure: { type: 'number', sql: sql`figure` },
  truth: { type: 'boolean', sql: sql`truth = 1` },
  tags: {
    type: 'text',
    has: tag => sql`exists (select 1 from thing_tag where thing_tag.id = thing.id and tag = ${tag})`,
  },
}

/** What the conditions mean, said once more without a database. */
function isMet(thing: Thing, condition: Condition): boolean {
  if ('all' in condition) return condition.all.every(inner => isMet(thing, inner))
  if ('any' in condition) return condition.any.some(inner => isMet(thing, inner))
  if ('not' in condition) return !isMet(thing, condition.not)
  return condition.test === 'equals' ? isEqual(thing, condition) : isHeld(thing, condition)
}

function isEqual(thing: Thing, { field, value }: Comparison): boolean {
  const stored = thing[field as keyof Thing]
  return stored === value || (stored === 0 && value === 0)
}

function isHeld({ words, tags }: Thing, { test, value }: Comparison): boolean {
  if (typeof value !== 'string' || !value.isWellFormed() || value.includes('\0')) return false
  if (test === 'has') return tags.includes(value)
  if (words === null) return false
  return test === 'contains' ? words.includes(value) : fold(words).includes(fold(value))
}

const letters = [
  '',
  'a',
  'A',
  'b',
  'ß',
  'ẞ',
  'İ',
  'i',
  'Σ',
  'ς',
  'ﬁ',
  'é',
  'e\u0301',
  '😀',
  '%',
  '_',
  '\\',
  '*',
  '[',
  "'",
  '"',
  '?',
  '$1',
  ' ',
]
const word = fc.array(fc.constantFrom(...letters), { maxLength: 4 }).map(some => some.join(''))
const figures = [0, -0, 1, -1, 2 ** 31, 2 ** 53 - 1, -(2 ** 53 - 1)]
const oddFigures = [0.5, 2 ** 53, 1e300, Number.NaN, Number.POSITIVE_INFINITY]
const oddWords = ['\0', 'a\0', '\ud83d', 'a\udc00', 'x'.repeat(100_000)]
const orNone = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: null, freq: 4 })

const thing: fc.Arbitrary<Thing> = fc.record({
  words: orNone(word),
  figure: orNone(fc.constantFrom(...figures)),
  truth: orNone(fc.boolean()),
  tags: fc.uniqueArray(word, { maxLength: 3 }),
})

const anyValue = fc.oneof(
  { weight: 3, arbitrary: word },
  { weight: 5, arbitrary: fc.constantFrom(...letters) },
  fc.constantFrom(...figures, ...oddFigures),
  fc.constantFrom(...oddWords),
  fc.boolean(),
  fc.constant(null),
)
const asked = [
  ['words', 'equals'],
  ['words', 'contains'],
  ['words', 'contains-folded'],
  ['figure', 'equals'],
  ['truth', 'equals'],
  ['tags', 'has'],
] as const
const comparison: fc.Arbitrary<Comparison> = fc
  .tuple(fc.constantFrom(...asked), anyValue)
  .map(([[field, test], value]) => ({ field, test, value }))

const { condition } = fc.letrec<{ condition: Condition }>(tie => ({
  condition: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'condition' },
    comparison,
    fc.record({ all: fc.array(tie('condition'), { maxLength: 3 }) }),
    fc.record({ any: fc.array(tie('condition'), { maxLength: 3 }) }),
    fc.record({ not: tie('condition') }),
  ),
}))

/** Runs in a transaction with a table of things, and takes it away again. */
const withThings = (database: Database, work: (tx: Tx) => Promise<void>): Promise<void> =>
  database.transaction(async tx => {
    await sql`create temporary table thing (id bigint, words text, folded text, figure bigint, truth bigint)`.execute(
      tx,
    )
    await sql`create temporary table thing_tag (id bigint, tag text)`.execute(tx)
    await work(tx)
    await sql`drop table thing_tag`.execute(tx)
    await sql`drop table thing`.execute(tx)
  })

async function fill(tx: Tx, things: readonly Thing[]): Promise<void> {
  await sql`delete from thing`.execute(tx)
  await sql`delete from thing_tag`.execute(tx)
  for (const [id, { words, figure, truth, tags }] of things.entries()) {
    const folded = words === null ? null : fold(words)
    await sql`insert into thing values (${id}, ${words}, ${folded}, ${figure}, ${truth === null ? null : Number(truth)})`.execute(
      tx,
    )
    for (const tag of tags) await sql`insert into thing_tag values (${id}, ${tag})`.execute(tx)
  }
}

async function find(database: Database, tx: Tx, asked: Condition): Promise<number[]> {
  const where = compileCondition(database.engine, fields, asked)
  const { rows } = await sql<{ id: number }>`select id from thing where ${where} order by id`.execute(tx)
  return rows.map(row => row.id)
}

describe('a condition', () => {
  test('finds what it means, whatever is stored and whatever is asked', async ({ world }) => {
    const { database } = world.deps
    await withThings(database, tx =>
      fc.assert(
        fc.asyncProperty(fc.array(thing, { maxLength: 6 }), condition, async (things, asked) => {
          await fill(tx, things)
          const expected = [...things.keys()].filter(id => isMet(things[id]!, asked))
          expect(await find(database, tx, asked)).toEqual(expected)
        }),
        { numRuns: 250 },
      ),
    )
  })

  test('is false where nothing is stored, and its opposite true', async ({ world }) => {
    const { database } = world.deps
    await withThings(database, async tx => {
      await fill(tx, [{ words: null, figure: null, truth: null, tags: [] }])
      const values = { words: 'a', figure: 1, truth: false, tags: 'a' } as const
      for (const [field, test] of asked) {
        const comparison = { field, test, value: values[field] }
        expect(await find(database, tx, comparison)).toEqual([])
        expect(await find(database, tx, { not: comparison })).toEqual([0])
      }
      expect(await find(database, tx, { field: 'words', test: 'equals', value: null })).toEqual([0])
    })
  })

  test('takes the pieces of a text as they are, with or without regard to case', async ({ world }) => {
    const { database } = world.deps
    await withThings(database, async tx => {
      const words = ['Straße 50%', 'STRASSE', 'straße_50', 'Číslo']
      await fill(
        tx,
        words.map(words => ({ words, figure: null, truth: null, tags: [] })),
      )
      const containing = (test: 'contains' | 'contains-folded', value: string) =>
        find(database, tx, { field: 'words', test, value })
      expect(await containing('contains', 'traße')).toEqual([0, 2])
      expect(await containing('contains', '0%')).toEqual([0])
      expect(await containing('contains', '_')).toEqual([2])
      expect(await containing('contains-folded', 'STR')).toEqual([0, 1, 2])
      expect(await containing('contains-folded', 'ČÍS')).toEqual([3])
    })
  })

  test('may have thousands of alternatives', async ({ world }) => {
    const { database } = world.deps
    await withThings(database, async tx => {
      await fill(tx, [{ words: 'w4999', figure: null, truth: null, tags: [] }])
      const any = Array.from({ length: 5000 }, (_, n) => ({ field: 'words', test: 'equals', value: `w${n}` }) as const)
      expect(await find(database, tx, { any })).toEqual([0])
      expect(await find(database, tx, { all: any })).toEqual([])
    })
  })

  test.for<Comparison>([
    { field: 'unknown', test: 'equals', value: 'a' },
    { field: 'constructor', test: 'equals', value: 'a' },
    { field: 'words', test: 'has', value: 'a' },
    { field: 'tags', test: 'equals', value: 'a' },
    { field: 'figure', test: 'contains', value: '1' },
    { field: 'figure', test: 'contains-folded', value: '1' },
  ])('refuses to ask $field: $test', comparison => {
    expect(() => compileCondition('sqlite', fields, { not: comparison })).toThrow('invalid-input')
  })
})
