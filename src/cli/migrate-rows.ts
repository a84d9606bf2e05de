/** The database's part of a move: from one state of the source into an empty target, compared row by row at the end. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { beginMove, copyRows, dropMove, isCurrent, surveyTarget, type TargetState } from '#db/copy.ts'
import type { Database } from '#db/database.ts'
import { copySqlite, lookAt } from '#db/look.ts'
import { isPostgres, openDatabase } from '#db/open.ts'
import { digestTable, type Digest } from '#db/rows.ts'
import { describeTables } from '#db/tables.ts'
import { CommandFailed, print } from './terminal.ts'

/** An installation that shall move. */
export interface Source {
  databaseUrl: string
  /** Id of its provider's tenant, by which it is told from any other. */
  installation: string
}

/** What the target keeps about where its rows come from. */
interface Origin {
  installation: string
  /** One state of the source: the name of a copy, or what PostgreSQL's counters said. */
  snapshot: string
}

/** Digests of all tables, by name. */
export type Digests = ReadonlyMap<string, Digest>

/** Throws CommandFailed where there is nothing that this version could move. */
export async function lookAtSource(databaseUrl: string): Promise<Source> {
  if (!isPostgres(databaseUrl) && !existsSync(databaseUrl)) throw noInstallation(databaseUrl)
  return lookAt(databaseUrl, async source => {
    const installation = await providerOf(source)
    if (installation === undefined) throw noInstallation('this database')
    if (!(await isCurrent(source))) {
      throw new CommandFailed('The source is of another version: start this one on it once, which brings it up to date')
    }
    return { databaseUrl, installation }
  })
}

const noInstallation = (where: string) => new CommandFailed(`There is no installation to move: ${where}`)

async function providerOf({ read, engine }: Database): Promise<string | undefined> {
  const tables = await describeTables(read, engine)
  if (!tables.some(table => table.name === 'tenant')) return undefined
  const row = await read.selectFrom('tenant').select('id').where('isProvider', '=', 1).executeTakeFirst()
  return row?.id
}

interface RowsMove {
  source: Source
  target: Database
  targetUrl: string
  /** For the copy of a SQLite database. */
  workDir: string
}

export interface RowsPlan extends RowsMove {
  /** The unfinished move that the target holds. */
  found: Origin | undefined
}

/** Looks at the target without changing it. Throws CommandFailed where it holds what must not be touched. */
export async function planRows(plan: RowsMove): Promise<RowsPlan> {
  const survey = await surveyTarget(plan.target)
  if (survey.state === 'taken') {
    throw new CommandFailed('The target database holds something already, and is left as it is: name an empty one')
  }
  const found = originOf(survey)
  if (found && found.installation !== plan.source.installation) {
    throw new CommandFailed('The target database holds the unfinished move of another installation: name an empty one')
  }
  return { ...plan, found }
}

/** As `startMove` wrote it. */
const originOf = (survey: TargetState) =>
  survey.state === 'unfinished' ? (JSON.parse(survey.source) as Origin) : undefined

/** Copies all rows, or those that an interrupted move has left, and compares both sides. Answers their digests. */
export async function moveRows(plan: RowsPlan, { again }: { again: boolean }): Promise<Digests> {
  if (plan.found && again) {
    print('starting over; should this be interrupted, go on without --again')
    await dropMove(plan.target)
  }
  const snapshot = plan.found && !again ? await resumeMove(plan, plan.found) : await startMove(plan)
  return lookAt(snapshot, async from => {
    const tables = await describeTables(from.read, from.engine)
    let rows = 0
    await copyRows(from, plan.target, tables, (name, count) => {
      rows += count
      if (count > 0) print(`  ${name}: ${count} rows`)
    })
    const digests = await digestAll(from)
    const differing = difference(digests, await digestAll(plan.target))
    if (differing.length > 0) {
      throw new CommandFailed(`Rows differ after the copy (${differing.join(', ')}): start over with --again`)
    }
    print(`${rows} rows in ${tables.length} tables are the same on both sides`)
    return digests
  })
}

