/** Destroying content for good: its key goes in the transaction, its bytes with the last reference, a tombstone stays. */
import { TransactionLost } from '#db/database.ts'
import { authorize } from './access.ts'
import { requireNoHold } from './backup-hold.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { enqueue } from './jobs.ts'
import { getNodeRow, holdStructure } from './nodes.ts'
import { addTotals } from './totals.ts'
import { getVersionRow, type Version } from './versions.ts'

/** Purges one version out of the bin. Throws `not-found`, `forbidden`, `not-deleted`, `wrong-state` (purged already). */
export function purgeVersion(ctx: Ctx, { versionId }: { versionId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared') // a deletion must not be undone around what goes
    const version = await getVersionRow(ctx, versionId)
    const wasIn = await getNodeRow(
      ctx,
      version.deletedParentId ?? (await getNodeRow(ctx, version.nodeId)).parentId ?? 0,
    )
    await authorize(ctx, 'trash.purge', wasIn)
    if (version.purgedAt !== null)
      throw new DomainError('wrong-state', { what: 'version', state: 'purged', needed: 'deleted' })
    if (version.deletedAt === null) throw new DomainError('not-deleted', { nodeId: version.nodeId })
    await purgeRows(ctx, [version])
  })
}

/**
 * Destroys versions in the bin: the wrapped keys are overwritten, jobs remove the bytes and scrub what the database keeps of
 * both in free pages and its log. The caller has asked for the right.
 */
export async function purgeRows(ctx: TxCtx, versions: readonly Version[]): Promise<void> {
  if (versions.length === 0) return
  for (const version of versions) await purgeRow(ctx, version)
  await enqueue(ctx, { kind: 'blob.collect', payload: { blobIds: versions.map(version => version.blobId) } })
  await enqueue(ctx, { kind: 'database.scrub', payload: {}, dedupKey: 'database.scrub' })
  const byBin = Map.groupBy(versions, version => version.deletedParentId)
  for (const [containerId, rows] of byBin) {
    const binBytes = -rows.reduce((sum, row) => sum + row.sizeBytes, 0)
    if (containerId !== null) await addTotals(ctx, containerId, { binBytes })
  }
}

async function purgeRow(ctx: TxCtx, version: Version): Promise<void> {
  const purged = await ctx.db
    .updateTable('version')
    .set({ wrappedKey: null, keyName: null, purgedAt: ctx.clock() })
    .where('id', '=', version.id)
    .where('deletedAt', 'is not', null)
    .where('purgedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!purged) throw new TransactionLost()
  await ctx.db.deleteFrom('version_key').where('versionId', '=', version.id).execute()
  await ctx.db
    .updateTable('node')
    .set({ state: 'purged' })
    .where('id', '=', version.nodeId)
    .where('state', '=', 'deleted')
    .where('currentVersionId', '=', version.id)
    .execute()
  await ctx.emit({ type: 'version.purged', spaceId: version.deletedSpaceId, subject1: `version:${version.id}` })
}

/**
 * Removes the bytes of those blobs that nothing refers to any more: rows first, then objects, so that a crash in between leaves
 * objects that the sweep finds. Safe to repeat. Throws `busy` while a backup runs.
 */
export async function collectBlobs(ctx: Ctx, { blobIds }: { blobIds: readonly string[] }): Promise<void> {
  const segmentIds = await inTx(ctx, async ctx => {
    await requireNoHold(ctx)
    const unused: string[] = []
    for (const blobId of blobIds) unused.push(...(await dropUnusedBlob(ctx, blobId)))
    return unused
  })
  await ctx.blobs.remove(segmentIds)
}

/** Ids of the segments that lie in the blob store. */
async function dropUnusedBlob(ctx: TxCtx, blobId: string): Promise<string[]> {
  await ctx.database.lock(ctx.db, `blob:${blobId}`, 'exclusive')
  const version = await ctx.db
    .selectFrom('version')
    .select('id')
    .where('blobId', '=', blobId)
    .where('purgedAt', 'is', null)
    .executeTakeFirst()
  const upload = await ctx.db
    .selectFrom('upload')
    .select('id')
    .where('blobId', '=', blobId)
    .where('state', 'in', ['open', 'receiving', 'sealed'])
    .executeTakeFirst()
  if (version || upload) return []
  const segments = await ctx.db
    .selectFrom('segment')
    .select(['id', 'inlineBytes'])
    .where('blobId', '=', blobId)
    .execute()
  // The blob row stays as what tombstones refer to; nothing of the content does.
  await ctx.db.deleteFrom('segment').where('blobId', '=', blobId).execute()
  return segments.filter(segment => segment.inlineBytes === null).map(segment => segment.id)
}
