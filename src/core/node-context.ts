/** What is shown beside the nodes of a page: where they lie, who made and changed them, and their metadata. */
import { sql } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { NodeKind } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'
import type { Node } from './nodes.ts'
import { findPrincipals } from './principals.ts'

/** A folder or space on the way to a node. */
export interface Above {
  id: number
  uid: string
  kind: Exclude<NodeKind, 'root' | 'file'>
  label: string
  title: string | null
  /** The uid of the space, where this is a space's root. */
  spaceUid: string | null
  createdAt: number
}

export interface NodeContext {
  /** From the top-level space's root down to the parent. */
  above: readonly Above[]
  /** Null for the server itself. */
  createdByName: string | null
  changedByName: string | null
  /** Who owns the space that the node lies in. */
  ownerName: string | null
  metadata: Readonly<Record<string, string>>
}

/**
 * The context of each node of a page by its id, in a fixed number of queries. The caller has asked for the right to list the
 * nodes; the way down to them is told in full, also where it leads through spaces that the actor may not list.
 */
export async function loadContexts(
  ctx: Ctx,
  page: readonly Node[],
  { namespace }: { namespace: string },
): Promise<Map<number, NodeContext>> {
  const nodes = page.filter(node => node.tenantId === ctx.actor.tenantId)
  const wayTo = await loadWays(ctx, nodes)
  const owners = await loadOwners(ctx, nodes)
  const names = await findPrincipals(
    ctx,
    nodes.flatMap(node => [node.createdBy, node.changedBy]),
  )
  const metadata = await loadMetadataOfPage(ctx, nodes, namespace)
  const nameOf = (id: string) => names.get(id)?.name ?? null
  const contextOf = (node: Node): NodeContext => ({
    above: wayTo(node.parentId),
    createdByName: nameOf(node.createdBy),
    changedByName: nameOf(node.changedBy),
    ownerName: owners.get(node.spaceId) ?? null,
    metadata: metadata.get(node.id) ?? {},
  })
  return new Map(nodes.map(node => [node.id, contextOf(node)]))
}

type Step = Omit<Above, 'kind'> & { kind: NodeKind; parentId: number | null }

/** The nodes of a page mostly lie together: the climb begins at their parents, each of them once. */
async function loadWays(ctx: Ctx, nodes: readonly Node[]): Promise<(parentId: number | null) => readonly Above[]> {
  const parentIds = distinct(nodes.map(node => node.parentId))
  const { rows } = await sql<Step>`
    with recursive up (id) as (
      select id from node where ${oneOf(ctx.database.engine, sql`id`, parentIds)}
      union
      select node."parentId" from up join node on node.id = up.id where node."parentId" is not null
    )
    select node.id, node.uid, node.kind, node.label, node.title, node."createdAt", node."parentId", space.uid as "spaceUid"
    from up join node on node.id = up.id left join space on space.id = node.id
    where node."tenantId" = ${ctx.actor.tenantId}`.execute(ctx.db)
  const steps = new Map(rows.map(step => [step.id, step]))
  const ways = new Map<number, readonly Above[]>()
  return function wayTo(parentId): readonly Above[] {
    const known = ways.get(parentId ?? 0)
    if (known) return known
    const step = steps.get(parentId ?? 0)
    if (!step || step.kind === 'root' || step.kind === 'file') return []
    const { parentId: next, kind, ...rest } = step
    const way = [...wayTo(next), { ...rest, kind }]
    ways.set(step.id, way)
    return way
  }
}

/** Names of the owners of the spaces that the nodes lie in, by space. */
async function loadOwners(ctx: Ctx, nodes: readonly Node[]): Promise<Map<number | null, string>> {
  const spaceIds = distinct(nodes.map(node => node.spaceId))
  const { rows } = await sql<{ id: number; name: string }>`
    select space.id, principal.name from space join principal on principal.id = space."ownerId"
    where ${oneOf(ctx.database.engine, sql`space.id`, spaceIds)}`.execute(ctx.db)
  return new Map(rows.map(row => [row.id, row.name]))
}

async function loadMetadataOfPage(
  ctx: Ctx,
  nodes: readonly Node[],
  namespace: string,
): Promise<Map<number, Record<string, string>>> {
  const nodeIds = nodes.map(node => node.id)
  const { rows } = await sql<{ nodeId: number; key: string; value: string }>`
    select "nodeId", key, value from node_metadata
    where ${oneOf(ctx.database.engine, sql`"nodeId"`, nodeIds)} and namespace = ${namespace}
    order by "nodeId", key`.execute(ctx.db)
  const byNode = Map.groupBy(rows, row => row.nodeId)
  // Not by assignment: a key may be called `__proto__`.
  return new Map(
    byNode.entries().map(([id, own]) => [id, Object.fromEntries(own.map(({ key, value }) => [key, value]))]),
  )
}

const distinct = (ids: readonly (number | null)[]): number[] => [...new Set(ids)].filter(id => id !== null)
