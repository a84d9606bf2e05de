/** The fixture of tests about screening: a space, an engine that can be told what to do, and a worker that does what is due. */
import { expect } from 'vitest'
import { isDomainError } from '#core/errors.ts'
import type { ScreeningEngine, Verdict } from '#core/ports.ts'
import { loadChecks } from '#core/screening-list.ts'
import { getVersionRow } from '#core/versions.ts'
import { jobHandlers } from '#jobs/handlers.ts'
import { listJobs } from '#jobs/queue.ts'
import { startWorker } from '#jobs/worker.ts'
import { makeSpace, read, type TestSpace } from '#test/tree.ts'
import { test as base, type World } from '#test/world.ts'

/** Finds the word `virus`; says so of the first bytes too. Away for as long as it is told. */
export interface Scanner extends ScreeningEngine {
  isAway: boolean
  /** Never answers, and does not heed its signal. */
  hangs: boolean
  /** Contents that it was shown. */
  readonly seen: string[]
}

export function scanner(name: string, options: Partial<ScreeningEngine> = {}): Scanner {
  const seen: string[] = []
  const engine: Scanner = {
    name,
    mandatory: true,
    timeoutMs: 5_000,
    isAway: false,
    hangs: false,
    seen,
    async examine(content): Promise<Verdict> {
      if (engine.hangs) return new Promise(() => {})
      if (engine.isAway) throw new Error('connection refused')
      const chunks: Uint8Array[] = []
      for await (const chunk of content.read()) chunks.push(Buffer.from(chunk))
      const text = Buffer.concat(chunks).toString()
      seen.push(text)
      return text.includes('virus')
        ? { kind: 'infected', quarantines: true, name: 'Test.Virus' }
        : { kind: 'clean', quarantines: false }
    },
    ...options,
  }
  return engine
}

/** Knows at once that what begins with `safe` is. */
export const looker = () =>
  scanner('looker', {
    isHarmless: (head, { rules }) => rules.length === 0 && Buffer.from(head).toString().startsWith('safe'),
  })

/** `looking` holds the engines at work; `engage` puts others there. */
export const test = base.extend<{
  one: Scanner
  looking: ScreeningEngine[]
  engines: readonly ScreeningEngine[]
  space: TestSpace
}>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  one: async ({}, use) => use(scanner('one')),
  looking: async ({ one }, use) => use([one]),
  engines: async ({ looking }, use) => use(looking),
  space: async ({ world }, use) => use(await makeSpace(world)),
})

export const engage = (looking: ScreeningEngine[], ...engines: ScreeningEngine[]) =>
  looking.splice(0, Infinity, ...engines)

const silent = { debug() {}, warn() {}, error() {} }

/** Lets a worker do everything that is due. */
export async function work(world: World): Promise<void> {
  const worker = startWorker({
    deps: world.deps,
    handlers: jobHandlers,
    providerTenantId: world.tenant.id,
    concurrency: 2,
    log: silent,
    pollMs: 5,
  })
  await expect
    .poll(async () => {
      const jobs = await listJobs(world.system, { limit: 100 })
      return jobs.filter(job => job.state === 'running' || (job.state === 'ready' && job.runAt <= world.deps.clock()))
    })
    .toEqual([])
  await worker.stop(1_000)
}

export const screenings = async (world: World) =>
  (await listJobs(world.system, { limit: 100 })).filter(job => job.kind === 'version.screen')

export const stateOf = async (world: World, id: number) => (await getVersionRow(world.system, id)).screening

export const verdicts = async (world: World, id: number) =>
  ((await loadChecks(world.system, [id])).get(id) ?? []).map(({ engine, verdict }) => `${engine}:${verdict}`)

/** The code of the refusal, or `read`. */
export const reading = (space: TestSpace, nodeId: number, versionId?: number) =>
  read(space.ctx, nodeId, versionId).then(
    () => 'read',
    (error: unknown) => {
      if (isDomainError(error)) return error.code
      throw error
    },
  )

export const delivery = { accessType: 'private', accessLimit: null, expiresAt: null, persistent: false } as const
export const makeDelivery = (world: World) =>
  makeSpace(world, { name: 'delivery', policy: { delivery, unscreenedDownloads: false } })
