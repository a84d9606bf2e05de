/** The end of an upload that took several requests (transfers.ts): its bytes become a file, or it says why not. */
import type { Selectable } from 'kysely'
import type { SegmentTable } from '#db/schema.ts'
import { digestContent } from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError, isDomainError } from './errors.ts'
import { placeFile, type Placed, type Placement } from './placement.ts'
import { stateAtBirth } from './screening-start.ts'
import {
  endUpload,
  getUpload,
  keyless,
  lockUpload,
  type Upload,
  type UploadAttributes,
  type UploadRef,
} from './transfers.ts'
import { requireAsExpected } from './uploads.ts'

/**
 * Ends the transfer and makes the file. With `onRefusal: 'fail'` a refusal (checksum, name, quota, …) ends the upload as `failed`,
 * readable with code and details; with `'reopen'` it stays as it was. Either way the refusal is thrown.
 */
export async function completeUpload(
  ctx: Ctx,
  input: UploadRef & {
    onRefusal: 'fail' | 'reopen'
    partNumbers?: readonly number[]
    /** Lower-case hex, in place of what the upload was opened with. */
    expectedSha256?: string
  },
): Promise<Placed> {
  await getUpload(ctx, input)
  const upload = await inTx(ctx, ctx => sealUpload(ctx, input))
  const expected = { ...upload, expectedSha256: input.expectedSha256 ?? upload.expectedSha256 }
  return finishUpload(ctx, expected, { onRefusal: input.onRefusal, place: placeAsOpened })
}

/** Where assembled content goes, in the transaction that ends the upload. */
export type Place = (ctx: TxCtx, content: Assembled, upload: Upload) => Promise<Placed>

/** Where the upload said from the beginning. */
const placeAsOpened: Place = (ctx, content, upload) => {
  const kept = JSON.parse(upload.attributes) as UploadAttributes // written by insertUpload
  const placement: Placement = {
    parentId: upload.parentId,
    name: upload.name,
    onConflict: upload.onConflict,
    mediaType: upload.mediaType,
    ...(kept.label !== undefined && { label: kept.label }),
    ...(kept.node && { attributes: kept.node }),
    ...(kept.metadata && { metadata: kept.metadata }),
    ...(upload.expectedRevision !== null && { expectedRevision: upload.expectedRevision }),
    ...(upload.reservedNodeId !== null && { reservedNodeId: upload.reservedNodeId }),
  }
  return placeFile(ctx, placement, content)
}

/** No more bytes from here on. Numbered parts get their places, in the given order or by number. */
export async function sealUpload(
  ctx: TxCtx,
  input: { uploadId: string; partNumbers?: readonly number[] },
): Promise<Upload> {
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

/** The second half of completeUpload, for a sealed upload. `md5` asks for that digest as well. */
export async function finishUpload(
  ctx: Ctx,
  upload: Upload,
  { onRefusal, place, md5 = false }: { onRefusal: 'fail' | 'reopen'; place: Place; md5?: boolean },
): Promise<Placed> {
  try {
    const content = await assemble(ctx, upload, md5 || upload.expectedMd5 !== null)
    requireAsExpected(
      {
        ...(upload.announcedBytes !== null && { announcedBytes: upload.announcedBytes }),
        ...(upload.expectedSha256 !== null && { expectedSha256: upload.expectedSha256 }),
        ...(upload.expectedMd5 !== null && { expectedMd5: upload.expectedMd5 }),
      },
      content,
    )
    return await inTx(ctx, ctx => storeUpload(ctx, upload, content, place))
  } catch (error) {
    if (isRefusal(error)) await refuseUpload(ctx, upload, error, onRefusal)
    throw error
  }
}

/** Not so when others were quicker, or the database is busy: then the same call may succeed later, or somebody else's has. */
const isRefusal = (error: unknown): error is DomainError =>
  isDomainError(error) && error.code !== 'busy' && error.code !== 'wrong-state'

export type Assembled = Awaited<ReturnType<typeof assemble>>

/** Size and digests of the whole: those of the only segment, or read back from several. */
async function assemble(ctx: Ctx, upload: Upload, wantsMd5: boolean) {
  const segments = await ctx.db
    .selectFrom('segment')
    .select(['usedBytes', 'sizeBytes', 'sha256', 'md5'])
    .where('blobId', '=', upload.blobId)
    .execute()
  const sizeBytes = segments.reduce((sum, segment) => sum + segment.usedBytes, 0)
  const limit = ctx.settings.maxFileBytes
  if (limit !== null && sizeBytes > limit) throw new DomainError('upload-too-large', { limitBytes: limit })
  const [only] = segments
  // Nobody has hashed what came by an address of the medium.
  const isKnown = only !== undefined && only.sha256 !== '' && !(wantsMd5 && only.md5 === null)
  const isWhole = segments.length === 1 && only?.usedBytes === only?.sizeBytes && isKnown
  const digests = isWhole ? only : await digestContent(ctx, { ...upload, sizeBytes }, { md5: wantsMd5 })
  return {
    blobId: upload.blobId,
    wrappedKey: upload.wrappedKey,
    keyName: upload.keyName,
    sizeBytes,
    sha256: digests.sha256,
    md5: digests.md5,
    screening: await stateAtBirth(ctx, { head: undefined, sizeBytes }),
    startedAt: upload.createdAt,
    endedAt: upload.changedAt,
  }
}

async function storeUpload(ctx: TxCtx, upload: Upload, content: Assembled, place: Place): Promise<Placed> {
  const current = await lockUpload(ctx, upload.id, 'stored') // its name may have been changed since it was sealed
  await ctx.db
    .updateTable('blob')
    .set({ sizeBytes: content.sizeBytes, sha256: content.sha256, md5: content.md5, sealedAt: ctx.clock() })
    .where('id', '=', upload.blobId)
    .execute()
  const placed = await place(ctx, content, current)
  const ended = {
    versionId: placed.version.id,
    endedAt: ctx.clock(),
    expiresAt: ctx.clock() + ctx.settings.uploadLifeMs,
    ...keyless,
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
