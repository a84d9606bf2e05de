/**
 * Lists of files and of folders across spaces, oldest first. A page costs the time of a page: which entries show, and how
 * many, is told by indexes and totals alone, and only the rows of the page are read.
 */
import { sql, type RawBuilder } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { getLiveNode, getTenantRoot, type Node } from './nodes.ts'
import { titleConditions } from './titles.ts'
import { getTotals } from './totals.ts'
import type { Version } from './versions.ts'
import {
  isSealed,
  loadMaskedOut,
  loadScope,
  loadVisibleSpaces,
  requireVisible,
  type ListScope,
  type VisibleSpace,
} from './visibility.ts'

export interface Page {
  offset: number
  limit: number
}

export interface FileQuery extends Page {
  /** Directly in that folder or space. */
  parentId?: number
  /** In that space and in all that are nested in it. */
  withinSpaceId?: number
  /** A file's title is the one it was given, else its label without the extension. Case counts. */
  title?: string
  titlePrefix?: string
  nodeIds?: readonly number[]
  /** Only the actor's own favourites. */
  favourites?: boolean
}

type Sql = RawBuilder<unknown>

/** Conditions on `node`, none of which meets what another one meets, and how many nodes they meet where that is known. */
interface Search {
  arms: Sql[]
  total?: number
  /** An index has each arm in the order of ids; otherwise what is found is sorted, so that no other index is walked for its order. */
  inOrder?: true
}

/** Where files or folders show: by their space, by the masks above them, and by what the actor's scope leaves. */
export interface Reach {
  kind: 'file' | 'folder'
  spaceIds: number[]
  maskedOut: number[]
  scope: ListScope | undefined
  /** Directly in there, which has been found to show. */
  parentId?: number
}

/**
 * Live files in active spaces that the actor may list, with their current versions. Files show whatever their screening
 * says. Throws `not-found` for a parent or a space that he may not list, and `not-a-folder`.
 */
export async function searchFiles(
  ctx: Ctx,
  query: FileQuery,
): Promise<{ total: number; rows: { node: Node; version: Version }[] }> {
  const reach = await reachOfFiles(ctx, query)
  const { total, rows } = await readPage(ctx, await searchIn(ctx, reach, query), query)
  const versions = await loadVersions(ctx, rows)
  return {
    total,
    rows: rows.flatMap(node => {
      const version = versions.get(node.currentVersionId ?? 0)
      return version ? [{ node, version }] : []
    }),
  }
}

/** Live folders that the actor may list, and spaces nested three levels deep or more, a top-level space being the first. */
export async function searchFolders(ctx: Ctx, page: Page): Promise<{ total: number; rows: Node[] }> {
  const visible = await loadVisibleSpaces(ctx)
  const reach = await reachOf(ctx, 'folder', visible.values())
  const folders = await searchIn(ctx, reach, page)
  const inScope = reach.scope && new Set(reach.scope.containers)
  const deepIds = [...visible.values()]
    .filter(({ space, depth }) => depth >= 3 && (!inScope || inScope.has(space.id)))
    .map(({ space }) => space.id)
  if (deepIds.length === 0) return readPage(ctx, folders, page)
  const deep = sql`${oneOf(ctx.database.engine, sql`node.id`, deepIds)}`
  const total = folders.total === undefined ? {} : { total: folders.total + deepIds.length }
  return readPage(ctx, { ...folders, arms: [...folders.arms, deep], ...total }, page)
}

async function reachOfFiles(ctx: Ctx, { parentId, withinSpaceId }: FileQuery): Promise<Reach> {
  if (parentId !== undefined) return reachOfParent(ctx, parentId, withinSpaceId)
  if (withinSpaceId === undefined) return loadFileReach(ctx)
  return fileReach(ctx, await loadSpacesWithin(ctx, withinSpaceId))
}

/** Where files show that the actor may list without naming a place. */
export const loadFileReach = async (ctx: Ctx): Promise<Reach> => fileReach(ctx, await loadVisibleSpaces(ctx))

const fileReach = (ctx: Ctx, visible: ReadonlyMap<number, VisibleSpace>): Promise<Reach> =>
  reachOf(
    ctx,
    'file',
    visible.values().filter(({ space }) => !isSealed(ctx, space)),
  )

async function reachOf(ctx: Ctx, kind: Reach['kind'], visible: Iterable<VisibleSpace>): Promise<Reach> {
  const spaceIds = Array.from(visible, ({ space }) => space.id)
  return { kind, spaceIds, maskedOut: await loadMaskedOut(ctx, spaceIds), scope: await loadScope(ctx) }
}

