/** Immutable contents of files: their rows, what superseding and deleting keeps of them, and the pointer to the current one. */
import type { Selectable } from 'kysely'
import { TransactionLost } from '#db/database.ts'
import { prepared } from '#db/prepared.ts'
import type { VersionTable } from '#db/schema.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireWritableSpace } from './gates.ts'
import {
  getLiveNode,
  holdNode,
  holdStructure,
  requireRevision,
  updateNodeRow,
  type ExpectedState,
  type Node,
} from './nodes.ts'
import { pathText } from './node-paths.ts'
import { enqueueScreening } from './screening-start.ts'
import { hasSealedKey } from './sealed-keys.ts'
import { sealVersionKeys } from './space-keys.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addTotals } from './totals.ts'

export type Version = Selectable<VersionTable>

const versionById = prepared<{ id: number }, Version>((db, arg) =>
  db.selectFrom('version').selectAll().where('id', '=', arg('id')),
)

/** The row, whatever its state. Throws `not-found` for another tenant's. */
export async function getVersionRow(ctx: Ctx, versionId: number): Promise<Version> {
  const [version] = await versionById(ctx.db, { id: versionId })
  if (!version || version.tenantId !== ctx.actor.tenantId) {
    throw new DomainError('not-found', { what: 'version', id: String(versionId) })
  }
  return version
}

/** The current version of a live file. Throws `not-a-file`. */
export async function getCurrentVersion(ctx: Ctx, node: Node): Promise<Version> {
  if (node.kind !== 'file' || node.currentVersionId === null) throw new DomainError('not-a-file', { nodeId: node.id })
  return getVersionRow(ctx, node.currentVersionId)
}

const insertVersionRow = prepared<Version, never>((db, arg) =>
  db.insertInto('version').values({
    id: arg('id'),
    tenantId: arg('tenantId'),
    nodeId: arg('nodeId'),
    chainId: arg('chainId'),
    blobId: arg('blobId'),
    wrappedKey: arg('wrappedKey'),
    keyName: arg('keyName'),
    sizeBytes: arg('sizeBytes'),
    sha256: arg('sha256'),
    md5: arg('md5'),
    mediaType: arg('mediaType'),
    createdAt: arg('createdAt'),
    createdBy: arg('createdBy'),
    writeStartedAt: arg('writeStartedAt'),
    writeEndedAt: arg('writeEndedAt'),
    screening: arg('screening'),
    screenedAt: arg('screenedAt'),
    recheckAt: arg('recheckAt'),
    integrity: arg('integrity'),
    integrityAt: arg('integrityAt'),
  }),
)

const lastVersionTime = prepared<{ nodeId: number }, { last: number | null }>((db, arg) =>
  db
    .selectFrom('version')
    .select(eb => eb.fn.max('createdAt').as('last'))
    .where('nodeId', '=', arg('nodeId')),
)

/** A time no version of the node has: max(now, last + 1 ms). */
export async function drawVersionTime(ctx: TxCtx, nodeId: number): Promise<number> {
  const [row] = await lastVersionTime(ctx.db, { nodeId })
  return Math.max(ctx.clock(), (row?.last ?? 0) + 1)
}

export interface NewVersion {
  id: number
  nodeId: number
  /** Absent for the first version: it starts a chain of its own. */
  chainId?: number
  content: Pick<Version, 'blobId' | 'wrappedKey' | 'keyName' | 'sizeBytes' | 'sha256' | 'md5' | 'screening'> &
    Partial<Screened> & {
      startedAt: number
      endedAt: number
    }
  mediaType: string
  isFirst: boolean
  space: Pick<Space, 'clientEncryption' | 'wrappingKey'>
}

/** What screening has found out before the version is born, as in a copy. */
type Screened = Pick<Version, 'screenedAt' | 'recheckAt' | 'integrity' | 'integrityAt'>

/** Inserts the row, and where somebody has to look into the content, the job that does. */
export async function insertVersion(ctx: TxCtx, input: NewVersion): Promise<Version> {
  const { content } = input
  const createdAt = input.isFirst ? ctx.clock() : await drawVersionTime(ctx, input.nodeId)
  const version: Version = {
    id: input.id,
    tenantId: ctx.actor.tenantId,
    nodeId: input.nodeId,
    chainId: input.chainId ?? input.id,
    blobId: content.blobId,
    wrappedKey: content.wrappedKey,
    keyName: content.keyName,
    sizeBytes: content.sizeBytes,
    sha256: content.sha256,
    md5: content.md5,
    mediaType: input.mediaType,
    createdAt,
    createdBy: ctx.actor.principalId,
    writeStartedAt: content.startedAt,
    writeEndedAt: content.endedAt,
    ...screenedAtBirth(input, createdAt),
    ...notDeleted,
    releasedAt: null,
    releasedBy: null,
    purgedAt: null,
  }
  await insertVersionRow(ctx.db, version)
  if (version.screening === 'pending' || version.recheckAt !== null) await enqueueScreening(ctx, version.id)
  if (input.space.wrappingKey === null) return version
  await sealVersionKeys(ctx, { versionId: version.id })
  return getVersionRow(ctx, version.id)
}

