/** Moving and copying files and folders within a tenant. */
import { sql } from 'kysely'
import { authorize, authorizeBelow } from './access.ts'
import { rewrapKey } from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireReadable, requireWritableSpace } from './gates.ts'
import { moveAccess } from './grants.ts'
import { checkName, nameKey } from './names.ts'
import {
  findChild,
  freeName,
  getContainer,
  getLiveNode,
  holdStructure,
  insertTotals,
  nameColumns,
  nameTaken,
  requireRevision,
  saidColumns,
  tryInsertNode,
  updateNodeRow,
  type ExpectedState,
  type Node,
  type NodeAttributes,
} from './nodes.ts'
import { pathOf } from './node-paths.ts'
import { sealSpaceVersions } from './space-keys.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addTotals, getTotals } from './totals.ts'
import { trashNode } from './trash.ts'
import { getCurrentVersion, insertVersion } from './versions.ts'

/** How a taken name at the target is settled. */
export type MoveConflict = 'fail' | 'replace' | 'rename-new'

type Target = Node & { spaceId: number }

/**
 * Moves a file or folder, with its versions and its bin. Between spaces the files keep their ids and take on the target's
 * rights. Throws `into-itself`, `cannot-move-space`, `name-taken`, `forbidden`, `locked`, `quota-exceeded`, ….
 */
export function moveNode(
  ctx: Ctx,
  input: {
    nodeId: number
    parentId: number
    name?: string
    onConflict?: MoveConflict
    attributes?: NodeAttributes
  } & ExpectedState,
): Promise<Node> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const node = await getLiveNode(ctx, input.nodeId)
    if (node.kind === 'space' || node.kind === 'root') throw new DomainError('cannot-move-space', { nodeId: node.id })
    const parent = await getContainer(ctx, input.parentId)
    const spaces = await openBothSpaces(ctx, node, parent)
    await authorize(ctx, parent.id === node.parentId ? 'change' : 'delete', node)
    if (parent.id !== node.parentId) {
      await authorize(ctx, 'create', parent)
      // Elsewhere the actor may be a manager, whom no mask stops.
      if (node.kind === 'folder') await authorizeBelow(ctx, 'delete', node)
    }
    requireRevision(node, input)
    await requireChangeable(ctx, node)
    await requireOutside(ctx, node, parent)
    const asked = checkName(input.name ?? node.name)
    const name = await settle(ctx, {
      parent,
      space: spaces.to,
      asked,
      onConflict: input.onConflict ?? 'fail',
      moving: node,
    })
    const from = await getLiveNode(ctx, node.parentId ?? 0)
    const moved = await updateNodeRow(ctx, node, {
      parentId: parent.id,
      ...nameColumns(name, asked, spaces.to.caseRule),
      ...saidColumns(input.attributes),
    })
    await adoptSubtree(ctx, { node, from, parent, spaces })
    await adoptKeys(ctx, spaces)
    await ctx.emit({
      type: 'node.moved',
      spaceId: spaces.to.id,
      subject1: `node:${node.id}`,
      facts: { before: from.id, after: parent.id },
    })
    await bookMove(ctx, { node, from, parent })
    return { ...moved, spaceId: spaces.to.id }
  })
}

async function openBothSpaces(ctx: TxCtx, node: Node, parent: Target): Promise<{ from: Space; to: Space }> {
  const to = await getSpaceRow(ctx, parent.spaceId)
  const from = node.spaceId === to.id ? to : await getSpaceRow(ctx, node.spaceId ?? 0)
  requireWritableSpace(ctx, from)
  requireWritableSpace(ctx, to)
  // Cipher text is of no use under another key regime.
  if (from.clientEncryption !== to.clientEncryption) throw new DomainError('encryption-required', { spaceId: to.id })
  return { from, to }
}

async function requireOutside(ctx: Ctx, node: Node, parent: Node): Promise<void> {
  const above = await pathOf(ctx, parent.id)
  if (above.some(step => step.id === node.id)) throw new DomainError('into-itself', { nodeId: node.id })
}

async function settle(
  ctx: TxCtx,
  input: { parent: Target; space: Space; asked: string; onConflict: MoveConflict; moving?: Node },
): Promise<string> {
  const taken = await findChild(ctx, input.parent.id, nameKey(input.asked, input.space.caseRule))
  if (!taken || taken.id === input.moving?.id) return input.asked
  if (input.onConflict === 'rename-new') return freeName(ctx, input.parent.id, input.asked, input.space.caseRule)
  if (input.onConflict === 'fail' || taken.kind !== 'file' || taken.state !== 'live') throw nameTaken(taken)
  await authorize(ctx, 'delete', taken)
  await trashNode(ctx, taken)
  return input.asked
}

