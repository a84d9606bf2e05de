import { expect } from 'vitest'
import { dropOldBatches, listEvents, sealBatches, verifyChain } from '#core/audit.ts'
import { inTx } from '#core/ctx.ts'
import { test, type World } from '#test/world.ts'

const emit = (world: World, count = 1) =>
  inTx(world.system, async ctx => {
    for (let n = 0; n < count; n += 1)
      await ctx.emit({ type: 'user.changed', subject1: `user:${n}`, facts: { n, list: [1, 'a'] } })
  })
const verify = (world: World) => verifyChain(world.system)
const problems = async (world: World) => (await verify(world)).problems.map(({ batchId, what }) => `${batchId} ${what}`)
/** What somebody with the database in his hands could do. */
const tamper = (world: World, change: Parameters<World['deps']['database']['transaction']>[0]) =>
  world.deps.database.transaction(change)

test('sealed events verify, and the head of the chain moves with every batch', async ({ world }) => {
  await emit(world, 3)
  await sealBatches(world.system)
  const first = await verify(world)
  await emit(world, 2)
  await sealBatches(world.system)
  const second = await verify(world)
  expect(second).toMatchObject({
    batches: 2,
    events: first.events + 2,
    unsealedEvents: 0,
    droppedBatches: 0,
    problems: [],
  })
  expect(second.head).not.toBe(first.head)
})

test('nothing to seal makes no batch', async ({ world }) => {
  await sealBatches(world.system)
  const { batches } = await verify(world)
  expect(await sealBatches(world.system)).toBe(0)
  expect(await verify(world)).toMatchObject({ batches })
})

test('more events than a batch holds become several batches', async ({ world }) => {
  await emit(world, 2_100)
  expect(await sealBatches(world.system)).toBeGreaterThanOrEqual(2_100)
  expect(await verify(world)).toMatchObject({ batches: 3, problems: [] })
})

test('two processes that seal at once make one chain', async ({ world }) => {
  await emit(world, 50)
  const sealed = await Promise.all([sealBatches(world.system), sealBatches(world.system), sealBatches(world.system)])
  expect(sealed.filter(count => count > 0)).toHaveLength(1)
  expect(await problems(world)).toEqual([])
})

test('a changed event shows', async ({ world }) => {
  await emit(world, 3)
  await sealBatches(world.system)
  await tamper(world, tx =>
    tx.updateTable('event').set({ subject1: 'user:evil' }).where('subject1', '=', 'user:1').execute(),
  )
  expect(await problems(world)).toEqual(['1 events-differ'])
})

test('a removed event shows', async ({ world }) => {
  await emit(world, 3)
  await sealBatches(world.system)
  await tamper(world, tx => tx.deleteFrom('event').where('subject1', '=', 'user:1').execute())
  expect(await problems(world)).toEqual(['1 events-missing'])
})

test('an event put into a sealed batch shows', async ({ world }) => {
  await emit(world, 3)
  await sealBatches(world.system)
  await emit(world)
  await tamper(world, tx => tx.updateTable('event').set({ batchId: 1 }).where('batchId', 'is', null).execute())
  expect(await problems(world)).toEqual(['1 events-missing'])
})

test('a removed batch shows, with its events and without', async ({ world }) => {
  for (let n = 0; n < 3; n += 1) {
    await emit(world)
    await sealBatches(world.system)
  }
  await tamper(world, tx => tx.deleteFrom('audit_batch').where('id', '=', 2).execute())
  expect(await problems(world)).toEqual(['3 does-not-follow', '2 batch-missing'])
  await tamper(world, tx => tx.deleteFrom('event').where('batchId', '=', 2).execute())
  expect(await problems(world)).toEqual(['3 does-not-follow'])
})

test('a batch whose hash was recomputed after a change no longer carries the next one', async ({ world }) => {
  for (let n = 0; n < 2; n += 1) {
    await emit(world)
    await sealBatches(world.system)
  }
  await tamper(world, tx =>
    tx
      .updateTable('audit_batch')
      .set({ hash: 'f'.repeat(64) })
      .where('id', '=', 1)
      .execute(),
  )
  expect(await problems(world)).toEqual(['1 events-differ', '2 does-not-follow'])
})

test('a batch cannot be hung behind another one', async ({ world }) => {
  for (let n = 0; n < 2; n += 1) {
    await emit(world)
    await sealBatches(world.system)
  }
  const forged = 'f'.repeat(64)
  await tamper(world, async tx => {
    await tx.updateTable('audit_batch').set({ hash: forged }).where('id', '=', 1).execute()
    await tx.updateTable('audit_batch').set({ previousHash: forged }).where('id', '=', 2).execute()
  })
  expect(await problems(world)).toEqual(['1 events-differ', '2 events-differ'])
})

test.describe('with a retention of a day', () => {
  test.override({ settings: { auditRetentionMs: 86_400_000 } })

  test('whole batches are dropped, their hashes stay, and the chain still verifies', async ({ world }) => {
    await emit(world, 3)
    await sealBatches(world.system)
    world.advance(2 * 86_400_000)
    await emit(world)
    await sealBatches(world.system)
    expect(await dropOldBatches(world.system)).toBe(1)
    expect(await verify(world)).toMatchObject({ batches: 2, droppedBatches: 1, events: 1, problems: [] })
    expect((await listEvents(world.system, { limit: 1 }))[0]).toMatchObject({ type: 'audit.dropped' })
    expect(await dropOldBatches(world.system)).toBe(0)
  })
})

test('events are listed newest first, by type, actor and time, and only for who may read the log', async ({
  world,
}) => {
  const { ctx } = await world.user('curious')
  await emit(world, 3)
  const since = world.deps.clock()
  await inTx(world.system, ctx => ctx.emit({ type: 'group.created' }))
  const types = async (query: object) =>
    (await listEvents(world.system, { limit: 10, ...query })).map(event => event.type)
  expect((await types({}))[0]).toBe('group.created')
  expect(await types({ type: 'user.changed' })).toEqual(['user.changed', 'user.changed', 'user.changed'])
  expect(await types({ since })).toEqual(['group.created'])
  expect(await types({ actorName: 'nobody' })).toEqual([])
  await expect(listEvents(ctx, { limit: 1 })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(verifyChain(ctx)).rejects.toMatchObject({ code: 'forbidden' })
})
