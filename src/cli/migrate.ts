/** `entrepot migrate`: copies a living installation to its next home and compares both; the source is only read. */
import type { Command } from 'commander'
import { openStore } from '#app'
import { blobsPlace, readConfig, variables, type Config } from '#config'
import type { BlobStore } from '#core/ports.ts'
import { finishMove, holdTarget } from '#db/copy.ts'
import { lookAt } from '#db/look.ts'
import { openPostgres } from '#db/postgres.ts'
import { createLog } from '#platform/log.ts'
import { showSize } from '#platform/units.ts'
import { copyObjects, missingObjects, requireOwnObjects, type BlobsMoved, type Look } from './migrate-blobs.ts'
import { readTargets, type TargetOptions, type Targets } from './migrate-targets.ts'
import {
  changedTables,
  dropWork,
  lookAtSource,
  moveRows,
  planRows,
  type Digests,
  type RowsPlan,
  type Source,
} from './migrate-rows.ts'
import { verifyHome } from './migrate-verify.ts'
import { CommandFailed, print } from './terminal.ts'

interface Options extends TargetOptions {
  again?: boolean
  content?: boolean
}

export function addMigrateCommand(migrate: Command): void {
  migrate
    .description('copy everything to PostgreSQL, S3 or another disk; what is here stays as it is')
    .option('--to-postgres <url>', 'an empty database: postgres://<user>@<host>/<database>')
    .option('--to-s3 <url>', 'a place for contents: s3://<bucket>[/<prefix>]')
    .option('--to-disk <dir>', 'a directory for contents')
    .option('--work <dir>', 'for a passing copy of a SQLite database (default: beside the data directory)')
    .option('--again', 'take all rows anew, because the source was written to; contents stay')
    .option('--content', 'read every content back in the new home and compare its hash')
    .action(moveHouse)
}

/** What all steps of a move work with. */
interface Move {
  config: Config
  targets: Targets
  source: Source
  options: Options
  from: BlobStore
  /** Where contents will be: `from` when only the database moves. */
  to: BlobStore
}

async function moveHouse(options: Options): Promise<void> {
  const config = readConfig(process.env)
  const targets = readTargets(options, config)
  const source = await lookAtSource(config.databaseUrl)
  const task = { config, targets, source, options }
  const { databaseUrl, workDir } = targets
  if (databaseUrl === undefined) return withStores(task, moveContents)
  const target = openPostgres({ url: databaseUrl })
  try {
    await holdTarget(target, async () => {
      const plan = await planRows({ source, target, targetUrl: databaseUrl, workDir })
      await withStores(task, move => moveAll(move, plan))
    })
  } finally {
    await target.close()
  }
}

async function withStores(task: Omit<Move, 'from' | 'to'>, work: (move: Move) => Promise<void>): Promise<void> {
  const { config, targets } = task
  const log = createLog({ level: config.logLevel, format: config.logFormat })
  const from = await openStore(config.blobs, log)
  try {
    if (!targets.blobs) return await work({ ...task, from, to: from })
    const to = await openStore(blobsPlace(targets.blobs.location, config), log)
    try {
      await requireOwnObjects(work => lookAt(config.databaseUrl, work), to)
      await work({ ...task, from, to })
    } finally {
      await to.close()
    }
  } finally {
    await from.close()
  }
}

/** The database, and contents if they have a target. */
async function moveAll(move: Move, plan: RowsPlan): Promise<void> {
  const { source, target, workDir } = plan
  const { options } = move
  const copied = await moveRows(plan, { again: options.again ?? false })
  const missing = await copyContents(move, work => work(target))
  await requireUnchanged(source, copied)
  requireNone(missing)
  const flaws = await verifyHome(move, target, options)
  if (options.content) await requireUnchanged(source, copied) // it took its time
  await finishMove(target)
  await dropWork(workDir)
  printHome(move, flaws)
}

/** Contents only: the database goes on being used where it is. */
async function moveContents(move: Move): Promise<void> {
  const look: Look = work => lookAt(move.config.databaseUrl, work)
  requireNone(await copyContents(move, look))
  printHome(move, await look(database => verifyHome(move, database, move.options)))
}

/** Answers the objects that the new home would miss. */
async function copyContents({ from, to, targets }: Move, look: Look): Promise<string[]> {
  if (!targets.blobs) return []
  print(`copying contents to ${targets.blobs.url}`)
  const moved = await copyObjects(look, { from, to }, showNow())
  const there = moved.objects - moved.copied
  print(`${moved.copied} objects copied, ${showSize(moved.copiedBytes)}; ${there} were there already`)
  return missingObjects(look, to)
}

/** How often a long copy says how far it is. */
const SHOW_EVERY_MS = 10_000

function showNow(): (moved: BlobsMoved) => void {
  let shownAt = performance.now()
  return ({ copied, copiedBytes }) => {
    if (performance.now() - shownAt < SHOW_EVERY_MS) return
    shownAt = performance.now()
    print(`  ${copied} objects, ${showSize(copiedBytes)}`)
  }
}

async function requireUnchanged(source: Source, copied: Digests): Promise<void> {
  const changed = await changedTables(source, copied)
  if (changed.length === 0) return
  throw new CommandFailed(
    `The source was written to while it was copied (${changed.join(', ')}). Stop its server, then run the same command ` +
      'with --again: rows are taken anew, contents that arrived stay',
  )
}

function requireNone(missing: readonly string[]): void {
  if (missing.length === 0) return
  for (const id of missing.slice(0, SHOWN)) print(`missing: ${id}`)
  throw new CommandFailed(
    `${missing.length} objects that versions need are not in the new home. If a server was writing, stop it and run the ` +
      'same command again; else "entrepot verify" says what the source itself lacks',
  )
}

const SHOWN = 20

/** Throws CommandFailed at the end where the source has brought flaws along. */
function printHome({ config, targets }: Move, flaws: readonly string[]): void {
  const { databaseUrl, blobs } = targets
  print('OK: the new home is whole. Start the server with')
  if (databaseUrl !== undefined) print(`  ${variables.databaseUrl.name}=${withoutPassword(databaseUrl)}`)
  if (blobs) print(`  ${variables.blobs.name}=${blobs.url}`)
  if (blobs?.location.kind === 's3') print('  and with the ENTREPOT_S3_ variables as they are now')
  print(`It needs the same master keys, which were not copied: ${config.masterKeyFile}`)
  if (databaseUrl === undefined)
    print('The database stays. If a server took contents in meanwhile, stop it and run this once more.')
  else print('No server may run on the old database from now on.')
  for (const flaw of flaws) print(flaw)
  if (flaws.length > 0) throw new CommandFailed(`${flaws.length} flaws came along from the old home`)
}

function withoutPassword(text: string): string {
  const url = new URL(text)
  if (url.password) url.password = 'PASSWORD'
  return url.href
}