/** Space and access of everything below follow the new place; masks of their own stay with the folders that hold them. */
async function adoptSubtree(
  ctx: TxCtx,
  { node, from, parent, spaces }: { node: Node; from: Node; parent: Target; spaces: { from: Space; to: Space } },
): Promise<void> {
  if (from.accessId !== parent.accessId && node.accessId === from.accessId) {
    await moveAccess(ctx, node.id, from.accessId, parent.accessId)
  }
  if (spaces.from.id === spaces.to.id) return
  await sql`
    with recursive down (id) as (
      select id from node where id = ${node.id}
      union all
      select node.id from down join node on node."parentId" = down.id and node."spaceId" = ${spaces.from.id}
    )
    update node set "spaceId" = ${spaces.to.id} where id in (select id from down)`.execute(ctx.db)
  await sql`update version set "deletedSpaceId" = ${spaces.to.id}
    where "deletedSpaceId" = ${spaces.from.id}
      and "deletedParentId" in (select id from node where "spaceId" = ${spaces.to.id})`.execute(ctx.db)
  await sql`update space set "parentSpaceId" = ${spaces.to.id}
    where "parentSpaceId" = ${spaces.from.id}
      and id in (select child.id from node child join node parent on parent.id = child."parentId"
        where parent."spaceId" = ${spaces.to.id})`.execute(ctx.db)
  if (spaces.from.caseRule !== spaces.to.caseRule) await rekeyBelow(ctx, node, spaces.to)
}

/** Content that only a password opens goes nowhere without it, and what comes to such content is sealed like it. */
async function adoptKeys(ctx: TxCtx, { from, to }: { from: Space; to: Space }): Promise<void> {
  if (from.id === to.id || (from.wrappingKey === null && to.wrappingKey === null)) return
  await sealSpaceVersions(ctx, { spaceId: to.id })
}

/** Names below a moved folder, but not inside spaces there, follow the case rule of the space they came to. Throws `name-taken` where two become one. */
async function rekeyBelow(ctx: TxCtx, top: Node, space: Space): Promise<void> {
  const rows = await sql<Node>`
    with recursive down (id, kind) as (
      select id, kind from node where "parentId" = ${top.id}
      union all
      select node.id, node.kind from down join node on node."parentId" = down.id where down.kind <> 'space'
    )
    select * from node where id in (select id from down) and "nameKey" is not null`.execute(ctx.db)
  for (const node of rows.rows) {
    const key = nameKey(node.name, space.caseRule)
    const taken = await findChild(ctx, node.parentId ?? 0, key)
    if (taken && taken.id !== node.id) throw nameTaken(taken)
    await ctx.db.updateTable('node').set({ nameKey: key }).where('id', '=', node.id).execute()
  }
}

/** Takes the moved totals from one place and adds them to the other. Superseded versions of a moved file stay in their bin. */
async function bookMove(ctx: TxCtx, { node, from, parent }: { node: Node; from: Node; parent: Node }): Promise<void> {
  if (from.id === parent.id) return
  const delta = await weightOf(ctx, node)
  const minus = { files: -delta.files, folders: -delta.folders, bytes: -delta.bytes, binBytes: -delta.binBytes }
  await addTotals(ctx, from.id, minus)
  await addTotals(ctx, parent.id, delta)
}

async function weightOf(ctx: Ctx, node: Node) {
  if (node.kind === 'file') {
    return { files: 1, folders: 0, bytes: (await getCurrentVersion(ctx, node)).sizeBytes, binBytes: 0 }
  }
  const totals = await getTotals(ctx, node.id)
  return { ...totals, folders: totals.folders + 1 }
}

/**
 * Copies a file (its current version) or a folder with everything in it but nested spaces. No bytes move: the copy shares the blob and wraps the data key for itself, so it outlives the purge of its source. Throws `forbidden` when the
 * actor may not read something in it.
 */
export function copyNode(
  ctx: Ctx,
  input: { nodeId: number; parentId: number; name?: string; onConflict?: MoveConflict },
): Promise<Node> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const source = await getLiveNode(ctx, input.nodeId)
    if (source.kind === 'space' || source.kind === 'root')
      throw new DomainError('cannot-move-space', { nodeId: source.id })
    await authorize(ctx, 'read', source)
    if (source.kind === 'folder') await authorizeBelow(ctx, 'read', source)
    const parent = await getContainer(ctx, input.parentId)
    await authorize(ctx, 'create', parent)
    const { to: space } = await openBothSpaces(ctx, source, parent)
    await requireOutside(ctx, source, parent)
    const asked = checkName(input.name ?? source.name)
    const name = await settle(ctx, { parent, space, asked, onConflict: input.onConflict ?? 'fail' })
    return source.kind === 'file'
      ? copyFile(ctx, { source, parent, space, name })
      : copyFolder(ctx, { source, parent, space, name })
  })
}

