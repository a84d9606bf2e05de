/** What time does to uploads: abandoned ones end, ended ones are forgotten. */
import { inTx, type Ctx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import { endUpload, transitions, type Upload } from './transfers.ts'

const BATCH = 200

/**
 * Ends the abandoned uploads of the actor's tenant, which frees their names and bytes, and forgets those that ended long
 * enough ago. Answers how many of each.
 */
export async function expireUploads(ctx: Ctx): Promise<{ expired: number; forgotten: number }> {
  const done = { expired: 0, forgotten: 0 }
  for (let due = await dueUploads(ctx, ''); due.length > 0; due = await dueUploads(ctx, due.at(-1)!.id)) {
    for (const upload of due) {
      if (transitions[upload.state].length === 0) {
        await forgetUpload(ctx, upload)
        done.forgotten += 1
      } else if (await expireUpload(ctx, upload)) done.expired += 1
    }
  }
  return done
}

const dueUploads = (ctx: Ctx, after: string): Promise<Upload[]> =>
  ctx.db
    .selectFrom('upload')
    .selectAll()
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('expiresAt', '<=', ctx.clock())
    .where('id', '>', after)
    .orderBy('id')
    .limit(BATCH)
    .execute()

/** False when it has ended by itself meanwhile. */
async function expireUpload(ctx: Ctx, upload: Upload): Promise<boolean> {
  try {
    await inTx(ctx, async ctx => {
      await endUpload(ctx, upload, 'expired')
      await ctx.emit({ type: 'upload.failed', subject1: `upload:${upload.id}`, facts: { code: 'expired' } })
    })
    return true
  } catch (error) {
    if (isDomainError(error, 'wrong-state')) return false
    throw error
  }
}

async function forgetUpload(ctx: Ctx, { id, blobId }: Upload): Promise<void> {
  await inTx(ctx, async ctx => {
    await ctx.db.deleteFrom('upload').where('id', '=', id).execute()
    // The row of a blob goes with the last that refers to it; one that still has bytes is left to the sweep.
    await ctx.db
      .deleteFrom('blob')
      .where('id', '=', blobId)
      .where(eb => eb.not(eb.exists(eb.selectFrom('version').select('id').where('blobId', '=', blobId))))
      .where(eb => eb.not(eb.exists(eb.selectFrom('segment').select('id').where('blobId', '=', blobId))))
      .execute()
  })
}
