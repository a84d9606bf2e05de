/**
 * The path view of spaces and nodes, for dialects and protocols that speak paths. `/` is the actor's home space if he has one,
 * else a directory of the spaces he may list. Spaces that ask for a proof which a path view cannot bring are not there.
 */
import { remembered } from '#db/prepared.ts'
import { effectiveActions, listableSpaceIds } from './access.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { isHiddenWithoutProof } from './gates.ts'
import { nameKey, numberedName } from './names.ts'
import { findChild, findStep, getNodeRow, type Node } from './nodes.ts'
import { pathOf } from './node-paths.ts'
import { recordRefusal } from './events.ts'
import { actions, hasAction, noActions, type Action, type ActionSet } from './permissions.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { getVersionRow, type Version } from './versions.ts'

/** `top` is the directory of spaces, which is no node. */
export type Place = { kind: 'top'; spaces: readonly TopEntry[] } | { kind: 'node'; node: Node; space: Space }

export interface TopEntry {
  name: string
  node: Node
  space: Space
}

export interface PathTarget {
  segments: readonly string[]
  /** What lies at the path; undefined when nothing does. */
  place: Place | undefined
  /** The directory that holds the last segment, whether or not that exists; undefined when it is missing itself. */
  parent: Place | undefined
  /** The last existing step of the way. */
  nearest: Place
  /** What the actor may do at `nearest`. At the top: list. */
  allowed: ActionSet
}

const homeOf = remembered<{ principalId: string }, { homeNodeId: number | null }>((db, arg) =>
  db.selectFrom('principal').select('homeNodeId').where('id', '=', arg('principalId')),
)

/** The actor's `/`. Throws `no-view` when he has neither a home space nor any space he may list. */
export async function viewRoot(ctx: Ctx): Promise<Place> {
  const [principal] = await homeOf(ctx.db, { principalId: ctx.actor.principalId })
  const home = principal?.homeNodeId ? await openPlace(ctx, await getNodeRow(ctx, principal.homeNodeId)) : undefined
  if (home) return home
  const spaces = await topEntries(ctx)
  if (spaces.length === 0) throw new DomainError('no-view', {})
  return { kind: 'top', spaces }
}

async function openPlace(ctx: Ctx, node: Node): Promise<Place | undefined> {
  if (node.state !== 'live' || node.spaceId === null) return undefined
  const space = await getSpaceRow(ctx, node.spaceId)
  if (isHiddenWithoutProof(ctx, space)) return undefined
  if (node.kind === 'file' && space.clientEncryption && !ctx.actor.proofs.holdsKey) return undefined
  return { kind: 'node', node, space }
}

/** Spaces the actor may list, but for those that lie in another one he may list. Equal names are told apart by a number. */
async function topEntries(ctx: Ctx): Promise<TopEntry[]> {
  const ids = await listableSpaceIds(ctx)
  if (ids.length === 0) return []
  const spaces = await ctx.db.selectFrom('space').selectAll().where('id', 'in', ids).orderBy('id').execute()
  const nodes = await ctx.db.selectFrom('node').selectAll().where('id', 'in', ids).execute()
  const byId = new Map(nodes.map(node => [node.id, node]))
  const listed = new Set(ids)
  const taken = new Set<string>()
  return spaces.flatMap(space => {
    const node = byId.get(space.id)
    const isReachable = space.parentSpaceId !== null && listed.has(space.parentSpaceId)
    const isElsewhere = space.deliveryAccess !== null && !space.visibleElsewhere
    if (!node || isReachable || isElsewhere || isHiddenWithoutProof(ctx, space)) return []
    return [{ name: claimName(taken, node.name), node, space }]
  })
}

function claimName(taken: Set<string>, name: string): string {
  let claimed = name
  for (let count = 1; taken.has(claimed); count += 1) claimed = numberedName(name, count)
  taken.add(claimed)
  return claimed
}

/**
 * Follows a path from the actor's `/`. Names compare as the space says. Throws `no-view`; a missing path is no error.
 * Rights are not asked: the caller compares `allowed` (requireAllowed), so that he can keep his own order of checks.
 */
