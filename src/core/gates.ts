/**
 * What stands between a right and its use: delivery passwords, approval, screening, client-side keys, revalidation, write
 * protection, locks. Every door asks the same gates; a dialect may ask earlier in an order of its own.
 */
import type { Selectable } from 'kysely'
import type { NodeTable, SpaceTable, VersionTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'
import { DomainError, type ErrorCode } from './errors.ts'
import { loadDeliveryFindings } from './screening-state.ts'
import { prepared } from '#db/prepared.ts'

type Space = Selectable<SpaceTable>
type Node = Pick<Selectable<NodeTable>, 'id' | 'writeProtected' | 'readProtected'>
type Version = Pick<Selectable<VersionTable>, 'id' | 'screening' | 'releasedAt'>

/** Content of the space is within reach at all: state, approval, delivery password, key. Throws the first gate that is shut. */
export function requireOpenSpace(ctx: Ctx, space: Space): void {
  const shut = spaceGate(ctx, space)
  if (shut) throw shut
}

/** True where a caller who can bring no proof would be refused: such a space is not there for him. */
export const isHiddenWithoutProof = (ctx: Ctx, space: Space): boolean => spaceGate(ctx, space) !== undefined

function spaceGate(ctx: Ctx, space: Space): DomainError | undefined {
  if (space.state !== 'active') return new DomainError('space-inactive', { spaceId: space.id, state: space.state })
  const { actor } = ctx
  if (actor.kind === 'system') return undefined
  const isOwner = actor.principalId === space.ownerId
  if ((space.approval === 'waiting' || space.approval === 'refused') && !isOwner) {
    return new DomainError('not-approved', { spaceId: space.id })
  }
  if (space.deliveryPasswordHash !== null && !isOwner && !actor.proofs.passwordSpaceIds.includes(space.id)) {
    return new DomainError('proof-required', { proof: 'password', spaceId: space.id })
  }
  return isOwner || space.deliveryAccess === null ? undefined : deliveryGate(ctx, space)
}

/** A delivery ends at its time, and one with a limit opens only to who has spent an access. */
function deliveryGate(ctx: Ctx, space: Space): DomainError | undefined {
  const { id: spaceId, deliveryExpiresAt: expiresAt, deliveryPersistent, accessLimit } = space
  if (expiresAt !== null && !deliveryPersistent && expiresAt <= ctx.clock()) {
    return new DomainError('space-inactive', { spaceId, state: 'expired' })
  }
  if (accessLimit !== null && !ctx.actor.proofs.accessSpaceIds.includes(spaceId)) {
    return new DomainError('proof-required', { proof: 'access', spaceId })
  }
  return undefined
}

/** May the bytes of this version leave? */
export async function requireReadable(
  ctx: Ctx,
  { space, node, version }: { space: Space; node: Node; version: Version },
): Promise<void> {
  requireOpenSpace(ctx, space)
  // Nobody is exempt, and not either while the content waits to be sealed.
  if (space.wrappingKey !== null && !ctx.actor.proofs.spaceKeys.has(space.id)) {
    throw new DomainError('proof-required', { proof: 'password', spaceId: space.id })
  }
  if (space.clientEncryption && !ctx.actor.proofs.holdsKey) {
    throw new DomainError('proof-required', { proof: 'key', spaceId: space.id })
  }
  if (node.readProtected && ctx.actor.proofs.revalidatedUntil <= ctx.clock()) {
    throw new DomainError('proof-required', { proof: 'revalidation', spaceId: space.id })
  }
  if (space.deliveryAccess !== null && ctx.actor.kind !== 'system') await requireCheckedDelivery(ctx, space, version)
  requireScreened(space, version)
}

/** Nothing leaves a delivery while a file of it waits, or while one is quarantined. */
async function requireCheckedDelivery(ctx: Ctx, space: Space, version: Version): Promise<void> {
  const found = (await loadDeliveryFindings(ctx, [space.id])).get(space.id)
  const isExempt = ctx.settings.quarantineOpen && (version.screening === 'clean' || version.releasedAt !== null)
  if (found?.isQuarantined && !isExempt) throw new DomainError('delivery-quarantined', { spaceId: space.id })
  if (found?.isPending && !space.unscreenedDownloads)
    throw new DomainError('not-screened', { versionId: version.id, state: 'pending' })
}

function requireScreened(space: Space, version: Version): void {
  if (version.screening === 'clean' || version.releasedAt !== null) return
  const isOpen = version.screening === 'pending' || version.screening === 'not-examinable'
  if (isOpen && space.unscreenedDownloads) return
  throw new DomainError('not-screened', { versionId: version.id, state: version.screening })
}

/** May content be put into this space by this caller? */
export function requireWritableSpace(ctx: Ctx, space: Space): void {
  requireOpenSpace(ctx, space)
  if (space.clientEncryption && !ctx.actor.proofs.holdsKey)
    throw new DomainError('encryption-required', { spaceId: space.id })
}

const lockOf = prepared<{ nodeId: number; now: number }, { holderId: string; sessionId: string | null; name: string }>(
  (db, arg) =>
    db
      .selectFrom('node_lock')
      .innerJoin('principal', 'principal.id', 'node_lock.holderId')
      .select(['node_lock.holderId', 'node_lock.sessionId', 'principal.name'])
      .where('node_lock.nodeId', '=', arg('nodeId'))
      .where(eb => eb.or([eb('node_lock.expiresAt', 'is', null), eb('node_lock.expiresAt', '>', arg('now'))])),
)

/** May this node be changed? Write protection and locks held by others (or by another session of the same user) say no. */
export async function requireChangeable(ctx: Ctx, node: Node): Promise<void> {
  if (node.writeProtected) throw new DomainError('write-protected', { nodeId: node.id })
  const [lock] = await lockOf(ctx.db, { nodeId: node.id, now: ctx.clock() })
  if (!lock) return
  const isHolder =
    lock.holderId === ctx.actor.principalId &&
    (lock.sessionId === null || lock.sessionId === (ctx.actor.sessionId ?? ctx.actor.tokenId ?? null))
  if (!isHolder) throw new DomainError('locked', { nodeId: node.id, by: lock.name })
}

/** Codes with which a gate refuses: a path view answers them as "not there". */
export const gateCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'space-inactive',
  'not-approved',
  'proof-required',
  'not-screened',
  'delivery-quarantined',
])
