/** Who may do what where: grants, masks, scopes. The only place that answers that question. */
import { sql, type Kysely } from 'kysely'
import { remembered } from '#db/prepared.ts'
import type { Schema } from '#db/schema.ts'
import { anonymousId, type Actor, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { actions, allActions, hasAction, noActions, type Action, type ActionSet } from './permissions.ts'

/** What `authorize` needs to know of a node. */
export interface Guarded {
  id: number
  tenantId: string
  accessId: number
}

/** Id of the subject that stands for everybody signed in to a tenant. */
export const signedInId = (tenantId: string): string => `signed-in:${tenantId}`

/** Grants to everybody signed in count for accounts, not for visitors of a share or somebody not signed in yet. */
const everybodyFor = ({ tenantId, kind, principalId }: Actor): string =>
  kind === 'share' || principalId === anonymousId ? '' : signedInId(tenantId)

/** A grant met on the way from an access node up to the space whose grants count. */
interface GrantOnPath {
  startId: number
  nodeId: number
  kind: 'space' | 'folder' | 'root'
  sumRule: 'union' | 'own-first' | null
  subjectId: string | null
  actions: number | null
  memberState: 'waiting' | 'accepted' | 'denied' | null
}

type GrantArgs = { startId: number; principalId: string; everybody: string }

const grantsOnPath = remembered<GrantArgs, GrantOnPath>((db, arg) => ({
  compile: () => grantQuery(sql`start.id = ${arg('startId')}`, arg('principalId'), arg('everybody')).compile(db),
}))

/** The same without the climb: enough where no mask lies on the way, at half the cost. */
const grantsAtNode = remembered<GrantArgs, GrantOnPath>((db, arg) => ({
  compile: () =>
    sql<GrantOnPath>`
      select start.id as "startId", start.id as "nodeId", start.kind, ${heldColumns}
      from node start ${heldAt('start', arg('principalId'), arg('everybody'))}
      where start.id = ${arg('startId')}`.compile(db),
}))

const grantsOnPaths = (db: Kysely<Schema>, startIds: readonly number[], principalId: string, everybody: string) =>
  grantQuery(sql`start.id in (${sql.join(startIds)})`, principalId, everybody).execute(db)

/** Climbs from access nodes over folders with masks to the space that holds grants, with the grants that concern a principal. */
function grantQuery(which: ReturnType<typeof sql>, principalId: string, everybody: string) {
  return sql<GrantOnPath>`
    with recursive climb ("startId", id, kind, "parentId") as (
      select start.id, start.id, start.kind, start."parentId" from node start where ${which}
      union all
      select climb."startId", up.id, up.kind, up."parentId"
      from climb join node parent on parent.id = climb."parentId" join node up on up.id = parent."accessId"
      where climb.kind = 'folder'
    )
    select climb."startId", climb.id as "nodeId", climb.kind, ${heldColumns}
    from climb ${heldAt('climb', principalId, everybody)}`
}

const heldColumns = sql`space."sumRule", held."subjectId", held.actions, member.state as "memberState"`

/** Joins what concerns a principal at the nodes of `at`. */
function heldAt(at: string, principalId: string, everybody: string) {
  return sql`
    left join space on space.id = ${sql.ref(`${at}.id`)}
    left join access_grant held on held."nodeId" = ${sql.ref(`${at}.id`)} and (
      held."subjectId" in (${principalId}, ${everybody})
      or held."subjectId" in (select "groupId" from group_closure where "principalId" = ${principalId}))
    left join grant_member member on member."grantId" = held.id and member."principalId" = ${principalId}`
}

/** The actions that grants and scope leave to the actor on one node. Gates come on top (gates.ts). */
export async function effectiveActions(ctx: Ctx, node: Guarded): Promise<ActionSet> {
  if (node.tenantId !== ctx.actor.tenantId) return noActions
  if (ctx.actor.kind === 'system') return allActions
  const which = { startId: node.accessId, principalId: ctx.actor.principalId, everybody: everybodyFor(ctx.actor) }
  const atNode = await grantsAtNode(ctx.db, which)
  const found = atNode[0]?.kind === 'folder' ? await grantsOnPath(ctx.db, which) : atNode
  const granted = combine(found, ctx.actor.principalId)
  return ctx.actor.scope ? granted & (await scopeOf(ctx, node.id)) : granted
}

/** The same for a page of nodes, in one query (two with a scope). */
export async function effectiveActionsOfMany(ctx: Ctx, nodes: readonly Guarded[]): Promise<Map<number, ActionSet>> {
  const { actor } = ctx
  const own = nodes.filter(node => node.tenantId === actor.tenantId)
  if (actor.kind === 'system') return new Map(own.map(node => [node.id, allActions]))
  const startIds = [...new Set(own.map(node => node.accessId))]
  if (startIds.length === 0) return new Map()
  const { rows } = await grantsOnPaths(ctx.db, startIds, actor.principalId, everybodyFor(actor))
  const byStart = Map.groupBy(rows, row => row.startId)
  const scopes =
    actor.scope &&
    (await scopesOf(
      ctx,
      own.map(node => node.id),
    ))
  return new Map(
    own.map(node => {
      const granted = combine(byStart.get(node.accessId) ?? [], actor.principalId)
      return [node.id, scopes ? granted & (scopes.get(node.id) ?? noActions) : granted]
    }),
  )
}

/** Grants of the space, narrowed by the mask of each folder on the way down. Who manages the space is not narrowed. */
function combine(found: readonly GrantOnPath[], principalId: string): ActionSet {
  const spaceGrants = found.filter(row => row.kind === 'space')
  const sumRule = spaceGrants[0]?.sumRule ?? 'union'
  const atSpace = sum(spaceGrants, principalId, sumRule)
  if (hasAction(atSpace, 'manage')) return allActions
  const masks = found.filter(row => row.kind === 'folder')
  if (masks.length === 0) return atSpace
  return Map.groupBy(masks, row => row.nodeId)
    .values()
    .reduce((set, mask) => set & sum(mask, principalId, sumRule), atSpace)
}

function sum(rows: readonly GrantOnPath[], principalId: string, rule: 'union' | 'own-first'): ActionSet {
  const counting = rows.filter(row => row.memberState === null || row.memberState === 'accepted')
  // An explicit "nothing" for a user does not count as his own grant.
  const own = rule === 'own-first' ? counting.filter(row => row.subjectId === principalId && row.actions !== 0) : []
  return (own.length > 0 ? own : counting).reduce((set, row) => set | (row.actions ?? 0), noActions)
}

async function scopeOf(ctx: Ctx, nodeId: number): Promise<ActionSet> {
  return (await scopesOf(ctx, [nodeId])).get(nodeId) ?? noActions
}

/** What the actor's scope allows on each node: entries for the whole store, for the node, or for one of its ancestors. */
async function scopesOf(ctx: Ctx, nodeIds: readonly number[]): Promise<Map<number, ActionSet>> {
  const entries = ctx.actor.scope ?? []
  const everywhere = entries.filter(entry => entry.nodeId === undefined).reduce((set, entry) => set | entry.actions, 0)
  const allowed = new Map(nodeIds.map(id => [id, everywhere]))
  const scoped = entries.flatMap(({ nodeId, actions: set }) => (nodeId === undefined ? [] : [{ nodeId, set }]))
  if (scoped.length === 0 || nodeIds.length === 0) return allowed
  const { rows } = await sql<{ startId: number; id: number }>`
    with recursive climb ("startId", id, "parentId") as (
      select id, id, "parentId" from node where id in (${sql.join(nodeIds)})
      union all
      select climb."startId", node.id, node."parentId" from climb join node on node.id = climb."parentId"
    )
    select "startId", id from climb where id in (${sql.join(scoped.map(entry => entry.nodeId))})`.execute(ctx.db)
  for (const { startId, id } of rows) {
    const more = scoped.filter(entry => entry.nodeId === id).reduce((set, entry) => set | entry.set, 0)
    allowed.set(startId, (allowed.get(startId) ?? 0) | more)
  }
  return allowed
}

/**
 * Throws unless the actor may do `action` (any of several) on the node: `not-found` when he may not even list it, else `forbidden`.
 * Says nothing of gates: the functions that read or write content ask them (gates.ts).
 */
export async function authorize(ctx: Ctx, action: Action | readonly Action[], node: Guarded): Promise<ActionSet> {
  const allowed = await effectiveActions(ctx, node)
  requireAction(allowed, action, node)
  return allowed
}

/** Throws `forbidden` where a folder below holds a mask that keeps the actor from this. */
export async function authorizeBelow(ctx: Ctx, action: Action, top: { id: number }): Promise<void> {
  if (ctx.actor.kind === 'system') return
  const { rows: masked } = await sql<Guarded>`
    with recursive down (id) as (
      select id from node where "parentId" = ${top.id} and kind = 'folder' and state = 'live'
      union all
      select node.id from down join node on node."parentId" = down.id and node.kind = 'folder' and node.state = 'live'
    )
    select id, "tenantId", "accessId" from node where id in (select id from down) and "accessId" = id`.execute(ctx.db)
  const allowed = await effectiveActionsOfMany(ctx, masked)
  if (masked.some(node => !hasAction(allowed.get(node.id) ?? noActions, action)))
    throw new DomainError('forbidden', { action })
}

export function requireAction(allowed: ActionSet, action: Action | readonly Action[], node: { id: number }): void {
  if (hasAction(allowed, action)) return
  if ((allowed & (actions.list | actions.read)) === 0)
    throw new DomainError('not-found', { what: 'node', id: String(node.id) })
  const wanted = typeof action === 'string' ? action : action.join(' or ')
  throw new DomainError('forbidden', { action: wanted, nodeId: node.id })
}

/** Ids of the spaces that the actor may list by grants of his own or of his groups; open ones that he must know are left out. */
export async function listableSpaceIds(ctx: Ctx): Promise<number[]> {
  const { actor } = ctx
  const candidates = await spacesWithAccess(ctx.db, actor)
  const allowed = await effectiveActionsOfMany(ctx, candidates)
  return candidates.filter(node => hasAction(allowed.get(node.id) ?? noActions, 'list')).map(node => node.id)
}

async function spacesWithAccess(db: Kysely<Schema>, actor: Actor): Promise<Guarded[]> {
  const spaces = db
    .selectFrom('space')
    .innerJoin('node', 'node.id', 'space.id')
    .select(['node.id', 'node.tenantId', 'node.accessId'])
    .where('node.state', '=', 'live')
    .where('node.tenantId', '=', actor.tenantId)
    .orderBy('node.id')
  if (actor.kind === 'system') return spaces.execute()
  return spaces
    .where('node.accessId', 'in', granted =>
      granted
        .selectFrom('access_grant')
        .select('nodeId')
        .where(eb =>
          eb.or([
            eb('subjectId', '=', actor.principalId),
            eb(
              'subjectId',
              'in',
              eb.selectFrom('group_closure').select('groupId').where('principalId', '=', actor.principalId),
            ),
          ]),
        ),
    )
    .execute()
}
