import { describe, expect } from 'vitest'
import { giveRights, makePeople, send } from '#test/deliveries.ts'
import { put } from '#test/tree.ts'
import { test } from '#test/world.ts'
import { DAY_MS } from './deliveries.ts'
import {
  getFolder,
  openDelivery,
  requireActive,
  requireContributor,
  requireMayFetch,
  requireProofs,
  requireSender,
  type OpenDelivery,
} from './delivery-access.ts'
import { createFolder } from './nodes.ts'

const recipients = [
  { address: 'bob@example.test', type: 'regular' as const },
  { address: 'carol@example.test', type: 'contributor' as const },
]

const passes = (check: (opened: OpenDelivery) => void, opened: OpenDelivery): boolean => {
  try {
    check(opened)
    return true
  } catch {
    return false
  }
}

test('each comes as what he is, and may what that lets him', async ({ world }) => {
  const { alice, bob, carol, dave } = await makePeople(world, 'alice', 'bob', 'carol', 'dave')
  const admin = await world.user('admin', { kind: 'administrator' })
  await giveRights(world, admin, 'deliveries.manage')
  const { uid } = await send(alice.ctx, { accessType: 'internal', recipients, password: 'tulip', accessLimit: 3 })
  const seen = []
  for (const { ctx } of [alice, bob, carol, dave, admin]) {
    const opened = await openDelivery(ctx, uid.toUpperCase())
    const [mayChange, maySend, hasProofs] = [requireContributor, requireSender, requireProofs].map(check =>
      passes(check, opened),
    )
    seen.push([opened.role, mayChange, maySend, hasProofs])
  }
  expect(seen).toEqual([
    ['sender', true, true, true],
    ['recipient', false, false, false],
    ['contributor', true, false, false],
    ['visitor', false, false, false],
    ['administrator', true, true, true],
  ])
})

test('an administrator without the right finds nothing', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice')
  const admin = await world.user('admin', { kind: 'administrator' })
  const { uid } = await send(alice.ctx, { accessType: 'public' })
  await expect(openDelivery(admin.ctx, uid)).rejects.toMatchObject({ code: 'not-found' })
})

test('an unknown id, a space that is no delivery and no id at all are not there', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice')
  for (const uid of [world.deps.newId(), '', 'x', "' or 1=1"])
    await expect(openDelivery(alice.ctx, uid)).rejects.toMatchObject({ code: 'not-found' })
})

test('contributors need no access, but the password', async ({ world }) => {
  const { alice, carol } = await makePeople(world, 'alice', 'bob', 'carol')
  const limited = await send(alice.ctx, { recipients, accessLimit: 1 })
  requireProofs(await openDelivery(carol.ctx, limited.uid))
  await put((await openDelivery(carol.ctx, limited.uid)).ctx, limited.id, 'a.txt', 'content')
})

test('what is over is gone for users; administrators cannot change it', async ({ world }) => {
  const { alice, bob } = await makePeople(world, 'alice', 'bob', 'carol')
  const admin = await world.user('admin', { kind: 'administrator' })
  await giveRights(world, admin, 'deliveries.manage')
  const { uid } = await send(alice.ctx, { recipients, days: 1 })
  world.advance(DAY_MS)
  for (const { ctx } of [alice, bob]) await expect(openDelivery(ctx, uid)).rejects.toMatchObject({ code: 'not-found' })
  const opened = await openDelivery(admin.ctx, uid)
  requireActive(opened)
  expect(() => requireActive({ ...opened, space: { ...opened.space, state: 'deleted' } })).toThrow('wrong-state')
})

test('folders are found within the delivery only', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob', 'carol')
  const sent = await send(alice.ctx, { recipients })
  const other = await send(alice.ctx, { recipients })
  const folder = await createFolder(alice.ctx, { parentId: other.id, name: 'x' })
  const opened = await openDelivery(alice.ctx, sent.uid)
  expect(await getFolder(opened, sent.node.uid)).toMatchObject({ id: sent.id })
  await expect(getFolder(opened, folder.uid)).rejects.toMatchObject({ code: 'not-found' })
})

describe('fetching what one sent', () => {
  test.override({ settings: { deliveryReadSent: 'selected' } })

  test('can be for some only', async ({ world }) => {
    const { alice, bob } = await makePeople(world, 'alice', 'bob', 'carol')
    const { uid } = await send(alice.ctx, { recipients })
    await expect(requireMayFetch(await openDelivery(alice.ctx, uid))).rejects.toMatchObject({ code: 'forbidden' })
    await requireMayFetch(await openDelivery(bob.ctx, uid))
    await giveRights(world, alice, 'deliveries.read-sent')
    await requireMayFetch(await openDelivery(alice.ctx, uid))
  })
})
