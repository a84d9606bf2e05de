/** Deleting into the bin of a space; restore.ts leads out of it again. */
import { sql } from 'kysely'
import { authorize, authorizeBelow } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireOpenSpace } from './gates.ts'
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
import { getSpaceRow } from './space-rows.ts'
import { addTotals, getTotals } from './totals.ts'
import { binVersion, getCurrentVersion } from './versions.ts'

export interface Deletion {
  id: string
  nodeId: number
  /** Files that went along. */
  versionIds: number[]
}

/** Puts a file or a folder with everything in it into the bin. Throws `not-found`, `forbidden`, `locked`, `write-protected`, …. */
export function deleteNode(ctx: Ctx, input: { nodeId: number } & ExpectedState): Promise<Deletion> {
  return inTx(ctx, async ctx => {
    const { kind } = await getLiveNode(ctx, input.nodeId)
    if (kind === 'space' || kind === 'root') throw new DomainError('forbidden', { action: 'delete' })
    await holdStructure(ctx, kind === 'file' ? 'shared' : 'exclusive')
    const node = await holdNode(ctx, input.nodeId)
    await authorize(ctx, 'delete', node)
    if (kind === 'folder') await authorizeBelow(ctx, 'delete', node)
    requireRevision(node, input)
    requireOpenSpace(ctx, await getSpaceRow(ctx, node.spaceId ?? 0))
    return trashNode(ctx, node)
  })
}

/** The act itself; the caller has asked for the right. Throws `locked` and `write-protected` unless told to go on. */
export async function trashNode(ctx: TxCtx, node: Node, { evenProtected = false } = {}): Promise<Deletion> {
  const below = node.kind === 'file' ? [] : await requireDeletable(ctx, node, { evenProtected })
  if (node.kind === 'file' && !evenProtected) await requireChangeable(ctx, node)

  const deletionId = ctx.newId()
  await ctx.db
    .insertInto('deletion')
    .values({
      id: deletionId,
      tenantId: ctx.actor.tenantId,
      nodeId: node.id,
      deletedAt: ctx.clock(),
      deletedBy: ctx.actor.principalId,
    })
    .execute()
  const versionIds =
    node.kind === 'file' ? await trashFile(ctx, node, deletionId) : await trashFolder(ctx, node, below, deletionId)
  return { id: deletionId, nodeId: node.id, versionIds }
}

const gone = (ctx: TxCtx, deletionId: string) => ({
  state: 'deleted' as const,
  nameKey: null,
  deletedAt: ctx.clock(),
  deletedBy: ctx.actor.principalId,
  deletionId,
})

async function trashFile(ctx: TxCtx, node: Node, deletionId: string): Promise<number[]> {
  const version = await getCurrentVersion(ctx, node)
  await updateNodeRow(ctx, node, gone(ctx, deletionId))
  await binVersion(ctx, { node, versionId: version.id, cause: 'deleted', deletionId })
  await emitDeleted(ctx, node, version.id)
  await addTotals(ctx, node.parentId ?? 0, { files: -1, bytes: -version.sizeBytes, binBytes: version.sizeBytes })
  return [version.id]
}

async function trashFolder(ctx: TxCtx, folder: Node, below: readonly Node[], deletionId: string): Promise<number[]> {
  const files = below.filter(node => node.kind === 'file')
  const containers = [folder.id, ...below.filter(node => node.kind === 'folder').map(node => node.id)]
  const totals = await getTotals(ctx, folder.id)
  await updateNodeRow(ctx, folder, gone(ctx, deletionId))
  await binSubtree(ctx, folder, deletionId)
  await emptyTotals(ctx, containers)
  for (const file of files) await emitDeleted(ctx, file, file.currentVersionId ?? 0)
  await emitDeleted(ctx, folder)
  await addTotals(ctx, folder.parentId ?? 0, {
    files: -totals.files,
    folders: -totals.folders - 1,
    bytes: -totals.bytes,
    binBytes: totals.bytes,
  })
  return files.map(file => file.currentVersionId ?? 0)
}

async function emitDeleted(ctx: TxCtx, node: Node, versionId?: number): Promise<void> {
  await ctx.emit({
    type: 'node.deleted',
    spaceId: node.spaceId,
    subject1: `node:${node.id}`,
    ...(versionId !== undefined && { subject2: `version:${versionId}` }),
  })
}

