/** What screening has found: contents that are held back, and what each engine said. */
import { sql, type Selectable } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { ScreeningCheckTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'
import { requireRight } from './roles.ts'
import type { Check } from './screening-examination.ts'
import type { Version } from './versions.ts'

export const heldStates = ['quarantined', 'failed', 'not-examinable', 'pending'] as const
export type HeldState = (typeof heldStates)[number]

export interface HeldVersion extends Pick<
  Version,
  'id' | 'nodeId' | 'sizeBytes' | 'screening' | 'screenedAt' | 'recheckAt' | 'releasedAt' | 'releasedBy' | 'createdAt'
> {
  spaceId: number | null
  /** The name as its owner calls it. */
  label: string
}

/**
 * Versions that still have their content and are not clean, newest first; by default those in which something was found or that
 * could not be read. Needs the right `quarantine.release`. Throws `forbidden`.
 */
export async function listQuarantine(
  ctx: Ctx,
  { state, offset, limit }: { state?: HeldState; offset: number; limit: number },
): Promise<{ versions: HeldVersion[]; total: number }> {
  await requireRight(ctx, 'quarantine.release')
  const rows = ctx.db
    .selectFrom('version')
    .innerJoin('node', 'node.id', 'version.nodeId')
    .where('version.tenantId', '=', ctx.actor.tenantId)
    .where('version.purgedAt', 'is', null)
    .where(inStates(state))
  const { total } = await rows.select(eb => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()
  const versions = await rows
    .select([
      'version.id',
      'version.nodeId',
      'version.sizeBytes',
      'version.screening',
      'version.screenedAt',
      'version.recheckAt',
      'version.releasedAt',
      'version.releasedBy',
      'version.createdAt',
      'node.spaceId',
      'node.label',
    ])
    .orderBy('version.id', 'desc')
    .offset(offset)
    .limit(limit)
    .execute()
  return { versions, total }
}

/** In the words of the partial indexes, so that they are used. */
function inStates(state: HeldState | undefined) {
  const column = sql.ref('version.screening')
  if (state === 'pending') return sql<boolean>`${column} = 'pending'`
  const held = sql<boolean>`${column} in ('quarantined', 'failed', 'not-examinable')`
  const wanted = state ? sql`${column} = ${state}` : sql`${column} <> 'not-examinable'`
  return sql<boolean>`${held} and ${wanted}`
}

/** What the engines said last, by version id and in the order of their names. Whoever shows it asks who may see it. */
export async function loadChecks(ctx: Ctx, versionIds: readonly number[]): Promise<Map<number, Check[]>> {
  if (versionIds.length === 0) return new Map()
  const { rows } = await sql<Selectable<ScreeningCheckTable>>`
    select * from screening_check
    where ${oneOf(ctx.database.engine, sql.ref('versionId'), versionIds)} order by engine`.execute(ctx.db)
  const byVersion = new Map<number, Check[]>()
  for (const { versionId, ...check } of rows) byVersion.set(versionId, [...(byVersion.get(versionId) ?? []), check])
  return byVersion
}
