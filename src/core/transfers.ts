/**
 * Uploads that take several requests, in whatever way the bytes come: one stream, chunks from a byte on, numbered parts, the
 * record first or the blob first. Any process may take any request: bytes lie in the blob store, the state in the table.
 */
import type { Selectable } from 'kysely'
import type { BlobTable, ConflictStrategy, UploadState, UploadTable } from '#db/schema.ts'
import { authorize } from './access.ts'
import {
  discardContent,
  insertSegmentRow,
  newDataKey,
  receiveSegment,
  unwrapKey,
  type Body,
  type ReceivedSegment,
} from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { enqueue } from './jobs.ts'
import { nameKey } from './names.ts'
import {
  findChild,
  getNodeRow,
  holdStructure,
  nameTaken,
  tryInsertNode,
  type Node,
  type NodeAttributes,
} from './nodes.ts'
import type { Space } from './space-rows.ts'
import { requireMayStore } from './uploads.ts'

export type Upload = Selectable<UploadTable>

/** What may follow what: a process that died while finishing lets another one begin anew. Ended uploads stay readable for a time. */
export const transitions: Record<UploadState, readonly UploadState[]> = {
  open: ['receiving', 'sealed', 'cancelled', 'expired'],
  receiving: ['receiving', 'sealed', 'cancelled', 'expired'],
  sealed: ['sealed', 'receiving', 'stored', 'failed', 'cancelled', 'expired'],
  stored: [],
  failed: [],
  cancelled: [],
  expired: [],
}

/** Those that may still become a file. */
export const unfinished = (Object.keys(transitions) as UploadState[]).filter(state => transitions[state].length > 0) // the table's own keys

const canBecome = (next: UploadState) =>
  (Object.keys(transitions) as UploadState[]).filter(state => transitions[state].includes(next)) // the table's own keys

/** Kept with the upload until it becomes a file. */
export interface UploadAttributes {
  node?: NodeAttributes
  metadata?: { namespace: string; values: Readonly<Record<string, string>> }
  label?: string
}

export interface NewUpload {
  parentId: number
  name: string
  label?: string
  onConflict: ConflictStrategy
  mediaType: string
  announcedBytes?: number
  /** Lower-case hex. */
  expectedSha256?: string
  expectedMd5?: string
  expectedRevision?: number
  attributes?: NodeAttributes
  metadata?: { namespace: string; values: Readonly<Record<string, string>> }
  /** Holds the name (and gives the node an id) from now on; others find it taken. */
  reserve?: boolean
}

/** Opens a transfer. Throws `forbidden`, `name-refused`, `name-taken` (when reserving), `upload-too-large`, gates. */
export function openUpload(ctx: Ctx, input: NewUpload): Promise<Upload> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const { parent, space } = await requireMayStore(ctx, input)
    const reserved = input.reserve ? await reserveName(ctx, { parent, space, input }) : null
    return insertUpload(ctx, { ...input, parentId: parent.id, reserved, encryption: 'frames-1' })
  })
}

