/** What time does by itself: files and accounts expire, the trash is purged, old versions and ended sessions are forgotten. */
import { sql } from 'kysely'
import { inTx, makeCtx, systemActor, type Ctx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import { forgetMails } from './mail.ts'
import { forgetPasswordLinks } from './password-links.ts'
import { purgeVersion } from './purge.ts'
import { forgetSessions } from './sessions.ts'
import { forgetFailures } from './throttle.ts'
import { expireUploads } from './transfer-expiry.ts'
import { deleteNode } from './trash.ts'
import { removeExpiredUsers } from './users.ts'

const BATCH = 200
/** Ended sessions stay visible for so long. */
const SESSION_MEMORY_MS = 7 * 86_400_000
/** As long, nobody is told the same thing twice. */
const MAIL_MEMORY_MS = 90 * 86_400_000

/** Deletes files whose time has come and removes accounts that said so, in all tenants. */
export async function expire(ctx: Ctx): Promise<{ files: number; users: number }> {
  const done = { files: 0, users: 0 }
  for (const tenantCtx of await inEachTenant(ctx)) {
    done.files += await expireFiles(tenantCtx)
    done.users += await expireUsers(tenantCtx)
  }
  return done
}

async function expireFiles(ctx: Ctx): Promise<number> {
  const due = (after: number) =>
    ctx.db
      .selectFrom('node')
      .select('id')
      .where('tenantId', '=', ctx.actor.tenantId)
      .where('id', '>', after)
      .where('expiresAt', '<=', ctx.clock())
      .where('state', '=', 'live')
      .where('kind', 'in', ['file', 'folder'])
      .orderBy('id')
      .limit(BATCH)
      .execute()
  return forEachId(due, id => deleteNode(ctx, { nodeId: id }))
}

async function expireUsers(ctx: Ctx): Promise<number> {
  let removed = 0
  for (;;) {
    const count = await removeExpiredUsers(ctx, { limit: BATCH })
    removed += count
    if (count === 0) return removed
  }
}

/** Purges what has been in the trash for longer than its space allows, and versions beyond the number it keeps. */
export async function purgeOld(ctx: Ctx): Promise<number> {
  let purged = 0
  for (const tenantCtx of await inEachTenant(ctx)) {
    const purge = (versionId: number) => purgeVersion(tenantCtx, { versionId })
    purged += await forEachId(after => outOfTrash(tenantCtx, after), purge)
    purged += await forEachId(after => beyondKept(tenantCtx, after), purge)
  }
  return purged
}

function outOfTrash(ctx: Ctx, after: number) {
  const now = ctx.clock()
  const kept = ctx.settings.trashRetentionMs
  return ctx.db
    .selectFrom('version')
    .innerJoin('space', 'space.id', 'version.deletedSpaceId')
    .select('version.id')
    .where('version.tenantId', '=', ctx.actor.tenantId)
    .where('version.id', '>', after)
    .where('version.purgedAt', 'is', null)
    .where(eb =>
      eb.or([
        eb('version.deletedAt', '<', eb(eb.val(now), '-', eb.ref('space.trashRetentionMs'))),
        ...(kept === null
          ? []
          : [eb.and([eb('space.trashRetentionMs', 'is', null), eb('version.deletedAt', '<', now - kept)])]),
      ]),
    )
    .orderBy('version.id')
    .limit(BATCH)
    .execute()
}

/** Superseded versions that have as many younger superseded ones of the same file as the space keeps. */
function beyondKept(ctx: Ctx, after: number) {
  return ctx.db
    .selectFrom(
      ctx.db
        .selectFrom('version')
        .innerJoin('space', 'space.id', 'version.deletedSpaceId')
        .select([
          'version.id',
          'space.versionRetention as kept',
          sql<number>`row_number() over (partition by ${sql.ref('version.nodeId')} order by ${sql.ref('version.createdAt')} desc)`.as(
            'rank',
          ),
        ])
        .where('version.tenantId', '=', ctx.actor.tenantId)
        .where('version.purgedAt', 'is', null)
        .where('version.deletedCause', '=', 'superseded')
        .where('space.versionRetention', 'is not', null)
        .as('ranked'),
    )
    .select('id')
    .whereRef('rank', '>', 'kept')
    .where('id', '>', after)
    .orderBy('id')
    .limit(BATCH)
    .execute()
}

/**
 * Runs `act` for every id, page by page; answers for how many it succeeded. What the domain refuses (a locked file) stays
 * and is tried again the next time.
 */
async function forEachId(
  page: (after: number) => Promise<{ id: number }[]>,
  act: (id: number) => Promise<unknown>,
): Promise<number> {
  let done = 0
  for (let rows = await page(0); rows.length > 0; rows = await page(rows.at(-1)!.id)) {
    for (const { id } of rows) if (await accepted(act(id))) done += 1
  }
  return done
}

async function accepted(act: Promise<unknown>): Promise<boolean> {
  try {
    await act
    return true
  } catch (error) {
    if (isDomainError(error) && error.code !== 'busy' && error.code !== 'storage-full') return false
    throw error
  }
}

/** The server itself in each tenant. */
export async function inEachTenant(ctx: Ctx): Promise<Ctx[]> {
  const tenants = await ctx.db.selectFrom('tenant').select('id').orderBy('id').execute()
  return tenants.map(({ id }) => makeCtx(ctx, systemActor(id, ctx.actor.client), ctx.requestId))
}

/** Ends abandoned uploads and forgets ended ones, in all tenants. */
export async function expireTransfers(ctx: Ctx): Promise<void> {
  for (const tenantCtx of await inEachTenant(ctx)) await expireUploads(tenantCtx)
}

/** Forgets sessions, password links, mails and counters of failures that no longer count. */
export async function cleanUp(ctx: Ctx): Promise<void> {
  await inTx(ctx, async ctx => {
    await forgetSessions(ctx, { before: ctx.clock() - SESSION_MEMORY_MS })
    await forgetFailures(ctx)
    await forgetPasswordLinks(ctx, { before: ctx.clock() - SESSION_MEMORY_MS })
    await forgetMails(ctx, { before: ctx.clock() - MAIL_MEMORY_MS })
  })
}
