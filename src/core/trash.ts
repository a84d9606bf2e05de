/** Deleting into the bin of a space, restoring from it, and undoing a deletion as one act. */
import { sql } from 'kysely'
import type { ConflictStrategy } from '#db/schema.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireOpenSpace, requireWritableSpace } from './gates.ts'
import { checkName, nameKey } from './names.ts'
import {
  findChild,
  freeName,
  getContainer,
  getLiveNode,
  getNodeRow,
  holdStructure,
  nameTaken,
  pathText,
  requireRevision,
  tryInsertNode,
  updateNodeRow,
  type ExpectedState,
  type Node,
} from './nodes.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addTotals, getTotals, recountTotals } from './totals.ts'
import { binVersion, getCurrentVersion, getVersionRow, notDeleted, type Version } from './versions.ts'

export interface Deletion {
  id: string
  nodeId: number
  /** Files that went along. */
  versionIds: number[]
}

/** Puts a file or a folder with everything in it into the bin. Throws `not-found`, `forbidden`, `locked`, `write-protected`, …. */
export function deleteNode(ctx: Ctx, input: { nodeId: number } & ExpectedState): Promise<Deletion> {
  return inTx(ctx, async ctx => {
    const node = await getLiveNode(ctx, input.nodeId)
    if (node.kind === 'space' || node.kind === 'root') throw new DomainError('forbidden', { action: 'delete' })
    await holdStructure(ctx, node.kind === 'file' ? 'shared' : 'exclusive')
    await authorize(ctx, 'delete', node)
    requireRevision(node, input)
    requireOpenSpace(ctx, await getSpaceRow(ctx, node.spaceId ?? 0))
    return trashNode(ctx, node)
  })
}

/** The act itself; the caller has asked for the right. */
export async function trashNode(ctx: TxCtx, node: Node): Promise<Deletion> {
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
    node.kind === 'file' ? await trashFile(ctx, node, deletionId) : await trashFolder(ctx, node, deletionId)
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
  await requireChangeable(ctx, node)
  const version = await getCurrentVersion(ctx, node)
  await updateNodeRow(ctx, node, gone(ctx, deletionId))
  await binVersion(ctx, { node, versionId: version.id, cause: 'deleted', deletionId })
  await emitDeleted(ctx, node, version.id)
  await addTotals(ctx, node.parentId ?? 0, { files: -1, bytes: -version.sizeBytes, binBytes: version.sizeBytes })
  return [version.id]
}

