import { describe, expect } from 'vitest'
import { send, giveRights, makePeople } from '#test/deliveries.ts'
import { put } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'
import {
  addRecipients,
  createDelivery,
  DAY_MS,
  deleteDelivery,
  setTags,
  updateDelivery,
  type DeliveryChanges,
} from './deliveries.ts'
import { openDelivery } from './delivery-access.ts'
import { inTx, type Ctx } from './ctx.ts'
import { addMembers, createGroup } from './groups.ts'
import { recipientsOf, revokeRecipient, visibleRecipients } from './recipients.ts'
import { getSpaceRow } from './space-rows.ts'

const to = (address: string, type: 'regular' | 'blind' | 'contributor' = 'regular') => ({ address, type })
const toBob = { recipients: [to('bob@example.test')] }

const addressesOf = async (ctx: Ctx, spaceId: number) =>
  (await recipientsOf(ctx, [spaceId])).map(recipient => [recipient.address, recipient.type, recipient.class])

const mailsTo = async (world: World) => {
  const rows = await world.deps.database.read
    .selectFrom('mail')
    .innerJoin('principal', 'principal.id', 'mail.recipientId')
    .select(['mail.kind', 'principal.email', 'mail.subjectId'])
    .orderBy('mail.createdAt')
    .orderBy('principal.email')
    .execute()
  return rows.map(({ kind, email }) => `${kind} ${email}`)
}

describe('createDelivery', () => {
  test('makes a space that its sender manages and its recipients can read', async ({ world }) => {
    const { alice, bob } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, { label: 'Q3 / figures', note: 'Have a look', ...toBob })
    expect(sent).toMatchObject({
      ownerId: alice.user.id,
      state: 'active',
      deliveryAccess: 'private',
      approval: 'none',
      unscreenedDownloads: 0,
      visibleElsewhere: 0,
    })
    expect(sent.node).toMatchObject({ label: 'Q3 / figures', notes: 'Have a look' })
    expect(sent.deliveryExpiresAt! - sent.node.createdAt).toBeGreaterThan(29 * DAY_MS)
    const seen = await openDelivery(bob.ctx, sent.uid)
    expect(seen).toMatchObject({ role: 'recipient' })
    await put(alice.ctx, sent.id, 'a.txt', 'content')
    await expect(put(bob.ctx, sent.id, 'b.txt', 'content')).rejects.toMatchObject({ code: 'forbidden' })
    expect(await mailsTo(world)).toEqual(['delivery-arrived bob@example.test'])
    expect(await world.events()).toContain('recipient.added')
  })

  test('several of one label stand beside each other', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await Promise.all(Array.from({ length: 5 }, () => send(alice.ctx, toBob)))
    expect(new Set(sent.map(({ node }) => node.name)).size).toBe(5)
    expect(new Set(sent.map(({ node }) => node.label))).toEqual(new Set(['Report']))
  })

  test('takes a label that no file could be called', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    for (const label of ['', '../..', '\u{1f600}'.repeat(100), 'a\nb']) {
      expect((await send(alice.ctx, { label, ...toBob })).node.label).toBe(label)
    }
  })

  test.for([
    ['a long label', { label: 'x'.repeat(101) }],
    ['a long note', { note: 'x'.repeat(10_001) }],
    ['NUL in the note', { note: 'a\0b' }],
    ['too many days', { days: 361 }],
    ['encryption without a password', { encrypt: true }],
  ] as const)('%s is refused', async ([, input], { world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    await expect(send(alice.ctx, { ...toBob, ...input })).rejects.toMatchObject({ code: 'invalid-input' })
  })

  test('a private one needs somebody to go to', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice')
    await expect(send(alice.ctx)).rejects.toMatchObject({ code: 'recipient-refused', details: { rule: 'missing' } })
    await send(alice.ctx, { accessType: 'public' })
  })

  test('each way of sending needs its right', async ({ world }) => {
    const { alice, groupId } = await makePeople(world, 'alice', 'bob')
    await giveRights(world, { ...alice, user: { ...alice.user, id: groupId } }, 'deliveries.receive')
    for (const accessType of ['public', 'internal', 'private'] as const) {
      await expect(send(alice.ctx, { accessType, ...toBob })).rejects.toMatchObject({ code: 'forbidden' })
      await giveRights(world, alice, `deliveries.send.${accessType}`)
      await send(alice.ctx, { accessType, ...toBob })
    }
    await expect(send(alice.ctx, { persistent: true, ...toBob })).rejects.toMatchObject({ code: 'forbidden' })
    await giveRights(world, alice, 'deliveries.send.private', 'deliveries.persistent')
    expect(await send(alice.ctx, { persistent: true, days: 9_999, ...toBob })).toMatchObject({
      deliveryExpiresAt: null,
      deliveryPersistent: 1,
    })
    expect(await world.events()).toContain('access.refused refused')
  })

  test('a password is asked of recipients, not of the sender', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, { password: 'tulip', ...toBob })
    expect(sent.deliveryPasswordHash).toMatch(/^\$argon2id\$/)
    expect(await openDelivery(alice.ctx, sent.uid)).toMatchObject({ role: 'sender' })
  })

  test('nobody who is not signed in sends', async ({ world }) => {
    await expect(send(world.system, toBob)).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('without notices nobody is told', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    await send(alice.ctx, { notify: false, ...toBob })
    expect(await mailsTo(world)).toEqual([])
  })
})

