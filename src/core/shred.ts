/**
 * Destroying contents for good, live or not: what is live goes to the bin, and what is in the bin is purged. Step by step in small
 * transactions, so that nobody waits for long; after a crash the same call goes on where it ended.
 */
import { sql } from 'kysely'
import { authorize, authorizeBelow, effectiveActionsOfMany, requireAction } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError, isDomainError } from './errors.ts'
import { awaitNode, getNodeRow, holdStructure, type Node } from './nodes.ts'
import { noActions } from './permissions.ts'
import { chunked } from './principals.ts'
import { purgeRows } from './purge.ts'
import { removeSpaceKey } from './space-keys.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { changeSpaceState } from './space-state.ts'
import { cancelUploadRow, unfinished, type Upload } from './transfers.ts'
import { requireDeletable, trashNode } from './trash.ts'
import type { Version } from './versions.ts'

/** Files that one transaction takes. */
const BATCH = 25
/** Ids that one look collects. */
const PAGE = 500

/**
 * Destroys all versions of a file, live or deleted; one that is still uploaded is cancelled. Needs `trash.purge`.
 * Throws `not-found`, `not-a-file`, `forbidden`, `locked`, `write-protected`.
 */
export async function shredFile(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<void> {
  const file = await getNodeRow(ctx, nodeId)
  if (file.kind !== 'file') throw new DomainError('not-a-file', { nodeId })
  await authorize(ctx, 'trash.purge', file)
  await cancelUploads(ctx, await uploadsHolding(ctx, file))
  if (file.state === 'reserved') return
  await trashFiles(ctx, [nodeId], { evenProtected: false })
  await purgeBelow(ctx, file)
}

/**
 * Destroys everything in a folder, live or deleted, and cancels what is still uploaded there. Needs `trash.purge` in all of it.
 * Throws `not-found`, `not-a-folder`, `forbidden`, `locked`, `write-protected`, and `wrong-state` where a space lies in it.
 */
export async function shredFolder(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<void> {
  const folder = await getNodeRow(ctx, nodeId)
  if (folder.kind !== 'folder') throw new DomainError('not-a-folder', { nodeId })
  await authorize(ctx, 'trash.purge', folder)
  await authorizeBelow(ctx, 'trash.purge', folder)
  await requireDeletable(ctx, folder)
  await trashFilesBelow(ctx, folder, { evenProtected: false })
  await trashFolder(ctx, nodeId, { evenProtected: false })
  await cancelUploads(ctx, await uploadsBelow(ctx, folder))
  await purgeBelow(ctx, folder)
  await inTx(ctx, ctx => closeFolder(ctx, nodeId))
}

async function closeFolder(ctx: TxCtx, nodeId: number): Promise<void> {
  await holdStructure(ctx, 'shared')
  const folder = await getNodeRow(ctx, nodeId)
  // Somebody has undone the deletion at this moment.
  if (folder.state === 'live') throw new DomainError('wrong-state', { what: 'node', state: 'live', needed: 'deleted' })
  if (folder.state === 'purged') return
  await markPurged(ctx, folder)
  await ctx.emit({ type: 'node.purged', spaceId: folder.spaceId, subject1: `node:${nodeId}` })
}

/**
 * Destroys everything in a space, whatever its state, protected or not. At once nobody reaches it any more, and nothing brings it
 * back; its rows stay, with `contentPurgedAt` once all is done. Needs `trash.purge` in all of it. Throws `not-found`, `forbidden`,
 * and `wrong-state` where another space lies in it.
 */
export async function shredSpace(ctx: Ctx, { spaceId }: { spaceId: number }): Promise<Space> {
  const root = await getNodeRow(ctx, spaceId)
  await authorize(ctx, 'trash.purge', root)
  await authorizeBelow(ctx, 'trash.purge', root)
  const space = await inTx(ctx, ctx => putOutOfReach(ctx, spaceId))
  if (space.contentPurgedAt !== null) return space
  await trashFilesBelow(ctx, root, { evenProtected: true })
  for (const { id } of await liveFoldersIn(ctx, spaceId)) await trashFolder(ctx, id, { evenProtected: true })
  await cancelUploads(ctx, await uploadsBelow(ctx, root))
  await purgeBelow(ctx, root)
  return inTx(ctx, ctx => closeSpace(ctx, root))
}

async function putOutOfReach(ctx: TxCtx, spaceId: number): Promise<Space> {
  await holdStructure(ctx, 'exclusive')
  const before = await getSpaceRow(ctx, spaceId)
  const nested = await ctx.db
    .selectFrom('space')
    .select('state')
    .where('parentSpaceId', '=', spaceId)
    .limit(1)
    .executeTakeFirst()
  if (nested) throw new DomainError('wrong-state', { what: 'space', state: nested.state, needed: 'moved away' })
  return before.state === 'purged' ? before : changeSpaceState(ctx, { before, state: 'purged' })
}

async function closeSpace(ctx: TxCtx, root: Node): Promise<Space> {
  await markPurged(ctx, root)
  await removeSpaceKey(ctx, { spaceId: root.id })
  const space = await ctx.db
    .updateTable('space')
    .set({ contentPurgedAt: ctx.clock(), changedAt: ctx.clock() })
    .where('id', '=', root.id)
    .where('contentPurgedAt', 'is', null)
    .returningAll()
    .executeTakeFirst()
  if (!space) return getSpaceRow(ctx, root.id) // two did it at once
  await ctx.emit({ type: 'space.purged', spaceId: root.id, subject1: `node:${root.id}` })
  return space
}

/** All that a folder or space holds, with itself, in whatever state; nested spaces are not part of it. */
const allBelow = (top: Pick<Node, 'id'>) => sql`
  with recursive down (id, kind) as (
    select id, kind from node where id = ${top.id}
    union all
    select node.id, node.kind from down join node on node."parentId" = down.id where node.kind <> 'space'
  )`

/** Deleted folders become tombstones, as deleted files did with their last version. */
async function markPurged(ctx: TxCtx, top: Node): Promise<void> {
  await sql`${allBelow(top)}
    update node set state = 'purged', "changedAt" = ${ctx.clock()}, "changedBy" = ${ctx.actor.principalId}
    where id in (select id from down where kind = 'folder') and state = 'deleted'`.execute(ctx.db)
}

interface TrashOptions {
  /** Locks and write protection do not count. */
  evenProtected: boolean
}

async function trashFilesBelow(ctx: Ctx, top: Node, options: TrashOptions): Promise<void> {
  for await (const ids of pages(after => liveFilesBelow(ctx, top, after))) {
    for (const some of chunked(ids, BATCH)) await trashFiles(ctx, some, options)
  }
}

/** Those that are still live. Everybody who changes one of them is waited for before the first is touched: not in a circle. */
function trashFiles(ctx: Ctx, nodeIds: readonly number[], options: TrashOptions): Promise<void> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    for (const id of nodeIds) await awaitNode(ctx, id)
    for (const id of nodeIds) {
      const file = await getNodeRow(ctx, id)
      if (file.state === 'live') await trashNode(ctx, file, options)
    }
  })
}

