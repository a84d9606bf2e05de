/** `entrepot screening …` */
import type { Command } from 'commander'
import type { Ctx } from '#core/ctx.ts'
import { pathText } from '#core/node-paths.ts'
import { recheck, releaseVersion, withdrawRelease, type RecheckTarget } from '#core/screening-decisions.ts'
import { heldStates, listQuarantine, loadChecks, type HeldState } from '#core/screening-list.ts'
import { getVersionRow } from '#core/versions.ts'
import { nodeAt } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

type ListOptions = TenantOption & { state?: string; json?: boolean }

export function addScreeningCommands(screening: Command): void {
  screening
    .command('list')
    .description('list contents that are held back, newest first')
    .option('--state <state>', heldStates.join(', '))
    .option('--json', 'one JSON object per line')
    .action(list)
  screening
    .command('show <version>')
    .description('show what each engine said of a version')
    .option('--json', 'one JSON object per line')
    .action(show)
  screening
    .command('recheck [path]')
    .description('look again into a file, or all files of a folder or space')
    .option('--quarantined', 'into everything that is held back')
    .action(repeat)
  screening
    .command('release <version>')
    .description('let a content go although something was found in it')
    .option('--withdraw', 'take that back')
    .action(release)
}

const PAGE = 200

async function list(options: ListOptions): Promise<void> {
  const state = stateNamed(options.state)
  await withTenant(options, async ctx => {
    const rows = []
    for (let offset = 0; ; offset += PAGE) {
      const { versions } = await listQuarantine(ctx, { offset, limit: PAGE, ...(state && { state }) })
      for (const version of versions) {
        rows.push({
          version: version.id,
          state: version.screening,
          released: version.releasedAt === null ? 'no' : 'yes',
          screened: showTime(version.screenedAt),
          findings: await findingsOf(ctx, version.id),
          path: await pathText(ctx, version.nodeId),
        })
      }
      if (versions.length < PAGE) break
    }
    printTable(rows, options)
  })
}

function stateNamed(text: string | undefined): HeldState | undefined {
  const state = heldStates.find(known => known === text)
  if (text !== undefined && !state) throw new CommandFailed(`--state must be one of ${heldStates.join(', ')}`)
  return state
}

async function findingsOf(ctx: Ctx, versionId: number): Promise<string> {
  const checks = (await loadChecks(ctx, [versionId])).get(versionId) ?? []
  return checks
    .filter(({ verdict }) => verdict !== 'clean')
    .map(({ engine, verdict }) => `${engine}:${verdict}`)
    .join(' ')
}

async function show(text: string, options: TenantOption & { json?: boolean }): Promise<void> {
  const versionId = versionIdOf(text)
  await withTenant(options, async ctx => {
    const version = await getVersionRow(ctx, versionId)
    const checks = (await loadChecks(ctx, [versionId])).get(versionId) ?? []
    if (!options.json) {
      const released = version.releasedAt === null ? '' : `, released ${showTime(version.releasedAt)}`
      print(`${await pathText(ctx, version.nodeId)}: ${version.screening}${released}, content ${version.integrity}`)
    }
    const shown = checks.map(({ engine, verdict, name, description, finishedAt }) => ({
      engine,
      verdict,
      name,
      description,
      at: showTime(finishedAt),
    }))
    printTable(shown, options)
  })
}

async function repeat(path: string | undefined, options: TenantOption & { quarantined?: boolean }): Promise<void> {
  if ((path === undefined) !== (options.quarantined === true))
    throw new CommandFailed('Name a path, or say --quarantined')
  await withTenant(options, async ctx => {
    const target: RecheckTarget = path === undefined ? 'quarantined' : { nodeId: (await nodeAt(ctx, path)).id }
    print(`${await recheck(ctx, target)} contents will be looked into; a running server or worker does it`)
  })
}

async function release(text: string, options: TenantOption & { withdraw?: boolean }): Promise<void> {
  const versionId = versionIdOf(text)
  await withTenant(options, async ctx => {
    await (options.withdraw ? withdrawRelease : releaseVersion)(ctx, { versionId })
    print(`version ${versionId} is ${options.withdraw ? 'held back again' : 'released'}`)
  })
}

function versionIdOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new CommandFailed('A version is named by its number')
  return Number(text)
}
