/** Pages of a directory: filter, order, count. Costs the time of a page, not of the directory. */
import { sql, type RawBuilder } from 'kysely'
import { globMatch } from '#db/columns.ts'
import { prepared } from '#db/prepared.ts'
import type { Ctx } from './ctx.ts'
import { isHiddenWithoutProof } from './gates.ts'
import { loadMetadataOfMany } from './metadata.ts'
import type { ReadTimes } from './reads.ts'
import type { Space } from './space-rows.ts'
import { getTotals } from './totals.ts'
import type { Place, TopEntry } from './vfs.ts'

export interface ListFilter {
  /** Whole-name pattern, case-sensitive: literal pieces with any run of characters between them. One piece: the exact name. */
  namePieces?: readonly string[]
  kinds: 'all' | 'folders' | 'files'
}

export interface ListQuery extends ListFilter {
  sort: 'name' | 'size' | 'stored' | 'read' | 'expires'
  direction: 'asc' | 'desc'
  offset: number
  limit: number
  /** Brings the metadata of one namespace along. */
  metadataNamespace?: string
}

/** One entry. Spaces are folders here. Times are epoch milliseconds. */
export interface ListedNode extends ReadTimes {
  id: number
  kind: 'folder' | 'file'
  name: string
  versionId: number | null
  sizeBytes: number | null
  mediaType: string | null
  storedAt: number | null
  writeStartedAt: number | null
  writeEndedAt: number | null
  metadata?: Readonly<Record<string, string>>
}

/** A page of a directory. The caller has asked for the right to list it. */
export async function listPlace(
  ctx: Ctx,
  place: Place,
  query: ListQuery,
): Promise<{ total: number; rows: ListedNode[] }> {
  if (place.kind === 'top') return listTop(place.spaces, query)
  const where = await condition(ctx, place, query)
  const total = await countEntries(ctx, { place, filter: query, where })
  if (query.limit === 0 || query.offset >= total) return { total, rows: [] }
  const rows = await selectPage(ctx, { where, query, total })
  if (!query.metadataNamespace) return { total, rows }
  const nodeIds = rows.filter(row => row.kind === 'file').map(row => row.id)
  const metadata = await loadMetadataOfMany(ctx, {
    nodeIds,
    parentId: place.node.id,
    namespace: query.metadataNamespace,
  })
  if (metadata.size > 0) for (const row of rows) row.metadata = metadata.get(row.id) ?? {}
  return { total, rows }
}

/** How many entries a directory has. The caller has asked for the right to list it. */
export async function countPlace(ctx: Ctx, place: Place, filter: ListFilter): Promise<number> {
  if (place.kind === 'top') return filterTop(place.spaces, filter).length
  return countEntries(ctx, { place, filter, where: await condition(ctx, place, filter) })
}

type Condition = RawBuilder<unknown>
type NodePlace = Extract<Place, { kind: 'node' }>

async function condition(ctx: Ctx, place: NodePlace, filter: ListFilter): Promise<Condition> {
  // Cipher text shows only to who can do something with it.
  const isSealed = place.space.clientEncryption === 1 && !ctx.actor.proofs.holdsKey
  const hidden = await hiddenChildren(ctx, place)
  const parts = [sql`"parentId" = ${place.node.id}`, sql`state = 'live'`]
  if (filter.kinds === 'files') parts.push(isSealed ? sql`1 = 0` : sql`kind = 'file'`)
  else if (filter.kinds === 'folders' || isSealed) parts.push(sql`kind in ('folder', 'space')`)
  if (hidden.length > 0) parts.push(sql`id not in (${sql.join(hidden)})`)
  if (filter.namePieces) parts.push(globMatch(ctx.database.engine, 'name', filter.namePieces))
  return sql.join(parts, sql` and `)
}

/** Nested spaces that the actor could not enter. */
async function hiddenChildren(ctx: Ctx, place: NodePlace): Promise<number[]> {
  const nested = await spacesIn(ctx.db, { parentId: place.node.id })
  return nested.filter(space => isHiddenWithoutProof(ctx, space)).map(space => space.id)
}

/** By kind and state, as an index has it: all other children, however many, are not looked at. */
const spacesIn = prepared<{ parentId: number }, Space>((db, arg) =>
  db
    .selectFrom('node')
    .innerJoin('space', 'space.id', 'node.id')
    .selectAll('space')
    .where('node.parentId', '=', arg('parentId'))
    .where('node.kind', '=', 'space')
    .where('node.state', '=', sql.lit('live')),
)

