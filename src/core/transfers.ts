/**
 * Uploads that take several requests, in whatever way the bytes come: one stream, chunks from a byte on, numbered parts, the
 * record first or the blob first. Any process may take any request: bytes lie in the blob store, the state in the table.
 */
import type { Selectable } from 'kysely'
import type { ConflictStrategy, SegmentTable, UploadState, UploadTable } from '#db/schema.ts'
import {
  digestContent,
  discardContent,
  insertSegmentRow,
  newDataKey,
  receiveSegment,
  unwrapKey,
  type Body,
  type ReceivedSegment,
} from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError, isDomainError } from './errors.ts'
import { requireWritableSpace } from './gates.ts'
import { enqueue } from './jobs.ts'
import { checkName, nameKey } from './names.ts'
import { findChild, nameTaken, openContainer, tryInsertNode, type NodeAttributes } from './nodes.ts'
import { placeFile, type Placed } from './placement.ts'
import { requireAsExpected } from './uploads.ts'

export type Upload = Selectable<UploadTable>

/** What may follow what. Ended uploads stay readable until they expire from the table. */
export const transitions: Record<UploadState, readonly UploadState[]> = {
  open: ['receiving', 'sealed', 'cancelled', 'expired'],
  receiving: ['receiving', 'sealed', 'cancelled', 'expired'],
  sealed: ['receiving', 'stored', 'failed', 'cancelled'],
  stored: [],
  failed: [],
  cancelled: [],
  expired: [],
}

const canBecome = (next: UploadState) =>
  (Object.keys(transitions) as UploadState[]).filter(state => transitions[state].includes(next)) // the table's own keys

/** Kept with the upload until it becomes a file. */
interface UploadAttributes {
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
    const { parent, space } = await openContainer(ctx, input.parentId, 'create')
    requireWritableSpace(ctx, space)
    const name = checkName(input.name)
    const limit = ctx.settings.maxFileBytes
    if (limit !== null && (input.announcedBytes ?? 0) > limit)
      throw new DomainError('upload-too-large', { limitBytes: limit })
    const reservedNodeId = input.reserve ? await reserveName(ctx, { parent, space, name }) : null
    const blobId = ctx.newId()
    await ctx.db
      .insertInto('blob')
      .values({
        id: blobId,
        tenantId: ctx.actor.tenantId,
        encryption: 'frames-1',
        sizeBytes: 0,
        createdAt: ctx.clock(),
      })
      .execute()
    const { wrappedKey, keyName } = newDataKey(ctx, blobId)
    const kept: UploadAttributes = {
      ...(input.attributes && { node: input.attributes }),
      ...(input.metadata && { metadata: input.metadata }),
      ...(input.label !== undefined && { label: input.label }),
    }
    return ctx.db
      .insertInto('upload')
      .values({
        id: ctx.newId(),
        tenantId: ctx.actor.tenantId,
        principalId: ctx.actor.principalId,
        shareId: ctx.actor.shareId ?? null,
        parentId: parent.id,
        name,
        reservedNodeId,
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
        createdAt: ctx.clock(),
        changedAt: ctx.clock(),
        expiresAt: ctx.clock() + ctx.settings.uploadLifeMs,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
  })
}

async function reserveName(
  ctx: TxCtx,
  { parent, space, name }: Pick<Awaited<ReturnType<typeof openContainer>>, 'parent' | 'space'> & { name: string },
): Promise<number> {
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const { caseRule } = space
  const node = await tryInsertNode(ctx, { id: id!, kind: 'file', parent, space, name, caseRule, state: 'reserved' })
  if (!node) throw nameTaken((await findChild(ctx, parent.id, nameKey(name, caseRule))) ?? parent)
  return node.id
}

