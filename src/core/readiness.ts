/** Whether the database and the blob store can take a write now. */
import type { Deps } from './ctx.ts'

/** Rejects with the reason when one of them cannot. */
export async function checkReady(deps: Deps): Promise<void> {
  await Promise.all([checkDatabase(deps), deps.blobs.check()])
}

async function checkDatabase({ database, newId }: Deps): Promise<void> {
  const key = `readiness:${newId()}`
  await database.transaction(async tx => {
    // Written and taken back, so that a full or read-only disk shows.
    await tx.insertInto('throttle').values({ key, failures: 0, lastFailureAt: 0, blockedUntil: 0 }).execute()
    await tx.deleteFrom('throttle').where('key', '=', key).execute()
  })
}
