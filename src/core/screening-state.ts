/** What screening says of a delivery as a whole: one bad file keeps all of it back. */
import { sql } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { Ctx } from './ctx.ts'

/** `quarantined`: something in it was found, and nobody released it; else `pending` while something waits. */
export type DeliveryCheck = 'pending' | 'clean' | 'quarantined'

/** What its live files say; both may be so. */
export interface DeliveryFindings {
  isPending: boolean
  isQuarantined: boolean
}

export async function loadDeliveryCheck(ctx: Ctx, spaceId: number): Promise<DeliveryCheck> {
  return (await loadDeliveryChecks(ctx, [spaceId])).get(spaceId) ?? 'clean'
}

/** For a page of spaces, in one query. An empty one is clean. */
export async function loadDeliveryChecks(ctx: Ctx, spaceIds: readonly number[]): Promise<Map<number, DeliveryCheck>> {
  const findings = await loadDeliveryFindings(ctx, spaceIds)
  return new Map([...findings].map(([spaceId, found]) => [spaceId, checkOf(found)]))
}

const checkOf = ({ isPending, isQuarantined }: DeliveryFindings): DeliveryCheck =>
  isQuarantined ? 'quarantined' : isPending ? 'pending' : 'clean'

interface Found {
  spaceId: number
  pending: number
  quarantined: number
}

/** Found, damaged, or too much for an engine that must look: nobody gets it unless somebody lets it go. */
export const isHeldBack = sql`version.screening in ('quarantined', 'failed', 'not-examinable')
  and version."releasedAt" is null`
export const isPending = sql`version.screening = 'pending' and version."releasedAt" is null`

export async function loadDeliveryFindings(
  ctx: Ctx,
  spaceIds: readonly number[],
): Promise<Map<number, DeliveryFindings>> {
  if (spaceIds.length === 0) return new Map()
  const { rows } = await sql<Found>`
    select file."spaceId", max(case when ${isPending} then 1 else 0 end) as pending,
      max(case when ${isHeldBack} then 1 else 0 end) as quarantined
    from node file join version on version.id = file."currentVersionId"
    where ${oneOf(ctx.database.engine, sql`file."spaceId"`, spaceIds)} and file.kind = 'file' and file.state = 'live'
    group by file."spaceId"`.execute(ctx.db)
  return new Map(rows.map(row => [row.spaceId, { isPending: row.pending === 1, isQuarantined: row.quarantined === 1 }]))
}