describe('switches', () => {
  const closed = { deliverySendSelf: 'no', deliverySendOwn: 'selected', deliveryContributors: 'selected' } as const
  test.override({ settings: closed })

  test('what is switched off is refused, what is for some needs the right', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const self = to('alice@example.test')
    const asContributor = to('bob@example.test', 'contributor')
    await expect(send(alice.ctx, { recipients: [self, ...toBob.recipients] })).rejects.toThrow('forbidden')
    await expect(send(alice.ctx, { recipients: [self] })).rejects.toThrow('forbidden')
    await expect(send(alice.ctx, { recipients: [asContributor] })).rejects.toThrow('forbidden')
    await giveRights(world, alice, 'deliveries.send.own', 'deliveries.contributors', 'deliveries.send.self')
    await send(alice.ctx, { recipients: [self] })
    await send(alice.ctx, { recipients: [asContributor] })
    await expect(send(alice.ctx, { recipients: [self, ...toBob.recipients] })).rejects.toThrow('forbidden')
  })
})

describe('recipients', () => {
  test('are accounts, or addresses outside; named twice, the stronger type counts', async ({ world }) => {
    const { alice, bob } = await makePeople(world, 'alice', 'bob')
    const recipients = [
      to('BOB@example.test', 'blind'),
      to('partner@elsewhere.test'),
      to('bob@example.test', 'contributor'),
      to('Partner@elsewhere.test', 'blind'),
    ]
    const sent = await send(alice.ctx, { recipients })
    expect(await addressesOf(alice.ctx, sent.id)).toEqual([
      ['bob@example.test', 'contributor', 'internal'],
      ['partner@elsewhere.test', 'regular', 'external'],
    ])
    await put(bob.ctx, sent.id, 'b.txt', 'content')
  })

  test('a contributor without an account is refused, and who may not receive', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice')
    await world.user('deaf', { email: 'deaf@example.test' })
    await expect(send(alice.ctx, { recipients: [to('x@elsewhere.test', 'contributor')] })).rejects.toMatchObject({
      details: { address: 'x@elsewhere.test', rule: 'no-account' },
    })
    await expect(send(alice.ctx, { recipients: [to('deaf@example.test')] })).rejects.toMatchObject({
      details: { address: 'deaf@example.test', rule: 'may-not-receive' },
    })
  })

  test('the address of a distribution group stands for its members', async ({ world }) => {
    const { alice, bob, carol } = await makePeople(world, 'alice', 'bob', 'carol')
    const team = await groupWithAddress(world, 'team@example.test', 'internal')
    await addMembers(world.system, { groupId: team, memberIds: [bob.user.id, carol.user.id] })
    const sent = await send(alice.ctx, { recipients: [to('team@example.test', 'blind')] })
    const addresses = (await addressesOf(alice.ctx, sent.id)).map(([address]) => String(address))
    expect(addresses.toSorted()).toEqual(['bob@example.test', 'carol@example.test'])
    const closed = await groupWithAddress(world, 'board@example.test', 'private')
    await addMembers(world.system, { groupId: closed, memberIds: [bob.user.id] })
    const toBoard = { recipients: [to('board@example.test')] }
    await expect(send(alice.ctx, toBoard)).rejects.toMatchObject({ details: { rule: 'may-not-be-addressed' } })
    await send(bob.ctx, toBoard)
  })

  test('blind ones are hidden from each other', async ({ world }) => {
    const { alice, bob, carol } = await makePeople(world, 'alice', 'bob', 'carol')
    const sent = await send(alice.ctx, {
      recipients: [to('bob@example.test'), to('carol@example.test', 'blind')],
    })
    const recipients = await recipientsOf(alice.ctx, [sent.id])
    const seenBy = (ctx: Ctx, seesAll = false) => visibleRecipients(ctx, { recipients, seesAll }).map(r => r.address)
    expect(seenBy(bob.ctx)).toEqual(['bob@example.test'])
    expect(seenBy(carol.ctx)).toEqual(['bob@example.test', 'carol@example.test'])
    expect(seenBy(alice.ctx, true)).toHaveLength(2)
  })

  test('one with an account can be taken out, one outside cannot', async ({ world }) => {
    const { alice, bob } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, { recipients: [to('bob@example.test'), to('x@elsewhere.test')] })
    const [internal, external] = await recipientsOf(alice.ctx, [sent.id])
    const revoke = (grantId: string) => inTx(alice.ctx, ctx => revokeRecipient(ctx, sent, grantId))
    await revoke(internal!.grantId)
    await expect(openDelivery(bob.ctx, sent.uid)).rejects.toMatchObject({ code: 'not-found' })
    await expect(revoke(external!.grantId)).rejects.toMatchObject({ code: 'recipient-fixed' })
    await expect(revoke(internal!.grantId)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('a sender among them stays the owner when taken out', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, { recipients: [to('alice@example.test'), ...toBob.recipients] })
    const own = (await recipientsOf(alice.ctx, [sent.id])).find(({ principalId }) => principalId === alice.user.id)
    await put(alice.ctx, sent.id, 'a.txt', 'content')
    await inTx(alice.ctx, ctx => revokeRecipient(ctx, sent, own!.grantId))
    await put(alice.ctx, sent.id, 'b.txt', 'content')
    expect(await addressesOf(alice.ctx, sent.id)).toHaveLength(1)
  })

  test('come later too, and nobody is told twice', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob', 'carol')
    const sent = await send(alice.ctx, toBob)
    const added = await addRecipients(alice.ctx, sent, [to('bob@example.test'), to('carol@example.test')])
    expect(added.map(({ address }) => address)).toEqual(['bob@example.test', 'carol@example.test'])
    expect(await mailsTo(world)).toEqual(['delivery-arrived bob@example.test', 'delivery-arrived carol@example.test'])
  })

  async function groupWithAddress(world: World, email: string, reach: 'internal' | 'private'): Promise<string> {
    const { id } = await createGroup(world.system, { name: email })
    await inTx(world.system, async ({ db }) => {
      await db.updateTable('principal').set({ email, emailKey: email }).where('id', '=', id).execute()
      await db
        .insertInto('group_profile')
        .values({ groupId: id, reach, isDistribution: 1 })
        .onConflict(clash => clash.column('groupId').doUpdateSet({ reach, isDistribution: 1 }))
        .execute()
    })
    return id
  }
})