interface CopyTarget {
  source: Node
  parent: Node
  space: Space
  name: string
}

async function copyFile(ctx: TxCtx, { source, parent, space, name }: CopyTarget): Promise<Node> {
  const version = await getCurrentVersion(ctx, source)
  // The source may be purged at this moment; its blob must not be collected before our row refers to it.
  await ctx.database.lock(ctx.db, `blob:${version.blobId}`, 'exclusive')
  await requireReadable(ctx, { space: await getSpaceRow(ctx, source.spaceId ?? 0), node: source, version })
  const [nodeId, versionId] = await ctx.database.nextIds(ctx.db, 2)
  const node = await tryInsertNode(ctx, {
    id: nodeId!,
    kind: 'file',
    parent,
    space,
    name,
    caseRule: space.caseRule,
    currentVersionId: versionId!,
    attributes: {
      title: source.title,
      notes: source.notes,
      classification: source.classification,
      expiresAt: source.expiresAt,
      clientCreatedAt: source.clientCreatedAt,
      clientModifiedAt: source.clientModifiedAt,
    },
  })
  if (!node) throw new DomainError('busy', {})
  const content = { ...version, ...rewrapKey(ctx, version), startedAt: ctx.clock(), endedAt: ctx.clock() }
  const { mediaType } = version
  await insertVersion(ctx, { id: versionId!, nodeId: node.id, content, mediaType, isFirst: true, space })
  await copyChecks(ctx, version.id, versionId!)
  await ctx.db
    .insertInto('node_metadata')
    .columns(['nodeId', 'namespace', 'key', 'value'])
    .expression(eb =>
      eb
        .selectFrom('node_metadata')
        .select([eb.val(node.id).as('nodeId'), 'namespace', 'key', 'value'])
        .where('nodeId', '=', source.id),
    )
    .execute()
  // Who could open the source can open the copy: the cipher text and its file keys are the same.
  await ctx.db
    .insertInto('version_key')
    .columns(['versionId', 'holder', 'algorithm', 'wrappedKey', 'createdAt'])
    .expression(eb =>
      eb
        .selectFrom('version_key')
        .select([eb.val(versionId!).as('versionId'), 'holder', 'algorithm', 'wrappedKey', 'createdAt'])
        .where('versionId', '=', version.id),
    )
    .execute()
  await emitCopied(ctx, source, node)
  await addTotals(ctx, parent.id, { files: 1, bytes: version.sizeBytes })
  return node
}

/** What was found in a content holds for its copy; that somebody released it does not. */
async function copyChecks(ctx: TxCtx, from: number, to: number): Promise<void> {
  const columns = ['engine', 'verdict', 'name', 'description', 'startedAt', 'finishedAt'] as const
  await ctx.db
    .insertInto('screening_check')
    .columns(['versionId', ...columns])
    .expression(eb =>
      eb
        .selectFrom('screening_check')
        .select([eb.val(to).as('versionId'), ...columns])
        .where('versionId', '=', from),
    )
    .execute()
}

async function copyFolder(ctx: TxCtx, { source, parent, space, name }: CopyTarget): Promise<Node> {
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const folder = await tryInsertNode(ctx, { id: id!, kind: 'folder', parent, space, name, caseRule: space.caseRule })
  if (!folder) throw new DomainError('busy', {})
  await insertTotals(ctx, folder.id)
  await emitCopied(ctx, source, folder)
  await addTotals(ctx, parent.id, { folders: 1 })
  const children = await ctx.db
    .selectFrom('node')
    .selectAll()
    .where('parentId', '=', source.id)
    .where('state', '=', 'live')
    .where('kind', 'in', ['file', 'folder'])
    .orderBy('id')
    .execute()
  for (const child of children) {
    const place = { source: child, parent: folder, space, name: child.name }
    await (child.kind === 'file' ? copyFile(ctx, place) : copyFolder(ctx, place))
  }
  return folder
}

async function emitCopied(ctx: TxCtx, source: Node, copy: Node): Promise<void> {
  await ctx.emit({
    type: 'node.copied',
    spaceId: copy.spaceId,
    subject1: `node:${source.id}`,
    subject2: `node:${copy.id}`,
  })
}
