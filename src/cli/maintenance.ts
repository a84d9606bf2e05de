/** `entrepot verify`, `entrepot keys …` and `entrepot jobs …` */
import type { Command } from 'commander'
import { countWraps, rotateMasterKey } from '#core/master-key.ts'
import { verifyStore } from '#core/verify.ts'
import { listJobs, retryDead, type JobState } from '#jobs/queue.ts'
import { recurringKinds, runSoon } from '#jobs/schedule.ts'
import { addMasterKey, dropMasterKey } from '#platform/key-ring.ts'
import { showSize } from '#platform/units.ts'
import { systemCtx, withInstallation } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

export function addVerifyCommand(verify: Command): void {
  verify
    .description('compare rows and stored contents; repairs nothing')
    .option('--content', 'read every content back and compare its hash')
    .action(verifyAll)
}

async function verifyAll({ content = false }: { content?: boolean }): Promise<void> {
  await withInstallation(async installation => {
    const report = await verifyStore(systemCtx(installation), { content })
    for (const { what, subject } of report.problems) print(`${subject}: ${what}`)
    const read = content ? `, ${showSize(report.checkedBytes)} read back` : ''
    print(`${report.versions} versions, ${report.segments} segments, ${report.objects} objects${read}`)
    if (report.sealed > 0)
      print(`${report.sealed} versions open with a password only: their pieces are there, and were not read`)
    if (report.leftovers > 0)
      print(`${report.leftovers} young objects without a row: transfers, or leavings that a job removes`)
    if (report.problems.length > 0) throw new CommandFailed(`${report.problems.length} problems`)
  })
}

export function addKeyCommands(keys: Command): void {
  keys.command('list').description('list master keys and how much each wraps').action(listKeys)
  keys.command('rotate').description('add a master key and wrap everything anew; servers may run on').action(rotate)
  keys.command('drop <name>').description('remove a master key that wraps nothing any more').action(drop)
}

async function listKeys(): Promise<void> {
  await withInstallation(async installation => {
    const ctx = systemCtx(installation)
    const rows = []
    for (const name of ctx.keys.names) {
      rows.push({ name, current: name === ctx.keys.current ? 'yes' : 'no', wraps: await countWraps(ctx, name) })
    }
    printTable(rows)
  })
}

async function rotate(): Promise<void> {
  await withInstallation(async (installation, config) => {
    const name = await addMasterKey(config.masterKeyFile)
    const { rewrapped, failed } = await rotateMasterKey(systemCtx(installation))
    print(`${name} is the current key; ${rewrapped} keys and secrets were wrapped anew`)
    if (failed > 0) throw new CommandFailed(`${failed} could not be opened and stay as they are`)
    print('When "keys list" shows 0 for an old key, "keys drop" removes it. Keep it as long as backups need it.')
  })
}

async function drop(name: string): Promise<void> {
  await withInstallation(async (installation, config) => {
    const ctx = systemCtx(installation)
    if (!ctx.keys.names.includes(name)) throw new CommandFailed(`There is no key ${name}`)
    const wraps = await countWraps(ctx, name)
    if (wraps > 0)
      throw new CommandFailed(`${name} still wraps ${wraps} keys and secrets: run "entrepot keys rotate" first`)
    await dropMasterKey(config.masterKeyFile, name)
    print(`dropped ${name}`)
  })
}

const states: readonly JobState[] = ['ready', 'running', 'done', 'dead']

export function addJobCommands(jobs: Command): void {
  jobs
    .command('list')
    .description('list jobs, newest first')
    .option('--state <state>', states.join(', '))
    .option('--json', 'one JSON object per line')
    .action(list)
  jobs
    .command('run <kind>')
    .description(`make recurring work due now: ${recurringKinds.join(', ')}`)
    .action(run)
  jobs.command('retry [id]').description('try dead jobs again: one, or all').action(retry)
}

async function list(options: { state?: string; json?: boolean }): Promise<void> {
  const state = states.find(known => known === options.state)
  if (options.state !== undefined && !state) throw new CommandFailed(`--state must be one of ${states.join(', ')}`)
  await withInstallation(async installation => {
    const rows = await listJobs(systemCtx(installation), { limit: 200, ...(state && { state }) })
    const shown = rows.map(row => ({
      id: row.id,
      kind: row.kind,
      state: row.state,
      attempts: `${row.attempts}/${row.maxAttempts}`,
      due: showTime(row.runAt),
      ended: showTime(row.endedAt),
      lastError: row.lastError,
    }))
    printTable(shown, options)
  })
}

async function run(name: string): Promise<void> {
  const kind = recurringKinds.find(known => known === name)
  if (!kind) throw new CommandFailed(`The kind must be one of ${recurringKinds.join(', ')}`)
  await withInstallation(async installation => {
    await runSoon(systemCtx(installation), kind)
    print(`${kind} is due now; a running server or worker does it`)
  })
}

async function retry(id: string | undefined): Promise<void> {
  if (id !== undefined && !/^\d+$/.test(id)) throw new CommandFailed('A job id is a number')
  await withInstallation(async ({ deps }) => {
    print(`${await retryDead(deps, id === undefined ? undefined : Number(id))} jobs will be tried again`)
  })
}