/** Files show as what holds them does, so that nothing is asked for one by one. */
async function reachOfParent(ctx: Ctx, parentId: number, withinSpaceId: number | undefined): Promise<Reach> {
  const parent = await getLiveNode(ctx, parentId)
  const space = await requireVisible(ctx, parent)
  if (parent.kind === 'file') throw new DomainError('not-a-folder', { nodeId: parentId })
  const within = withinSpaceId === undefined ? undefined : await loadSpacesWithin(ctx, withinSpaceId)
  const shows = !isSealed(ctx, space) && (within?.has(space.id) ?? true)
  return { kind: 'file', spaceIds: shows ? [space.id] : [], maskedOut: [], scope: undefined, parentId }
}

async function loadSpacesWithin(ctx: Ctx, spaceId: number): Promise<Map<number, VisibleSpace>> {
  const visible = await loadVisibleSpaces(ctx, { spaceId, nested: true })
  if (!visible.has(spaceId)) throw new DomainError('not-found', { what: 'space', id: String(spaceId) })
  return visible
}

async function searchIn(ctx: Ctx, reach: Reach, query: FileQuery): Promise<Search> {
  if (reach.spaceIds.length === 0) return { arms: [], total: 0 }
  const { title, titlePrefix, nodeIds, favourites } = query
  const picked = [
    ...(nodeIds ? [oneOf(ctx.database.engine, sql`node.id`, nodeIds)] : []),
    ...(favourites ? [favouritesOf(ctx)] : []),
  ]
  if (title !== undefined || titlePrefix) {
    const arms = titleConditions(ctx, query)
    return { arms: arms.map(arm => allOf([arm, ...showing(ctx, reach), ...picked])) }
  }
  if (picked.length > 0) return { arms: [allOf([...picked, ...showing(ctx, reach)])] }
  if (reach.parentId !== undefined) return searchParent(ctx, reach, reach.parentId)
  return reach.scope ? searchScope(ctx, reach, reach.scope) : searchSpaces(ctx, reach, query)
}

const allOf = (conditions: readonly Sql[]): Sql => sql.join(conditions, sql` and `)

const favouritesOf = ({ actor }: Ctx): Sql =>
  sql`node.id in (select "nodeId" from favourite where "principalId" = ${actor.principalId})`

/** Spelled out, for the indexes that hold live nodes only. */
const live = {
  file: sql`node.kind = 'file' and node.state = 'live'`,
  folder: sql`node.kind = 'folder' and node.state = 'live'`,
}

/**
 * What must be true of a node that another condition finds. The signs keep indexes of places from being walked for it.
 */
export function showing(ctx: Ctx, reach: Reach): Sql[] {
  const { engine } = ctx.database
  return [
    live[reach.kind],
    oneOf(engine, sql`+node."spaceId"`, reach.spaceIds),
    ...unmasked(ctx, reach),
    ...(reach.scope ? [inScope(ctx, reach.kind, reach.scope)] : []),
    ...(reach.parentId === undefined ? [] : [sql`+node."parentId" = ${reach.parentId}`]),
  ]
}

const unmasked = (ctx: Ctx, { maskedOut }: Reach): Sql[] =>
  maskedOut.length === 0 ? [] : [sql`not ${oneOf(ctx.database.engine, sql`node."accessId"`, maskedOut)}`]

function inScope({ database: { engine } }: Ctx, kind: Reach['kind'], { containers, nodeIds }: ListScope): Sql {
  if (kind === 'folder') return oneOf(engine, sql`node.id`, containers)
  return sql`(${oneOf(engine, sql`node."parentId"`, containers)} or ${oneOf(engine, sql`node.id`, nodeIds)})`
}

/** A container without folders has as many files as its totals say. */
async function searchParent(ctx: Ctx, { kind }: Reach, parentId: number): Promise<Search> {
  const { files, folders } = await getTotals(ctx, parentId)
  return {
    inOrder: true,
    arms: [sql`node."parentId" = ${parentId} and ${live[kind]}`],
    ...(folders === 0 && { total: files }),
  }
}

/** From the scope's nodes down, which are few compared with what else the actor may list. */
function searchScope(ctx: Ctx, reach: Reach, scope: ListScope): Search {
  const { engine } = ctx.database
  const rest = showing(ctx, { ...reach, scope: undefined })
  if (reach.kind === 'folder') return { arms: [allOf([oneOf(engine, sql`node.id`, scope.containers), ...rest])] }
  const below = (column: Sql) => oneOf(engine, column, scope.containers)
  const named = oneOf(engine, sql`node.id`, scope.nodeIds)
  return {
    arms: [
      allOf([below(sql`node."parentId"`), ...rest]),
      allOf([named, sql`not ${below(sql`node."parentId"`)}`, ...rest]),
    ],
  }
}