/** The rows of a transfer that has just begun: its blob, still empty, and its state. */
export async function insertUpload(
  ctx: TxCtx,
  input: NewUpload & { reserved: Pick<Node, 'id' | 'uid'> | null; encryption: BlobTable['encryption'] },
): Promise<Upload> {
  const blobId = ctx.newId()
  const { tenantId, principalId, shareId = null } = ctx.actor
  const now = ctx.clock()
  await ctx.db
    .insertInto('blob')
    .values({ id: blobId, tenantId, encryption: input.encryption, sizeBytes: 0, createdAt: now })
    .execute()
  const { wrappedKey, keyName } = newDataKey(ctx, blobId)
  const kept: UploadAttributes = {
    ...(input.attributes && { node: input.attributes }),
    ...(input.metadata && { metadata: input.metadata }),
    ...(input.label !== undefined && { label: input.label }),
  }
  const upload = await ctx.db
    .insertInto('upload')
    .values({
      id: ctx.newId(),
      tenantId,
      principalId,
      shareId,
      parentId: input.parentId,
      name: input.name,
      ...reservedColumns(input.reserved),
      onConflict: input.onConflict,
      expectedRevision: input.expectedRevision ?? null,
      state: 'open',
      blobId,
      wrappedKey,
      keyName,
      announcedBytes: input.announcedBytes ?? null,
      receivedBytes: 0,
      expectedSha256: input.expectedSha256 ?? null,
      expectedMd5: input.expectedMd5 ?? null,
      mediaType: input.mediaType,
      attributes: JSON.stringify(kept),
      createdAt: now,
      changedAt: now,
      expiresAt: now + ctx.settings.uploadLifeMs,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  await ctx.emit({ type: 'upload.opened', subject1: `upload:${upload.id}` })
  return upload
}

const reservedColumns = (reserved: Pick<Node, 'id' | 'uid'> | null) => ({
  reservedNodeId: reserved?.id ?? null,
  reservedUid: reserved?.uid ?? null,
})

async function reserveName(
  ctx: TxCtx,
  { parent, space, input }: { parent: Node; space: Space; input: Pick<NewUpload, 'name' | 'label'> },
): Promise<Node> {
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const { name, label = name } = input
  const { caseRule } = space
  const place = { kind: 'file', parent, space, caseRule, state: 'reserved' } as const
  const node = await tryInsertNode(ctx, { ...place, id: id!, name, label })
  if (!node) throw nameTaken((await findChild(ctx, parent.id, nameKey(name, caseRule))) ?? parent)
  return node
}

/** Names an upload, and who may go on with it: who opened it, or with `members` also who may create where it goes. */
export interface UploadRef {
  uploadId: string
  by?: 'opener' | 'members'
}

/** An upload that the actor may go on with, also an ended one. Throws `not-found`; to members `forbidden`. */
export async function getUpload(ctx: Ctx, { uploadId, by = 'opener' }: UploadRef): Promise<Upload> {
  const upload = await ctx.db
    .selectFrom('upload')
    .selectAll()
    .where('id', '=', uploadId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  const isOwn = upload?.principalId === ctx.actor.principalId && upload.shareId === (ctx.actor.shareId ?? null)
  if (upload && (isOwn || ctx.actor.kind === 'system')) return upload
  if (!upload || by === 'opener') throw new DomainError('not-found', { what: 'upload', id: uploadId })
  await authorize(ctx, 'create', await getNodeRow(ctx, upload.parentId))
  return upload
}

/**
 * Takes bytes from `startByte` on (default: where the last ones ended); what was there from that byte on is replaced.
 * Throws `upload-out-of-order` for a gap, `upload-incomplete` where it must be exactly so many and is not, `wrong-state`,
 * `upload-too-large`, `storage-full`; then the upload stays as it was.
 */
export async function appendUpload(
  ctx: Ctx,
  input: UploadRef & { startByte?: number; md5?: boolean; exactBytes?: number },
  body: Body,
): Promise<Appended> {
  const upload = await openForBytes(ctx, input)
  const startByte = input.startByte ?? upload.receivedBytes
  requireNoGap(upload, startByte)
  const bytes = input.exactBytes === undefined ? body : exactly(input.exactBytes, body)
  const segment = await receiveSegment(ctx, unwrapKey(ctx, upload), bytes, { startByte, md5: input.md5 ?? false })
  return keepSegment(ctx, upload, segment, async ctx => {
    const current = await lockUpload(ctx, upload.id, 'receiving')
    requireNoGap(current, startByte)
    const dropped = await cutFrom(ctx, upload.blobId, startByte)
    await insertSegmentRow(ctx, { blobId: upload.blobId, startByte, partNumber: null }, segment)
    return { dropped, receivedBytes: startByte + segment.sizeBytes }
  })
}

export interface Appended {
  segment: ReceivedSegment
  receivedBytes: number
}

/** Takes one numbered part, replacing an earlier one of that number. Parts are put in order when the upload is completed. */
export async function putPart(
  ctx: Ctx,
  input: UploadRef & { partNumber: number; md5?: boolean },
  body: Body,
): Promise<Appended> {
  const upload = await openForBytes(ctx, input)
  const segment = await receiveSegment(ctx, unwrapKey(ctx, upload), body, { startByte: 0, md5: input.md5 ?? false })
  return keepSegment(ctx, upload, segment, async ctx => {
    const current = await lockUpload(ctx, upload.id, 'receiving')
    const replaced = await ctx.db
      .deleteFrom('segment')
      .where('blobId', '=', upload.blobId)
      .where('partNumber', '=', input.partNumber)
      .returning(['id', 'usedBytes'])
      .execute()
    await insertSegmentRow(ctx, { blobId: upload.blobId, startByte: 0, partNumber: input.partNumber }, segment)
    const gone = replaced.reduce((sum, row) => sum + row.usedBytes, 0)
    return { dropped: replaced.map(row => row.id), receivedBytes: current.receivedBytes - gone + segment.sizeBytes }
  })
}

async function openForBytes(ctx: Ctx, ref: UploadRef): Promise<Upload> {
  const upload = await getUpload(ctx, ref)
  requireState(upload, 'receiving')
  return upload
}

function requireState(upload: Upload, next: UploadState): void {
  if (transitions[upload.state].includes(next)) return
  throw new DomainError('wrong-state', { what: 'upload', state: upload.state, needed: canBecome(next).join(' or ') })
}

function requireNoGap(upload: Upload, startByte: number): void {
  if (startByte <= upload.receivedBytes) return
  throw new DomainError('upload-out-of-order', { expectedStart: upload.receivedBytes, givenStart: startByte })
}

/** A body that must have so many bytes; one that has more is not read to its end. */
async function* exactly(expectedBytes: number, body: Body): AsyncGenerator<Uint8Array> {
  let receivedBytes = 0
  for await (const chunk of body) {
    receivedBytes += chunk.byteLength
    if (receivedBytes > expectedBytes) break
    yield chunk
  }
  if (receivedBytes !== expectedBytes) throw new DomainError('upload-incomplete', { expectedBytes, receivedBytes })
}

/** Books a received segment; when that fails its bytes go, when it succeeds those it replaced go. */
async function keepSegment(
  ctx: Ctx,
  upload: Upload,
  segment: ReceivedSegment,
  book: (ctx: TxCtx) => Promise<{ dropped: string[]; receivedBytes: number }>,
): Promise<Appended> {
  try {
    const { dropped, receivedBytes } = await inTx(ctx, async ctx => {
      const booked = await book(ctx)
      const times = { changedAt: ctx.clock(), expiresAt: ctx.clock() + ctx.settings.uploadLifeMs }
      await ctx.db
        .updateTable('upload')
        .set({ receivedBytes: booked.receivedBytes, ...times })
        .where('id', '=', upload.id)
        .execute()
      return booked
    })
    await ctx.blobs.remove(dropped).catch(() => {}) // the sweep finds what stays behind
    return { segment, receivedBytes }
  } catch (error) {
    await discardContent(ctx, [segment], error)
    throw error
  }
}

/** Moves the upload to its next state and thereby holds its row until the transaction ends. Throws `wrong-state`. */
export async function lockUpload(
  ctx: TxCtx,
  uploadId: string,
  next: UploadState,
  columns: Partial<Upload> = {},
): Promise<Upload> {
  const upload = await ctx.db
    .updateTable('upload')
    .set({ ...columns, state: next, changedAt: ctx.clock() })
    .where('id', '=', uploadId)
    .where('state', 'in', canBecome(next))
    .returningAll()
    .executeTakeFirst()
  if (upload) return upload
  const { state } = await ctx.db
    .selectFrom('upload')
    .select('state')
    .where('id', '=', uploadId)
    .executeTakeFirstOrThrow()
  throw new DomainError('wrong-state', { what: 'upload', state, needed: canBecome(next).join(' or ') })
}

/** Drops segments from a byte on and shortens the one that reaches over it. Answers the ids of the dropped ones. */
async function cutFrom(ctx: TxCtx, blobId: string, startByte: number): Promise<string[]> {
  const dropped = await ctx.db
    .deleteFrom('segment')
    .where('blobId', '=', blobId)
    .where('startByte', '>=', startByte)
    .returning('id')
    .execute()
  await ctx.db
    .updateTable('segment')
    .set(eb => ({ usedBytes: eb(eb.val(startByte), '-', eb.ref('startByte')) }))
    .where('blobId', '=', blobId)
    .where(eb => eb(eb('startByte', '+', eb.ref('usedBytes')), '>', startByte))
    .execute()
  return dropped.map(row => row.id)
}

/** Gives the upload up; its bytes and its name are free at once. Throws `wrong-state` for an ended one. */
export function cancelUpload(ctx: Ctx, ref: UploadRef): Promise<void> {
  return inTx(ctx, async ctx => cancelUploadRow(ctx, await getUpload(ctx, ref)))
}

/** The act itself; the caller has asked for the right. */
export async function cancelUploadRow(ctx: TxCtx, upload: Upload): Promise<void> {
  await endUpload(ctx, upload, 'cancelled')
  await ctx.emit({ type: 'upload.cancelled', subject1: `upload:${upload.id}` })
}

/** What an ended upload keeps of its data key: nothing, so that the key goes with the last version that has it. */
export const keyless = { wrappedKey: new Uint8Array(0), keyName: '' }

/** Ends an upload without a file. */
export async function endUpload(
  ctx: TxCtx,
  upload: Upload,
  state: 'failed' | 'cancelled' | 'expired',
  failure: Partial<Upload> = {},
): Promise<void> {
  const times = { endedAt: ctx.clock(), expiresAt: ctx.clock() + ctx.settings.uploadLifeMs }
  await lockUpload(ctx, upload.id, state, { ...failure, ...times, ...keyless })
  if (upload.reservedNodeId !== null) {
    // Never seen by anybody, so nothing is lost with the row.
    await ctx.db.deleteFrom('node').where('id', '=', upload.reservedNodeId).where('state', '=', 'reserved').execute()
  }
  await enqueue(ctx, { kind: 'blob.collect', payload: { blobIds: [upload.blobId] } })
}
