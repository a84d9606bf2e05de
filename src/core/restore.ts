/** Out of the bin again: single versions, or everything that one deletion took. */
import type { ConflictStrategy } from '#db/schema.ts'
import { TransactionLost } from '#db/database.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireWritableSpace } from './gates.ts'
import { checkName, fold, nameKey } from './names.ts'
import {
  findChild,
  freeName,
  getContainer,
  getNodeRow,
  holdStructure,
  nameTaken,
  tryInsertNode,
  updateNodeRow,
  type Node,
} from './nodes.ts'
import { hasSealedKey } from './sealed-keys.ts'
import { sealVersionKeys } from './space-keys.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addTotals, getTotals, recountTotals } from './totals.ts'
import { trashNode } from './trash.ts'
import {
  binVersion,
  drawVersionTime,
  getCurrentVersion,
  getVersionRow,
  notDeleted,
  takeFromBin,
  type Version,
} from './versions.ts'

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
    const target = { parent, space, asked, onConflict: input.onConflict }
    const place = await settleName(ctx, target)
    const node = place.existing
      ? await becomeCurrent(ctx, version, place.existing)
      : await becomeFile(ctx, version, { ...target, name: place.name, isRenamed: input.name !== undefined })
    if (space.wrappingKey !== null || hasSealedKey(version)) await sealVersionKeys(ctx, { versionId: version.id })
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
      await updateNodeRow(ctx, taken, { label: name, ...named(name, space) })
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

const named = (name: string, space: Space) => ({ name, nameKey: nameKey(name, space.caseRule), nameFold: fold(name) })

async function becomeCurrent(ctx: TxCtx, version: Version, node: Node): Promise<Node> {
  const current = await getCurrentVersion(ctx, node)
  const changed = await updateNodeRow(ctx, node, { currentVersionId: version.id })
  await binVersion(ctx, { node, versionId: current.id, cause: 'superseded', deletionId: null })
  await moveVersion(ctx, version, node)
  await addTotals(ctx, node.parentId ?? 0, { bytes: -current.sizeBytes, binBytes: current.sizeBytes })
  return changed
}

/** Gives the version to a file. One that it was the current version of, deleted, can no longer come back as that. */
async function moveVersion(ctx: TxCtx, version: Version, node: Node): Promise<void> {
  if (version.nodeId === node.id) return takeFromBin(ctx, version.id)
  const twin = await ctx.db
    .selectFrom('version')
    .select('id')
    .where('nodeId', '=', node.id)
    .where('createdAt', '=', version.createdAt)
    .executeTakeFirst()
  const createdAt = twin ? await drawVersionTime(ctx, node.id) : version.createdAt
  await takeFromBin(ctx, version.id, { nodeId: node.id, createdAt })
  await ctx.db
    .updateTable('node')
    .set({ currentVersionId: null, deletionId: null })
    .where('id', '=', version.nodeId)
    .where('state', '=', 'deleted')
    .where('currentVersionId', '=', version.id)
    .execute()
}

async function becomeFile(
  ctx: TxCtx,
  version: Version,
  target: Target & { name: string; isRenamed: boolean },
): Promise<Node> {
  const { parent, space, asked, name } = target
  const old = await getNodeRow(ctx, version.nodeId)
  if (old.state === 'deleted' && old.currentVersionId === version.id) {
    await takeFromBin(ctx, version.id)
    return updateNodeRow(ctx, old, {
      ...alive,
      parentId: parent.id,
      spaceId: space.id,
      accessId: parent.accessId,
      ...named(name, space),
      ...(target.isRenamed && { label: asked }),
      expiresAt: expiryAfterwards(ctx, old.expiresAt, space),
    })
  }
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const node = await tryInsertNode(ctx, {
    id: id!,
    kind: 'file',
    parent,
    space,
    name,
    label: asked,
    caseRule: space.caseRule,
    currentVersionId: version.id,
    attributes: {
      notes: version.deletedNotes,
      classification: version.deletedClassification,
      expiresAt: expiryAfterwards(ctx, version.deletedExpiresAt, space),
    },
  })
  if (!node) throw new TransactionLost()
  await moveVersion(ctx, version, node)
  return node
}

/** What had expired gets the time that a new file would get; else it would be gone again at once. */
function expiryAfterwards(ctx: Ctx, expiresAt: number | null, space: Space): number | null {
  if (expiresAt === null || expiresAt > ctx.clock()) return expiresAt
  return space.fileExpiryMs ? ctx.clock() + space.fileExpiryMs : null
}

const alive = { state: 'live', deletedAt: null, deletedBy: null, deletionId: null } as const

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
  const revived = await reviveRow(ctx, top, { name, space })
  for (const row of rows) {
    if (row.id === top.id) continue
    // Free as a rule; not where the space has stopped to tell cases apart, or an upload holds a name.
    const freed = await freeName(ctx, row.parentId ?? 0, row.name, space.caseRule)
    await reviveRow(ctx, row, { name: freed, space })
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

const reviveRow = (ctx: TxCtx, row: Node, { name, space }: { name: string; space: Space }) =>
  updateNodeRow(ctx, row, {
    ...alive,
    ...named(name, space),
    expiresAt: expiryAfterwards(ctx, row.expiresAt, space),
  })

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
