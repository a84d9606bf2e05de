/** The blob store on disk; docs/blob-format.md says where and in what form. Its work is done by the data worker. */
import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { mkdir, opendir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { BlobStore, StoredObject } from '#core/ports.ts'
import { readStoredFile, writeStoredFile } from './disk-stored.ts'
import { openWriter } from './disk-writer.ts'
import { segmentKey } from './frames.ts'
import type { SegmentPlace } from './publish.ts'
import { checkedSegmentId, isSegmentId } from './segment-id.ts'
import { syncFolder } from './sync-folder.ts'
import { startWorker, type Line, type WorkerLink } from './worker-link.ts'
import { describeFailure, toError, type ReadRequest } from './worker-messages.ts'

/** Opens the store in `dir`, creating it where it is missing. The worker starts with the first transfer. */
export async function diskBlobStore({ dir }: { dir: string }): Promise<BlobStore> {
  const root = resolve(dir)
  const staging = join(root, 'staging')
  const objects = join(root, 'objects')
  await createFolders(root, [staging, objects])
  let link: WorkerLink | undefined
  let closed = false

  const worker = () => {
    if (closed) throw new Error('The blob store was closed')
    if (!link?.alive) link = startWorker()
    return link
  }
  const objectPath = (segmentId: string) => objectFile(root, segmentId)
  const placeOf = (segmentId: string): SegmentPlace => {
    const path = objectPath(segmentId)
    return {
      stagePath: join(staging, segmentId),
      objectPath: path,
      objectFolders: [objects, dirname(dirname(path)), dirname(path)],
    }
  }

  return {
    kind: 'disk',
    async create({ segmentId, key, md5 = false }) {
      return openWriter(worker(), segmentId, { ...placeOf(segmentId), key: segmentKey(key, segmentId), md5 })
    },
    async *read({ segment, key, start, end }) {
      const path = objectPath(segment.segmentId)
      const { segmentId, sizeBytes, plain = false } = segment
      yield* readRange(worker(), { path, key: segmentKey(key, segmentId), plain, sizeBytes, start, end })
    },
    async remove(segmentIds) {
      for (const segmentId of segmentIds) {
        const place = placeOf(segmentId)
        await Promise.all([place.stagePath, place.objectPath].map(path => rm(path, { force: true })))
      }
    },
    async *list() {
      yield* listFolder(staging, 'staged', 0)
      yield* listFolder(objects, 'stored', 2)
    },
    readStored: segmentId => readStoredFile(objectPath(segmentId)),
    writeStored: (segmentId, stored, storedBytes) => writeStoredFile(placeOf(segmentId), stored, storedBytes),
    check: () => probe(staging),
    async close() {
      closed = true
      await link?.close()
    },
  }
}

/** Where a finished segment lies. For backups, which take the file as it is; it never changes. */
export function objectFile(dir: string, segmentId: string): string {
  return join(resolve(dir), 'objects', ...fanOut(checkedSegmentId(segmentId)), segmentId)
}

/** The end of a UUID is random in all versions, its start may be a time. */
function fanOut(segmentId: string): [string, string] {
  return [segmentId.slice(-4, -2), segmentId.slice(-2)]
}

async function createFolders(root: string, folders: string[]): Promise<void> {
  const first = await mkdir(root, { recursive: true, mode: 0o700 })
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 })
  // Every folder from the first new one down has a new entry in its parent.
  const above = dirname(first ?? root)
  for (let folder = root; folder !== above; folder = dirname(folder)) await syncFolder(folder)
  await syncFolder(above)
}

async function* readRange(link: WorkerLink, read: ReadRequest): AsyncGenerator<Uint8Array> {
  const line = link.open()
  line.send({ op: 'read', read })
  let open = true
  try {
    while (open) {
      const { chunk, last } = await line.next('read')
      if (chunk.length > 0) yield chunk
      open = !last
      if (open) line.send({ op: 'more' })
    }
  } finally {
    if (open) await leave(line)
    line.close()
  }
}

/** Resolves once the worker has closed the file; it has done so already where the line has failed. */
async function leave(line: Line): Promise<void> {
  line.send({ op: 'leave' })
  await line.next('leave').catch(() => {})
}

async function* listFolder(folder: string, state: StoredObject['state'], depth: number): AsyncGenerator<StoredObject> {
  for await (const entry of await opendir(folder)) {
    const path = join(folder, entry.name)
    if (depth > 0 && entry.isDirectory()) yield* listFolder(path, state, depth - 1)
    const found = depth === 0 && isSegmentId(entry.name) && (await findFile(path))
    if (found) yield { segmentId: entry.name, state, storedBytes: found.size, changedAt: Math.trunc(found.mtimeMs) }
  }
}

async function findFile(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Writes and removes a byte, as a full or read-only disk refuses that and nothing less. */
async function probe(folder: string): Promise<void> {
  const path = join(folder, `probe-${randomUUID()}`)
  try {
    await writeFile(path, '.', { flush: true })
  } catch (error) {
    throw error instanceof Error ? toError(describeFailure(error)) : error
  } finally {
    await rm(path, { force: true })
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
