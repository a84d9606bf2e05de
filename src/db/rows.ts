/** Reads whole tables, whatever their columns: in the order of their keys, in batches of bounded size. */
import { createHash } from 'node:crypto'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Schema } from './schema.ts'
import type { Table } from './tables.ts'

type Value = string | number | Uint8Array | null
export type Row = Readonly<Record<string, Value>>
/** The values of a row's key. */
export type Key = readonly (string | number)[]

const MAX_ROWS = 1_000
const MAX_BYTES = 4 * 1024 * 1024
/** Below what either engine takes in one statement. */
const MAX_VALUES = 30_000

/** Rows after a key, or from the first. A batch is larger than the limit only if its one row is. */
export async function* readRows(db: Kysely<Schema>, table: Table, after?: Key): AsyncGenerator<readonly Row[]> {
  const limit = Math.min(MAX_ROWS, Math.floor(MAX_VALUES / table.columns.length))
  for (let from = after; ;) {
    const count = await fitting(db, table, from, limit)
    if (count === 0) return
    const rows = await page<Row>(db, table, { select: sql`${names(table.columns)}`, after: from, limit: count })
    yield rows
    from = keyOf(table, rows.at(-1)!)
  }
}

/** How many of the next rows fit into a batch: their sizes are asked for before they are. */
async function fitting(db: Kysely<Schema>, table: Table, after: Key | undefined, limit: number): Promise<number> {
  const sizes = table.wide.map(column => sql`coalesce(octet_length(${sql.ref(column)}), 0)`)
  const select = sql`${sizes.length > 0 ? sql.join(sizes, sql` + `) : sql`0`} as bytes`
  const rows = await page<{ bytes: number }>(db, table, { select, after, limit })
  let bytes = 0
  const end = rows.findIndex((row, at) => (bytes += row.bytes) > MAX_BYTES && at > 0)
  return end < 0 ? rows.length : end
}

async function page<R>(
  db: Kysely<Schema>,
  { name, key }: Table,
  { select, after, limit }: { select: RawBuilder<unknown>; after: Key | undefined; limit: number },
): Promise<R[]> {
  const later = after ? sql`where (${names(key)}) > (${sql.join([...after])})` : sql``
  const query = sql<R>`select ${select} from ${sql.table(name)} ${later} order by ${names(key)} limit ${limit}`
  return (await query.execute(db)).rows
}

const names = (columns: readonly string[]) => sql.join(columns.map(column => sql.ref(column)))

/** Keys are ids, names and numbers, never bytes. */
export const keyOf = (table: Table, row: Row): Key => table.key.map(column => row[column] as string | number)

export interface Digest {
  rows: number
  sha256: string
}

/** Over every row of the table in the order of its key; the same on both engines. */
export async function digestTable(db: Kysely<Schema>, table: Table): Promise<Digest> {
  const hash = createHash('sha256')
  let rows = 0
  for await (const batch of readRows(db, table)) {
    for (const row of batch) hash.update(`${JSON.stringify(table.columns.map(column => plain(row[column])))}\n`)
    rows += batch.length
  }
  return { rows, sha256: hash.digest('hex') }
}

function plain(value: Value | undefined) {
  if (!(value instanceof Uint8Array)) return value
  return { bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
}