/** An upload of the actor's, also an ended one. Throws `not-found`. */
export async function getUpload(ctx: Ctx, { uploadId }: { uploadId: string }): Promise<Upload> {
  const upload = await ctx.db
    .selectFrom('upload')
    .selectAll()
    .where('id', '=', uploadId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  const isOwn = upload?.principalId === ctx.actor.principalId && upload.shareId === (ctx.actor.shareId ?? null)
  if (!upload || !(isOwn || ctx.actor.kind === 'system'))
    throw new DomainError('not-found', { what: 'upload', id: uploadId })
  return upload
}

/**
 * Takes bytes from `startByte` on (default: where the last ones ended); what was there from that byte on is replaced.
 * Throws `upload-out-of-order` for a gap, `wrong-state`, `upload-too-large`, `storage-full`.
 */
export async function appendUpload(
  ctx: Ctx,
  input: { uploadId: string; startByte?: number; md5?: boolean },
  body: Body,
): Promise<Appended> {
  const upload = await openForBytes(ctx, input.uploadId)
  const startByte = input.startByte ?? upload.receivedBytes
  requireNoGap(upload, startByte)
  const segment = await receiveSegment(ctx, unwrapKey(ctx, upload), body, { startByte, md5: input.md5 ?? false })
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
  input: { uploadId: string; partNumber: number; md5?: boolean },
  body: Body,
): Promise<Appended> {
  const upload = await openForBytes(ctx, input.uploadId)
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

async function openForBytes(ctx: Ctx, uploadId: string): Promise<Upload> {
  const upload = await getUpload(ctx, { uploadId })
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
    await discardContent(ctx, [segment])
    throw error
  }
}

/** Moves the upload to its next state and thereby holds its row until the transaction ends. Throws `wrong-state`. */
async function lockUpload(
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

/**
 * Ends the transfer and makes the file. With `onRefusal: 'fail'` a refusal (checksum, name, quota, …) ends the upload as `failed`,
 * readable with code and details; with `'reopen'` it stays as it was. Either way the refusal is thrown.
 */
export async function completeUpload(
  ctx: Ctx,
  input: { uploadId: string; onRefusal: 'fail' | 'reopen'; partNumbers?: readonly number[] },
): Promise<Placed> {
  await getUpload(ctx, input)
  const upload = await inTx(ctx, ctx => sealUpload(ctx, input))
  return finishUpload(ctx, upload, input.onRefusal)
}

/** No more bytes from here on. Numbered parts get their places, in the given order or by number. */
async function sealUpload(ctx: TxCtx, input: { uploadId: string; partNumbers?: readonly number[] }): Promise<Upload> {
  const upload = await lockUpload(ctx, input.uploadId, 'sealed')
  const parts = await ctx.db
    .selectFrom('segment')
    .select(['id', 'partNumber', 'usedBytes'])
    .where('blobId', '=', upload.blobId)
    .where('partNumber', 'is not', null)
    .orderBy('partNumber')
    .execute()
  if (parts.length > 0) await placeParts(ctx, upload, parts, input.partNumbers)
  return upload
}

type Part = Pick<Selectable<SegmentTable>, 'id' | 'partNumber' | 'usedBytes'>

async function placeParts(
  ctx: TxCtx,
  upload: Upload,
  parts: readonly Part[],
  order?: readonly number[],
): Promise<void> {
  const byNumber = new Map(parts.map(part => [part.partNumber, part]))
  const chosen = (order?.map(number => byNumber.get(number)) ?? parts).filter(part => part !== undefined)
  if (new Set(chosen).size !== parts.length || (order && order.length !== parts.length)) {
    throw new DomainError('invalid-input', { field: 'parts', rule: 'name every stored part once' })
  }
  let startByte = 0
  for (const part of chosen) {
    await ctx.db.updateTable('segment').set({ startByte }).where('id', '=', part.id).execute()
    startByte += part.usedBytes
  }
}

async function finishUpload(ctx: Ctx, upload: Upload, onRefusal: 'fail' | 'reopen'): Promise<Placed> {
  try {
    const content = await assemble(ctx, upload)
    requireAsExpected(
      {
        ...(upload.announcedBytes !== null && { announcedBytes: upload.announcedBytes }),
        ...(upload.expectedSha256 !== null && { expectedSha256: upload.expectedSha256 }),
        ...(upload.expectedMd5 !== null && { expectedMd5: upload.expectedMd5 }),
      },
      content,
    )
    return await inTx(ctx, ctx => storeUpload(ctx, upload, content))
  } catch (error) {
    if (isDomainError(error)) await refuseUpload(ctx, upload, error, onRefusal)
    throw error
  }
}

type Assembled = Awaited<ReturnType<typeof assemble>>

/** Size and digests of the whole: those of the only segment, or read back from several. */
async function assemble(ctx: Ctx, upload: Upload) {
  const segments = await ctx.db
    .selectFrom('segment')
    .select(['usedBytes', 'sizeBytes', 'sha256', 'md5'])
    .where('blobId', '=', upload.blobId)
    .execute()
  const sizeBytes = segments.reduce((sum, segment) => sum + segment.usedBytes, 0)
  const [only] = segments
  const wantsMd5 = upload.expectedMd5 !== null
  const isWhole = segments.length === 1 && only?.usedBytes === only?.sizeBytes && !(wantsMd5 && only?.md5 === null)
  const digests = isWhole && only ? only : await digestContent(ctx, { ...upload, sizeBytes }, { md5: wantsMd5 })
  return {
    blobId: upload.blobId,
    wrappedKey: upload.wrappedKey,
    keyName: upload.keyName,
    sizeBytes,
    sha256: digests.sha256,
    md5: digests.md5,
    startedAt: upload.createdAt,
    endedAt: upload.changedAt,
  }
}

async function storeUpload(ctx: TxCtx, upload: Upload, content: Assembled): Promise<Placed> {
  const kept = JSON.parse(upload.attributes) as UploadAttributes // written by openUpload
  await lockUpload(ctx, upload.id, 'stored')
  await ctx.db
    .updateTable('blob')
    .set({ sizeBytes: content.sizeBytes, sha256: content.sha256, md5: content.md5, sealedAt: ctx.clock() })
    .where('id', '=', upload.blobId)
    .execute()
  const placed = await placeFile(
    ctx,
    {
      parentId: upload.parentId,
      name: upload.name,
      onConflict: upload.onConflict,
      mediaType: upload.mediaType,
      ...(kept.label !== undefined && { label: kept.label }),
      ...(kept.node && { attributes: kept.node }),
      ...(kept.metadata && { metadata: kept.metadata }),
      ...(upload.expectedRevision !== null && { expectedRevision: upload.expectedRevision }),
      ...(upload.reservedNodeId !== null && { reservedNodeId: upload.reservedNodeId }),
    },
    content,
  )
  const ended = {
    versionId: placed.version.id,
    endedAt: ctx.clock(),
    expiresAt: ctx.clock() + ctx.settings.uploadLifeMs,
  }
  await ctx.db.updateTable('upload').set(ended).where('id', '=', upload.id).execute()
  return placed
}

async function refuseUpload(ctx: Ctx, upload: Upload, error: DomainError, onRefusal: 'fail' | 'reopen'): Promise<void> {
  await inTx(ctx, async ctx => {
    if (onRefusal === 'reopen') {
      await lockUpload(ctx, upload.id, 'receiving')
      return
    }
    const failure = { failureCode: error.code, failureDetails: JSON.stringify(error.details) }
    await endUpload(ctx, upload, 'failed', failure)
    await ctx.emit({ type: 'upload.failed', subject1: `upload:${upload.id}`, facts: { code: error.code } })
  })
}

/** Gives the upload up; its bytes and its name are free at once. Throws `wrong-state` for an ended one. */
export function cancelUpload(ctx: Ctx, { uploadId }: { uploadId: string }): Promise<void> {
  return inTx(ctx, async ctx => {
    const upload = await getUpload(ctx, { uploadId })
    await endUpload(ctx, upload, 'cancelled')
    await ctx.emit({ type: 'upload.cancelled', subject1: `upload:${uploadId}` })
  })
}

/** Ends an upload without a file. */
export async function endUpload(
  ctx: TxCtx,
  upload: Upload,
  state: 'failed' | 'cancelled' | 'expired',
  failure: Partial<Upload> = {},
): Promise<void> {
  const times = { endedAt: ctx.clock(), expiresAt: ctx.clock() + ctx.settings.uploadLifeMs }
  await lockUpload(ctx, upload.id, state, { ...failure, ...times })
  if (upload.reservedNodeId !== null) {
    // Never seen by anybody, so nothing is lost with the row.
    await ctx.db.deleteFrom('node').where('id', '=', upload.reservedNodeId).where('state', '=', 'reserved').execute()
  }
  await enqueue(ctx, { kind: 'blob.collect', payload: { blobIds: [upload.blobId] } })
}
