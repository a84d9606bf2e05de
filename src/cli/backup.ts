/** `entrepot backup DIR`: a consistent copy while the server runs, laid out like a data directory. */
import { execFile } from 'node:child_process'
import { constants, copyFile, link, mkdir, open, readdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import type { Installation } from '#app'
import type { Config } from '#config'
import { holdBlobs } from '#core/backup-hold.ts'
import type { Database } from '#db/database.ts'
import { openDatabase } from '#db/open.ts'
import { objectFile } from '#platform/blobs/disk.ts'
import { syncFolder } from '#platform/blobs/sync-folder.ts'
import { showSize } from '#platform/units.ts'
import { systemCtx, withInstallation } from './open.ts'
import { CommandFailed, print } from './terminal.ts'

const DATABASE = 'entrepot.db'
const DUMP = 'database.dump'
const KEYS = 'master.key'
const BLOBS = 'blobs'
const PAGE = 500

export function addBackupCommand(backup: Command): void {
  backup
    .description('copy database and contents while the server runs')
    .option('--with-key', 'copy the master keys too: whoever has that copy can read everything')
    .action((dir: string, options: { withKey?: boolean }) => makeBackup(resolve(dir), options))
}

async function makeBackup(dir: string, { withKey = false }: { withKey?: boolean }): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  if ((await readdir(dir)).length > 0) throw new CommandFailed(`${dir} is not empty`)
  await withInstallation(async (installation, config) => {
    // From here on no blob is collected, so all that the copied database refers to is there to be copied.
    const hold = await holdBlobs(systemCtx(installation))
    try {
      const { segments, bytes } = await copyAll(installation, config, dir)
      if (withKey) await copyDurably(config.masterKeyFile, join(dir, KEYS))
      await hold.release()
      await writeManifest(dir, { segments, bytes, withKey })
      print(`${segments} objects, ${showSize(bytes)}, and the database are in ${dir}`)
    } catch (error) {
      await hold.release().catch(() => {})
      throw error
    }
  })
  if (!withKey) print('The master key is not in it: without its own copy of the key file the backup cannot be read.')
}

async function copyAll({ deps }: Installation, config: Config, dir: string) {
  if (deps.database.engine === 'postgres') {
    await dumpPostgres(config.databaseUrl, join(dir, DUMP))
    // The dump is older than the rows read now, and the hold keeps every row that it has.
    return copyObjects(deps.database, config, dir)
  }
  await deps.database.copyTo(join(dir, DATABASE))
  await syncFile(join(dir, DATABASE))
  const copy = await openDatabase({ url: join(dir, DATABASE) })
  try {
    return await copyObjects(copy, config, dir)
  } finally {
    await copy.close()
  }
}

/** The password goes by the environment: arguments can be seen by others on the machine. */
async function dumpPostgres(url: string, file: string): Promise<void> {
  const address = new URL(url)
  const env = { ...process.env, ...(address.password && { PGPASSWORD: decodeURIComponent(address.password) }) }
  address.password = ''
  try {
    await promisify(execFile)('pg_dump', ['--format=custom', `--file=${file}`, `--dbname=${address.href}`], { env })
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw missing ? new CommandFailed('pg_dump is needed to back up a PostgreSQL database') : error
  }
}

async function copyObjects({ read }: Database, { blobsDir }: Config, dir: string) {
  const done = { segments: 0, bytes: 0 }
  const folders = new Set<string>()
  for (let after = ''; ;) {
    const rows = await read
      .selectFrom('segment')
      .select(['id', 'sizeBytes', 'blobId'])
      .where('id', '>', after)
      .where('inlineBytes', 'is', null)
      .orderBy('id')
      .limit(PAGE)
      .execute()
    const last = rows.at(-1)
    if (!last) break
    after = last.id
    for (const { id, sizeBytes, blobId } of rows) {
      const target = objectFile(join(dir, BLOBS), id)
      await makeFolders(dirname(target), folders)
      if (!(await takeObject(objectFile(blobsDir, id), target)) && (await isNeeded(read, blobId))) {
        throw new CommandFailed(`The object ${id} is missing: run "entrepot verify"`)
      }
      done.segments += 1
      done.bytes += sizeBytes
    }
  }
  for (const folder of folders) await syncFolder(folder)
  await syncFolder(dir)
  return done
}

/** Makes a folder and remembers it and those above it for the sync at the end. */
async function makeFolders(folder: string, known: Set<string>): Promise<void> {
  if (known.has(folder)) return
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const made of [folder, dirname(folder), dirname(dirname(folder))]) known.add(made)
}

/** Objects never change, so a second name for the file will do; on another file system it is copied. False when it is gone. */
async function takeObject(source: string, target: string): Promise<boolean> {
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

async function copyDurably(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_EXCL)
  await syncFile(target)
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Written last: a folder without it is no whole backup. */
async function writeManifest(dir: string, facts: { segments: number; bytes: number; withKey: boolean }): Promise<void> {
  const path = join(dir, 'backup.json')
  await writeFile(path, `${JSON.stringify({ madeAt: new Date().toISOString(), ...facts }, null, 2)}\n`, { mode: 0o600 })
  await syncFile(path)
  await syncFolder(dir)
}
