/** One bucket of an S3 service: how to reach it, how its objects are called, what its refusals mean. */
import { createHash } from 'node:crypto'
import { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { DomainError, StoreUnavailable } from '#core/errors.ts'
import { damaged } from './frames.ts'
import type { S3Place } from './location.ts'
import { checkedSegmentId } from './segment-id.ts'

export interface Bucket {
  client: S3Client
  name: string
  /** Empty, or ends with a slash. */
  prefix: string
}

export const segmentsFolder = ({ prefix }: Bucket): string => `${prefix}segments/`
/** What clients put by address, before it is taken over. */
export const directFolder = ({ prefix }: Bucket): string => `${prefix}direct/`

export const storedAt = (bucket: Bucket, segmentId: string): string =>
  `${segmentsFolder(bucket)}${checkedSegmentId(segmentId)}`
export const directAt = (bucket: Bucket, segmentId: string): string =>
  `${directFolder(bucket)}${checkedSegmentId(segmentId)}`

const ATTEMPTS = 5
const CONNECT_TIMEOUT_MS = 5_000
/** A connection on which nothing moves for so long is given up; whoever reads slowly gets a new one. */
const SOCKET_TIMEOUT_MS = 60_000
/** Each download holds a connection for as long as its client reads. */
const AGENT = { keepAlive: true, maxSockets: 2_000 }

/** A client of the place. `endpoint` stands in for the configured one. */
export function openClient(place: S3Place, endpoint = place.endpoint): S3Client {
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = place
  const client = new S3Client({
    region: place.region,
    ...(endpoint && { endpoint }),
    ...(accessKeyId && { credentials: { accessKeyId, secretAccessKey } }),
    forcePathStyle: place.pathStyle,
    maxAttempts: ATTEMPTS,
    retryMode: 'standard',
    // Other engines than Amazon's take neither its trailers nor its newer checksums; Content-MD5 all of them check.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      httpAgent: AGENT,
      httpsAgent: AGENT,
    },
  })
  addContentMd5(client)
  return client
}

/** The part of a request that is looked at here. */
interface Outgoing {
  headers: Record<string, string>
  body?: unknown
}

/** Removing many objects at once needs a checksum; the one that every engine takes is Content-MD5. */
function addContentMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => args => {
      const request = args.request as Outgoing // an HTTP request at this step
      if (context.commandName === 'DeleteObjectsCommand' && typeof request.body === 'string') {
        for (const name of Object.keys(request.headers)) {
          if (/^x-amz-(checksum|sdk-checksum)-/.test(name)) delete request.headers[name]
        }
        request.headers['content-md5'] = createHash('md5').update(request.body).digest('base64')
      }
      return next(args)
    },
    { step: 'build', priority: 'low', name: 'contentMd5' }, // low: after the SDK has added its own
  )
}

/** What an engine says that has no room left, or whose account has used up its share. */
const NO_ROOM: ReadonlySet<string> = new Set([
  'QuotaExceeded',
  'InsufficientStorage',
  'InsufficientStorageSpace',
  'StorageFull',
  'NotEnoughSpace',
  'XMinioStorageFull',
])

export const statusOf = (error: unknown): number =>
  error instanceof S3ServiceException ? (error.$metadata.httpStatusCode ?? 0) : 0

/** The answer to `request`; a refusal becomes an error that says why, without the request that it answers. */
export async function attempt<T>(request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    throw failureOf(error)
  }
}

function failureOf(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(`S3: ${String(error)}`)
  if (error instanceof DomainError) return error
  if (statusOf(error) === 507 || NO_ROOM.has(error.name)) return new DomainError('storage-full', {})
  const code = 'code' in error ? String(error.code) : error.name
  const status = statusOf(error) ? ` (${statusOf(error)})` : ''
  const message = `S3: ${code}${status}: ${error.message}`
  // No answer at all, or one that says that another try may get a better one.
  const isAway = statusOf(error) === 0 || statusOf(error) === 429 || statusOf(error) >= 500
  return Object.assign(isAway ? new StoreUnavailable(message) : new Error(message), { code })
}

/** The answer to a request about an object that must be there. Throws DomainError `content-damaged` where it is not. */
export async function attemptToRead<T>(request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    // 412: it is another one than a moment ago; 416: it is shorter than it should be.
    throw [404, 412, 416].includes(statusOf(error)) ? damaged() : failureOf(error)
  }
}

/** The answer to a request about an object that may be gone; undefined when it is. */
export async function attemptToFind<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request
  } catch (error) {
    if (statusOf(error) === 404) return undefined
    throw failureOf(error)
  }
}
