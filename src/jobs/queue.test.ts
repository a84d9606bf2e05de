import { expect } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { enqueue } from '#core/jobs.ts'
import { test, type World } from '#test/world.ts'
import {
  LEASE_MS,
  completeJob,
  countJobs,
  failJob,
  forgetDone,
  leaseJob,
  listJobs,
  releaseAbandoned,
  renewLease,
  retryDead,
  returnJob,
} from './queue.ts'

const kinds = ['database.scrub', 'sweep'] as const
const add = (world: World, dedupKey?: string) =>
  inTx(world.system, ctx => enqueue(ctx, { kind: 'database.scrub', payload: {}, ...(dedupKey && { dedupKey }) }))
const lease = (world: World, worker = 'a') => leaseJob(world.deps, worker, kinds)
const states = async (world: World) => (await listJobs(world.system, { limit: 100 })).map(job => job.state)

test('a job is leased once, however many workers ask', async ({ world }) => {
  await add(world)
  const leases = await Promise.all(Array.from({ length: 8 }, (_, n) => lease(world, `worker ${n}`)))
  expect(leases.filter(job => job !== undefined)).toHaveLength(1)
})

test('many workers share the jobs without a job done twice', async ({ world }) => {
  for (let n = 0; n < 20; n += 1) await add(world)
  const work = async (worker: string) => {
    const ids: number[] = []
    for (let job = await lease(world, worker); job; job = await lease(world, worker)) {
      ids.push(job.id)
      await completeJob(world.deps, job)
    }
    return ids
  }
  const done = (await Promise.all(['a', 'b', 'c', 'd'].map(work))).flat()
  expect(done).toHaveLength(20)
  expect(new Set(done).size).toBe(20)
})

test('only kinds that the worker knows are leased, and nothing before its time', async ({ world }) => {
  await add(world)
  expect(await leaseJob(world.deps, 'a', ['sweep'])).toBeUndefined()
  await inTx(world.system, ctx => enqueue(ctx, { kind: 'sweep', payload: {}, runAt: ctx.clock() + 60_000 }))
  expect(await leaseJob(world.deps, 'a', ['sweep'])).toBeUndefined()
  world.advance(61_000)
  expect(await leaseJob(world.deps, 'a', ['sweep'])).toMatchObject({ kind: 'sweep', attempts: 1, payload: {} })
})

test('a job asked for twice while it waits is one job, asked for while it runs it runs again', async ({ world }) => {
  await add(world, 'scrub')
  await add(world, 'scrub')
  expect(await states(world)).toEqual(['ready'])
  await lease(world)
  await add(world, 'scrub')
  expect(await states(world)).toEqual(['ready', 'running'])
})

test('a failed job comes back later each time and ends as a dead letter with its error', async ({ world }) => {
  await add(world)
  const waits: number[] = []
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    const job = (await lease(world))!
    const [row] = await listJobs(world.system, { limit: 1 })
    await failJob(world.deps, job, new Error(`attempt ${attempt}`))
    const [after] = await listJobs(world.system, { limit: 1 })
    waits.push(after!.runAt - row!.runAt)
    expect(await lease(world)).toBeUndefined()
    world.advance(2 * 3_600_000)
  }
  expect(await listJobs(world.system, { limit: 1, state: 'dead' })).toMatchObject([
    { attempts: 10, maxAttempts: 10, lastError: 'Error: attempt 10' },
  ])
  expect(waits[3]).toBeGreaterThan(waits[0]!)
})

test('dead letters get a new set of attempts when told so', async ({ world }) => {
  await add(world)
  await world.deps.database.transaction(tx => tx.updateTable('job').set({ maxAttempts: 1 }).execute())
  expect(await failJob(world.deps, (await lease(world))!, 'no')).toBe('dead')
  expect(await retryDead(world.deps, 999)).toBe(0)
  expect(await retryDead(world.deps)).toBe(1)
  expect(await lease(world)).toMatchObject({ attempts: 1 })
})

test('what a vanished worker held is free once its lease ran out, and its late answer counts for nothing', async ({
  world,
}) => {
  await add(world)
  const lost = (await lease(world, 'lost'))!
  await releaseAbandoned(world.deps)
  expect(await lease(world, 'b')).toBeUndefined()
  world.advance(LEASE_MS + 1_000)
  await releaseAbandoned(world.deps)
  expect(await lease(world, 'b')).toMatchObject({ id: lost.id, attempts: 2 })
  expect(await completeJob(world.deps, lost)).toBe(false)
  expect(await renewLease(world.deps, lost)).toBe(false)
  expect(await states(world)).toEqual(['running'])
})

test('a renewed lease does not run out', async ({ world }) => {
  await add(world)
  const job = (await lease(world))!
  world.advance(LEASE_MS - 1_000)
  expect(await renewLease(world.deps, job)).toBe(true)
  world.advance(LEASE_MS - 1_000)
  await releaseAbandoned(world.deps)
  expect(await states(world)).toEqual(['running'])
})

test('a job that takes its worker along every time ends as a dead letter', async ({ world }) => {
  await add(world)
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    await lease(world)
    world.advance(LEASE_MS + 1_000)
    await releaseAbandoned(world.deps)
  }
  expect(await listJobs(world.system, { limit: 1 })).toMatchObject([
    { state: 'dead', lastError: 'The worker vanished' },
  ])
})

test('a job given back has lost no attempt', async ({ world }) => {
  await add(world)
  await returnJob(world.deps, (await lease(world))!)
  expect(await lease(world)).toMatchObject({ attempts: 1 })
})

test('jobs are counted by kind and state, and old done ones are forgotten', async ({ world }) => {
  await add(world)
  await add(world)
  await completeJob(world.deps, (await lease(world))!)
  const counts = await countJobs(world.deps)
  expect(counts.map(({ kind, state, jobs }) => `${kind} ${state} ${jobs}`).toSorted()).toEqual([
    'database.scrub done 1',
    'database.scrub ready 1',
  ])
  world.advance(1_000)
  await forgetDone(world.deps, world.deps.clock())
  expect(await states(world)).toEqual(['ready'])
})
