/** What time does to deliveries: they end, and some time after that their content is put away or destroyed. */
import { inTx, type Ctx } from './ctx.ts'
import { DAY_MS } from './deliveries.ts'
import { DomainError, isDomainError } from './errors.ts'
import { holdStructure } from './nodes.ts'
import { inEachTenant } from './retention.ts'
import { requireRight } from './roles.ts'
import { shredSpace } from './shred.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { changeSpaceState } from './space-state.ts'

const BATCH = 200

/**
 * Ends deliveries whose time has come and sends on those that ended long enough ago, in all tenants. Persistent ones stay. What
 * was left in the middle of being destroyed is finished.
 */
export async function retireDeliveries(ctx: Ctx): Promise<{ ended: number; archived: number; shredded: number }> {
  const done = { ended: 0, archived: 0, shredded: 0 }
  for (const tenantCtx of await inEachTenant(ctx)) {
    done.ended += await forEachDelivery(dueToEnd(tenantCtx), id => changeState(tenantCtx, id, 'deleted'))
    done.shredded += await forEachDelivery(halfShredded(tenantCtx), id => shredSpace(tenantCtx, { spaceId: id }))
    const old = dueToGo(tenantCtx)
    if (!old) continue
    if (ctx.settings.deliveryAfterTrash === 'archive')
      done.archived += await forEachDelivery(old, id => changeState(tenantCtx, id, 'archived'))
    else done.shredded += await forEachDelivery(old, id => shredSpace(tenantCtx, { spaceId: id }))
  }
  return done
}

type Page = (after: number) => Promise<{ id: number }[]>

const dueToEnd =
  (ctx: Ctx): Page =>
  after =>
    deliveries(ctx, after).where('state', '=', 'active').where('deliveryExpiresAt', '<=', ctx.clock()).execute()

/** Whoever destroyed their content did not come to the end. */
const halfShredded =
  (ctx: Ctx): Page =>
  after =>
    ctx.db
      .selectFrom('space')
      .select('id')
      .where('tenantId', '=', ctx.actor.tenantId)
      .where('state', '=', 'purged')
      .where('contentPurgedAt', 'is', null)
      .where('id', '>', after)
      .orderBy('id')
      .limit(BATCH)
      .execute()

/** Undefined where they stay for ever. */
function dueToGo(ctx: Ctx): Page | undefined {
  const { deliveryTrashMs } = ctx.settings
  if (deliveryTrashMs === null) return undefined
  const before = ctx.clock() - deliveryTrashMs
  return after => deliveries(ctx, after).where('state', '=', 'deleted').where('stateChangedAt', '<', before).execute()
}

const deliveries = (ctx: Ctx, after: number) =>
  ctx.db
    .selectFrom('space')
    .select('id')
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('deliveryAccess', 'is not', null)
    .where('deliveryPersistent', '=', 0)
    .where('id', '>', after)
    .orderBy('id')
    .limit(BATCH)

/** What the domain refuses (somebody was quicker) is left to the next time. */
async function forEachDelivery(page: Page, act: (id: number) => Promise<unknown>): Promise<number> {
  let done = 0
  for (let rows = await page(0); rows.length > 0; rows = await page(rows.at(-1)!.id)) {
    for (const { id } of rows) {
      try {
        await act(id)
        done += 1
      } catch (error) {
        if (!isDomainError(error) || error.code === 'busy' || error.code === 'storage-full') throw error
      }
    }
  }
  return done
}

function changeState(ctx: Ctx, spaceId: number, state: 'deleted' | 'archived'): Promise<unknown> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const before = await getSpaceRow(ctx, spaceId)
    // Its sender may have given it more time meanwhile.
    const isDue = state === 'archived' || isOver(ctx, before)
    return isDue && changeSpaceState(ctx, { before, state })
  })
}

/** Whether a delivery has come to its end by itself. */
export const isOver = (ctx: Ctx, { deliveryExpiresAt, deliveryPersistent }: Space): boolean =>
  !deliveryPersistent && deliveryExpiresAt !== null && deliveryExpiresAt <= ctx.clock()

/**
 * Brings a deleted or archived delivery back, with so many days to go where its time is over. Needs `deliveries.manage`.
 * Throws `not-found`, `wrong-state`.
 */
export async function reviveDelivery(ctx: Ctx, { spaceId, days }: { spaceId: number; days?: number }): Promise<void> {
  await requireRight(ctx, 'deliveries.manage')
  await inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const before = await getSpaceRow(ctx, spaceId)
    if (before.deliveryAccess === null) throw new DomainError('not-found', { what: 'delivery', id: String(spaceId) })
    const space = await changeSpaceState(ctx, { before, state: 'active' })
    if (days === undefined && !isOver(ctx, space)) return
    const deliveryExpiresAt = ctx.clock() + (days ?? ctx.settings.deliveryDays) * DAY_MS
    await ctx.db.updateTable('space').set({ deliveryExpiresAt }).where('id', '=', spaceId).execute()
  })
}
