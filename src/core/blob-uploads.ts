/**
 * Uploads whose bytes come before anybody says where they belong: the client announces a blob, puts its bytes under a signed
 * address, of ours or of the medium, and names the blob when it makes or changes a file.
 */
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import type { Body } from './content.ts'
import { DomainError, isDomainError } from './errors.ts'
import { getTenantRoot } from './nodes.ts'
import { placeFile, placeVersion, type NewContent, type Placed, type Placement } from './placement.ts'
import { finishUpload, sealUpload, type Place } from './transfer-completion.ts'
import { appendUpload, insertUpload, transitions, type Appended, type Upload } from './transfers.ts'
import { requireAsExpected, requireBelowLimit } from './uploads.ts'

/** How long an address takes or gives bytes. */
export const ADDRESS_LIFE_MS = 3_600_000

/** A blob that may be filled until `addressExpiresAt`, epoch milliseconds. */
export interface AnnouncedBlob {
  blobId: string
  addressExpiresAt: number
  /** An address of the medium; undefined where the bytes come through us. */
  directAddress: string | undefined
}

/**
 * Announces a blob of exactly `announcedBytes`; without `mediaType`, any. Until it is used it is nobody's file and stands at the
 * tenant's root. Throws `upload-too-large`, and `forbidden` for who has no account.
 */
export async function announceBlob(
  ctx: Ctx,
  input: { announcedBytes: number; mediaType?: string },
): Promise<AnnouncedBlob> {
  const { kind, shareId } = ctx.actor
  if (kind === 'share' || shareId !== undefined) throw new DomainError('forbidden', { action: 'create' })
  requireBelowLimit(ctx, input)
  const upload = await inTx(ctx, ctx => insertAnnounced(ctx, input))
  const addressExpiresAt = upload.createdAt + ADDRESS_LIFE_MS
  const directAddress = await ctx.blobs.direct?.putAddress({
    putId: upload.id,
    sizeBytes: input.announcedBytes,
    ...(input.mediaType !== undefined && { contentType: input.mediaType }),
    expiresAt: addressExpiresAt,
  })
  return { blobId: upload.blobId, addressExpiresAt, directAddress }
}

async function insertAnnounced(ctx: TxCtx, input: { announcedBytes: number; mediaType?: string }): Promise<Upload> {
  const root = await getTenantRoot(ctx)
  const isDirect = ctx.blobs.direct !== undefined
  const upload = await insertUpload(ctx, {
    parentId: root.id,
    name: '',
    onConflict: 'fail',
    mediaType: input.mediaType ?? '',
    announcedBytes: input.announcedBytes,
    reserved: null,
    encryption: isDirect ? 'none' : 'frames-1',
  })
  // The sweep takes what no row knows, and the bytes may be there long before the blob is used.
  if (isDirect) await insertPlainSegment(ctx, { id: upload.id, blobId: upload.blobId, sizeBytes: input.announcedBytes })
  return upload
}

/** A segment that nobody has hashed. */
async function insertPlainSegment(
  ctx: TxCtx,
  { id, blobId, sizeBytes }: { id: string; blobId: string; sizeBytes: number },
): Promise<void> {
  const segment = { id, blobId, startByte: 0, sizeBytes, usedBytes: sizeBytes, sha256: '', createdAt: ctx.clock() }
  await ctx.db.insertInto('segment').values(segment).execute()
}