export async function resolvePath(ctx: Ctx, segments: readonly string[]): Promise<PathTarget> {
  let nearest = await viewRoot(ctx)
  let parent: Place | undefined = undefined
  let depth = 0
  for (; depth < segments.length; depth += 1) {
    const find = depth === segments.length - 1 ? findChild : findStep
    const next = await step(ctx, nearest, segments[depth]!, find)
    if (!next) break
    parent = nearest
    nearest = next
  }
  const isThere = depth === segments.length
  const isLastMissing = depth === segments.length - 1
  return {
    segments,
    place: isThere ? nearest : undefined,
    parent: isThere ? parent : isLastMissing && !isFile(nearest) ? nearest : undefined,
    nearest,
    allowed: await allowedAt(ctx, nearest),
  }
}

const isFile = (place: Place) => place.kind === 'node' && place.node.kind === 'file'

/** What the actor may do at a place. The directory of spaces can be listed by whoever has one. */
export function allowedAt(ctx: Ctx, place: Place): Promise<ActionSet> {
  return place.kind === 'top' ? Promise.resolve(actions.list) : effectiveActions(ctx, place.node)
}

/**
 * Throws `forbidden` unless the actor may do this where the path leads, or as near to it as it leads. The refusal is audited.
 */
export async function requireAllowed(
  ctx: Ctx,
  target: Pick<PathTarget, 'nearest' | 'allowed'>,
  action: Action | readonly Action[],
): Promise<void> {
  if (hasAction(target.allowed, action)) return
  const node = target.nearest.kind === 'node' ? target.nearest.node : undefined
  const wanted = typeof action === 'string' ? action : action.join(' or ')
  await recordRefusal(ctx, {
    type: 'access.refused',
    spaceId: node?.spaceId ?? null,
    ...(node && { subject1: `node:${node.id}` }),
    facts: { action: wanted },
  })
  throw new DomainError('forbidden', { action: wanted })
}

async function step(ctx: Ctx, from: Place, name: string, find: typeof findChild): Promise<Place | undefined> {
  if (from.kind === 'top') {
    const entry = from.spaces.find(space => space.name === name)
    return entry && { kind: 'node', node: entry.node, space: entry.space }
  }
  if (from.node.kind === 'file') return undefined
  const child = await find(ctx, from.node.id, nameKey(name, from.space.caseRule))
  if (!child || child.state !== 'live') return undefined
  if (child.spaceId === from.space.id && !(child.kind === 'file' && from.space.clientEncryption)) {
    return { kind: 'node', node: child, space: from.space }
  }
  return openPlace(ctx, child)
}

export interface FoundFile {
  node: Node
  space: Space
  version: Version
  /** From the actor's `/`. */
  path: string[]
  allowed: ActionSet
}

/**
 * The live file whose current version has this id, within the actor's view.
 * Throws `no-view`, and `not-found` for a superseded, deleted or foreign version and for a file outside the view.
 */
export async function findFile(ctx: Ctx, versionId: number): Promise<FoundFile> {
  const root = await viewRoot(ctx)
  const missing = () => new DomainError('not-found', { what: 'version', id: String(versionId) })
  const version = await getVersionRow(ctx, versionId)
  const node = await getNodeRow(ctx, version.nodeId)
  if (node.currentVersionId !== version.id) throw missing()
  const place = await openPlace(ctx, node)
  const path = place && (await pathInView(ctx, root, node))
  if (!path || place.kind === 'top') throw missing()
  const allowed = await effectiveActions(ctx, node)
  if (allowed === noActions) throw missing()
  return { node, space: place.space, version, path, allowed }
}

/** Names from the view's root down to the node; undefined when it lies outside. */
async function pathInView(ctx: Ctx, root: Place, node: Node): Promise<string[] | undefined> {
  const steps = await pathOf(ctx, node.id)
  const entries =
    root.kind === 'top'
      ? root.spaces.map(entry => ({ id: entry.node.id, name: [entry.name] }))
      : [{ id: root.node.id, name: [] }]
  const entry = entries.find(({ id }) => steps.some(s => s.id === id))
  if (!entry) return undefined
  const start = steps.findIndex(s => s.id === entry.id)
  return [...entry.name, ...steps.slice(start + 1).map(s => s.name)]
}
