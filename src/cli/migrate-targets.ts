/** Where a move goes to, as the options say it. */
import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Config } from '#config'
import { isPostgres } from '#db/open.ts'
import { blobsLocation, type BlobsLocation, type BlobsPlace } from '#platform/blobs/location.ts'
import { CommandFailed } from './terminal.ts'

export interface TargetOptions {
  toPostgres?: string
  toS3?: string
  toDisk?: string
  work?: string
}

export interface Targets {
  /** Undefined where the database stays. */
  databaseUrl: string | undefined
  /** Undefined where contents stay. */
  blobs: BlobsTarget | undefined
  /** For what is needed on the way. */
  workDir: string
}

interface BlobsTarget {
  location: BlobsLocation
  /** As ENTREPOT_BLOBS_URL takes it. */
  url: string
}

/** Throws CommandFailed for options that name no target, or the source itself. */
export function readTargets({ toPostgres, toS3, toDisk, work }: TargetOptions, config: Config): Targets {
  const databaseUrl = toPostgres === undefined ? undefined : postgresUrl(toPostgres)
  const blobs = blobsTarget({ toS3, toDisk }, config)
  if (!databaseUrl && !blobs) throw new CommandFailed('Name a target: --to-postgres, --to-s3 or --to-disk')
  return { databaseUrl, blobs, workDir: resolve(work ?? `${config.dataDir}.migration`) }
}

function postgresUrl(text: string): string {
  if (isPostgres(text) && URL.canParse(text)) return text
  throw new CommandFailed('--to-postgres must be postgres://<user>@<host>/<database>')
}

type BlobsOptions = { [K in 'toS3' | 'toDisk']: string | undefined }

function blobsTarget({ toS3, toDisk }: BlobsOptions, { blobs }: Config): BlobsTarget | undefined {
  if (toS3 !== undefined && toDisk !== undefined)
    throw new CommandFailed('Contents have one place: --to-s3 or --to-disk')
  if (toS3 !== undefined) return s3Target(toS3, blobs)
  return toDisk === undefined ? undefined : diskTarget(resolve(toDisk), blobs)
}

function s3Target(url: string, now: BlobsPlace): BlobsTarget {
  const location = blobsLocation(url)
  if (location?.kind !== 's3') throw new CommandFailed('--to-s3 must be s3://<bucket>[/<prefix>]')
  if (now.kind === 's3' && now.bucket === location.bucket && now.prefix === location.prefix) throw alreadyThere()
  return { location, url }
}

function diskTarget(dir: string, now: BlobsPlace): BlobsTarget {
  if (now.kind === 'disk' && dir === resolve(now.dir)) throw alreadyThere()
  // A directory of something else must not fill up with ours.
  const entries = existsSync(dir) ? readdirSync(dir) : []
  if (entries.length > 0 && !entries.includes('objects')) throw new CommandFailed(`${dir} is not empty`)
  return { location: { kind: 'disk', dir }, url: pathToFileURL(dir).href }
}

const alreadyThere = () => new CommandFailed('The contents are in that place already')
