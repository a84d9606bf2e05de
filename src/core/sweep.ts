/** Removes what crashes leave behind: stored objects that no row knows, and blobs that nothing refers to. */
import type { Ctx } from './ctx.ts'
import { collectBlobs } from './purge.ts'

/** A transfer writes all the time; what has not changed for so long and has no row belongs to nobody. */
export const ORPHAN_AGE_MS = 3_600_000
/** So long after that, verify no longer takes it for a leftover on its way out: the sweep should have been there. */
export const LEFTOVER_AGE_MS = 24 * ORPHAN_AGE_MS
const BATCH = 200

/** Both sweeps. Throws `busy` while a backup runs. */
export async function sweep(ctx: Ctx): Promise<{ objects: number; blobs: number }> {
  return { blobs: await sweepBlobs(ctx), objects: await sweepObjects(ctx) }
}

/** Removes old objects that no row knows. Answers how many. */
async function sweepObjects(ctx: Ctx): Promise<number> {
  const before = ctx.clock() - ORPHAN_AGE_MS
  let removed = 0
  let old: string[] = []
  const removeUnknown = async () => {
    const unknown = await unknownSegments(ctx, old)
    await ctx.blobs.remove(unknown)
    removed += unknown.length
    old = []
  }
  for await (const object of ctx.blobs.list()) {
    if (object.changedAt >= before) continue
    old.push(object.segmentId)
    if (old.length >= BATCH) await removeUnknown()
  }
  await removeUnknown()
  return removed
}

/** Those of the segments that no row knows. */
export async function unknownSegments(ctx: Ctx, segmentIds: readonly string[]): Promise<string[]> {
  if (segmentIds.length === 0) return []
  const rows = await ctx.db.selectFrom('segment').select('id').where('id', 'in', segmentIds).execute()
  const known = new Set(rows.map(row => row.id))
  return segmentIds.filter(id => !known.has(id))
}

/** Collects old blobs to which neither a version nor a running upload refers. Answers how many. */
async function sweepBlobs(ctx: Ctx): Promise<number> {
  let swept = 0
  for (
    let blobIds = await unusedBlobs(ctx, '');
    blobIds.length > 0;
    blobIds = await unusedBlobs(ctx, blobIds.at(-1)!)
  ) {
    await collectBlobs(ctx, { blobIds })
    swept += blobIds.length
  }
  return swept
}

async function unusedBlobs(ctx: Ctx, after: string): Promise<string[]> {
  const rows = await ctx.db
    .selectFrom('blob')
    .select('id')
    .where('id', '>', after)
    .where('createdAt', '<', ctx.clock() - ORPHAN_AGE_MS)
    .where(eb => eb.exists(eb.selectFrom('segment').select('id').whereRef('blobId', '=', 'blob.id')))
    .where(eb =>
      eb.not(
        eb.exists(
          eb.selectFrom('version').select('id').whereRef('blobId', '=', 'blob.id').where('purgedAt', 'is', null),
        ),
      ),
    )
    .where(eb =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('upload')
            .select('id')
            .whereRef('blobId', '=', 'blob.id')
            .where('state', 'in', ['open', 'receiving', 'sealed']),
        ),
      ),
    )
    .orderBy('id')
    .limit(BATCH)
    .execute()
  return rows.map(row => row.id)
}
