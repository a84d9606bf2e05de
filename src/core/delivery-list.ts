/**
 * Lists of deliveries, newest first, and what is known of each beyond its rows. A page costs the time of a page and one look
 * at what the actor has: only the rows of the page are read, and nothing is asked row by row.
 */
import { sql, type RawBuilder } from 'kysely'
import { oneOf } from '#db/columns.ts'
import { compileCondition, type Condition } from './conditions.ts'
import type { Ctx } from './ctx.ts'
import {
  deliveryFields,
  filesOf,
  figures,
  screeningFlags,
  tablesFor,
  type DeliveryFlag,
  type Figures,
} from './delivery-fields.ts'
import type { Node } from './nodes.ts'
import type { Space } from './space-rows.ts'
import { loadScope } from './visibility.ts'

export interface DeliveryEntry {
  space: Space
  /** The root: its label is what the delivery is called. */
  node: Node
  /** Of its live files. */
  sizeBytes: number
  /** `quarantined` as soon as one live file is and nobody has released it; a delivery without files is clean. */
  check: Figures['check']
  /** A repeated screening runs in it. */
  isRechecked: boolean
  /** When the newest of its live files was stored, epoch milliseconds. */
  uploadedAt: number | null
  /** What is true of at least one of its live files. */
  flags: DeliveryFlag[]
  /** The worst of its live files; without any it is unknown. */
  integrity: Figures['integrity']
  /** How its content lies in the store: open with the server's key, with the delivery's password, or (in part) with none. */
  encryption: 'none' | 'server' | 'password'
  tags: string[]
}

export interface DeliveryQuery {
  condition?: Condition | undefined
  offset: number
  limit: number
}

export interface DeliveryPage {
  total: number
  rows: DeliveryEntry[]
}

/** Deliveries that name the actor himself as a recipient, and that he can have now. Throws what compileCondition throws. */
export function listInbox(ctx: Ctx, query: DeliveryQuery): Promise<DeliveryPage> {
  const from = sql`access_grant held join space on space.id = held."nodeId"`
  const where = sql`held."subjectId" = ${ctx.actor.principalId} and held.recipient is not null
    and space.approval in ('none', 'approved')
    and (space."deliveryExpiresAt" is null or space."deliveryPersistent" = 1
      or space."deliveryExpiresAt" > ${ctx.clock()})`
  return listPage(ctx, { id: sql`held."nodeId"`, from, where }, query)
}

/** Deliveries that the actor has sent, those among them that wait for an approval or were refused one. Throws the same. */
export function listOutbox(ctx: Ctx, query: DeliveryQuery): Promise<DeliveryPage> {
  const where = sql`space."ownerId" = ${ctx.actor.principalId}`
  return listPage(ctx, { id: sql`space.id`, from: sql`space`, where }, query)
}

type Sql = RawBuilder<unknown>

/** Where the deliveries of somebody are, as `space`, and the id that an index has in order. */
interface Box {
  id: Sql
  from: Sql
  where: Sql
}

async function listPage(ctx: Ctx, { id, from, where }: Box, query: DeliveryQuery): Promise<DeliveryPage> {
  const conditions = [where, ...(await showing(ctx, query))]
  const found = sql`${from} ${tablesFor(query.condition)} where ${sql.join(conditions, sql` and `)}`
  // Ids ascend with time.
  const { rows } = await sql<{ id: number }>`
    select ${id} as id from ${found} order by ${id} desc limit ${query.limit + 1} offset ${query.offset}`.execute(
    ctx.db,
  )
  // One more than asked for: where it is missing, the total is known without counting.
  const isLast = rows.length <= query.limit && (rows.length > 0 || query.offset === 0)
  const total = isLast ? query.offset + rows.length : await count(ctx, found)
  const ids = rows.slice(0, query.limit).map(row => row.id)
  const entries = await loadDeliveries(ctx, ids)
  return { total, rows: ids.flatMap(id => entries.get(id) ?? []) }
}

/** What must be true of `space`. */
async function showing(ctx: Ctx, { condition }: DeliveryQuery): Promise<Sql[]> {
  const { engine } = ctx.database
  const scope = await loadScope(ctx)
  return [
    sql`space."deliveryAccess" is not null and space.state = 'active'`,
    // As an expression, so that no index of tenants is walked for it.
    sql`space."tenantId" || '' = ${ctx.actor.tenantId}`,
    ...(scope ? [oneOf(engine, sql`space.id`, scope.containers)] : []),
    ...(condition ? [compileCondition(engine, deliveryFields, condition)] : []),
  ]
}