/** Live nodes strictly below a folder. Reserved ones stay with their uploads, which fail or find the folder back. */
async function liveBelow(ctx: Ctx, folderId: number): Promise<Node[]> {
  const { rows } = await sql<Node>`
    with recursive down (id) as (
      select id from node where "parentId" = ${folderId} and state = 'live'
      union all
      select node.id from down join node on node."parentId" = down.id and node.state = 'live'
    )
    select node.* from node where id in (select id from down)`.execute(ctx.db)
  return rows
}

/** What lives below a folder. Throws `wrong-state` where a space does, and unless told otherwise `locked` and `write-protected`. */
export async function requireDeletable(ctx: Ctx, folder: Node, { evenProtected = false } = {}): Promise<Node[]> {
  const below = await liveBelow(ctx, folder.id)
  const nested = below.find(node => node.kind === 'space')
  if (nested) throw new DomainError('wrong-state', { what: 'space', state: 'active', needed: 'deleted' })
  if (!evenProtected) await requireNoneProtected(ctx, [folder, ...below])
  return below
}

async function requireNoneProtected(ctx: Ctx, nodes: readonly Node[]): Promise<void> {
  const shielded = nodes.find(node => node.writeProtected)
  if (shielded) throw new DomainError('write-protected', { nodeId: shielded.id })
  const files = nodes.filter(node => node.kind === 'file').map(node => node.id)
  const locked = await locksAmong(ctx, files)
  for (const node of nodes) if (locked.has(node.id)) await requireChangeable(ctx, node)
}

async function locksAmong(ctx: Ctx, nodeIds: readonly number[]): Promise<Set<number>> {
  if (nodeIds.length === 0) return new Set()
  const locks = await ctx.db.selectFrom('node_lock').select('nodeId').execute()
  const asked = new Set(nodeIds)
  return new Set(locks.map(lock => lock.nodeId).filter(id => asked.has(id)))
}

/** Every live row below a deleted folder gets the deletion, and every current version its snapshot, in two statements. */
async function binSubtree(ctx: TxCtx, folder: Node, deletionId: string): Promise<void> {
  const now = ctx.clock()
  const base = await pathText(ctx, folder.id)
  await sql`
    with recursive down (id, path) as (
      select id, cast(${base} as text) || '/' || name from node
        where "parentId" = ${folder.id} and state = 'live'
      union all
      select node.id, down.path || '/' || node.name
      from down join node on node."parentId" = down.id and node.state = 'live'
    )
    update version set
      "deletedAt" = ${now}, "deletedBy" = ${ctx.actor.principalId}, "deletionId" = ${deletionId}, "deletedCause" = 'deleted',
      "deletedSpaceId" = node."spaceId", "deletedParentId" = node."parentId", "deletedPath" = down.path,
      "deletedName" = node.name, "deletedNotes" = node.notes, "deletedClassification" = node.classification,
      "deletedExpiresAt" = node."expiresAt"
    from down join node on node.id = down.id
    where version.id = node."currentVersionId"`.execute(ctx.db)
  await sql`
    with recursive down (id) as (
      select id from node where "parentId" = ${folder.id} and state = 'live'
      union all
      select node.id from down join node on node."parentId" = down.id and node.state = 'live'
    )
    update node set state = 'deleted', "nameKey" = null, "deletedAt" = ${now}, "deletedBy" = ${ctx.actor.principalId},
      "deletionId" = ${deletionId}, revision = revision + 1, "snapshotUid" = ${deletionId}, "changedAt" = ${now}, "changedBy" = ${ctx.actor.principalId}
    where id in (select id from down)`.execute(ctx.db)
}

async function emptyTotals(ctx: TxCtx, containerIds: readonly number[]): Promise<void> {
  await ctx.db
    .updateTable('node_total')
    .set(eb => ({
      files: 0,
      folders: 0,
      bytes: 0,
      binBytes: eb('binBytes', '+', eb.ref('bytes')),
      changedAt: ctx.clock(),
    }))
    .where('nodeId', 'in', containerIds)
    .execute()
}
