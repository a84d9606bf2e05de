/** What tables there are, as the engine itself tells it: their columns, keys, and which of them refer to which. */
import { sql, type Kysely } from 'kysely'
import type { Engine } from './columns.ts'
import type { Schema } from './schema.ts'

export interface Table {
  name: string
  /** Sorted by name, so that it is the same list on both engines. */
  columns: readonly string[]
  /** Those whose size differs from row to row: texts and bytes. */
  wide: readonly string[]
  /** Columns of the primary key, in its order. */
  key: readonly string[]
}

interface ColumnRow {
  table: string
  column: string
  type: string
  /** Place in the primary key; null for columns that are not in it. */
  keyPart: number | null
}

interface Reference {
  table: string
  target: string
}

/** Tables that belong to a database and not to what is kept in it. */
const OWN_TABLES: readonly string[] = ['migration', 'migration_progress', 'id_sequence']

/** All tables that hold the installation, those that others refer to first. */
export async function describeTables(db: Kysely<Schema>, engine: Engine): Promise<Table[]> {
  const columns = (await listColumns(db, engine)).filter(({ table }) => !OWN_TABLES.includes(table))
  const references = await listReferences(db, engine)
  const tables = [...Map.groupBy(columns, column => column.table)].map(([name, own]) => describe(name, own))
  return inOrder(tables, references)
}

function describe(name: string, rows: readonly ColumnRow[]): Table {
  const key = rows.filter(row => row.keyPart !== null).toSorted((a, b) => (a.keyPart ?? 0) - (b.keyPart ?? 0))
  if (key.length === 0) throw new Error(`The table ${name} has no primary key to read it by`)
  const names = (some: readonly ColumnRow[]) => some.map(row => row.column)
  const wide = rows.filter(row => /text|blob|bytea/i.test(row.type))
  return { name, columns: names(rows).toSorted(), wide: names(wide), key: names(key) }
}

async function listColumns(db: Kysely<Schema>, engine: Engine): Promise<ColumnRow[]> {
  const query =
    engine === 'sqlite'
      ? sql<ColumnRow>`
          select m.name as "table", c.name as "column", c.type as type, nullif(c.pk, 0) as "keyPart"
          from sqlite_master m join pragma_table_info(m.name) c
          where m.type = 'table' and m.name not like 'sqlite\\_%' escape '\\'
          order by m.name, c.cid`
      : sql<ColumnRow>`
          select c.relname as "table", a.attname as "column", format_type(a.atttypid, null) as type,
            array_position(i.indkey::int2[], a.attnum) as "keyPart"
          from pg_class c
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            left join pg_index i on i.indrelid = c.oid and i.indisprimary
          where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace
          order by c.relname, a.attnum`
  return (await query.execute(db)).rows
}

async function listReferences(db: Kysely<Schema>, engine: Engine): Promise<Reference[]> {
  const query =
    engine === 'sqlite'
      ? sql<Reference>`
          select distinct m.name as "table", f."table" as target
          from sqlite_master m join pragma_foreign_key_list(m.name) f where m.type = 'table'`
      : sql<Reference>`
          select distinct f.conrelid::regclass::text as "table", f.confrelid::regclass::text as target
          from pg_constraint f where f.contype = 'f' and f.connamespace = current_schema()::regnamespace`
  return (await query.execute(db)).rows
}

/** Throws for tables that refer to each other in a circle, or to themselves: no order of rows would do. */
function inOrder(tables: readonly Table[], references: readonly Reference[]): Table[] {
  const ordered: Table[] = []
  let waiting = [...tables]
  while (waiting.length > 0) {
    const open = new Set(waiting.map(table => table.name))
    const held = new Set(references.filter(({ target }) => open.has(target)).map(({ table }) => table))
    const free = waiting.filter(table => !held.has(table.name))
    if (free.length === 0) throw new Error(`Tables refer to each other in a circle: ${[...open].join(', ')}`)
    ordered.push(...free)
    waiting = waiting.filter(table => held.has(table.name))
  }
  return ordered
}

/** The counter of ids that several tables share; the others are called like the table whose ids they count. */
export const NODE_COUNTER = 'node_id'

/** The last number that each counter has given out. */
export type Counters = ReadonlyMap<string, number>

export async function readCounters(db: Kysely<Schema>, engine: Engine): Promise<Counters> {
  const query =
    engine === 'sqlite'
      ? sql<Counter>`
          select name, seq as value from sqlite_sequence where name not like 'migration%'
          union all select ${NODE_COUNTER}, value from id_sequence where name = 'node'`
      : sql<Counter>`
          select coalesce(c.relname, s.sequencename) as name, s.last_value as value
          from pg_sequences s
            left join pg_depend d on d.deptype = 'i' and d.classid = 'pg_class'::regclass
              and d.objid = format('%I.%I', s.schemaname, s.sequencename)::regclass
            left join pg_class c on c.oid = d.refobjid
          where s.schemaname = current_schema() and s.last_value is not null`
  return new Map((await query.execute(db)).rows.map(({ name, value }) => [name, value]))
}

interface Counter {
  name: string
  value: number
}

/** Lets the counters go on after these numbers. */
export async function writeCounters(db: Kysely<Schema>, engine: Engine, counters: Counters): Promise<void> {
  for (const [name, value] of counters) {
    if (value > 0) await (engine === 'sqlite' ? setSqlite(db, name, value) : setPostgres(db, name, value))
  }
}

async function setSqlite(db: Kysely<Schema>, name: string, value: number): Promise<void> {
  if (name === NODE_COUNTER) {
    await sql`update id_sequence set value = ${value} where name = 'node'`.execute(db)
    return
  }
  await sql`delete from sqlite_sequence where name = ${name}`.execute(db)
  await sql`insert into sqlite_sequence (name, seq) values (${name}, ${value})`.execute(db)
}

async function setPostgres(db: Kysely<Schema>, name: string, value: number): Promise<void> {
  const sequence =
    name === NODE_COUNTER ? sql`${NODE_COUNTER}::text` : sql`pg_get_serial_sequence(quote_ident(${name}), 'id')`
  await sql`select setval((${sequence})::regclass, ${value})`.execute(db)
}
