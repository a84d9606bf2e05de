/**
 * Files that are announced before their bytes come: the record holds the name, takes the bytes, and is confirmed or cancelled.
 * Beside them the finished files, looked up and listed in the same way.
 */
import { sql, type SelectQueryBuilder } from 'kysely'
import { oneOf } from '#db/columns.ts'
import type { NodeTable, Schema } from '#db/schema.ts'
import { TransactionLost } from '#db/database.ts'
import { authorize, effectiveActions } from './access.ts'
import { claimName, type NameStrategy, type Settled } from './conflicts.ts'
import type { Body } from './content.ts'
import { inTx, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireOpenSpace, requireWritableSpace } from './gates.ts'
import { nameKey } from './names.ts'
import { pathsInSpace } from './node-paths.ts'
import { getContainer, getNodeRow, tryInsertNode, type Node } from './nodes.ts'
import { hasAction } from './permissions.ts'
import type { Placed } from './placement.ts'
import { getSpaceRow } from './space-rows.ts'
import { getTotals, type Totals } from './totals.ts'
import { completeUpload } from './transfer-completion.ts'
import { appendUpload, cancelUpload, getUpload, insertUpload, unfinished, type Upload } from './transfers.ts'
import { requireBelowLimit } from './uploads.ts'
import type { Version } from './versions.ts'

export interface NewFileRecord {
  parentId: number
  name: string
  onConflict: NameStrategy
  sizeBytes: number
  mediaType: string
  /** Hex. The content must have it. */
  sha256?: string
}

/**
 * Announces a file: from now on its name is held. Throws `upload-too-large`, `encryption-required`, and what `claimName` throws.
 */
export function createFileRecord(
  ctx: Ctx,
  input: NewFileRecord,
): Promise<{ upload: Upload; node: Node; settled: Settled }> {
  const { sizeBytes: announcedBytes, mediaType, sha256 } = input
  return inTx(ctx, async ctx => {
    const { parent, space, name, settled } = await claimName(ctx, input)
    requireWritableSpace(ctx, space)
    requireBelowLimit(ctx, { announcedBytes })
    const [id] = await ctx.database.nextIds(ctx.db, 1)
    const { caseRule } = space
    const node = await tryInsertNode(ctx, { kind: 'file', state: 'reserved', id: id!, parent, space, name, caseRule })
    if (!node) throw new TransactionLost()
    const upload = await insertUpload(ctx, {
      parentId: parent.id,
      name,
      onConflict: 'fail', // nothing can be in the way of a name that is held
      mediaType,
      announcedBytes,
      ...(sha256 !== undefined && { expectedSha256: sha256.toLowerCase() }),
      reserved: node,
      encryption: 'frames-1',
    })
    return { upload, node, settled }
  })
}

interface RecordRef {
  uploadId: string
}

/**
 * Takes the whole content, in place of what came before. Whoever may put files there may go on with a record.
 * Throws `not-found`, `forbidden`, `wrong-state`, `upload-too-large` and `upload-incomplete` for another length than announced; then
 * everything stays as it was.
 */
export async function putRecordContent(ctx: Ctx, { uploadId }: RecordRef, body: Body): Promise<void> {
  const upload = await openRecord(ctx, uploadId)
  const exactBytes = upload.announcedBytes ?? 0
  await appendUpload(ctx, { uploadId, by: 'members', startByte: 0, exactBytes }, atMost(exactBytes, body))
}

/** Asks early what is asked again at the end, so that nobody sends a gigabyte for a refusal. */
async function openRecord(ctx: Ctx, uploadId: string): Promise<Upload> {
  const upload = await getUpload(ctx, { uploadId, by: 'members' })
  const parent = await getContainer(ctx, upload.parentId)
  await authorize(ctx, 'create', parent)
  requireWritableSpace(ctx, await getSpaceRow(ctx, parent.spaceId))
  return upload
}

async function* atMost(limitBytes: number, body: Body): AsyncGenerator<Uint8Array> {
  let receivedBytes = 0
  for await (const chunk of body) {
    receivedBytes += chunk.byteLength
    if (receivedBytes > limitBytes) throw new DomainError('upload-too-large', { limitBytes })
    yield chunk
  }
}

/**
 * Makes the file. An empty one needs no content to have come. Throws `wrong-state` while the content is missing or once the record
 * has ended, `checksum-mismatch`, and what `placeFile` throws; then everything stays as it was.
 */
export async function confirmRecord(ctx: Ctx, { uploadId, sha256 }: RecordRef & { sha256?: string }): Promise<Placed> {
  const upload = await getUpload(ctx, { uploadId, by: 'members' })
  requireContent(upload)
  const expectedSha256 = sha256?.toLowerCase()
  requireSame(expectedSha256, upload.expectedSha256)
  const expected = expectedSha256 === undefined ? {} : { expectedSha256 }
  return completeUpload(ctx, { uploadId, by: 'members', onRefusal: 'reopen', ...expected })
}

function requireContent({ state, announcedBytes, receivedBytes }: Upload): void {
  if (unfinished.includes(state) && receivedBytes === announcedBytes) return
  throw new DomainError('wrong-state', { what: 'upload', state, needed: 'receiving' })
}

