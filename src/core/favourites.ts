/**
 * Nodes that somebody wants to find again. A favourite whose node lies in the bin does not show, and is there again when the
 * deletion is undone: undoing brings back what was, and purging alone is for good.
 */
import { inTx, type Ctx } from './ctx.ts'
import { getLiveNode } from './nodes.ts'
import { requireAccount, requireVisible } from './visibility.ts'

/** Adds the node to the actor's favourites; one more time changes nothing. Throws `not-found`, `forbidden` for visitors. */
export function addFavourite(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await getFavourable(ctx, nodeId)
    const added = await ctx.db
      .insertInto('favourite')
      .values({ principalId: ctx.actor.principalId, nodeId, createdAt: ctx.clock() })
      .onConflict(clash => clash.doNothing())
      .returning('nodeId')
      .executeTakeFirst()
    if (added) await ctx.emit({ type: 'favourite.added', spaceId: node.spaceId, subject1: `node:${nodeId}` })
  })
}

/** Takes it off again; what is no favourite stays none. Throws `not-found`, `forbidden` for visitors. */
export function removeFavourite(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await getFavourable(ctx, nodeId)
    const removed = await ctx.db
      .deleteFrom('favourite')
      .where('principalId', '=', ctx.actor.principalId)
      .where('nodeId', '=', nodeId)
      .returning('nodeId')
      .executeTakeFirst()
    if (removed) await ctx.emit({ type: 'favourite.removed', spaceId: node.spaceId, subject1: `node:${nodeId}` })
  })
}

async function getFavourable(ctx: Ctx, nodeId: number) {
  requireAccount(ctx, 'favourite')
  const node = await getLiveNode(ctx, nodeId)
  await requireVisible(ctx, node)
  return node
}
