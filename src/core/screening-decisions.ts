/** What people decide about screening: to look again, and to let something go all the same. */
import { sql, type RawBuilder } from 'kysely'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { getLiveNode, getNodeRow } from './nodes.ts'
import { requireRight } from './roles.ts'
import { enqueueScreening } from './screening-start.ts'
import { hasSealedKey } from './sealed-keys.ts'
import { getVersionRow, type Version } from './versions.ts'

/** One version, a live file or everything live below a folder or space, or all that is quarantined or failed. */
export type RecheckTarget = { versionId: number } | { nodeId: number } | { spaceId: number } | 'quarantined'

const BATCH = 200

/**
 * Has contents looked into once more; what is known of them stands until that ends. Answers how many there are. Left out is what
 * waits for its first screening anyway, cipher text of clients, and what opens with a password only. Throws `forbidden`,
 * `not-found`; for a single version that is left out `wrong-state`.
 */
export async function recheck(ctx: Ctx, target: RecheckTarget): Promise<number> {
  await requireRight(ctx, 'quarantine.release')
  const which = await targetOf(ctx, target)
  let count = 0
  for (let after = 0; ;) {
    const page = await findScreened(ctx, which, after)
    const last = page.at(-1)
    if (!last) return count
    after = last.id
    count += await repeat(ctx, page)
  }
}

async function targetOf(ctx: Ctx, target: RecheckTarget): Promise<RawBuilder<boolean>> {
  if (target === 'quarantined') return sql`version.screening in ('quarantined', 'failed', 'not-examinable')`
  if ('versionId' in target) {
    requireRepeatable(await getVersionRow(ctx, target.versionId))
    return sql`version.id = ${target.versionId}`
  }
  const { id } = await getLiveNode(ctx, 'nodeId' in target ? target.nodeId : target.spaceId)
  return sql`version.id in (
    with recursive down (id, "versionId", kind) as (
      select id, "currentVersionId", kind from node where id = ${id}
      union all
      select node.id, node."currentVersionId", node.kind from down
      join node on node."parentId" = down.id and node.state = 'live'
      where down.kind <> 'file'
    )
    select "versionId" from down where "versionId" is not null)`
}

function requireRepeatable(version: Version): void {
  const needed = 'screened and stored'
  if (version.purgedAt !== null) throw new DomainError('wrong-state', { what: 'version', state: 'purged', needed })
  if (hasSealedKey(version)) throw new DomainError('wrong-state', { what: 'version', state: 'sealed', needed })
  if (version.screening === 'pending' || isCipherText(version))
    throw new DomainError('wrong-state', { what: 'version', state: version.screening, needed })
}

/** Nobody ever looks into what clients have encrypted; what was too much for an engine has been looked at. */
const isCipherText = ({ screening, screenedAt }: Version) => screening === 'not-examinable' && screenedAt === null

type Screened = Pick<Version, 'id' | 'keyName'> & { spaceId: number | null }

async function findScreened(ctx: Ctx, which: RawBuilder<boolean>, after: number): Promise<Screened[]> {
  return ctx.db
    .selectFrom('version')
    .innerJoin('node', 'node.id', 'version.nodeId')
    .select(['version.id', 'version.keyName', 'node.spaceId'])
    .where('version.tenantId', '=', ctx.actor.tenantId)
    .where('version.purgedAt', 'is', null)
    .where('version.screening', '!=', 'pending')
    .where(eb => eb.or([eb('version.screening', '!=', 'not-examinable'), eb('version.screenedAt', 'is not', null)]))
    .where(which)
    .where('version.id', '>', after)
    .orderBy('version.id')
    .limit(BATCH)
    .execute()
}

async function repeat(ctx: Ctx, page: readonly Screened[]): Promise<number> {
  const readable = page.filter(version => !hasSealedKey(version))
  await inTx(ctx, async ctx => {
    for (const { id, spaceId } of readable) {
      await ctx.db
        .updateTable('version')
        .set({ recheckAt: ctx.clock() })
        .where('id', '=', id)
        .where('purgedAt', 'is', null)
        .execute()
      await enqueueScreening(ctx, id)
      await ctx.emit({ type: 'screening.repeated', spaceId, subject1: `version:${id}` })
    }
  })
  return readable.length
}

/**
 * Lets a content go although something was found in it, or it could not be looked into. Throws `forbidden`, `not-found`,
 * `wrong-state` for one that is not held back.
 */
export async function releaseVersion(ctx: Ctx, { versionId }: { versionId: number }): Promise<void> {
  await requireRight(ctx, 'quarantine.release')
  await inTx(ctx, ctx => mark(ctx, versionId, { releasedAt: ctx.clock(), releasedBy: ctx.actor.principalId }))
}

/** Takes that back. */
export async function withdrawRelease(ctx: Ctx, { versionId }: { versionId: number }): Promise<void> {
  await requireRight(ctx, 'quarantine.release')
  await inTx(ctx, ctx => mark(ctx, versionId, { releasedAt: null, releasedBy: null }))
}

async function mark(ctx: TxCtx, versionId: number, release: Pick<Version, 'releasedAt' | 'releasedBy'>): Promise<void> {
  const { nodeId, purgedAt, screening } = await getVersionRow(ctx, versionId)
  const changed = await ctx.db
    .updateTable('version')
    .set(release)
    .where('id', '=', versionId)
    .where('screening', 'in', ['quarantined', 'failed', 'not-examinable'])
    .where('purgedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!changed) {
    const state = purgedAt === null ? screening : 'purged'
    throw new DomainError('wrong-state', { what: 'version', state, needed: 'held back' })
  }
  await ctx.emit({
    type: 'version.released',
    spaceId: (await getNodeRow(ctx, nodeId)).spaceId,
    subject1: `node:${nodeId}`,
    subject2: `version:${versionId}`,
    facts: { released: release.releasedAt !== null },
  })
}