describe('updateDelivery', () => {
  const change = async (ctx: Ctx, spaceId: number, changes: DeliveryChanges) =>
    updateDelivery(ctx, await getSpaceRow(ctx, spaceId), changes)

  test('changes what is named and nothing else', async ({ world }) => {
    const { alice, carol } = await makePeople(world, 'alice', 'bob', 'carol')
    const sent = await send(alice.ctx, { note: 'old', accessLimit: 5, ...toBob })
    await change(alice.ctx, sent.id, { label: 'New', note: '' })
    expect(await openDelivery(alice.ctx, sent.uid)).toMatchObject({
      node: { label: 'New', notes: null, name: sent.node.name },
      space: { accessLimit: 5, deliveryExpiresAt: sent.deliveryExpiresAt },
    })
    await change(alice.ctx, sent.id, { accessType: 'internal' })
    expect(await openDelivery(carol.ctx, sent.uid)).toMatchObject({ role: 'visitor', space: { accessLimit: 5 } })
    await change(alice.ctx, sent.id, { accessType: 'private' })
    await expect(openDelivery(carol.ctx, sent.uid)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('an end must lie ahead, and not too far', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, toBob)
    const now = world.deps.clock()
    for (const expiresAt of [now - 1, now + 400 * DAY_MS])
      await expect(change(alice.ctx, sent.id, { expiresAt })).rejects.toMatchObject({ code: 'invalid-input' })
    await change(alice.ctx, sent.id, { expiresAt: now + DAY_MS })
    expect(await getSpaceRow(alice.ctx, sent.id)).toMatchObject({ deliveryExpiresAt: now + DAY_MS })
  })

  test('persistent ones have no end; ending that gives the default', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, toBob)
    await expect(change(alice.ctx, sent.id, { persistent: true })).rejects.toMatchObject({ code: 'forbidden' })
    await giveRights(world, alice, 'deliveries.persistent')
    await change(alice.ctx, sent.id, { persistent: true })
    const soon = world.deps.clock() + DAY_MS
    await expect(change(alice.ctx, sent.id, { expiresAt: soon })).rejects.toMatchObject({ code: 'invalid-input' })
    await change(alice.ctx, sent.id, { persistent: false })
    const { deliveryExpiresAt } = await getSpaceRow(alice.ctx, sent.id)
    expect(deliveryExpiresAt! - world.deps.clock()).toBeGreaterThan(29 * DAY_MS)
  })

  test('a password can be set, changed and taken away, unless it encrypts', async ({ world }) => {
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, toBob)
    await change(alice.ctx, sent.id, { password: 'tulip' })
    expect((await getSpaceRow(alice.ctx, sent.id)).deliveryPasswordHash).toMatch(/^\$argon2id\$/)
    await change(alice.ctx, sent.id, { password: '' })
    expect((await getSpaceRow(alice.ctx, sent.id)).deliveryPasswordHash).toBeNull()
    const sealed = await send(alice.ctx, { password: 'tulip', encrypt: true, ...toBob })
    await expect(change(alice.ctx, sealed.id, { password: 'rose' })).rejects.toMatchObject({ code: 'password-fixed' })
  })

  test('one without recipients cannot become private, and each access needs its right', async ({ world }) => {
    const { alice, groupId } = await makePeople(world, 'alice')
    const sent = await send(alice.ctx, { accessType: 'public' })
    await expect(change(alice.ctx, sent.id, { accessType: 'private' })).rejects.toMatchObject({
      code: 'recipient-refused',
    })
    await giveRights(world, { ...alice, user: { ...alice.user, id: groupId } }, 'deliveries.use')
    await expect(change(alice.ctx, sent.id, { accessType: 'internal' })).rejects.toMatchObject({ code: 'forbidden' })
  })
})