/** Takes a state of the source and prepares the empty target for it. Answers where that state can be read. */
async function startMove({ source, target, targetUrl, workDir }: RowsPlan): Promise<string> {
  await (await openDatabase({ url: targetUrl })).close() // makes the tables
  const snapshot = isPostgres(source.databaseUrl) ? await countersOf(source) : randomUUID()
  const url = isPostgres(source.databaseUrl) ? source.databaseUrl : await copySource(source, workDir, snapshot)
  const origin: Origin = { installation: source.installation, snapshot }
  const tables = await lookAt(url, from => describeTables(from.read, from.engine))
  await beginMove(target, JSON.stringify(origin), tables)
  return url
}

/** Where the state of the interrupted move can be read. Throws CommandFailed when it is gone. */
async function resumeMove({ source, workDir }: RowsPlan, { snapshot }: Origin): Promise<string> {
  const same = isPostgres(source.databaseUrl)
    ? (await countersOf(source)) === snapshot
    : existsSync(snapshotFile(workDir, snapshot))
  if (!same) {
    throw new CommandFailed('The state of the source that was being copied is no longer there: start over with --again')
  }
  print('going on with the move that was interrupted')
  return isPostgres(source.databaseUrl) ? source.databaseUrl : snapshotFile(workDir, snapshot)
}

const snapshotFile = (workDir: string, snapshot: string) => join(workDir, `snapshot-${snapshot}.db`)

async function copySource({ databaseUrl }: Source, workDir: string, snapshot: string): Promise<string> {
  await mkdir(workDir, { recursive: true, mode: 0o700 })
  await dropSnapshots(workDir)
  const file = snapshotFile(workDir, snapshot)
  print(`copying the database to ${file}`)
  copySqlite(databaseUrl, `${file}.part`)
  const copy = await open(`${file}.part`, 'r+')
  try {
    await copy.sync()
  } finally {
    await copy.close()
  }
  await rename(`${file}.part`, file)
  return file
}

/** Ours, whole or not; the folder may be anybody's. */
const SNAPSHOT = /^snapshot-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.db(\.part)?(-journal|-wal|-shm)?$/

async function dropSnapshots(workDir: string): Promise<void> {
  const old = (await readdir(workDir)).filter(name => SNAPSHOT.test(name))
  for (const name of old) await rm(join(workDir, name))
}

/** Removes the copies that were made on the way, and the folder if nothing else is in it. */
export async function dropWork(workDir: string): Promise<void> {
  if (!existsSync(workDir)) return
  await dropSnapshots(workDir)
  if ((await readdir(workDir)).length === 0) await rmdir(workDir)
}

/** Numbers that nearly every write raises: a cheap first look at whether the source is as it was. */
function countersOf({ databaseUrl }: Source): Promise<string> {
  return lookAt(databaseUrl, async ({ read }) => {
    const highest = (table: 'event' | 'job' | 'node' | 'version') =>
      read
        .selectFrom(table)
        .select(({ fn }) => fn.max('id').as('id'))
        .executeTakeFirst()
    const rows = [await highest('event'), await highest('job'), await highest('node'), await highest('version')]
    return rows.map(row => String(row?.id ?? 0)).join(':')
  })
}

/** Names of the tables in which the source is no longer as it was copied. */
export async function changedTables({ databaseUrl }: Source, copied: Digests): Promise<string[]> {
  return difference(copied, await lookAt(databaseUrl, digestAll))
}

async function digestAll({ read, engine }: Database): Promise<Digests> {
  const digests = new Map<string, Digest>()
  for (const table of await describeTables(read, engine)) digests.set(table.name, await digestTable(read, table))
  return digests
}

const difference = (one: Digests, other: Digests): string[] =>
  [...one].filter(([name, digest]) => other.get(name)?.sha256 !== digest.sha256).map(([name]) => name)