function trashFolder(ctx: Ctx, nodeId: number, options: TrashOptions): Promise<void> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const folder = await getNodeRow(ctx, nodeId)
    if (folder.state === 'live') await trashNode(ctx, folder, options)
  })
}

async function liveFilesBelow(ctx: Ctx, top: Node, after: number): Promise<number[]> {
  const { rows } = await sql<{ id: number }>`
    with recursive down (id) as (
      select id from node where id = ${top.id}
      union all
      select node.id from down join node on node."parentId" = down.id and node.kind = 'folder' and node.state = 'live'
    )
    select node.id from down join node on node."parentId" = down.id and node.kind = 'file' and node.state = 'live'
    where node.id > ${after} order by node.id limit ${PAGE}`.execute(ctx.db)
  return rows.map(row => row.id)
}

const liveFoldersIn = (ctx: Ctx, parentId: number) =>
  ctx.db
    .selectFrom('node')
    .select('id')
    .where('parentId', '=', parentId)
    .where('kind', '=', 'folder')
    .where('state', '=', 'live')
    .orderBy('id')
    .execute()

/** Purges what is in the bin: of the files below, and in the bins of the folders below. */
async function purgeBelow(ctx: Ctx, top: Node): Promise<void> {
  for await (const ids of pages(after => binnedBelow(ctx, top, after))) {
    for (const some of chunked(ids, BATCH)) await inTx(ctx, ctx => purgeSome(ctx, some))
  }
}

async function purgeSome(ctx: TxCtx, versionIds: readonly number[]): Promise<void> {
  await holdStructure(ctx, 'shared') // a deletion must not be undone around what goes
  const versions = await ctx.db
    .selectFrom('version')
    .selectAll()
    .where('id', 'in', versionIds)
    .where('deletedAt', 'is not', null)
    .where('purgedAt', 'is', null)
    .orderBy('id')
    .execute()
  await requireMayPurge(ctx, versions)
  await purgeRows(ctx, versions)
}

/** Earlier versions of a file may lie in the bin of another folder, where the right may be missing. */
async function requireMayPurge(ctx: TxCtx, versions: readonly Version[]): Promise<void> {
  const binIds = [...new Set(versions.flatMap(version => version.deletedParentId ?? []))]
  if (binIds.length === 0) return
  const bins = await ctx.db
    .selectFrom('node')
    .select(['id', 'tenantId', 'accessId'])
    .where('id', 'in', binIds)
    .execute()
  const allowed = await effectiveActionsOfMany(ctx, bins)
  for (const bin of bins) requireAction(allowed.get(bin.id) ?? noActions, 'trash.purge', bin)
}

async function binnedBelow(ctx: Ctx, top: Node, after: number): Promise<number[]> {
  const isBinned = sql`version."deletedAt" is not null and version."purgedAt" is null and version.id > ${after}`
  const { rows } = await sql<{ id: number }>`${allBelow(top)}
    select version.id as id from down join version on version."nodeId" = down.id where ${isBinned}
    union
    select version.id as id from down join version
      on version."deletedSpaceId" = ${top.spaceId} and version."deletedParentId" = down.id where ${isBinned}
    order by id limit ${PAGE}`.execute(ctx.db)
  return rows.map(row => row.id)
}

/** Ids page by page, in ascending order. */
async function* pages(page: (after: number) => Promise<number[]>): AsyncGenerator<number[]> {
  for (let ids = await page(0); ids.length > 0; ids = await page(ids.at(-1)!)) yield ids
}

async function uploadsBelow(ctx: Ctx, top: Node): Promise<Upload[]> {
  const { rows } = await sql<Upload>`${allBelow(top)}
    select * from upload where state in (${sql.join(unfinished)})
      and "parentId" in (select id from down where kind <> 'file') order by id`.execute(ctx.db)
  return rows
}

const uploadsHolding = (ctx: Ctx, file: Node): Promise<Upload[]> =>
  ctx.db.selectFrom('upload').selectAll().where('reservedUid', '=', file.uid).where('state', 'in', unfinished).execute()

async function cancelUploads(ctx: Ctx, uploads: readonly Upload[]): Promise<void> {
  for (const upload of uploads) {
    try {
      await inTx(ctx, ctx => cancelUploadRow(ctx, upload))
    } catch (error) {
      if (!isDomainError(error, 'wrong-state')) throw error // one that has ended by itself is no trouble
    }
  }
}