test('a deleted delivery is gone for everybody but who looks after deliveries', async ({ world }) => {
  const { alice, bob } = await makePeople(world, 'alice', 'bob')
  const admin = await world.user('admin', { kind: 'administrator' })
  await giveRights(world, admin, 'deliveries.manage')
  const sent = await send(alice.ctx, toBob)
  await deleteDelivery(alice.ctx, sent)
  for (const { ctx } of [alice, bob])
    await expect(openDelivery(ctx, sent.uid)).rejects.toMatchObject({ code: 'not-found' })
  expect(await openDelivery(admin.ctx, sent.uid)).toMatchObject({ role: 'administrator', space: { state: 'deleted' } })
  await expect(deleteDelivery(alice.ctx, sent)).rejects.toThrow()
})

test('tags replace each other', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  const { id: spaceId } = await send(alice.ctx, toBob)
  await setTags(alice.ctx, { spaceId, tags: ['a', 'b', 'a'] })
  await setTags(alice.ctx, { spaceId, tags: ['c'] })
  const rows = await world.deps.database.read.selectFrom('node_tag').select('tag').execute()
  expect(rows).toEqual([{ tag: 'c' }])
})

test('deliveries of another tenant are not there', async ({ world }) => {
  const { alice } = await makePeople(world, 'alice', 'bob')
  const sent = await send(alice.ctx, { accessType: 'public' })
  const stranger = await world.user('other', { tenant: await world.otherTenant() })
  await expect(openDelivery(stranger.ctx, sent.uid)).rejects.toMatchObject({ code: 'not-found' })
  await expect(createDelivery(stranger.ctx, { ...sendInput })).rejects.toMatchObject({ code: 'forbidden' })
})

const sendInput = {
  label: '',
  note: '',
  accessType: 'public',
  recipients: [],
  encrypt: false,
  persistent: false,
  accessLimit: null,
  notify: false,
} as const
