/** Pages of spaces by their level, and spaces and nodes by the ids that never change. */
import { sql } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import type { Node } from './nodes.ts'
import type { Space } from './space-rows.ts'
import { textConditions } from './titles.ts'
import { loadScope, loadVisibleSpaces, findVisibleSpace, type VisibleSpace } from './visibility.ts'

export interface SpaceQuery {
  /** 1: top-level spaces. 2: those right below one. */
  depth: 1 | 2
  /** Only what lies in that space; one that is unknown holds nothing. */
  parentSpaceUid?: string
  /** The label of the space's root. Case counts. */
  title?: string
  titlePrefix?: string
  offset: number
  limit: number
}

export interface SpaceEntry {
  space: Space
  node: Node
}

/** Active spaces that the actor may list and that need no proof he lacks, oldest first. */
export async function listSpaces(ctx: Ctx, query: SpaceQuery): Promise<{ total: number; rows: SpaceEntry[] }> {
  const visible = await loadVisibleSpaces(ctx)
  const inScope = await loadScope(ctx)
  const named = new Set(inScope?.containers)
  const parentId = query.parentSpaceUid === undefined ? undefined : await findSpaceId(ctx, query.parentSpaceUid)
  const shows = ({ space, depth }: VisibleSpace) =>
    depth === query.depth &&
    (!inScope || named.has(space.id)) &&
    (query.parentSpaceUid === undefined || space.parentSpaceId === parentId)
  const ids = Array.from(visible.values().filter(shows), ({ space }) => space.id)
  const found = (await withLabel(ctx, ids, query)).toSorted((a, b) => a - b)
  const nodes = await loadNodes(ctx, found.slice(query.offset, query.offset + query.limit))
  const rows = nodes.flatMap(node => {
    const space = visible.get(node.id)?.space
    return space ? [{ space, node }] : []
  })
  return { total: found.length, rows }
}

async function findSpaceId(ctx: Ctx, uid: string): Promise<number | undefined> {
  const space = isUuid(uid)
    ? await ctx.db
        .selectFrom('space')
        .select('id')
        .where('uid', '=', uid.toLowerCase())
        .where('tenantId', '=', ctx.actor.tenantId)
        .executeTakeFirst()
    : undefined
  return space?.id
}

/** Those of the spaces whose label passes the filter. */
async function withLabel(
  ctx: Ctx,
  ids: number[],
  filter: Pick<SpaceQuery, 'title' | 'titlePrefix'>,
): Promise<number[]> {
  const conditions = textConditions(sql`label`, { text: filter.title, prefix: filter.titlePrefix })
  if (!conditions) return []
  if (conditions.length === 0) return ids
  const { rows } = await sql<{ id: number }>`
    select id from node where ${oneOf(ctx.database.engine, sql`id`, ids)} and ${sql.join(conditions, sql` and `)}`.execute(
    ctx.db,
  )
  return rows.map(row => row.id)
}

async function loadNodes(ctx: Ctx, ids: readonly number[]): Promise<Node[]> {
  const { rows } = await sql<Node>`
    select * from node where ${oneOf(ctx.database.engine, sql`id`, ids)} order by id`.execute(ctx.db)
  return rows
}

/** An active space that the actor may list, with its root. Throws `not-found`, also for what is no UUID. */
export async function getSpaceByUid(ctx: Ctx, uid: string): Promise<SpaceEntry> {
  const id = await findSpaceId(ctx, uid)
  const [node] = id === undefined ? [] : await loadNodes(ctx, [id])
  const space = node && (await findVisibleSpace(ctx, node))
  if (!space) throw new DomainError('not-found', { what: 'space', id: uid })
  return { space, node }
}

/** A live node that lists would show to the actor. Throws `not-found`, also for what is no UUID. */
export async function findNodeByUid(ctx: Ctx, uid: string): Promise<Node> {
  const node = isUuid(uid)
    ? await ctx.db
        .selectFrom('node')
        .selectAll()
        .where('uid', '=', uid.toLowerCase())
        .where('tenantId', '=', ctx.actor.tenantId)
        .executeTakeFirst()
    : undefined
  if (!node || !(await findVisibleSpace(ctx, node))) throw new DomainError('not-found', { what: 'node', id: uid })
  return node
}

const isUuid = (text: string): boolean => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text)
