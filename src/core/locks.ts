/** Locks on files: others may read, but not change. */
import { authorize } from './access.ts'
import { inTx, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable } from './gates.ts'
import { getLiveNode } from './nodes.ts'
import { hasAction } from './permissions.ts'

/**
 * Locks a file for the actor (and for his session, where `bySession`). Locking anew by the holder prolongs it.
 * Throws `locked`, `not-a-file`, `forbidden`.
 */
export function lockNode(ctx: Ctx, input: { nodeId: number; bySession?: boolean; expiresAt?: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await getLiveNode(ctx, input.nodeId)
    if (node.kind !== 'file') throw new DomainError('not-a-file', { nodeId: node.id })
    await authorize(ctx, 'lock', node)
    await ctx.database.lock(ctx.db, `node:${node.id}`, 'exclusive')
    await requireChangeable(ctx, { ...node, writeProtected: 0 })
    const lock = {
      versionId: node.currentVersionId,
      holderId: ctx.actor.principalId,
      sessionId: input.bySession ? (ctx.actor.sessionId ?? ctx.actor.tokenId ?? null) : null,
      createdAt: ctx.clock(),
      expiresAt: input.expiresAt ?? null,
    }
    await ctx.db
      .insertInto('node_lock')
      .values({ nodeId: node.id, ...lock })
      .onConflict(clash => clash.column('nodeId').doUpdateSet(lock))
      .execute()
    await ctx.emit({ type: 'node.locked', spaceId: node.spaceId, subject1: `node:${node.id}` })
  })
}

/** Releases a lock: its holder from any session, or who manages the space. No error when there is none. */
export function unlockNode(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    const node = await getLiveNode(ctx, nodeId)
    const allowed = await authorize(ctx, 'list', node)
    const lock = await ctx.db
      .selectFrom('node_lock')
      .innerJoin('principal', 'principal.id', 'node_lock.holderId')
      .select(['node_lock.holderId', 'principal.name'])
      .where('nodeId', '=', nodeId)
      .executeTakeFirst()
    if (!lock) return
    if (lock.holderId !== ctx.actor.principalId && !hasAction(allowed, 'manage')) {
      throw new DomainError('locked', { nodeId, by: lock.name })
    }
    await ctx.db.deleteFrom('node_lock').where('nodeId', '=', nodeId).execute()
    await ctx.emit({ type: 'node.unlocked', spaceId: node.spaceId, subject1: `node:${nodeId}` })
  })
}
