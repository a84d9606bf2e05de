import { expect } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { enqueue } from '#core/jobs.ts'
import { test, type World } from '#test/world.ts'
import { jobHandlers } from './handlers.ts'
import { listJobs } from './queue.ts'
import { armSchedule } from './schedule.ts'
import { startWorker, type JobHandlers } from './worker.ts'

const silent = { debug() {}, warn() {}, error() {} }
const states = async (world: World) => (await listJobs(world.system, { limit: 100 })).map(job => job.state)
const add = (world: World) =>
  inTx(world.system, ctx => enqueue(ctx, { kind: 'blob.collect', payload: { blobIds: ['x'] } }))

function start(world: World, handlers: Partial<JobHandlers>, pollMs = 5) {
  return startWorker({
    deps: world.deps,
    handlers: { ...jobHandlers, ...handlers },
    providerTenantId: world.tenant.id,
    concurrency: 2,
    log: silent,
    pollMs,
  })
}

test('a job is done by its handler, as the system, in the tenant of the job', async ({ world }) => {
  const seen: unknown[] = []
  await add(world)
  const worker = start(world, {
    'blob.collect': async (ctx, payload) => void seen.push([ctx.actor.kind, ctx.actor.tenantId, payload]),
  })
  await expect.poll(() => states(world)).toEqual(['done'])
  expect(seen).toEqual([['system', world.tenant.id, { blobIds: ['x'] }]])
  await worker.stop(0)
})

test('a worker that is told looks at once, long before its next turn', async ({ world }) => {
  const worker = start(world, { 'blob.collect': async () => {} }, 3_600_000)
  await add(world)
  worker.wake()
  await expect.poll(() => states(world)).toEqual(['done'])
  await worker.stop(0)
})

test('a handler that throws leaves the job for another attempt', async ({ world }) => {
  await add(world)
  const worker = start(world, { 'blob.collect': () => Promise.reject(new Error('no luck')) })
  await expect
    .poll(() => listJobs(world.system, { limit: 1 }))
    .toMatchObject([{ state: 'ready', attempts: 1, lastError: 'Error: no luck' }])
  await worker.stop(0)
})

test('a stop waits for the job that runs', async ({ world }) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  await add(world)
  const worker = start(world, { 'blob.collect': () => promise })
  await expect.poll(() => states(world)).toEqual(['running'])
  const stopped = worker.stop(60_000)
  resolve()
  await stopped
  expect(await states(world)).toEqual(['done'])
})

test('a job that outlasts the limit of a stop is given back', async ({ world }) => {
  await add(world)
  const worker = start(world, { 'blob.collect': () => new Promise(() => {}) })
  await expect.poll(() => states(world)).toEqual(['running'])
  await worker.stop(1)
  expect(await listJobs(world.system, { limit: 1 })).toMatchObject([{ state: 'ready', attempts: 0 }])
})

test('the schedule adds each recurring job once, and again when its pause is over', async ({ world }) => {
  await Promise.all([armSchedule(world.system), armSchedule(world.system)])
  const kinds = async () =>
    (await listJobs(world.system, { limit: 100 })).map(job => `${job.kind} ${job.state}`).toSorted()
  const first = await kinds()
  expect(new Set(first).size).toBe(first.length)
  const worker = start(world, {})
  await expect.poll(() => states(world)).toEqual(first.map(() => 'done'))
  await worker.stop(0)
  await armSchedule(world.system)
  const [seal] = (await listJobs(world.system, { limit: 100, state: 'ready' })).filter(job => job.kind === 'audit.seal')
  expect(seal!.runAt).toBeGreaterThan(world.deps.clock())
  expect((await kinds()).filter(kind => kind.endsWith('ready'))).toHaveLength(first.length)
})
