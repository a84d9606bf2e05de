/** As whom somebody comes to a delivery, and what that lets him do. Asked in the order in which a refusal tells least. */
import { effectiveActions } from './access.ts'
import { decidesAbout } from './approvals.ts'
import type { Ctx } from './ctx.ts'
import { withServerRights } from './deliveries.ts'
import { isOver } from './delivery-retention.ts'
import { DomainError } from './errors.ts'
import { getNodeRow, type Node } from './nodes.ts'
import { hasAction } from './permissions.ts'
import { hasRight, isSwitchedOn, type SystemRight } from './roles.ts'
import { loadDeliveryCheck } from './screening-state.ts'
import { findDelivery, type Space } from './space-rows.ts'

/** `visitor`: knows the id of a delivery that is open to everybody signed in. */
export type DeliveryRole = 'sender' | 'contributor' | 'recipient' | 'visitor' | 'approver' | 'administrator'

export interface OpenDelivery {
  /** The caller's, with what his role gives: an administrator acts with the server's rights under his own name. */
  ctx: Ctx
  space: Space
  node: Node
  role: DeliveryRole
}

/**
 * A delivery that the caller may know of. Whoever is no administrator sees active ones only. Throws `not-found` for all that he
 * may not know of, `not-approved` while it waits for consent or was refused it.
 */
export async function openDelivery(ctx: Ctx, uid: string): Promise<OpenDelivery> {
  const missing = () => new DomainError('not-found', { what: 'delivery', id: uid })
  const space = await findDelivery(ctx, uid)
  if (!space) throw missing()
  const node = await getNodeRow(ctx, space.id)
  if (ctx.actor.capacity === 'administrator') {
    if (!(await hasRight(ctx, 'deliveries.manage'))) throw missing()
    return { ctx: withServerRights(ctx), space, node, role: 'administrator' }
  }
  const role = space.state !== 'active' || isOver(ctx, space) ? undefined : await roleOf(ctx, space, node)
  if (!role) throw missing()
  if (isHeldBack(space) && role !== 'sender' && role !== 'approver')
    throw new DomainError('not-approved', { spaceId: space.id })
  return { ctx: actingAs(ctx, space, role), space, node, role }
}

const isHeldBack = ({ approval }: Space) => approval === 'waiting' || approval === 'refused'

async function roleOf(ctx: Ctx, space: Space, node: Node): Promise<DeliveryRole | undefined> {
  const { principalId, scope } = ctx.actor
  const allowed = await effectiveActions(ctx, node)
  if (space.ownerId === principalId) return scope && !hasAction(allowed, 'list') ? undefined : 'sender'
  if (isHeldBack(space) && (await decidesAbout(ctx, space.ownerId))) return 'approver'
  if (!hasAction(allowed, 'list')) return undefined
  const own = await ctx.db
    .selectFrom('access_grant')
    .select('recipient')
    .where('nodeId', '=', space.id)
    .where('subjectId', '=', principalId)
    .executeTakeFirst()
  if (!own?.recipient) return 'visitor'
  return own.recipient === 'contributor' ? 'contributor' : 'recipient'
}

/** Who adds to a delivery need not spend accesses for it; who decides about it must be able to look into it. */
function actingAs(ctx: Ctx, space: Space, role: DeliveryRole): Ctx {
  if (role === 'approver') return withServerRights(ctx)
  if (role !== 'contributor') return ctx
  const { actor } = ctx
  const accessSpaceIds = [...actor.proofs.accessSpaceIds, space.id]
  return { ...ctx, actor: { ...actor, proofs: { ...actor.proofs, accessSpaceIds } } }
}

/** Throws `proof-required` unless the caller has shown the password, and spent an access, where he must. */
export function requireProofs({ ctx, space, role }: OpenDelivery): void {
  if (role === 'sender' || role === 'administrator' || role === 'approver') return
  const { passwordSpaceIds, accessSpaceIds } = ctx.actor.proofs
  if (space.deliveryPasswordHash !== null && !passwordSpaceIds.includes(space.id))
    throw new DomainError('proof-required', { proof: 'password', spaceId: space.id })
  if (space.accessLimit !== null && !accessSpaceIds.includes(space.id))
    throw new DomainError('proof-required', { proof: 'access', spaceId: space.id })
}

/** Throws `wrong-state` for a delivery that only administrators still see. */
export function requireActive({ space }: OpenDelivery): void {
  if (space.state !== 'active')
    throw new DomainError('wrong-state', { what: 'delivery', state: space.state, needed: 'active' })
}

/** Its content may be changed by its sender, contributors and administrators. Throws `forbidden`. */
export function requireContributor({ role, node }: OpenDelivery): void {
  if (role === 'sender' || role === 'contributor' || role === 'administrator') return
  throw new DomainError('forbidden', { action: 'change', nodeId: node.id })
}

/** What it is and for whom may be changed by its sender and administrators. Throws `forbidden`. */
export function requireSender({ role, node }: OpenDelivery): void {
  if (role === 'sender' || role === 'administrator') return
  throw new DomainError('forbidden', { action: 'manage', nodeId: node.id })
}

/** Throws `delivery-quarantined`: while something harmful is in it, only who holds the right may still do this. */
export async function requireNoQuarantine({ ctx, space, role }: OpenDelivery, unless?: SystemRight): Promise<void> {
  if (role === 'administrator' || (await loadDeliveryCheck(ctx, space.id)) !== 'quarantined') return
  if (unless && (await hasRight(ctx, unless))) return
  throw new DomainError('delivery-quarantined', { spaceId: space.id })
}

/**
 * A folder of the delivery, its root among them. Deleted ones show to administrators only. Throws `not-found`, also for what lies
 * elsewhere.
 */
export async function getFolder({ ctx, space, role }: OpenDelivery, uid: string): Promise<Node> {
  const node = await ctx.db
    .selectFrom('node')
    .selectAll()
    .where('uid', '=', uid.toLowerCase())
    .where('spaceId', '=', space.id)
    .where('kind', 'in', ['space', 'folder'])
    .executeTakeFirst()
  const isThere = node?.state === 'live' || role === 'administrator'
  if (!node || !isThere) throw new DomainError('not-found', { what: 'node', id: uid })
  return node
}

/** A sender fetches what he sent only where the settings, or his rights, say so. Throws `forbidden`. */
export async function requireMayFetch({ ctx, role, node }: OpenDelivery): Promise<void> {
  if (role !== 'sender' || (await isSwitchedOn(ctx, ctx.settings.deliveryReadSent, 'deliveries.read-sent'))) return
  throw new DomainError('forbidden', { action: 'read', nodeId: node.id })
}

/** Blind recipients, and everything else that is not for all, show to these. */
export const seesAll = ({ role }: OpenDelivery): boolean => role === 'sender' || role === 'administrator'
