import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from './sync-folder.ts'

/** Where a segment is written and where it lies once it is complete. */
export interface SegmentPlace {
  stagePath: string
  objectPath: string
  /** Folders from the store's root down to that of `objectPath`. */
  objectFolders: string[]
}

/** Folders whose own entry is known to be durable. */
const durableFolders = new Set<string>()

/** Gives the synced stage its final name; durable once it resolves, without a trace when it rejects. */
export async function publish({ stagePath, objectPath, objectFolders }: SegmentPlace): Promise<void> {
  const folder = dirname(objectPath)
  const known = durableFolders.has(folder)
  if (!known) await mkdir(folder, { recursive: true, mode: 0o700 })
  await rename(stagePath, objectPath)
  try {
    await Promise.all((known ? [folder] : objectFolders).map(syncFolder))
  } catch (error) {
    await rm(objectPath, { force: true })
    throw error
  }
  durableFolders.add(folder)
}