function screenedAtBirth({ content, space }: NewVersion, now: number): Screened & Pick<Version, 'screening'> {
  const { recheckAt = null, integrity = 'unknown', integrityAt = null } = content
  // Nobody here can look into cipher text.
  const screening = space.clientEncryption ? 'not-examinable' : content.screening
  const screenedAt = content.screenedAt ?? (screening === 'clean' ? now : null)
  return { screening, screenedAt, recheckAt, integrity, integrityAt }
}

/** The snapshot columns of a version that is not in the bin. */
export const notDeleted = {
  deletedAt: null,
  deletedBy: null,
  deletionId: null,
  deletedCause: null,
  deletedSpaceId: null,
  deletedParentId: null,
  deletedPath: null,
  deletedName: null,
  deletedNotes: null,
  deletedClassification: null,
  deletedExpiresAt: null,
} as const

/** Puts the current version of a node into the bin of its space, with a snapshot of where it was. */
export async function binVersion(
  ctx: TxCtx,
  input: { node: Node; versionId: number; cause: 'superseded' | 'deleted'; deletionId: string | null; path?: string },
): Promise<void> {
  const { node } = input
  await ctx.db
    .updateTable('version')
    .set({
      deletedAt: ctx.clock(),
      deletedBy: ctx.actor.principalId,
      deletionId: input.deletionId,
      deletedCause: input.cause,
      deletedSpaceId: node.spaceId,
      deletedParentId: node.parentId,
      deletedPath: input.path ?? (await pathText(ctx, node.id)),
      deletedName: node.name,
      deletedNotes: node.notes,
      deletedClassification: node.classification,
      deletedExpiresAt: node.expiresAt,
    })
    .where('id', '=', input.versionId)
    .execute()
}

/** Versions of a live file that still have their content, newest first, the current one marked. */
export async function listVersions(
  ctx: Ctx,
  { nodeId }: { nodeId: number },
): Promise<(Version & { isCurrent: boolean })[]> {
  const node = await getLiveNode(ctx, nodeId)
  await authorize(ctx, 'list', node)
  const rows = await ctx.db
    .selectFrom('version')
    .selectAll()
    .where('nodeId', '=', nodeId)
    .where('purgedAt', 'is', null)
    .orderBy('createdAt', 'desc')
    .execute()
  return rows.map(version => ({ ...version, isCurrent: version.id === node.currentVersionId }))
}

/**
 * Makes another version of the file the current one; no bytes move. The one that was current goes to the bin.
 * Throws `not-found`, `wrong-state` (purged), `revision-conflict`, and what right, gates and locks say.
 */
export function switchVersion(ctx: Ctx, input: { nodeId: number; versionId: number } & ExpectedState): Promise<Node> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const node = await holdNode(ctx, input.nodeId)
    await authorize(ctx, 'write', node)
    requireRevision(node, input)
    const space = await getSpaceRow(ctx, node.spaceId ?? 0)
    requireWritableSpace(ctx, space)
    await requireChangeable(ctx, node)
    const current = await getCurrentVersion(ctx, node)
    const chosen = await getVersionRow(ctx, input.versionId)
    if (chosen.nodeId !== node.id) throw new DomainError('not-found', { what: 'version', id: String(input.versionId) })
    if (chosen.purgedAt !== null)
      throw new DomainError('wrong-state', { what: 'version', state: 'purged', needed: 'stored' })
    if (chosen.id === current.id) return node
    const changed = await updateNodeRow(ctx, node, { currentVersionId: chosen.id })
    await binVersion(ctx, { node, versionId: current.id, cause: 'superseded', deletionId: null })
    await takeFromBin(ctx, chosen.id)
    // It may lie in the bin of another space, where the file was before.
    if (space.wrappingKey !== null || hasSealedKey(chosen)) await sealVersionKeys(ctx, { versionId: chosen.id })
    await ctx.emit({
      type: 'version.switched',
      spaceId: node.spaceId,
      subject1: `node:${node.id}`,
      subject2: `version:${chosen.id}`,
      facts: { before: current.id, after: chosen.id },
    })
    await leaveBin(ctx, chosen, node.parentId ?? 0, current.sizeBytes)
    return changed
  })
}

/** Marks a version as out of the bin, and of another file if one is named, unless somebody has purged or restored it meanwhile. */
export async function takeFromBin(ctx: TxCtx, versionId: number, into: { nodeId?: number; createdAt?: number } = {}) {
  const taken = await ctx.db
    .updateTable('version')
    .set({ ...notDeleted, ...into })
    .where('id', '=', versionId)
    .where('deletedAt', 'is not', null)
    .where('purgedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!taken) throw new TransactionLost()
}

/** Books the exchange of a version in the bin against the current one of a node below `parentId`. */
async function leaveBin(ctx: TxCtx, chosen: Version, parentId: number, binnedBytes: number): Promise<void> {
  const wasIn = chosen.deletedParentId
  if (wasIn === null || wasIn === parentId) {
    const left = wasIn === null ? 0 : chosen.sizeBytes
    await addTotals(ctx, parentId, { bytes: chosen.sizeBytes - binnedBytes, binBytes: binnedBytes - left })
    return
  }
  await addTotals(ctx, wasIn, { binBytes: -chosen.sizeBytes })
  await addTotals(ctx, parentId, { bytes: chosen.sizeBytes - binnedBytes, binBytes: binnedBytes })
}