/** A directory without folders has as many entries as its totals say; only others are counted one by one. */
async function countEntries(
  ctx: Ctx,
  { place, filter, where }: { place: NodePlace; filter: ListFilter; where: Condition },
): Promise<number> {
  if (filter.namePieces || filter.kinds === 'folders' || place.space.clientEncryption) return count(ctx, where)
  const { files, folders } = await getTotals(ctx, place.node.id)
  return folders === 0 ? files : count(ctx, where)
}

async function count(ctx: Ctx, where: Condition): Promise<number> {
  const { rows } = await sql<{ total: number }>`select count(*) as total from node where ${where}`.execute(ctx.db)
  return Number(rows[0]?.total ?? 0)
}

const withVersion = sql`left join version on version.id = node."currentVersionId"
  left join version_read on version_read."versionId" = node."currentVersionId"`

/** What each order compares. */
const sortKeys = {
  size: sql`version."sizeBytes"`,
  stored: sql`version."createdAt"`,
  read: sql`version_read."lastReadAt"`,
  expires: sql`node."expiresAt"`,
} as const

async function selectPage(
  ctx: Ctx,
  { where, query, total }: { where: Condition; query: ListQuery; total: number },
): Promise<ListedNode[]> {
  const direction = query.direction === 'asc' ? sql`asc` : sql`desc`
  // Ids of the page come from the index alone; the rest is joined for the page only.
  const { sort } = query
  const page = sort === 'name' ? pageByName(where, query, total) : pageByValue(where, { ...query, sort })
  const order = sort === 'name' ? sql`node.name ${direction}` : sql`${rank(sort)} ${direction}, node.name ${direction}`
  const { rows } = await sql<ListedNode>`
    select node.id, case node.kind when 'file' then 'file' else 'folder' end as kind, node.name, version.id as "versionId",
      version."sizeBytes", version."mediaType", version."createdAt" as "storedAt", version."writeStartedAt",
      version."writeEndedAt", version_read."firstReadAt", version_read."lastReadAt"
    from (${page}) page join node on node.id = page.id ${withVersion}
    order by ${order}`.execute(ctx.db)
  return rows
}

/** Walks the index from whichever end of the directory is nearer to the page. */
function pageByName(where: Condition, { direction, offset, limit }: ListQuery, total: number) {
  const end = Math.min(offset + limit, total)
  const fromEnd = offset > total - end
  const isAscending = (direction === 'asc') !== fromEnd
  return sql`select id from node where ${where} order by name ${isAscending ? sql`asc` : sql`desc`}
    limit ${end - offset} offset ${fromEnd ? total - end : offset}`
}

function pageByValue(
  where: Condition,
  { sort, direction, offset, limit }: ListQuery & { sort: keyof typeof sortKeys },
) {
  const order = direction === 'asc' ? sql`asc` : sql`desc`
  return sql`select node.id from node ${withVersion}
    where node.id in (select id from node where ${where})
    order by ${rank(sort)} ${order}, node.name ${order}
    limit ${limit} offset ${offset}`
}

/** Folders lowest, above them files that lack the value. */
const rank = (sort: keyof typeof sortKeys) =>
  sql`coalesce(${sortKeys[sort]}, case node.kind when 'file' then -1 else -2 end)`

function filterTop(spaces: readonly TopEntry[], { namePieces, kinds }: ListFilter): TopEntry[] {
  if (kinds === 'files') return []
  return namePieces ? spaces.filter(space => matchesPieces(space.name, namePieces)) : [...spaces]
}

/** Linear in the length of the name: each piece is looked for once, after the one before. */
export function matchesPieces(name: string, pieces: readonly string[]): boolean {
  const [first = '', ...rest] = pieces
  if (rest.length === 0) return name === first
  const last = rest.pop() ?? ''
  if (!name.startsWith(first)) return false
  let position = first.length
  for (const piece of rest) {
    const found = name.indexOf(piece, position)
    if (found === -1) return false
    position = found + piece.length
  }
  return name.length - last.length >= position && name.endsWith(last)
}

function listTop(spaces: readonly TopEntry[], query: ListQuery): { total: number; rows: ListedNode[] } {
  const sign = query.direction === 'asc' ? 1 : -1
  const found = filterTop(spaces, query).toSorted(
    (a, b) => sign * Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  )
  const rows = found.slice(query.offset, query.offset + query.limit).map(({ name, node }) => ({
    id: node.id,
    kind: 'folder' as const,
    name,
    versionId: null,
    sizeBytes: null,
    mediaType: null,
    storedAt: null,
    writeStartedAt: null,
    writeEndedAt: null,
    firstReadAt: null,
    lastReadAt: null,
  }))
  return { total: found.length, rows }
}