/** How many entries of an index are walked over in the time in which one entry is gathered and sorted. */
const GATHERING = 3

async function searchSpaces(ctx: Ctx, reach: Reach, page: Page): Promise<Search> {
  const { engine } = ctx.database
  const { kind, spaceIds } = reach
  const gathered = allOf([oneOf(engine, sql`node."spaceId"`, spaceIds), live[kind], ...unmasked(ctx, reach)])
  const isSingle = spaceIds.length === 1
  if (reach.maskedOut.length > 0) return { arms: [gathered], ...(isSingle && { inOrder: true }) }
  const { visible: total, all } = await countInSpaces(ctx, reach)
  const walked = sql`node."tenantId" = ${ctx.actor.tenantId} and ${live[kind]}`
  // For anybody else the condition stays: between two queries a hidden space may get a file.
  if (total === all && ctx.actor.kind === 'system') return { inOrder: true, arms: [walked], total }
  const passed = Math.min(page.offset + page.limit, total - page.offset) * (all / Math.max(1, total))
  if (isSingle) return { inOrder: true, arms: [gathered], total }
  if (passed > GATHERING * total) return { arms: [gathered], total }
  return { inOrder: true, arms: [allOf([walked, oneOf(engine, sql`+node."spaceId"`, spaceIds)])], total }
}

/** What the totals say of the spaces without those nested in them, and of the whole tenant. */
async function countInSpaces(ctx: Ctx, { kind, spaceIds }: Reach): Promise<{ visible: number; all: number }> {
  const { engine } = ctx.database
  const root = await getTenantRoot(ctx)
  // Totals count a nested space as a folder.
  const [own, nested] = kind === 'file' ? [sql`files`, sql`files`] : [sql`folders`, sql`folders + 1`]
  const { rows } = await sql<Record<'held' | 'nested' | 'all' | 'spaces', number | string | null>>`
    select
      (select sum(${own}) from node_total where ${oneOf(engine, sql`"nodeId"`, spaceIds)}) as held,
      (select sum(${nested}) from space
        join node on node.id = space.id and node.state = 'live' join node_total on node_total."nodeId" = space.id
        where ${oneOf(engine, sql`space."parentSpaceId"`, spaceIds)}) as nested,
      (select ${own} from node_total where "nodeId" = ${root.id}) as "all",
      (select count(*) from node where "tenantId" = ${root.tenantId} and kind = 'space' and state = 'live') as spaces`.execute(
    ctx.db,
  )
  const figure = (name: 'held' | 'nested' | 'all' | 'spaces') => Number(rows[0]?.[name] ?? 0)
  return {
    visible: figure('held') - figure('nested'),
    all: figure('all') - (kind === 'file' ? 0 : figure('spaces')),
  }
}

/** Walks the indexes from whichever end is nearer to the page. */
async function readPage(
  ctx: Ctx,
  { arms, total: known, inOrder }: Search,
  { offset, limit }: Page,
): Promise<{ total: number; rows: Node[] }> {
  if (arms.length === 0) return { total: 0, rows: [] }
  const found = sql.join(
    arms.map(arm => sql`select node.id from node where ${arm}`),
    sql` union all `,
  )
  const total = known ?? (await count(ctx, found))
  const end = Math.min(offset + limit, total)
  if (end <= offset) return { total, rows: [] }
  const fromEnd = offset > total - end
  const { rows } = await sql<Node>`
    select node.* from (
      select id from (${found}) found order by ${inOrder ? sql`id` : sql`+id`} ${fromEnd ? sql`desc` : sql`asc`}
      limit ${end - offset} offset ${fromEnd ? total - end : offset}
    ) page join node on node.id = page.id order by node.id`.execute(ctx.db)
  return { total, rows }
}

async function count(ctx: Ctx, found: Sql): Promise<number> {
  const { rows } = await sql<{ total: number }>`select count(*) as total from (${found}) found`.execute(ctx.db)
  return Number(rows[0]?.total ?? 0)
}

async function loadVersions(ctx: Ctx, nodes: readonly Node[]): Promise<Map<number, Version>> {
  const ids = nodes.flatMap(node => node.currentVersionId ?? [])
  const { rows } = await sql<Version>`
    select * from version where ${oneOf(ctx.database.engine, sql`id`, ids)}`.execute(ctx.db)
  return new Map(rows.map(version => [version.id, version]))
}