/** The upload of an announced blob, also a used one; of anybody in the tenant, as its name is the secret. Throws `not-found`. */
export async function getBlobUpload(ctx: Ctx, { blobId }: { blobId: string }): Promise<Upload> {
  const root = await getTenantRoot(ctx)
  const upload = await ctx.db
    .selectFrom('upload')
    .selectAll()
    .where('blobId', '=', blobId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('parentId', '=', root.id)
    .executeTakeFirst()
  if (!upload) throw new DomainError('not-found', { what: 'blob', id: blobId })
  return upload
}

/**
 * Takes the bytes of an announced blob, in place of what came before. `announced` is what the request says of them.
 * Throws `not-found`, `wrong-state` once the blob was used, `upload-incomplete` for another length than announced.
 */
export async function receiveBlob(
  ctx: Ctx,
  input: { blobId: string; mediaType: string; lengthBytes: number | undefined },
  body: Body,
): Promise<Appended> {
  const upload = await getBlobUpload(ctx, input)
  const exactBytes = upload.announcedBytes ?? 0
  if (input.lengthBytes !== undefined) requireAsExpected({ announcedBytes: exactBytes }, received(input.lengthBytes))
  const appended = await appendUpload(ctx, { uploadId: upload.id, startByte: 0, exactBytes, md5: true }, body)
  if (upload.mediaType === '' && input.mediaType !== '') {
    await inTx(ctx, ctx =>
      ctx.db.updateTable('upload').set({ mediaType: input.mediaType }).where('id', '=', upload.id).execute(),
    )
  }
  return appended
}

const received = (sizeBytes: number) => ({ sizeBytes, sha256: '', md5: null })

/** From the media type that a blob was uploaded with, empty where none was named, to that of the file. */
type ChooseType = (uploaded: string) => string

/** Makes a file of a blob. Throws what placeFile throws and what `useBlob` throws; then the blob can be used again. */
export function storeBlob(
  ctx: Ctx,
  input: { blobId: string; placement: Omit<Placement, 'mediaType'>; mediaType: ChooseType },
): Promise<Placed> {
  return useBlob(ctx, input, (ctx, content, upload) =>
    placeFile(ctx, { ...input.placement, mediaType: input.mediaType(upload.mediaType) }, content),
  )
}

/** Gives a file the content of a blob. `expectedMd5` is lower-case hex. */
export function storeBlobAsVersion(
  ctx: Ctx,
  input: { blobId: string; expectedMd5: string; version: Omit<NewContent, 'mediaType'>; mediaType: ChooseType },
): Promise<Placed> {
  return useBlob(ctx, input, (ctx, content, upload) =>
    placeVersion(ctx, { ...input.version, mediaType: input.mediaType(upload.mediaType) }, content),
  )
}

/** Throws `not-found`, `wrong-state` (never filled, or used already), `upload-incomplete`, `checksum-mismatch`. */
async function useBlob(ctx: Ctx, input: { blobId: string; expectedMd5?: string }, place: Place): Promise<Placed> {
  const upload = await sealBlob(ctx, await getOwnUpload(ctx, input))
  const expected = { ...upload, expectedMd5: input.expectedMd5 ?? null }
  const placed = await finishUpload(ctx, expected, { onRefusal: 'reopen', place, md5: true })
  if (ctx.blobs.direct) await ctx.blobs.remove([upload.id]).catch(() => {}) // the sweep finds what stays behind
  return placed
}

async function getOwnUpload(ctx: Ctx, input: { blobId: string }): Promise<Upload> {
  const upload = await getBlobUpload(ctx, input)
  if (upload.principalId !== ctx.actor.principalId)
    throw new DomainError('not-found', { what: 'blob', id: input.blobId })
  return upload
}

/** No more bytes from here on: what an address of the medium took becomes a segment that the address does not reach. */
async function sealBlob(ctx: Ctx, upload: Upload): Promise<Upload> {
  if (transitions[upload.state].length === 0) throw notFilled(upload)
  const segmentId = ctx.newId()
  const put = await ctx.blobs.direct?.adopt({ putId: upload.id, segmentId })
  if (!put) {
    if (upload.state === 'open') throw notFilled(upload)
    return inTx(ctx, ctx => sealUpload(ctx, { uploadId: upload.id }))
  }
  try {
    requireAsExpected({ announcedBytes: upload.announcedBytes ?? 0 }, received(put.sizeBytes))
    return await inTx(ctx, async ctx => {
      const sealed = await sealUpload(ctx, { uploadId: upload.id })
      await ctx.db.deleteFrom('segment').where('blobId', '=', upload.blobId).execute()
      await insertPlainSegment(ctx, { id: segmentId, blobId: upload.blobId, sizeBytes: put.sizeBytes })
      return sealed
    })
  } catch (error) {
    if (isDomainError(error)) await ctx.blobs.remove([segmentId]).catch(() => {}) // else the sweep decides
    throw error
  }
}

const notFilled = ({ state }: Upload) => new DomainError('wrong-state', { what: 'upload', state, needed: 'receiving' })
