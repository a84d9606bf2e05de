/** The contents' part of a backup: every object that a row of the copied database knows. */
import { constants, copyFile, link, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isDomainError } from '#core/errors.ts'
import type { BlobStore } from '#core/ports.ts'
import type { Database } from '#db/database.ts'
import { diskBlobStore, objectFile } from '#platform/blobs/disk.ts'
import { storedSize } from '#platform/blobs/frames.ts'
import type { BlobsPlace } from '#platform/blobs/location.ts'
import { syncFile, syncFolder } from '#platform/blobs/sync-folder.ts'
import { CommandFailed } from './terminal.ts'

const PAGE = 500
/** Objects that are copied at a time. */
const LANES = 8

export interface CopiedObjects {
  segments: number
  /** Plain bytes in them. */
  bytes: number
}

/** Copies into `dir`, laid out as a store on disk is. Throws CommandFailed where an object is missing or damaged. */
export async function copyObjects(
  { read }: Database,
  { store, place }: { store: BlobStore; place: BlobsPlace },
  dir: string,
): Promise<CopiedObjects> {
  const copied: CopiedObjects = { segments: 0, bytes: 0 }
  const taker = place.kind === 'disk' ? linkTaker(place.dir, dir) : await streamTaker(store, dir)
  const copy = async (segment: Segment) => {
    if (await taker.take(segment)) {
      copied.segments += 1
      copied.bytes += segment.sizeBytes
    } else if (await isNeeded(read, segment.blobId)) {
      throw new CommandFailed(`The object ${segment.id} is missing or damaged: run "entrepot verify"`)
    }
  }
  try {
    for (let page = await segmentsAfter(read, ''); page.length > 0; page = await segmentsAfter(read, page.at(-1)!.id)) {
      for (let at = 0; at < page.length; at += LANES) await allDone(page.slice(at, at + LANES).map(copy))
    }
  } finally {
    await taker.finish()
  }
  return copied
}

type Segment = Awaited<ReturnType<typeof segmentsAfter>>[number]

function segmentsAfter(read: Database['read'], id: string) {
  return read
    .selectFrom('segment')
    .innerJoin('blob', 'blob.id', 'segment.blobId')
    .select(['segment.id', 'segment.sizeBytes', 'segment.blobId', 'blob.encryption'])
    .where('segment.id', '>', id)
    .where('segment.inlineBytes', 'is', null)
    .orderBy('segment.id')
    .limit(PAGE)
    .execute()
}

/** As Promise.all, but nothing is still under way when it throws. */
async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(tasks)) if (outcome.status === 'rejected') throw outcome.reason
}

interface Taker {
  /** False when the object is not there, or not whole. */
  take(segment: Segment): Promise<boolean>
  /** Makes durable what was taken. */
  finish(): Promise<void>
}

/** Objects never change, so a second name for the file will do; on another file system it is copied. */
function linkTaker(source: string, target: string): Taker {
  const folders = new Set<string>()
  return {
    async take({ id }) {
      const path = objectFile(target, id)
      await makeFolders(dirname(path), folders)
      return takeFile(objectFile(source, id), path)
    },
    async finish() {
      for (const folder of folders) await syncFolder(folder)
      if (folders.size > 0) await syncFolder(target)
    },
  }
}

/** From a medium that knows no files. */
async function streamTaker(from: BlobStore, target: string): Promise<Taker> {
  const to = await diskBlobStore({ dir: target })
  return {
    async take({ id, sizeBytes, encryption }) {
      try {
        await to.writeStored(id, from.readStored(id), encryption === 'none' ? sizeBytes : storedSize(sizeBytes))
        return true
      } catch (error) {
        if (isDomainError(error, 'content-damaged')) return false
        throw error
      }
    },
    finish: () => to.close(),
  }
}

/** Makes a folder and remembers it and those above it for the sync at the end. */
async function makeFolders(folder: string, known: Set<string>): Promise<void> {
  if (known.has(folder)) return
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const made of [folder, dirname(folder), dirname(dirname(folder))]) known.add(made)
}

async function takeFile(source: string, target: string): Promise<boolean> {
  try {
    await link(source, target)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EACCES'].includes(codeOf(error))) throw error
  }
  await copyDurably(source, target)
  return true
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')

export async function copyDurably(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_EXCL)
  await syncFile(target)
}

/** Pieces of a transfer in progress may vanish; contents of versions may not. */
async function isNeeded(read: Database['read'], blobId: string): Promise<boolean> {
  const version = await read
    .selectFrom('version')
    .select('id')
    .where('blobId', '=', blobId)
    .where('purgedAt', 'is', null)
    .executeTakeFirst()
  return version !== undefined
}
