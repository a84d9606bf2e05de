/** What there is in a bucket, and its removal. */
import {
  AbortMultipartUploadCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type ListMultipartUploadsCommandOutput,
  type ListObjectsV2CommandOutput,
  type ListPartsCommandOutput,
  type MultipartUpload,
} from '@aws-sdk/client-s3'
import type { StoredObject } from '#core/ports.ts'
import { attempt, attemptToFind, directAt, directFolder, segmentsFolder, storedAt, type Bucket } from './s3-bucket.ts'
import { isSegmentId } from './segment-id.ts'

/** Most objects that one request removes. */
const REMOVE_BATCH = 1_000

export async function* listObjects(bucket: Bucket): AsyncGenerator<StoredObject> {
  yield* listFolder(bucket, segmentsFolder(bucket), 'stored')
  yield* listFolder(bucket, directFolder(bucket), 'staged')
  for await (const upload of runningUploads(bucket)) {
    const received = await receivedParts(bucket, upload)
    if (received) yield { segmentId: upload.segmentId, state: 'staged', ...received }
  }
}

async function* listFolder(
  { client, name: Bucket }: Bucket,
  Prefix: string,
  state: StoredObject['state'],
): AsyncGenerator<StoredObject> {
  let next: { ContinuationToken?: string | undefined } | undefined = {}
  while (next) {
    const request: ListObjectsV2Command = new ListObjectsV2Command({ Bucket, Prefix, ...next })
    const page: ListObjectsV2CommandOutput = await attempt(client.send(request))
    for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
      const segmentId = Key.slice(Prefix.length)
      const changedAt = LastModified?.getTime() ?? 0
      if (isSegmentId(segmentId)) yield { segmentId, state, storedBytes: Size, changedAt }
    }
    next = page.IsTruncated ? { ContinuationToken: page.NextContinuationToken } : undefined
  }
}

interface RunningUpload {
  segmentId: string
  key: string
  uploadId: string
  /** Epoch milliseconds. */
  startedAt: number
}

/** Uploads in parts that were neither completed nor aborted. */
async function* runningUploads(bucket: Bucket): AsyncGenerator<RunningUpload> {
  const { client, name: Bucket } = bucket
  const Prefix = segmentsFolder(bucket)
  let next: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {}
  while (next) {
    const request: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({ Bucket, Prefix, ...next })
    const page: ListMultipartUploadsCommandOutput = await attempt(client.send(request))
    for (const upload of page.Uploads ?? []) {
      const found = runningUpload(Prefix, upload)
      if (found) yield found
    }
    next = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
  }
}

function runningUpload(folder: string, { Key = '', UploadId, Initiated }: MultipartUpload): RunningUpload | undefined {
  const segmentId = Key.slice(folder.length)
  if (!Key.startsWith(folder) || !isSegmentId(segmentId) || !UploadId) return undefined
  return { segmentId, key: Key, uploadId: UploadId, startedAt: Initiated?.getTime() ?? 0 }
}

/** An upload is as young as its last part. Undefined when it has ended meanwhile. */
async function receivedParts({ client, name: Bucket }: Bucket, { key: Key, uploadId, startedAt }: RunningUpload) {
  const received = { storedBytes: 0, changedAt: startedAt }
  let next: { PartNumberMarker?: string | undefined } | undefined = {}
  while (next) {
    const request: ListPartsCommand = new ListPartsCommand({ Bucket, Key, UploadId: uploadId, ...next })
    const page: ListPartsCommandOutput | undefined = await attemptToFind(client.send(request))
    if (!page) return undefined
    for (const { Size = 0, LastModified } of page.Parts ?? []) {
      received.storedBytes += Size
      received.changedAt = Math.max(received.changedAt, LastModified?.getTime() ?? 0)
    }
    // Some engines name a next page that there is not.
    next = page.IsTruncated ? { PartNumberMarker: page.NextPartNumberMarker } : undefined
  }
  return received
}

/** Removes segments, what clients put for them, and uploads of them that still run. */
export async function removeObjects(bucket: Bucket, segmentIds: readonly string[]): Promise<void> {
  if (segmentIds.length === 0) return
  const keys = segmentIds.flatMap(segmentId => [storedAt(bucket, segmentId), directAt(bucket, segmentId)])
  await abortUploads(bucket, new Set(segmentIds))
  for (let at = 0; at < keys.length; at += REMOVE_BATCH) await removeKeys(bucket, keys.slice(at, at + REMOVE_BATCH))
}

async function removeKeys({ client, name: Bucket }: Bucket, keys: readonly string[]): Promise<void> {
  const Objects = keys.map(Key => ({ Key }))
  const { Errors: [refused] = [] } = await attempt(
    client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } })),
  )
  if (refused && refused.Code !== 'NoSuchKey') throw new Error(`S3: an object cannot be removed: ${refused.Code}`)
}

async function abortUploads(bucket: Bucket, segmentIds: ReadonlySet<string>): Promise<void> {
  const { client, name: Bucket } = bucket
  for await (const { segmentId, key: Key, uploadId: UploadId } of runningUploads(bucket)) {
    if (!segmentIds.has(segmentId)) continue
    await attemptToFind(client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })))
  }
}
