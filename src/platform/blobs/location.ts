/** Where contents lie, as `ENTREPOT_BLOBS_URL` and `entrepot migrate --to-s3` name it. */
import { fileOf } from '#platform/file-url.ts'

export type BlobsLocation = { kind: 'disk'; dir: string } | { kind: 's3'; bucket: string; prefix: string }

/** How an S3 service is reached; the same for every bucket. */
export interface S3Access {
  /** Empty for Amazon's own. */
  endpoint: string
  region: string
  /** Both empty: from the environment, the profile or the machine, as Amazon's tools look for them. */
  accessKey: string
  secretKey: string
  /** The bucket stands in the path, not in the host's name. */
  pathStyle: boolean
  /** What the addresses for clients begin with; empty for the endpoint. */
  publicEndpoint: string
  /** Clients may be given addresses. */
  direct: boolean
}

export type DiskPlace = Extract<BlobsLocation, { kind: 'disk' }>
export type S3Place = Extract<BlobsLocation, { kind: 's3' }> & S3Access
export type BlobsPlace = DiskPlace | S3Place

export const blobsLocationHint = 'file:<directory> or s3://<bucket>/<prefix>'

const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/
/** What every engine takes in a key as it stands. */
const PREFIX = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/

/** `file:<dir>` or `s3://<bucket>[/<prefix>]`; undefined for anything else. A prefix gets its closing slash. */
export function blobsLocation(text: string): BlobsLocation | undefined {
  const dir = fileOf(text)
  if (dir) return { kind: 'disk', dir }
  if (!text.startsWith('s3://')) return undefined
  const [bucket = '', ...path] = text.slice(5).replace(/\/+$/, '').split('/')
  const prefix = path.join('/')
  if (!BUCKET.test(bucket) || (prefix !== '' && !PREFIX.test(prefix))) return undefined
  return { kind: 's3', bucket, prefix: prefix && `${prefix}/` }
}

/** The place cannot be used as it is configured. The message names the variable. */
export class BlobsRefused extends Error {}
