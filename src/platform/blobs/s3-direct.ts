/** Presigned addresses, by which clients put and get without us. */
import {
  CopyObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { DirectAccess } from '#core/ports.ts'
import { attempt, attemptToFind, directAt, statusOf, storedAt, type Bucket } from './s3-bucket.ts'

/** No signature may live longer. */
const LONGEST_S = 7 * 24 * 3_600
/** Attempts of one adoption that may find that it was put again meanwhile. */
const ADOPTIONS = 5

/** `signer` is a client of the endpoint that clients reach; it sends nothing. */
export function directAccess(bucket: Bucket, signer: S3Client, clock: () => number): DirectAccess {
  const lifetime = (expiresAt: number) => {
    const now = clock()
    const seconds = Math.floor((expiresAt - now) / 1_000)
    return { signingDate: new Date(now), expiresIn: Math.min(Math.max(seconds, 1), LONGEST_S) }
  }

  return {
    putAddress({ putId, sizeBytes, contentType, expiresAt }) {
      const request = new PutObjectCommand({
        Bucket: bucket.name,
        Key: directAt(bucket, putId),
        ContentLength: sizeBytes,
        ...(contentType !== undefined && { ContentType: contentType }),
      })
      const signed = ['host', 'content-length', ...(contentType === undefined ? [] : ['content-type'])]
      return getSignedUrl(signer, request, { ...lifetime(expiresAt), signableHeaders: new Set(signed) })
    },
    adopt: ids => adopt(bucket, ids),
    getAddress({ segmentId, contentType, disposition, expiresAt }) {
      const request = new GetObjectCommand({
        Bucket: bucket.name,
        Key: storedAt(bucket, segmentId),
        ResponseContentType: contentType,
        ResponseContentDisposition: disposition,
      })
      return getSignedUrl(signer, request, lifetime(expiresAt))
    },
  }
}

async function adopt(
  bucket: Bucket,
  { putId, segmentId }: { putId: string; segmentId: string },
): Promise<{ sizeBytes: number } | undefined> {
  const [from, to] = [directAt(bucket, putId), storedAt(bucket, segmentId)]
  for (let tries = 1; ; tries += 1) {
    const put = await findObject(bucket, from)
    if (!put) return undefined
    if (await copyObject(bucket, { from, to, etag: put.etag })) {
      await requireSize(bucket, to, put.sizeBytes)
      return { sizeBytes: put.sizeBytes }
    }
    if (tries === ADOPTIONS) throw new Error('S3: the object is put again and again')
  }
}

async function findObject({ client, name: Bucket }: Bucket, Key: string) {
  const found = await attemptToFind(client.send(new HeadObjectCommand({ Bucket, Key })))
  return found && { sizeBytes: found.ContentLength ?? 0, etag: found.ETag }
}

async function requireSize(bucket: Bucket, key: string, sizeBytes: number): Promise<void> {
  const found = await findObject(bucket, key)
  if (found?.sizeBytes !== sizeBytes) throw new Error('S3: the copy is not as long as what was copied')
}

/** False when the object is another one than that of the tag, or gone. */
async function copyObject(
  { client, name }: Bucket,
  { from, to, etag }: { from: string; to: string; etag: string | undefined },
): Promise<boolean> {
  const request = new CopyObjectCommand({
    Bucket: name,
    Key: to,
    CopySource: `${name}/${from}`,
    CopySourceIfMatch: etag,
    // What a client said about its bytes is kept in the database; the medium shows only what an address names.
    MetadataDirective: 'REPLACE',
    ContentType: 'application/octet-stream',
  })
  const failed = await client.send(request).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (failed === undefined) return true
  if ([404, 412].includes(statusOf(failed))) return false
  return attempt(Promise.reject(failed))
}
