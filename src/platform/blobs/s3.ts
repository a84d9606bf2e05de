/** The blob store in an S3 bucket; docs/blob-format.md says where and in what form. */
import {
  GetBucketEncryptionCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import type { BlobStore } from '#core/ports.ts'
import { BlobsRefused, type S3Place } from './location.ts'
import type { BlobsLog } from './open.ts'
import { attempt, openClient, statusOf, type Bucket } from './s3-bucket.ts'
import { directAccess } from './s3-direct.ts'
import { listObjects, removeObjects } from './s3-objects.ts'
import { readSegment, readStored } from './s3-read.ts'
import { openWriter, writeStored } from './s3-writer.ts'

export interface S3Options extends S3Place {
  log: BlobsLog
  clock?: () => number
}

const CHECK_TIMEOUT_MS = 5_000

/** Opens the store. Throws BlobsRefused when the bucket cannot be used as it is configured. */
export async function s3BlobStore({ log, clock = Date.now, ...place }: S3Options): Promise<BlobStore> {
  const client = openClient(place)
  const bucket: Bucket = { client, name: place.bucket, prefix: place.prefix }
  const signer = place.publicEndpoint ? openClient(place, place.publicEndpoint) : client
  let closed = false
  const requireOpen = () => {
    if (closed) throw new Error('The blob store was closed')
  }

  try {
    await requireBucket(bucket)
    if (place.direct) await noteEncryption(bucket, log)
  } catch (error) {
    client.destroy()
    throw error
  }

  return {
    kind: 's3',
    async create({ segmentId, key, md5 = false }) {
      requireOpen()
      return openWriter(bucket, { segmentId, key, md5 })
    },
    async *read(input) {
      requireOpen()
      yield* readSegment(bucket, input)
    },
    remove: segmentIds => removeObjects(bucket, segmentIds),
    list: () => listObjects(bucket),
    readStored: segmentId => readStored(bucket, segmentId),
    writeStored: (segmentId, stored, storedBytes) => writeStored(bucket, segmentId, stored, storedBytes),
    ...(place.direct && { direct: directAccess(bucket, signer, clock) }),
    check: () => check(bucket),
    async close() {
      closed = true
      for (const open of new Set([client, signer])) open.destroy()
    },
  }
}

/** A full or read-only medium refuses a write and nothing less; one object is overwritten again and again. */
async function check({ client, name: Bucket, prefix }: Bucket): Promise<void> {
  const request = new PutObjectCommand({ Bucket, Key: `${prefix}check`, Body: '.' })
  await attempt(client.send(request, { abortSignal: AbortSignal.timeout(CHECK_TIMEOUT_MS) }))
}

const CREDENTIALS = 'ENTREPOT_S3_ACCESS_KEY and ENTREPOT_S3_SECRET_KEY'

/** What a refusal at start most likely means, by the service's code. */
const meanings: Readonly<Record<string, string>> = {
  NoSuchBucket: 'ENTREPOT_BLOBS_URL names a bucket that does not exist',
  InvalidBucketName: 'ENTREPOT_BLOBS_URL names a bucket that cannot exist',
  InvalidAccessKeyId: 'ENTREPOT_S3_ACCESS_KEY is not known to the service',
  SignatureDoesNotMatch: 'ENTREPOT_S3_SECRET_KEY does not fit ENTREPOT_S3_ACCESS_KEY',
  AccessDenied: `${CREDENTIALS} do not open the bucket that ENTREPOT_BLOBS_URL names`,
  CredentialsProviderError: `${CREDENTIALS} are not set, and no other credentials were found`,
  PermanentRedirect: 'ENTREPOT_S3_REGION is not the region of the bucket',
  AuthorizationHeaderMalformed: 'ENTREPOT_S3_REGION is not the region of the bucket',
  IllegalLocationConstraintException: 'ENTREPOT_S3_REGION is not the region of the bucket',
}

async function requireBucket({ client, name: Bucket, prefix: Prefix }: Bucket): Promise<void> {
  try {
    await client.send(new ListObjectsV2Command({ Bucket, Prefix, MaxKeys: 1 }))
  } catch (error) {
    const name = error instanceof Error ? error.name : String(error)
    const answered = error instanceof S3ServiceException && statusOf(error) > 0
    const unknown = answered
      ? `ENTREPOT_BLOBS_URL cannot be used: the service answers ${name} (${statusOf(error)})`
      : `ENTREPOT_S3_ENDPOINT does not answer: ${reasonOf(error)}`
    throw new BlobsRefused(meanings[name] ?? unknown, { cause: error })
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error)

/** What clients put by address passes no server that could encrypt it. */
async function noteEncryption(bucket: Bucket, log: BlobsLog): Promise<void> {
  const { name } = bucket
  const encrypts = await encryptsByDefault(bucket)
  if (typeof encrypts === 'string') {
    log.debug(`whether bucket ${name} encrypts by default is not known: the service answers ${encrypts}`)
  } else if (!encrypts) {
    log.warn(
      `bucket ${name} has no default encryption: what clients put there by themselves lies in it as it is ` +
        '(switch the encryption on, or set ENTREPOT_S3_DIRECT=off)',
    )
  }
}

/** A text where the service does not tell: its answer. */
async function encryptsByDefault({ client, name: Bucket }: Bucket): Promise<boolean | string> {
  try {
    const { ServerSideEncryptionConfiguration: found } = await client.send(new GetBucketEncryptionCommand({ Bucket }))
    return Boolean(found?.Rules?.length)
  } catch (error) {
    const name = error instanceof Error ? error.name : String(error)
    return name === 'ServerSideEncryptionConfigurationNotFoundError' ? false : name
  }
}
