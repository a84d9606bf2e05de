/** Looks at the new home as a server would: its audit chain, and with `content` every stored content. */
import { randomUUIDv7 } from 'node:crypto'
import { inlineFrames } from '#app'
import { settingsOf, type Config } from '#config'
import { verifyChain } from '#core/audit.ts'
import { makeCtx, systemActor, type Ctx } from '#core/ctx.ts'
import type { BlobStore } from '#core/ports.ts'
import { openReadLog } from '#core/reads.ts'
import { verifyStore } from '#core/verify.ts'
import type { Database } from '#db/database.ts'
import { openKeyRing } from '#platform/key-ring.ts'
import { memoryMailer } from '#platform/mail/memory.ts'
import { showSize } from '#platform/units.ts'
import type { Source } from './migrate-rows.ts'
import { CommandFailed, print } from './terminal.ts'

interface Home {
  config: Config
  source: Source
  to: BlobStore
}

/**
 * Answers what the new home has inherited: flaws of rows that are the same on both sides. Throws CommandFailed where a
 * content is not as it should be.
 */
export async function verifyHome(home: Home, database: Database, { content = false }): Promise<string[]> {
  const ctx = await openHome(home, database)
  const flaws = await verifyAudit(ctx)
  if (content) await verifyContents(ctx)
  return flaws
}

async function openHome({ config, source, to }: Home, database: Database): Promise<Ctx> {
  const means = {
    database,
    blobs: to,
    inline: inlineFrames,
    keys: await openKeyRing(config.masterKeyFile, { create: false }),
    clock: Date.now,
    newId: () => randomUUIDv7(),
    settings: settingsOf(config),
    // Whoever only compares looks into nothing and tells nobody.
    engines: [],
    mailer: memoryMailer(),
  }
  const reads = openReadLog(means, error => {
    throw error
  })
  return makeCtx({ ...means, reads }, systemActor(source.installation, 'command line'), means.newId())
}

async function verifyAudit(ctx: Ctx): Promise<string[]> {
  const { batches, events, unsealedEvents, head, problems } = await verifyChain(ctx)
  print(`audit chain: ${batches} batches, ${events + unsealedEvents} events, head ${head}`)
  return problems.map(({ batchId, what }) => `batch ${batchId} of the audit log: ${what}`)
}

async function verifyContents(ctx: Ctx): Promise<void> {
  const report = await verifyStore(ctx, { content: true })
  // Of contents that were purged while they moved; the server's sweep removes them.
  const problems = report.problems.filter(({ what }) => what !== 'object-without-row')
  for (const { what, subject } of problems) print(`${subject}: ${what}`)
  print(`${report.versions} versions, ${showSize(report.checkedBytes)} read back`)
  if (report.sealed > 0) print(`${report.sealed} of them open with a password only, and were measured instead`)
  if (problems.length === 0) return
  throw new CommandFailed(
    `${problems.length} problems in the new home. Does "entrepot verify --content" find them in the source too? If not, ` +
      'remove these objects from the target and run the same command again',
  )
}
