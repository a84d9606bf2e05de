/** Reading the policy rows of spaces; spaces.ts changes them. */
import type { Selectable } from 'kysely'
import { remembered } from '#db/prepared.ts'
import type { SpaceTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'

export type Space = Selectable<SpaceTable>

/** What makes a space a delivery: who may fetch it, how often and until when. */
export interface DeliveryPolicy {
  accessType: 'public' | 'internal' | 'private'
  /** Accesses after which nobody gets in any more; null for no limit. */
  accessLimit: number | null
  /** Epoch milliseconds; null for never. */
  expiresAt: number | null
  persistent: boolean
}

/** The delivery policy of a space; null for one that is no delivery. */
export const deliveryOf = ({
  deliveryAccess,
  accessLimit,
  deliveryExpiresAt,
  deliveryPersistent,
}: Pick<Space, 'deliveryAccess' | 'accessLimit' | 'deliveryExpiresAt' | 'deliveryPersistent'>): DeliveryPolicy | null =>
  deliveryAccess && {
    accessType: deliveryAccess,
    accessLimit,
    expiresAt: deliveryExpiresAt,
    persistent: deliveryPersistent === 1,
  }

const spaceById = remembered<{ id: number }, Space>((db, arg) =>
  db.selectFrom('space').selectAll().where('id', '=', arg('id')),
)

/** The space of that root node, in whatever state. Throws `not-found` for another tenant's. */
export async function getSpaceRow(ctx: Ctx, spaceId: number): Promise<Space> {
  const [space] = await spaceById(ctx.db, { id: spaceId })
  if (!space || space.tenantId !== ctx.actor.tenantId)
    throw new DomainError('not-found', { what: 'space', id: String(spaceId) })
  return space
}

/** A delivery by its uid, in whatever state, or undefined. Authorises nothing. */
export function findDelivery(ctx: Ctx, uid: string): Promise<Space | undefined> {
  return ctx.db
    .selectFrom('space')
    .selectAll()
    .where('uid', '=', uid.toLowerCase())
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('deliveryAccess', 'is not', null)
    .executeTakeFirst()
}
