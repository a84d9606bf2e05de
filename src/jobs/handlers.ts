/** Which core function does which job. */
import { dropOldBatches, sealBatches } from '#core/audit.ts'
import { inTx, type Ctx } from '#core/ctx.ts'
import { retireDeliveries } from '#core/delivery-retention.ts'
import { isDomainError } from '#core/errors.ts'
import { enqueue } from '#core/jobs.ts'
import { sendMail } from '#core/mail-send.ts'
import { collectBlobs } from '#core/purge.ts'
import { cleanUp, expire, expireTransfers, purgeOld } from '#core/retention.ts'
import { resumeScreening, screenVersion } from '#core/screening.ts'
import { sweep } from '#core/sweep.ts'
import { forgetDone } from './queue.ts'
import { REMEMBER_DONE_MS } from './schedule.ts'
import type { JobHandlers } from './worker.ts'

/** Bytes that a backup holds are collected this much later. */
const HELD_PAUSE_MS = 60_000

export const jobHandlers: JobHandlers = {
  'blob.collect': collect,
  'database.scrub': ctx => ctx.database.scrub(),
  sweep: unlessHeld(async ctx => void (await sweep(ctx))),
  'upload.expire': expireTransfers,
  expiry: async ctx => void (await expire(ctx)),
  'delivery.retention': async ctx => void (await retireDeliveries(ctx)),
  'version.screen': screenVersion,
  'screening.resume': async ctx => void (await resumeScreening(ctx)),
  'trash.purge': async ctx => void (await purgeOld(ctx)),
  'mail.send': sendMail,
  'audit.seal': async ctx => void (await sealBatches(ctx)),
  'audit.drop': async ctx => void (await dropOldBatches(ctx)),
  'clean-up': async ctx => {
    await cleanUp(ctx)
    await forgetDone(ctx, ctx.clock() - REMEMBER_DONE_MS)
  },
  // The row of a backup; there is nothing to do for it.
  'backup.hold': async () => {},
}

/** A backup is no failure: the job is put off without using up an attempt. */
async function collect(ctx: Ctx, payload: { blobIds: string[] }): Promise<void> {
  try {
    await collectBlobs(ctx, payload)
  } catch (error) {
    if (!isDomainError(error, 'busy')) throw error
    await inTx(ctx, ctx => enqueue(ctx, { kind: 'blob.collect', payload, runAt: ctx.clock() + HELD_PAUSE_MS }))
  }
}

/** Recurring work that a backup holds up is left to its next turn. */
function unlessHeld(work: (ctx: Ctx) => Promise<void>) {
  return async (ctx: Ctx) => {
    try {
      await work(ctx)
    } catch (error) {
      if (!isDomainError(error, 'busy')) throw error
    }
  }
}