/** Content that has the one hash cannot have the other. */
function requireSame(expected: string | undefined, announced: string | null): void {
  if (expected === undefined || announced === null || expected === announced) return
  throw new DomainError('checksum-mismatch', { algorithm: 'sha256', expected, actual: announced })
}

/** Gives the record up; its name is free again. Throws `wrong-state` once it has ended. */
export const cancelRecord = (ctx: Ctx, { uploadId }: RecordRef): Promise<void> =>
  cancelUpload(ctx, { uploadId, by: 'members' })

/** A file in any of the states that it goes through. `path` begins at the root of its space: `/folder/name`. */
export type FileRecord =
  | { kind: 'uploading'; path: string; node: Node; upload: Upload }
  | StoredRecord
  /** Given up, or not confirmed in time. */
  | { kind: 'cancelled'; path: string; upload: Upload }
  /** In the bin (`node.deletedAt`), or destroyed (`version.purgedAt`). */
  | { kind: 'deleted'; path: string; node: Node; version: Version }

export interface StoredRecord {
  kind: 'stored'
  path: string
  node: Node
  version: Version
}

/** What shows in lists. */
export type VisibleRecord = Exclude<FileRecord, { kind: 'cancelled' }>

/** Files of the whole space that have this name and this content (hex), the oldest first. */
export async function findSame(
  ctx: Ctx,
  { spaceId, name, sha256 }: { spaceId: number; name: string; sha256: string },
): Promise<StoredRecord[]> {
  await requireMayLook(ctx, await getNodeRow(ctx, spaceId))
  const { caseRule } = await getSpaceRow(ctx, spaceId)
  const records = await loadRecords(ctx, query =>
    query
      .where('node.parentId', 'in', foldersOf(ctx, spaceId))
      .where('node.nameKey', '=', nameKey(name, caseRule))
      .where('node.name', '=', name)
      .where('node.kind', '=', 'file'),
  )
  const isSame = ({ version }: StoredRecord) => version.sha256 === sha256.toLowerCase()
  const stored = records.filter(record => record.kind === 'stored')
  return stored.filter(isSame).toSorted((a, b) => a.node.id - b.node.id)
}

/** With its root. One look by name into each costs less than a look at every file. */
const foldersOf = (ctx: Ctx, spaceId: number) =>
  ctx.db
    .selectFrom('node as folder')
    .select('folder.id')
    .where('folder.spaceId', '=', spaceId)
    .where('folder.kind', 'in', ['space', 'folder'])
    .where(sql<boolean>`folder.state = 'live'`) // spelled out, as in the index

/**
 * One file of a space by its uid. A record that was given up is still found for a time. Deleted ones are found by who may look into
 * the bin. Throws `not-found`, also for what lies in another space, and what gates say.
 */
export async function getFileRecord(
  ctx: Ctx,
  { spaceId, uid: given }: { spaceId: number; uid: string },
): Promise<FileRecord> {
  const uid = given.toLowerCase()
  const [record] = await loadRecords(ctx, query =>
    query.where('node.uid', '=', uid).where('node.spaceId', '=', spaceId).where('node.kind', '=', 'file'),
  )
  const found = record ?? (await findCancelled(ctx, { spaceId, uid }))
  if (!found) throw new DomainError('not-found', { what: 'file', id: given })
  const parent = await getNodeRow(ctx, found.kind === 'cancelled' ? found.upload.parentId : (found.node.parentId ?? 0))
  await requireMayLook(ctx, found.kind === 'cancelled' ? parent : found.node)
  const isGone = found.kind === 'deleted' || parent.state !== 'live'
  if (isGone && !(await maySeeBin(ctx, parent))) throw new DomainError('not-found', { what: 'file', id: given })
  return found
}

async function findCancelled(ctx: Ctx, ref: { spaceId: number; uid: string }): Promise<FileRecord | undefined> {
  const upload = await ctx.db
    .selectFrom('upload')
    .innerJoin('node', 'node.id', 'upload.parentId')
    .selectAll('upload')
    .where('upload.reservedUid', '=', ref.uid)
    .where('upload.tenantId', '=', ctx.actor.tenantId)
    .where('upload.state', 'in', ['failed', 'cancelled', 'expired'])
    .where('node.spaceId', '=', ref.spaceId)
    .executeTakeFirst()
  if (!upload) return undefined
  const pathOf = await pathsInSpace(ctx, [upload.parentId])
  return { kind: 'cancelled', path: `${pathOf(upload.parentId)}/${upload.name}`, upload }
}

export interface FolderEntry {
  node: Node
  path: string
  totals: Totals
  /** Epoch milliseconds. Null until it is deleted, or until everything in it is destroyed. */
  deletedAt: number | null
  contentPurgedAt: number | null
}

export interface FolderListing {
  folder: FolderEntry
  folders: FolderEntry[]
  files: VisibleRecord[]
}