async function trashFolder(ctx: TxCtx, folder: Node, deletionId: string): Promise<number[]> {
  const below = await liveBelow(ctx, folder.id)
  const nested = below.find(node => node.kind === 'space')
  if (nested) throw new DomainError('wrong-state', { what: 'space', state: 'active', needed: 'deleted' })
  await requireNoneProtected(ctx, below)
  const files = below.filter(node => node.kind === 'file' && node.currentVersionId !== null)
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

type Below = Pick<
  Node,
  'id' | 'kind' | 'spaceId' | 'currentVersionId' | 'writeProtected' | 'readProtected' | 'parentId'
> &
  Node

/** Live and reserved nodes strictly below a folder. */
async function liveBelow(ctx: Ctx, folderId: number): Promise<Below[]> {
  const { rows } = await sql<Below>`
    with recursive down (id) as (
      select id from node where "parentId" = ${folderId} and state in ('live', 'reserved')
      union all
      select node.id from down join node on node."parentId" = down.id and node.state in ('live', 'reserved')
    )
    select node.* from node where id in (select id from down)`.execute(ctx.db)
  return rows
}

async function requireNoneProtected(ctx: Ctx, nodes: readonly Below[]): Promise<void> {
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

/** Every live row below a deleted folder gets the deletion, and every current version its snapshot, in three statements. */
async function binSubtree(ctx: TxCtx, folder: Node, deletionId: string): Promise<void> {
  const now = ctx.clock()
  const base = await pathText(ctx, folder.id)
  await sql`
    with recursive down (id, path) as (
      select id, cast(${base} as text) || '/' || name from node
        where "parentId" = ${folder.id} and state in ('live', 'reserved')
      union all
      select node.id, down.path || '/' || node.name
      from down join node on node."parentId" = down.id and node.state in ('live', 'reserved')
    )
    update version set
      "deletedAt" = ${now}, "deletedBy" = ${ctx.actor.principalId}, "deletionId" = ${deletionId}, "deletedCause" = 'deleted',
      "deletedSpaceId" = node."spaceId", "deletedParentId" = node."parentId", "deletedPath" = down.path,
      "deletedName" = node.name, "deletedNotes" = node.notes, "deletedClassification" = node.classification,
      "deletedExpiresAt" = node."expiresAt"
    from down join node on node.id = down.id
    where version.id = node."currentVersionId" and node.state = 'live'`.execute(ctx.db)
  await sql`
    with recursive down (id) as (
      select id from node where "parentId" = ${folder.id} and state in ('live', 'reserved')
      union all
      select node.id from down join node on node."parentId" = down.id and node.state in ('live', 'reserved')
    )
    update node set state = 'deleted', "nameKey" = null, "deletedAt" = ${now}, "deletedBy" = ${ctx.actor.principalId},
      "deletionId" = ${deletionId}, revision = revision + 1, "changedAt" = ${now}, "changedBy" = ${ctx.actor.principalId}
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

export interface Restored {
  node: Node
  /** The name it got, where another one had to be chosen. */
  renamed: boolean
}

/**
 * Takes one version out of the bin. The latest version of a deleted file brings the file back as it was; any other one becomes
 * a file of its own, or with `new-version` the current version of the file that has the name.
 * Throws `parent-gone`, `not-deleted`, `name-taken`, `wrong-state` (purged), and what rights and gates say.
 */
export function restoreVersion(
  ctx: Ctx,
  input: { versionId: number; parentId?: number; name?: string; onConflict: ConflictStrategy },
): Promise<Restored> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const version = await requireBinned(ctx, input.versionId)
    const wasIn = await getNodeRow(ctx, version.deletedParentId ?? 0)
    await authorize(ctx, 'trash.restore', wasIn)
    const parent = await findTarget(ctx, input.parentId ?? wasIn.id, version)
    await authorize(ctx, 'create', parent)
    const space = await getSpaceRow(ctx, parent.spaceId)
    requireWritableSpace(ctx, space)
    const asked = checkName(input.name ?? version.deletedName ?? '')
    const place = await settleName(ctx, { parent, space, asked, onConflict: input.onConflict })
    const node = place.existing
      ? await becomeCurrent(ctx, version, place.existing)
      : await becomeFile(ctx, version, { parent, space, name: place.name })
    await ctx.db
      .updateTable('version')
      .set({ ...notDeleted, nodeId: node.id })
      .where('id', '=', version.id)
      .execute()
    await ctx.emit({
      type: 'node.restored',
      spaceId: space.id,
      subject1: `node:${node.id}`,
      subject2: `version:${version.id}`,
    })
    await addTotals(ctx, wasIn.id, { binBytes: -version.sizeBytes })
    await addTotals(ctx, parent.id, { files: place.existing ? 0 : 1, bytes: version.sizeBytes })
    return { node, renamed: node.name !== asked }
  })
}

async function requireBinned(ctx: Ctx, versionId: number): Promise<Version> {
  const version = await getVersionRow(ctx, versionId)
  if (version.purgedAt !== null)
    throw new DomainError('wrong-state', { what: 'version', state: 'purged', needed: 'deleted' })
  if (version.deletedAt === null) throw new DomainError('not-deleted', { nodeId: version.nodeId })
  return version
}

async function findTarget(ctx: Ctx, parentId: number, version: Version): Promise<Node & { spaceId: number }> {
  const parent = await getNodeRow(ctx, parentId)
  if (parent.state !== 'live') throw new DomainError('parent-gone', { parentId, versionIds: [version.id] })
  return getContainer(ctx, parentId)
}

interface Target {
  parent: Node & { spaceId: number }
  space: Space
  asked: string
  onConflict: ConflictStrategy
}

/** A free name, or with `new-version` the file that is there. */
async function settleName(ctx: TxCtx, target: Target): Promise<{ name: string; existing?: Node }> {
  const { parent, space, asked } = target
  const taken = await findChild(ctx, parent.id, nameKey(asked, space.caseRule))
  if (!taken) return { name: asked }
  switch (target.onConflict) {
    case 'fail':
      throw nameTaken(taken)
    case 'rename-new':
      return { name: await freeName(ctx, parent.id, asked, space.caseRule) }
    case 'rename-existing': {
      await authorize(ctx, 'change', taken)
      await requireChangeable(ctx, taken)
      const name = await freeName(ctx, parent.id, asked, space.caseRule)
      await updateNodeRow(ctx, taken, { name, label: name, nameKey: nameKey(name, space.caseRule) })
      return { name: asked }
    }
    case 'replace': {
      if (taken.kind !== 'file' || taken.state !== 'live') throw nameTaken(taken)
      await authorize(ctx, 'delete', taken)
      await trashNode(ctx, taken)
      return { name: asked }
    }
    case 'new-version': {
      if (taken.kind !== 'file' || taken.state !== 'live') throw nameTaken(taken)
      await authorize(ctx, 'write', taken)
      await requireChangeable(ctx, taken)
      return { name: asked, existing: taken }
    }
  }
}

async function becomeCurrent(ctx: TxCtx, version: Version, node: Node): Promise<Node> {
  const current = await getCurrentVersion(ctx, node)
  const changed = await updateNodeRow(ctx, node, { currentVersionId: version.id })
  await binVersion(ctx, { node, versionId: current.id, cause: 'superseded', deletionId: null })
  await addTotals(ctx, node.parentId ?? 0, { bytes: -current.sizeBytes, binBytes: current.sizeBytes })
  return changed
}

async function becomeFile(
  ctx: TxCtx,
  version: Version,
  { parent, space, name }: { parent: Node & { spaceId: number }; space: Space; name: string },
): Promise<Node> {
  const old = await getNodeRow(ctx, version.nodeId)
  if (old.state === 'deleted' && old.currentVersionId === version.id) {
    return updateNodeRow(ctx, old, { ...alive, parentId: parent.id, spaceId: space.id, ...placed(parent, space, name) })
  }
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const node = await tryInsertNode(ctx, {
    id: id!,
    kind: 'file',
    parent,
    space,
    name,
    caseRule: space.caseRule,
    currentVersionId: version.id,
    attributes: { notes: version.deletedNotes, classification: version.deletedClassification },
  })
  if (!node) throw new DomainError('busy', {})
  return node
}

const alive = { state: 'live', deletedAt: null, deletedBy: null, deletionId: null } as const

const placed = (parent: Node, space: Space, name: string) => ({
  accessId: parent.accessId,
  name,
  label: name,
  nameKey: nameKey(name, space.caseRule),
})

/**
 * Brings back everything that one deletion took and that nobody restored or purged since, in its old place and, where the name
 * is taken meanwhile, under a free one. Throws `parent-gone` when the place itself is gone, `wrong-state` when already undone.
 */
export function undoDeletion(ctx: Ctx, { deletionId }: { deletionId: string }): Promise<Node | undefined> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const deletion = await ctx.db
      .selectFrom('deletion')
      .selectAll()
      .where('id', '=', deletionId)
      .where('tenantId', '=', ctx.actor.tenantId)
      .executeTakeFirst()
    if (!deletion) throw new DomainError('not-found', { what: 'deletion', id: deletionId })
    const rows = await ctx.db
      .selectFrom('node')
      .selectAll()
      .where('deletionId', '=', deletionId)
      .where('state', '=', 'deleted')
      .execute()
    const top = await getNodeRow(ctx, deletion.nodeId)
    const parent = await getNodeRow(ctx, top.parentId ?? 0)
    await authorize(ctx, 'trash.restore', parent)
    if (deletion.undoneAt !== null)
      throw new DomainError('wrong-state', { what: 'deletion', state: 'undone', needed: 'done' })
    if (parent.state !== 'live') throw new DomainError('parent-gone', { parentId: parent.id, versionIds: [] })
    if (top.state !== 'deleted' || top.deletionId !== deletionId) {
      throw new DomainError('wrong-state', { what: 'deletion', state: 'restored', needed: 'done' })
    }
    const space = await getSpaceRow(ctx, parent.spaceId ?? 0)
    requireWritableSpace(ctx, space)
    const restored = await reviveRows(ctx, { top, rows, parent, space, deletionId })
    await ctx.db.updateTable('deletion').set({ undoneAt: ctx.clock() }).where('id', '=', deletionId).execute()
    await ctx.emit({
      type: 'deletion.undone',
      spaceId: space.id,
      subject1: `node:${top.id}`,
      facts: { nodes: rows.length },
    })
    await rebuildTotals(ctx, { rows, parent })
    return restored
  })
}

async function reviveRows(
  ctx: TxCtx,
  {
    top,
    rows,
    parent,
    space,
    deletionId,
  }: { top: Node; rows: readonly Node[]; parent: Node; space: Space; deletionId: string },
): Promise<Node> {
  const name = await freeName(ctx, parent.id, top.name, space.caseRule)
  const revived = await updateNodeRow(ctx, top, {
    ...alive,
    ...placed(parent, space, name),
    label: top.label,
    accessId: top.accessId,
  })
  for (const row of rows) {
    if (row.id === top.id) continue
    await updateNodeRow(ctx, row, { ...alive, nameKey: nameKey(row.name, space.caseRule) })
  }
  await ctx.db
    .updateTable('version')
    .set(notDeleted)
    .where('deletionId', '=', deletionId)
    .where('purgedAt', 'is', null)
    .where(eb =>
      eb.exists(
        eb
          .selectFrom('node')
          .select('node.id')
          .where('node.state', '=', 'live')
          .whereRef('node.currentVersionId', '=', 'version.id'),
      ),
    )
    .execute()
  return revived
}

/** Counts the revived containers anew and books the difference above them. */
async function rebuildTotals(ctx: TxCtx, { rows, parent }: { rows: readonly Node[]; parent: Node }): Promise<void> {
  const containers = rows.filter(row => row.kind !== 'file')
  for (const container of containers) {
    const totals = await recountTotals(ctx, container.id)
    await ctx.db
      .updateTable('node_total')
      .set({ ...totals, changedAt: ctx.clock() })
      .where('nodeId', '=', container.id)
      .execute()
  }
  const before = await getTotals(ctx, parent.id)
  const after = await recountTotals(ctx, parent.id)
  await addTotals(ctx, parent.id, {
    files: after.files - before.files,
    folders: after.folders - before.folders,
    bytes: after.bytes - before.bytes,
    binBytes: after.binBytes - before.binBytes,
  })
}
