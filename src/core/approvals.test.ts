import { describe, expect } from 'vitest'
import { giveRights, makePeople, send } from '#test/deliveries.ts'
import { put } from '#test/tree.ts'
import { test as base, type World } from '#test/world.ts'
import { decideApproval, listApprovers, listWaiting, setApprovers } from './approvals.ts'
import { openDelivery } from './delivery-access.ts'
import { openContent } from './downloads.ts'
import { getSpaceRow } from './space-rows.ts'

const test = base.override({ settings: { deliveryApproval: 'selected' } })
const toBob = { recipients: [{ address: 'bob@example.test', type: 'regular' as const }] }

const mails = async (world: World) =>
  (
    await world.deps.database.read
      .selectFrom('mail')
      .innerJoin('principal', 'principal.id', 'mail.recipientId')
      .select(['mail.kind', 'principal.email'])
      .execute()
  )
    .map(({ kind, email }) => `${kind} ${email}`)
    .toSorted()

test('what waits is reached by its sender and by who decides, by nobody else', async ({ world }) => {
  const { alice, bob, judge, other } = await makePeople(world, 'alice', 'bob', 'judge', 'other')
  await giveRights(world, judge, 'approvals.decide', 'approvals.all')
  await giveRights(world, other, 'approvals.decide')
  const sent = await send(alice.ctx, toBob)
  expect(sent.approval).toBe('waiting')
  const file = await put(alice.ctx, sent.id, 'a.txt', 'content')
  expect(await openDelivery(alice.ctx, sent.uid)).toMatchObject({ role: 'sender' })
  const opened = await openDelivery(judge.ctx, sent.uid)
  expect(opened).toMatchObject({ role: 'approver' })
  expect((await openContent(opened.ctx, { nodeId: file.node.id })).sizeBytes).toBe(7)
  await expect(openDelivery(bob.ctx, sent.uid)).rejects.toMatchObject({ code: 'not-approved' })
  await expect(openContent(bob.ctx, { nodeId: file.node.id })).rejects.toMatchObject({ code: 'not-approved' })
  await expect(openDelivery(other.ctx, sent.uid)).rejects.toMatchObject({ code: 'not-found' })
  expect(await mails(world)).toEqual(['approval-needed judge@example.test'])
})

test('consent lets it out and tells recipients and sender, once', async ({ world }) => {
  const { alice, bob, judge } = await makePeople(world, 'alice', 'bob', 'judge')
  await giveRights(world, judge, 'approvals.decide', 'approvals.all')
  const { id: spaceId, uid } = await send(alice.ctx, toBob)
  await decideApproval(judge.ctx, { spaceId, decision: 'approved' })
  expect(await openDelivery(bob.ctx, uid)).toMatchObject({
    role: 'recipient',
    space: { approval: 'approved', approvalDecidedBy: judge.user.id },
  })
  expect(await mails(world)).toEqual([
    'approval-needed judge@example.test',
    'delivery-approved alice@example.test',
    'delivery-arrived bob@example.test',
  ])
  for (const decision of ['approved', 'refused'] as const)
    await expect(decideApproval(judge.ctx, { spaceId, decision })).rejects.toMatchObject({ code: 'wrong-state' })
  expect(await world.events()).toEqual(expect.arrayContaining(['approval.requested', 'approval.decided']))
})

test('a refusal stands', async ({ world }) => {
  const { alice, bob, judge } = await makePeople(world, 'alice', 'bob', 'judge')
  await giveRights(world, judge, 'approvals.decide', 'approvals.all')
  const { id: spaceId, uid } = await send(alice.ctx, toBob)
  await decideApproval(judge.ctx, { spaceId, decision: 'refused' })
  await expect(openDelivery(bob.ctx, uid)).rejects.toMatchObject({ code: 'not-approved' })
  expect(await openDelivery(alice.ctx, uid)).toMatchObject({ space: { approval: 'refused' } })
  expect(await mails(world)).toContain('delivery-refused alice@example.test')
})

test('nobody decides without the right, about strangers, or about himself', async ({ world }) => {
  const { alice, bob, judge } = await makePeople(world, 'alice', 'bob', 'judge')
  const { id: spaceId } = await send(alice.ctx, toBob)
  const decide = (ctx = judge.ctx) => decideApproval(ctx, { spaceId, decision: 'approved' })
  await expect(decide(bob.ctx)).rejects.toMatchObject({ code: 'forbidden' })
  await giveRights(world, judge, 'approvals.decide')
  await expect(decide()).rejects.toMatchObject({ code: 'forbidden' })
  await giveRights(world, alice, 'approvals.decide', 'approvals.all')
  await expect(decide(alice.ctx)).rejects.toMatchObject({ code: 'forbidden' })
  expect((await world.events()).filter(event => event === 'approval.decided refused')).toHaveLength(3)
  await setApprovers(world.system, { principalId: alice.user.id, approverIds: [judge.user.id] })
  expect((await listWaiting(judge.ctx, { offset: 0, limit: 10 })).map(({ space }) => space.id)).toEqual([spaceId])
  await decide()
  expect(await listWaiting(judge.ctx, { offset: 0, limit: 10 })).toEqual([])
  await expect(listWaiting(bob.ctx, { offset: 0, limit: 10 })).rejects.toMatchObject({ code: 'forbidden' })
})

test('of two who decide at once one is first', async ({ world }) => {
  const { alice, judge } = await makePeople(world, 'alice', 'bob', 'judge')
  await giveRights(world, judge, 'approvals.decide', 'approvals.all')
  const { id: spaceId } = await send(alice.ctx, toBob)
  const outcomes = await Promise.allSettled(
    (['approved', 'refused'] as const).map(decision => decideApproval(judge.ctx, { spaceId, decision })),
  )
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  const { approval } = await getSpaceRow(judge.ctx, spaceId)
  expect(outcomes[approval === 'approved' ? 0 : 1]!.status).toBe('fulfilled')
})

test('who may send without consent does', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  await giveRights(world, alice, 'deliveries.send.unapproved')
  expect((await send(alice.ctx, toBob)).approval).toBe('none')
})

describe('approvers', () => {
  test('are named by oneself with the right, or by who manages accounts', async ({ world }) => {
    const { alice, judge } = await makePeople(world, 'alice', 'judge')
    const input = { principalId: alice.user.id, approverIds: [judge.user.id, judge.user.id] }
    await expect(setApprovers(alice.ctx, input)).rejects.toMatchObject({ code: 'forbidden' })
    await expect(setApprovers(judge.ctx, input)).rejects.toMatchObject({ code: 'forbidden' })
    await giveRights(world, alice, 'approvals.choose')
    await setApprovers(alice.ctx, input)
    expect(await listApprovers(alice.ctx, input)).toEqual([judge.user.id])
    await expect(setApprovers(alice.ctx, { ...input, approverIds: [alice.user.id] })).rejects.toThrow('invalid-input')
    await expect(setApprovers(alice.ctx, { ...input, approverIds: ['nobody'] })).rejects.toThrow('not-found')
    await expect(listApprovers(judge.ctx, input)).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('with consent for everybody', () => {
  test.override({ settings: { deliveryApproval: 'yes' } })

  test('the right to send without does not help', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    await giveRights(world, alice, 'deliveries.send.unapproved')
    expect((await send(alice.ctx, toBob)).approval).toBe('waiting')
  })
})
