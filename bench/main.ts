/** `npm run bench`: measures Entrepot and the peers that are installed, in one run. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { format, resolveConfig } from 'prettier'
import {
  MiB,
  subject,
  type Failure,
  type Figure,
  type Scenario,
  type Sizes,
  type Skipped,
  type Target,
} from './bench.ts'
import { killAll } from './children.ts'
import { direct } from './direct.ts'
import { documents } from './documents.ts'
import { inbox } from './inbox.ts'
import { listing } from './listing.ts'
import { describeMachine, roomyFolder } from './machine.ts'
import { memory } from './memory.ts'
import { findPeers } from './peers.ts'
import { markdownReport, terminalReport, type Result } from './report.ts'
import { findServer } from './server.ts'
import { small } from './small.ts'
import { startup } from './startup.ts'
import { transfer } from './transfer.ts'

const scenarios: readonly Scenario[] = [transfer, small, listing, documents, inbox, direct, memory, startup]

const fullSizes: Sizes = {
  bigBytes: 1024 * MiB,
  smallBytes: 4096,
  smallFiles: 10_000,
  connections: 16,
  warmUpMs: 1000,
  measureMs: 3000,
  folderFiles: 10_000,
  bigFolderFiles: 100_000,
  inboxPackages: 100_000,
  pageFiles: 500,
  listTimes: 25,
  streams: 4,
  starts: 5,
}

const quickSizes: Sizes = {
  ...fullSizes,
  bigBytes: 32 * MiB,
  smallFiles: 500,
  warmUpMs: 200,
  measureMs: 500,
  folderFiles: 1000,
  bigFolderFiles: 2000,
  inboxPackages: 2000,
  listTimes: 5,
  starts: 2,
}

function readFlags() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  })
  const ids = values.only?.split(',') ?? scenarios.map(({ id }) => id)
  const unknown = ids.find(id => !scenarios.some(scenario => scenario.id === id))
  if (unknown !== undefined)
    throw new Error(`--only: there is no ${unknown}; there is ${scenarios.map(({ id }) => id).join(', ')}`)
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5))
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 99) throw new Error('--rounds takes a number from 1 to 99')
  return { chosen: scenarios.filter(({ id }) => ids.includes(id)), rounds, quick: values.quick, write: values.write }
}

async function findTargets(): Promise<{ targets: Target[]; skipped: Skipped[] }> {
  const peers = await findPeers()
  try {
    return { ...peers, targets: [await findServer(), ...peers.targets] }
  } catch (error) {
    return { ...peers, skipped: [{ name: subject, reason: errorText(error) }, ...peers.skipped] }
  }
}

const errorText = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** A folder that vanishes with this process, together with everything that was started. */
function temporaryFolder(neededBytes: number): string {
  const folder = mkdtempSync(join(roomyFolder(neededBytes), 'entrepot-bench-'))
  process.on('exit', () => {
    killAll()
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
  return folder
}

async function runScenario(
  scenario: Scenario,
  run: Omit<Result, 'figures' | 'failures' | 'machine' | 'date'>,
  root: string,
) {
  const figures: Figure[] = []
  const failures: Failure[] = []
  const fail = (target: string, error: unknown) => {
    failures.push({ scenario: scenario.id, target, message: errorText(error) })
    process.stderr.write(`${scenario.id}, ${target} failed: ${errorText(error)}\n`)
  }
  const scratch = join(root, scenario.id)
  mkdirSync(scratch, { mode: 0o755 })
  process.stderr.write(`${scenario.id} ...\n`)
  try {
    await scenario.run({
      scenario: scenario.id,
      targets: run.targets,
      sizes: run.sizes,
      rounds: run.rounds,
      scratch,
      fail,
      record: (measure, target, values) => figures.push({ measure, target, values: [values].flat() }),
    })
  } catch (error) {
    fail('all', error)
  }
  rmSync(scratch, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  return { figures, failures }
}

async function writePage(result: Result): Promise<void> {
  const file = join(import.meta.dirname, '../docs/benchmarks.md')
  const style = await resolveConfig(file)
  await writeFile(file, await format(markdownReport(result), { ...style, parser: 'markdown' }))
  process.stderr.write('docs/benchmarks.md was written\n')
}

async function main(): Promise<void> {
  const { chosen, rounds, quick, write } = readFlags()
  const sizes = quick ? quickSizes : fullSizes
  const { targets, skipped } = await findTargets()
  // Each server keeps one big file, Entrepot maybe every round's in its bin; and memory is warmed beside them.
  const root = temporaryFolder(sizes.bigBytes * (rounds + targets.length + 2) + 2048 * MiB)
  await chmod(root, 0o711) // servers under another account must get through
  const run = { scenarios: chosen, targets, skipped, sizes, rounds, quick }
  const machine = describeMachine(root)
  const result = {
    ...run,
    machine,
    date: new Date().toISOString().slice(0, 10),
    figures: [] as Figure[],
    failures: [] as Failure[],
  }
  for (const scenario of chosen) {
    const { figures, failures } = await runScenario(scenario, run, root)
    result.figures.push(...figures)
    result.failures.push(...failures)
  }
  process.stdout.write(terminalReport(result))
  if (write) await writePage(result)
  if (result.failures.length > 0) process.exitCode = 1
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${errorText(error)}\n`)
  process.exitCode = 2
}
