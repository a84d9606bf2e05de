import { describe, expect } from 'vitest'
import { giveRights, makePeople, send } from '#test/deliveries.ts'
import { put } from '#test/tree.ts'
import { test } from '#test/world.ts'
import { DAY_MS, deleteDelivery, updateDelivery } from './deliveries.ts'
import { openDelivery } from './delivery-access.ts'
import { retireDeliveries, reviveDelivery } from './delivery-retention.ts'
import { inTx } from './ctx.ts'
import { getSpaceRow } from './space-rows.ts'
import { getVersionRow } from './versions.ts'

const toBob = { recipients: [{ address: 'bob@example.test', type: 'regular' as const }] }

test('deliveries end at their time, and their content is destroyed some time after that', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  const sent = await send(alice.ctx, { ...toBob, days: 1 })
  const later = await send(alice.ctx, { ...toBob, days: 100 })
  await put(alice.ctx, sent.id, 'a.txt', 'content')
  expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 0 })
  world.advance(DAY_MS)
  expect(await retireDeliveries(world.system)).toEqual({ ended: 1, archived: 0, shredded: 0 })
  expect(await getSpaceRow(world.system, sent.id)).toMatchObject({ state: 'deleted' })
  expect(await getSpaceRow(world.system, later.id)).toMatchObject({ state: 'active' })
  world.advance(30 * DAY_MS)
  expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 1 })
  const shredded = await getSpaceRow(world.system, sent.id)
  expect(shredded).toMatchObject({ state: 'purged', deliveryAccess: 'private' })
  expect(shredded.contentPurgedAt).not.toBeNull()
  expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 0 })
})

test('what was left in the middle of being destroyed is finished', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  const sent = await send(alice.ctx, toBob)
  const file = await put(alice.ctx, sent.id, 'a.txt', 'content')
  await inTx(world.system, ({ db }) =>
    db.updateTable('space').set({ state: 'purged' }).where('id', '=', sent.id).execute(),
  )
  expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 1 })
  expect((await getSpaceRow(world.system, sent.id)).contentPurgedAt).not.toBeNull()
  expect((await getVersionRow(world.system, file.version.id)).purgedAt).not.toBeNull()
})

test('persistent ones stay as they are, deleted or not', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  await giveRights(world, alice, 'deliveries.persistent')
  const kept = await send(alice.ctx, { ...toBob, persistent: true })
  const deleted = await send(alice.ctx, { ...toBob, persistent: true })
  await deleteDelivery(alice.ctx, deleted)
  world.advance(5_000 * DAY_MS)
  expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 0 })
  expect(await getSpaceRow(world.system, kept.id)).toMatchObject({ state: 'active' })
})

test('one that got more time goes on', async ({ world }) => {
  const { alice, bob } = await makePeople(world, 'alice', 'bob')
  const sent = await send(alice.ctx, { ...toBob, days: 1 })
  await updateDelivery(alice.ctx, sent, { expiresAt: world.deps.clock() + 10 * DAY_MS })
  world.advance(2 * DAY_MS)
  expect(await retireDeliveries(world.system)).toMatchObject({ ended: 0 })
  expect(await openDelivery(bob.ctx, sent.uid)).toMatchObject({ role: 'recipient' })
})

test('who looks after deliveries brings one back, with time to go', async ({ world }) => {
  const { alice, bob } = await makePeople(world, 'alice', 'bob')
  const sent = await send(alice.ctx, { ...toBob, days: 1 })
  world.advance(DAY_MS)
  await retireDeliveries(world.system)
  await expect(reviveDelivery(alice.ctx, { spaceId: sent.id })).rejects.toMatchObject({ code: 'forbidden' })
  await reviveDelivery(world.system, { spaceId: sent.id, days: 3 })
  expect(await openDelivery(bob.ctx, sent.uid)).toMatchObject({ role: 'recipient' })
  world.advance(3 * DAY_MS)
  expect(await retireDeliveries(world.system)).toMatchObject({ ended: 1 })
  await reviveDelivery(world.system, { spaceId: sent.id })
  expect(await retireDeliveries(world.system)).toMatchObject({ ended: 0 })
  await expect(reviveDelivery(world.system, { spaceId: sent.id })).rejects.toMatchObject({ code: 'wrong-state' })
})

describe('with an archive', () => {
  test.override({ settings: { deliveryAfterTrash: 'archive', deliveryTrashMs: DAY_MS } })

  test('content is kept, for administrators', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, toBob)
    await deleteDelivery(alice.ctx, sent)
    world.advance(DAY_MS + 1)
    expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 1, shredded: 0 })
    expect(await getSpaceRow(world.system, sent.id)).toMatchObject({ state: 'archived', contentPurgedAt: null })
  })
})

describe('without an end of the bin', () => {
  test.override({ settings: { deliveryTrashMs: null } })

  test('deleted ones stay', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    await deleteDelivery(alice.ctx, await send(alice.ctx, toBob))
    world.advance(5_000 * DAY_MS)
    expect(await retireDeliveries(world.system)).toEqual({ ended: 0, archived: 0, shredded: 0 })
  })
})