/**
 * What lies directly in a folder or at the root of a space, by name, in a fixed number of queries. Deleted entries come along, and
 * deleted folders open, only with `withDeleted`, for who may look into the bin. Throws `not-found`, `not-a-folder`, `forbidden`, gates.
 */
export async function listFolder(
  ctx: Ctx,
  { nodeId, withDeleted = false }: { nodeId: number; withDeleted?: boolean },
): Promise<FolderListing> {
  const node = withDeleted ? await getNodeRow(ctx, nodeId) : await getContainer(ctx, nodeId)
  if (node.kind === 'file' || node.spaceId === null) throw new DomainError('not-a-folder', { nodeId })
  await requireMayLook(ctx, node)
  if (withDeleted) await authorize(ctx, 'trash.read', node)
  const states: NodeTable['state'][] = withDeleted ? ['live', 'reserved', 'deleted', 'purged'] : ['live', 'reserved']
  const inside = (query: NodeQuery) => query.where('node.parentId', '=', nodeId).where('node.state', 'in', states)
  const pathOf = await pathsInSpace(ctx, [nodeId])
  const path = pathOf(nodeId)
  const files = await loadRecords(ctx, query => inside(query).where('node.kind', '=', 'file'))
  return {
    folder: folderEntry(node, path, await getTotals(ctx, nodeId)),
    folders: await loadFolders(ctx, inside, path),
    files: files.toSorted((a, b) => byName(a.node, b.node)),
  }
}

async function loadFolders(ctx: Ctx, inside: Narrow, path: string): Promise<FolderEntry[]> {
  const only = (query: NodeQuery) => inside(query).where('node.kind', '=', 'folder')
  const nodes = await only(ctx.db.selectFrom('node')).selectAll('node').execute()
  const totals = await only(ctx.db.selectFrom('node'))
    .innerJoin('node_total', 'node_total.nodeId', 'node.id')
    .select(['nodeId', 'files', 'folders', 'bytes', 'binBytes'])
    .execute()
  const byNode = new Map(totals.map(({ nodeId, ...own }) => [nodeId, own]))
  return nodes
    .toSorted(byName)
    .map(node => folderEntry(node, `${path}/${node.name}`, byNode.get(node.id) ?? nothingInIt))
}

const nothingInIt: Totals = { files: 0, folders: 0, bytes: 0, binBytes: 0 }

const folderEntry = (node: Node, path: string, totals: Totals): FolderEntry => ({
  node,
  path,
  totals,
  deletedAt: node.deletedAt,
  // Nothing changes a folder once it is purged.
  contentPurgedAt: node.state === 'purged' ? node.changedAt : null,
})

/** The order of names on both engines, and of ids where deleted ones share a name. */
const byName = (a: Node, b: Node) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) || a.id - b.id

type NodeQuery = SelectQueryBuilder<Schema, 'node', object>
type Narrow = (query: NodeQuery) => NodeQuery

/**
 * The files that a condition picks, each with its version or its upload, in a fixed number of queries. One that changes between
 * them is told as it was.
 */
async function loadRecords(ctx: Ctx, narrow: Narrow): Promise<VisibleRecord[]> {
  const own = (query: NodeQuery) => narrow(query).where('node.tenantId', '=', ctx.actor.tenantId)
  const nodes = await own(ctx.db.selectFrom('node')).selectAll('node').execute()
  if (nodes.length === 0) return []
  const versionIds = nodes.flatMap(node => node.currentVersionId ?? [])
  const versions = await ctx.db
    .selectFrom('version')
    .selectAll()
    .where(oneOf(ctx.database.engine, sql.ref('id'), versionIds))
    .execute()
  const uploads = await own(ctx.db.selectFrom('node'))
    .innerJoin('upload', 'upload.reservedUid', 'node.uid')
    .selectAll('upload')
    .execute()
  const pathOf = await pathsInSpace(ctx, [...new Set(nodes.map(node => node.parentId ?? 0))])
  const versionOf = new Map(versions.map(version => [version.id, version]))
  const uploadOf = new Map(uploads.map(upload => [upload.reservedUid, upload]))
  return nodes.flatMap(node => {
    const path = `${pathOf(node.parentId ?? 0)}/${node.name}`
    return toRecord(path, node, versionOf.get(node.currentVersionId ?? 0), uploadOf.get(node.uid)) ?? []
  })
}

/** Undefined where what was deleted has left its content to another file. */
function toRecord(path: string, node: Node, version?: Version, upload?: Upload): VisibleRecord | undefined {
  if (node.state === 'reserved') return upload && { kind: 'uploading', path, node, upload }
  return version && { kind: node.state === 'live' ? 'stored' : 'deleted', path, node, version }
}

/** The right to list, and for everybody but the server the gates of the space. */
async function requireMayLook(ctx: Ctx, node: Node): Promise<void> {
  await authorize(ctx, 'list', node)
  if (ctx.actor.kind !== 'system') requireOpenSpace(ctx, await getSpaceRow(ctx, node.spaceId ?? 0))
}

async function maySeeBin(ctx: Ctx, node: Node): Promise<boolean> {
  return hasAction(await effectiveActions(ctx, node), 'trash.read')
}
