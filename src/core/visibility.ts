/**
 * What shows in lists that go across spaces: active spaces that the actor may list and that ask for no proof he did not
 * bring. A space that is hidden hides what lies in it.
 */
import { sql } from 'kysely'
import { oneOf } from '#db/columns.ts'
import { effectiveActions, effectiveActionsOfMany, type Guarded } from './access.ts'
import { anonymousId, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { isHiddenWithoutProof } from './gates.ts'
import type { Node } from './nodes.ts'
import { hasAction } from './permissions.ts'
import { chunked, MAX_IDS } from './principals.ts'
import type { Space } from './space-rows.ts'

export interface VisibleSpace {
  space: Space
  /** 1 for a top-level space. */
  depth: number
}

/** One space, or that one and all nested in it; absent: every space that the actor has grants in. */
export interface SpaceChoice {
  spaceId: number
  nested: boolean
}

type Candidate = Space & { accessId: number; isChosen: number }

/**
 * The spaces of the actor's lists by id. A scope is not looked at, for it may name a folder in a space: `loadScope` says
 * what it leaves. Spaces that are open to everybody signed in show only to who names them.
 */
export async function loadVisibleSpaces(ctx: Ctx, choice?: SpaceChoice): Promise<Map<number, VisibleSpace>> {
  const rows = await loadCandidates(ctx, choice)
  const byId = new Map(rows.map(row => [row.id, row]))
  const chosen = rows.filter(row => row.isChosen === 1 && isOpenUpwards(ctx, byId, row))
  const listable = await listableAmong(ctx, chosen)
  return new Map(
    chosen.flatMap(({ accessId: _accessId, isChosen: _isChosen, ...space }) =>
      listable.has(space.id) ? [[space.id, { space, depth: depthOf(byId, space) }]] : [],
    ),
  )
}

/** The chosen spaces, and for each also those above it. */
async function loadCandidates(ctx: Ctx, choice: SpaceChoice | undefined): Promise<Candidate[]> {
  const { rows } = await sql<Candidate>`
    with recursive ${chosenSpaces(ctx, choice)}, chain (id, "parentSpaceId") as (
      select space.id, space."parentSpaceId" from chosen join space on space.id = chosen.id
      union
      select space.id, space."parentSpaceId" from chain join space on space.id = chain."parentSpaceId"
    )
    select space.*, node."accessId", case when space.id in (select id from chosen) then 1 else 0 end as "isChosen"
    from chain join space on space.id = chain.id join node on node.id = space.id
    where node.state = 'live'
    order by space.id`.execute(ctx.db)
  return rows
}

function chosenSpaces({ actor }: Ctx, choice: SpaceChoice | undefined) {
  if (choice?.nested) {
    return sql`chosen (id) as (
      select id from space where id = ${choice.spaceId}
      union all
      select space.id from chosen join space on space."parentSpaceId" = chosen.id
    )`
  }
  if (choice) return sql`chosen (id) as (select id from space where id = ${choice.spaceId})`
  if (actor.kind === 'system') return sql`chosen (id) as (select id from space where "tenantId" = ${actor.tenantId})`
  return sql`chosen (id) as (
    select id from node where kind = 'space' and "accessId" in (
      select "nodeId" from access_grant where "subjectId" = ${actor.principalId}
        or "subjectId" in (select "groupId" from group_closure where "principalId" = ${actor.principalId}))
  )`
}

function isOpenUpwards(ctx: Ctx, byId: ReadonlyMap<number, Candidate>, row: Candidate | undefined): boolean {
  for (let space = row; space; space = byId.get(space.parentSpaceId)) {
    if (isHidden(ctx, space)) return false
    if (space.parentSpaceId === null) return true
  }
  return false
}

function isHidden(ctx: Ctx, space: Space): boolean {
  const isElsewhere = space.deliveryAccess !== null && space.visibleElsewhere === 0 && ctx.actor.kind !== 'system'
  return isElsewhere || isHiddenWithoutProof(ctx, space)
}

function depthOf(byId: ReadonlyMap<number, Candidate>, { parentSpaceId }: Space): number {
  let depth = 1
  for (let above = parentSpaceId; above !== null; above = byId.get(above)?.parentSpaceId ?? null) depth += 1
  return depth
}

/** Ids of the nodes that grants and masks let the actor list. */
async function listableAmong(
  ctx: Ctx,
  nodes: readonly Pick<Guarded, 'id' | 'tenantId' | 'accessId'>[],
): Promise<Set<number>> {
  const { scope: _scope, ...actor } = ctx.actor
  const listable = new Set<number>()
  for (const some of chunked(nodes, MAX_IDS)) {
    const allowed = await effectiveActionsOfMany({ ...ctx, actor }, some)
    for (const [id, set] of allowed) if (hasAction(set, 'list')) listable.add(id)
  }
  return listable
}

/** Content that is cipher text shows only to who can do something with it. */
export const isSealed = ({ actor }: Ctx, space: Space): boolean =>
  space.clientEncryption === 1 && !actor.proofs.holdsKey && actor.kind !== 'system'

/** Folders of these spaces whose mask keeps the actor from listing them: what takes its access from one does not show. */
export async function loadMaskedOut(ctx: Ctx, spaceIds: readonly number[]): Promise<number[]> {
  if (ctx.actor.kind === 'system' || spaceIds.length === 0) return []
  const { rows } = await sql<Guarded>`
    select id, "tenantId", "accessId" from node
    where ${oneOf(ctx.database.engine, sql.ref('spaceId'), spaceIds)}
      and kind = 'folder' and "accessId" = id and state = 'live'`.execute(ctx.db)
  const listable = await listableAmong(ctx, rows)
  return rows.filter(row => !listable.has(row.id)).map(row => row.id)
}

/** What the scope of an actor leaves of his view. */
export interface ListScope {
  /** Nodes that the scope names. */
  nodeIds: number[]
  /** Ids of the live folders and spaces among them and below them. */
  containers: number[]
}

/** Undefined where no scope narrows what the actor may list. */
export async function loadScope(ctx: Ctx): Promise<ListScope | undefined> {
  const entries = ctx.actor.scope?.filter(entry => hasAction(entry.actions, 'list'))
  if (!entries || entries.some(entry => entry.nodeId === undefined)) return undefined
  const nodeIds = entries.flatMap(entry => entry.nodeId ?? [])
  const { rows } = await sql<{ id: number }>`
    with recursive down (id) as (
      select id from node
        where ${oneOf(ctx.database.engine, sql.ref('id'), nodeIds)} and kind <> 'file' and state = 'live'
      union
      select node.id from down join node on node."parentId" = down.id
        where node.kind in ('folder', 'space') and node.state = 'live'
    )
    select id from down`.execute(ctx.db)
  return { nodeIds, containers: rows.map(row => row.id) }
}

/** The space of a live node that lists would show to the actor; undefined for any other node. */
export async function findVisibleSpace(ctx: Ctx, node: Node): Promise<Space | undefined> {
  if (node.state !== 'live' || node.spaceId === null) return undefined
  if (!hasAction(await effectiveActions(ctx, node), 'list')) return undefined
  const visible = await loadVisibleSpaces(ctx, { spaceId: node.spaceId, nested: false })
  const space = visible.get(node.spaceId)?.space
  return space && node.kind === 'file' && isSealed(ctx, space) ? undefined : space
}

/** The same, throwing `not-found` for any other node. */
export async function requireVisible(ctx: Ctx, node: Node): Promise<Space> {
  const space = await findVisibleSpace(ctx, node)
  if (!space) throw new DomainError('not-found', { what: 'node', id: String(node.id) })
  return space
}

/** An account of a tenant: nobody who came by a share or has not signed in. The server itself counts where told so. */
export function requireAccount({ actor }: Ctx, action: string, { orSystem = false } = {}): void {
  const isSystem = actor.kind === 'system'
  const isVisitor = actor.kind === 'share' || actor.principalId === anonymousId
  if (isVisitor || (isSystem && !orSystem)) throw new DomainError('forbidden', { action })
}
