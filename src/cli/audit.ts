/** `entrepot audit …` */
import type { Command } from 'commander'
import { listEvents, sealBatches, verifyChain } from '#core/audit.ts'
import { momentAfter } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

interface ListOptions extends TenantOption {
  since?: string
  type?: string
  actor?: string
  limit: string
  json?: boolean
}

export function addAuditCommands(audit: Command): void {
  audit
    .command('list')
    .description('list events, newest first')
    .option('--since <duration>', 'not older than, such as 1d')
    .option('--type <type>', 'such as sign-in or version.read')
    .option('--actor <name>', 'who acted')
    .option('--limit <count>', 'at most so many', '100')
    .option('--json', 'one JSON object per line')
    .action(list)
  audit.command('verify').description('recompute the hash chain').action(verify)
  audit.command('seal').description('seal new events into the chain now').action(seal)
}

async function list({ since, type, actor, limit, ...options }: ListOptions): Promise<void> {
  if (!/^[1-9]\d{0,5}$/.test(limit)) throw new CommandFailed('--limit must be a whole number from 1 to 999999')
  await withTenant(options, async ctx => {
    const now = ctx.clock()
    const rows = await listEvents(ctx, {
      limit: Number(limit),
      ...(since !== undefined && { since: 2 * now - momentAfter(now, since) }),
      ...(type !== undefined && { type }),
      ...(actor !== undefined && { actorName: actor }),
    })
    const shown = rows.map(row => ({
      id: row.id,
      at: showTime(row.at),
      type: row.type,
      outcome: row.outcome,
      actor: row.actorName,
      address: row.address,
      subject1: row.subject1,
      subject2: row.subject2,
      facts: row.facts,
    }))
    printTable(shown, options)
  })
}

async function verify(options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const report = await verifyChain(ctx)
    for (const { batchId, what } of report.problems) print(`batch ${batchId}: ${what}`)
    print(
      `${report.batches} batches (${report.droppedBatches} dropped), ${report.events} events, ${report.unsealedEvents} not sealed yet`,
    )
    print(`head: ${report.head}`)
    if (report.problems.length > 0)
      throw new CommandFailed(`The audit log was changed: ${report.problems.length} problems`)
  })
}

async function seal(options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => print(`sealed ${await sealBatches(ctx)} events`))
}