async function count(ctx: Ctx, found: Sql): Promise<number> {
  const { rows } = await sql<{ total: number }>`select count(*) as total from ${found}`.execute(ctx.db)
  return Number(rows[0]?.total ?? 0)
}

/**
 * What lists and the detail show of these deliveries, in whatever state they are; other spaces and those of another tenant
 * are left out. The caller has asked for the right.
 */
export async function loadDeliveries(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, DeliveryEntry>> {
  if (spaceIds.length === 0) return new Map()
  const spaces = await loadSpaces(ctx, spaceIds)
  const nodes = await loadNodes(ctx, spaceIds)
  const sizes = await loadSizes(ctx, spaceIds)
  const files = await loadFigures(ctx, spaceIds)
  const flags = await loadFlags(ctx, spaceIds)
  const tags = await loadTags(ctx, spaceIds)
  return new Map(
    spaces.flatMap(space => {
      const node = nodes.get(space.id)
      if (!node) return []
      const { plain, released, rechecked, ...known } = files.get(space.id) ?? noFiles
      const entry: DeliveryEntry = {
        ...known,
        space,
        node,
        sizeBytes: sizes.get(space.id) ?? 0,
        isRechecked: rechecked,
        flags: [...(flags.get(space.id) ?? []), ...(released ? (['released'] as const) : [])],
        encryption: space.passwordEncryption === 1 ? 'password' : plain ? 'none' : 'server',
        tags: tags.get(space.id) ?? [],
      }
      return [[space.id, entry]]
    }),
  )
}

const noFiles: Figures = {
  check: 'clean',
  rechecked: false,
  uploadedAt: null,
  integrity: 'unknown',
  plain: false,
  released: false,
}

const within = (ctx: Ctx, column: Sql, spaceIds: readonly number[]) => oneOf(ctx.database.engine, column, spaceIds)

async function loadSpaces(ctx: Ctx, spaceIds: readonly number[]): Promise<Space[]> {
  const { rows } = await sql<Space>`
    select * from space where ${within(ctx, sql`id`, spaceIds)}
      and "tenantId" = ${ctx.actor.tenantId} and "deliveryAccess" is not null`.execute(ctx.db)
  return rows
}

async function loadNodes(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, Node>> {
  const { rows } = await sql<Node>`select * from node where ${within(ctx, sql`id`, spaceIds)}`.execute(ctx.db)
  return new Map(rows.map(node => [node.id, node]))
}

async function loadSizes(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, number>> {
  const { rows } = await sql<{ nodeId: number; bytes: number }>`
    select "nodeId", bytes from node_total where ${within(ctx, sql`"nodeId"`, spaceIds)}`.execute(ctx.db)
  return new Map(rows.map(({ nodeId, bytes }) => [nodeId, bytes]))
}

/** Spaces without live files are not among them. */
async function loadFigures(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, Figures>> {
  const columns = Object.entries(figures).map(([name, figure]) => sql`${figure} as ${sql.id(name)}`)
  const { rows } = await sql<Figures & { spaceId: number }>`
    select file."spaceId", ${sql.join(columns)}
    from ${filesOf(within(ctx, sql`file."spaceId"`, spaceIds))}
    group by file."spaceId"`.execute(ctx.db)
  return new Map(
    rows.map(({ spaceId, plain, released, rechecked, ...known }) => [
      spaceId,
      { ...known, plain: Boolean(plain), released: Boolean(released), rechecked: Boolean(rechecked) },
    ]),
  )
}

async function loadFlags(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, DeliveryFlag[]>> {
  const { rows } = await sql<{ spaceId: number; flag: DeliveryFlag }>`
    select distinct file."spaceId", looked.verdict as flag
    from screening_check looked, ${filesOf(within(ctx, sql`file."spaceId"`, spaceIds))}
      and looked."versionId" = version.id and looked.verdict in (${sql.join(screeningFlags)})
    order by flag`.execute(ctx.db)
  return grouped(rows.map(({ spaceId, flag }) => [spaceId, flag]))
}

async function loadTags(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, string[]>> {
  const { rows } = await sql<{ nodeId: number; tag: string }>`
    select "nodeId", tag from node_tag where ${within(ctx, sql`"nodeId"`, spaceIds)} order by tag`.execute(ctx.db)
  return grouped(rows.map(({ nodeId, tag }) => [nodeId, tag]))
}

function grouped<T>(pairs: readonly (readonly [number, T])[]): Map<number, T[]> {
  const groups = Map.groupBy(pairs, ([id]) => id)
  return new Map(groups.entries().map(([id, group]) => [id, group.map(([, value]) => value)]))
}
