/** `entrepot backup DIR`: a consistent copy while the server runs, laid out like a data directory. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import type { Installation } from '#app'
import type { Config } from '#config'
import { holdBlobs } from '#core/backup-hold.ts'
import { openDatabase } from '#db/open.ts'
import { syncFile, syncFolder } from '#platform/blobs/sync-folder.ts'
import { showSize } from '#platform/units.ts'
import { copyDurably, copyObjects, type CopiedObjects } from './backup-objects.ts'
import { systemCtx, withInstallation } from './open.ts'
import { CommandFailed, print } from './terminal.ts'

const DATABASE = 'entrepot.db'
const DUMP = 'database.dump'
const KEYS = 'master.key'
const BLOBS = 'blobs'

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

async function copyAll({ deps }: Installation, config: Config, dir: string): Promise<CopiedObjects> {
  const source = { store: deps.blobs, place: config.blobs }
  if (deps.database.engine === 'postgres') {
    await dumpPostgres(config.databaseUrl, join(dir, DUMP))
    // The dump is older than the rows read now, and the hold keeps every row that it has.
    return copyObjects(deps.database, source, join(dir, BLOBS))
  }
  await deps.database.copyTo(join(dir, DATABASE))
  await syncFile(join(dir, DATABASE))
  const copy = await openDatabase({ url: join(dir, DATABASE) })
  try {
    return await copyObjects(copy, source, join(dir, BLOBS))
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

/** Written last: a folder without it is no whole backup. */
async function writeManifest(dir: string, facts: CopiedObjects & { withKey: boolean }): Promise<void> {
  const path = join(dir, 'backup.json')
  await writeFile(path, `${JSON.stringify({ madeAt: new Date().toISOString(), ...facts }, null, 2)}\n`, { mode: 0o600 })
  await syncFile(path)
  await syncFolder(dir)
}
