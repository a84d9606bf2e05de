import { describe, expect } from 'vitest'
import type { Updateable } from 'kysely'
import type { SpaceTable } from '#db/schema.ts'
import { jobHandlers } from '#jobs/handlers.ts'
import { leaseJob } from '#jobs/queue.ts'
import { startReceiver } from '#test/mail-receiver.ts'
import { smtpMailer } from '#platform/mail/smtp.ts'
import { test, type World, type WorldUser } from '#test/world.ts'
import { inTx, type Ctx } from './ctx.ts'
import { MailRefused } from './errors.ts'
import { setGrantRow } from './grants.ts'
import { forgetMails, listMails, queueMail, type MailKind } from './mail.ts'
import { sendMail, sendTestMail } from './mail-send.ts'
import { findOrCreateAddress } from './principals.ts'
import { sendPasswordLink } from './password-links.ts'
import { actionSet } from './permissions.ts'
import { cleanUp } from './retention.ts'
import { createSpace } from './spaces.ts'

interface Sent {
  id: number
  uid: string
  sender: WorldUser
  reader: WorldUser
}

const DAY_MS = 86_400_000

/** A delivery of one account to another, which has not been told of it. */
async function delivery(world: World, changes: Updateable<SpaceTable> = {}): Promise<Sent> {
  const sender = await world.user('jan', { name: 'Jan Novák', email: 'jan@example.com' })
  const reader = await world.user('zofie', { name: 'Žofie', email: 'zofie@example.com' })
  const policy = { accessType: 'private' as const, accessLimit: null, expiresAt: world.deps.clock() + 30 * DAY_MS }
  const space = await createSpace(world.system, {
    name: 'Plans',
    ownerId: sender.user.id,
    policy: { delivery: { ...policy, persistent: false } },
  })
  await inTx(world.system, async ctx => {
    await ctx.db.updateTable('node').set({ notes: 'Look at page 2' }).where('id', '=', space.id).execute()
    await ctx.db
      .updateTable('space')
      .set({ stateChangedAt: null, ...changes })
      .where('id', '=', space.id)
      .execute()
    await nameRecipient(ctx, space.id, reader.user.id)
  })
  return { id: space.id, uid: space.uid, sender, reader }
}

const nameRecipient = (ctx: Ctx, spaceId: number, subjectId: string) =>
  inTx(ctx, ctx =>
    setGrantRow(ctx, { nodeId: spaceId, subjectId, actions: actionSet(['list', 'read']), recipient: 'blind' }),
  )

const queue = (world: World, kind: MailKind, recipientId: string, subjectId: string, occasion = 'sent') =>
  inTx(world.system, ctx => queueMail(ctx, { kind, recipientId, subjectId, occasion }))

const tell = (world: World, { reader, uid }: Sent) => queue(world, 'delivery-arrived', reader.user.id, uid)

/** Does what the jobs say, once each; answers what they threw. */
async function sendAll(world: World, ctx = world.system): Promise<unknown[]> {
  const errors: unknown[] = []
  for (;;) {
    const job = await leaseJob(world.deps, 'test', ['mail.send'])
    if (job?.kind !== 'mail.send') return errors
    await sendMail(ctx, job.payload).catch((error: unknown) => errors.push(error))
  }
}

const mailStates = async (world: World) => (await listMails(world.system, { limit: 10 })).map(({ state }) => state)

test('a recipient is told who sent what, in his language, once', async ({ world }) => {
  const sent = await delivery(world)
  await inTx(world.system, ctx =>
    ctx.db.insertInto('profile').values({ principalId: sent.reader.user.id, language: 'CS' }).execute(),
  )
  await tell(world, sent)
  await tell(world, sent)
  expect(await sendAll(world)).toEqual([])
  await tell(world, sent)
  expect(await sendAll(world)).toEqual([])
  expect(world.deps.mailer.sent).toMatchObject([
    {
      to: { name: 'Žofie', address: 'zofie@example.com' },
      subject: 'Nová zásilka: Plans',
      messageId: expect.stringMatching(/^[0-9a-f-]{36}@127\.0\.0\.1$/),
    },
  ])
  const { text, html } = world.deps.mailer.sent[0]!
  for (const part of [text, html])
    for (const fact of ['Jan Novák (jan@example.com)', 'Look at page 2', sent.uid]) expect(part).toContain(fact)
  expect(await mailStates(world)).toEqual(['sent'])
  expect((await world.events()).filter(type => type.startsWith('mail'))).toEqual(['mail.sent'])
})

test('each recipient gets a mail of his own, which shows no other', async ({ world }) => {
  const sent = await delivery(world)
  const other = await inTx(world.system, ctx => findOrCreateAddress(ctx, 'eve@outside.example'))
  await nameRecipient(world.system, sent.id, other.id)
  await tell(world, sent)
  await queue(world, 'delivery-arrived', other.id, sent.uid)
  await sendAll(world)
  const { sent: mails } = world.deps.mailer
  expect(mails.map(({ to }) => to.address).toSorted()).toEqual(['eve@outside.example', 'zofie@example.com'])
  for (const { to, text, html } of mails) {
    const absent = to.address.startsWith('eve') ? 'zofie@' : 'eve@'
    expect(text + html).not.toContain(absent)
  }
})

test('the note of a delivery with a password stays behind the password', async ({ world }) => {
  const sent = await delivery(world, { deliveryPasswordHash: 'hash' })
  await tell(world, sent)
  await sendAll(world)
  const [mail] = world.deps.mailer.sent
  expect(mail!.text + mail!.html).not.toContain('page 2')
})

test('a mail that was queued in a transaction that failed does not exist', async ({ world }) => {
  const sent = await delivery(world)
  const failing = inTx(world.system, async ctx => {
    const recipientId = sent.reader.user.id
    await queueMail(ctx, { kind: 'delivery-arrived', recipientId, subjectId: sent.uid, occasion: 'sent' })
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  await sendAll(world)
  expect([await mailStates(world), world.deps.mailer.sent]).toEqual([[], []])
})

describe('a mail fails for good', () => {
  const changes: [string, Updateable<SpaceTable>][] = [
    ['was deleted', { state: 'deleted' }],
    ['has ended', { deliveryExpiresAt: 1 }],
    ['waits for approval', { approval: 'waiting' }],
    ['was not approved', { approval: 'refused' }],
    ['is none any more', { deliveryAccess: null }],
  ]
  test.for(changes)('when the delivery %s', async ([, changed], { world }) => {
    const sent = await delivery(world, changed)
    await tell(world, sent)
    expect(await sendAll(world)).toEqual([])
    expect([await mailStates(world), world.deps.mailer.sent]).toEqual([['failed'], []])
    expect(await world.events()).toContain('mail.failed')
  })

  test('when its reader is no recipient, is blocked or has no address', async ({ world }) => {
    const sent = await delivery(world)
    const stranger = await world.user('eve', { email: 'eve@example.com' })
    const silent = await world.user('mute')
    const blocked = await world.user('late', { email: 'late@example.com', expiresAt: 1 })
    await nameRecipient(world.system, sent.id, stranger.user.id)
    // He keeps a right to it, but it was not sent to him.
    await inTx(world.system, ctx =>
      ctx.db.updateTable('access_grant').set({ recipient: null }).where('subjectId', '=', stranger.user.id).execute(),
    )
    for (const { user } of [silent, blocked]) await nameRecipient(world.system, sent.id, user.id)
    for (const { user } of [stranger, silent, blocked]) {
      await queue(world, 'delivery-arrived', user.id, sent.uid)
    }
    await sendAll(world)
    expect([await mailStates(world), world.deps.mailer.sent]).toEqual([['failed', 'failed', 'failed'], []])
  })

  test('when the server refuses it', async ({ world }) => {
    await tell(world, await delivery(world))
    const mailer = { ...world.deps.mailer, send: () => Promise.reject(new MailRefused('no such user')) }
    expect(await sendAll(world, { ...world.system, mailer })).toEqual([])
    expect(await mailStates(world)).toEqual(['failed'])
  })
})

test('decisions are told to the sender, a delivery that waits to those who decide', async ({ world }) => {
  const sent = await delivery(world, { approval: 'waiting' })
  await queue(world, 'approval-needed', sent.reader.user.id, sent.uid)
  await queue(world, 'delivery-refused', sent.sender.user.id, sent.uid)
  await sendAll(world)
  expect(world.deps.mailer.sent).toMatchObject([{ subject: 'Approval needed: Plans', to: { name: 'Žofie' } }])
  await inTx(world.system, ctx => ctx.db.updateTable('space').set({ approval: 'approved' }).execute())
  await queue(world, 'delivery-approved', sent.sender.user.id, sent.uid)
  await queue(world, 'delivery-quarantined', sent.sender.user.id, sent.uid)
  await queue(world, 'delivery-approved', sent.reader.user.id, sent.uid)
  await sendAll(world)
  expect(world.deps.mailer.sent.slice(1)).toMatchObject([
    { subject: 'Approved: Plans', to: { name: 'Jan Novák' } },
    { subject: 'In quarantine: Plans', to: { name: 'Jan Novák' } },
  ])
})

test('a mail server that comes back gets the mail, once', async ({ world }) => {
  await tell(world, await delivery(world))
  const first = await startReceiver()
  await first.close()
  const from = { name: 'Entrepot', address: 'noreply@example.com' }
  const place = { host: '127.0.0.1', port: first.port, implicitTls: false, startTls: 'none' as const }
  const mailer = smtpMailer({ ...place, user: '', password: '', from, warn() {} })
  const ctx = { ...world.system, mailer }
  const { id: mailId } = (await listMails(world.system, { limit: 1 }))[0]!
  await expect(jobHandlers['mail.send'](ctx, { mailId }, AbortSignal.any([]))).rejects.toThrow('ECONNREFUSED')
  expect(await mailStates(world)).toEqual(['waiting'])
  await using receiver = await startReceiver({ port: first.port })
  for (const _ of [1, 2]) await jobHandlers['mail.send'](ctx, { mailId }, AbortSignal.any([]))
  expect(receiver.mails).toMatchObject([{ sentTo: ['zofie@example.com'], messageId: `<${mailId}@127.0.0.1>` }])
  expect(await mailStates(world)).toEqual(['sent'])
  await mailer.close()
})

test('a mail that is repeated after a crash has the id that it had', async ({ world }) => {
  await tell(world, await delivery(world))
  await sendAll(world)
  await inTx(world.system, ctx => ctx.db.updateTable('mail').set({ state: 'waiting' }).execute())
  const { id: mailId } = (await listMails(world.system, { limit: 1 }))[0]!
  await sendMail(world.system, { mailId })
  const ids = world.deps.mailer.sent.map(({ messageId }) => messageId)
  expect(ids).toEqual([ids[0], ids[0]])
})

test('what waits for an address goes to the account that gets it', async ({ world }) => {
  const sent = await delivery(world)
  const address = await inTx(world.system, ctx => findOrCreateAddress(ctx, 'new@example.com'))
  await nameRecipient(world.system, sent.id, address.id)
  await queue(world, 'delivery-arrived', address.id, sent.uid)
  await world.user('newcomer', { name: 'Newcomer', email: 'new@example.com' })
  await sendAll(world)
  expect(world.deps.mailer.sent).toMatchObject([{ to: { name: 'Newcomer', address: 'new@example.com' } }])
})

test('mails are listed newest first, by state, to administrators of the tenant only', async ({ world }) => {
  const sent = await delivery(world)
  await tell(world, sent)
  await sendAll(world)
  await queue(world, 'delivery-quarantined', sent.sender.user.id, sent.uid)
  const kinds = async (state?: 'waiting' | 'sent') =>
    (await listMails(world.system, { limit: 5, ...(state && { state }) })).map(({ kind }) => kind)
  expect(await kinds()).toEqual(['delivery-quarantined', 'delivery-arrived'])
  expect([await kinds('waiting'), await kinds('sent')]).toEqual([['delivery-quarantined'], ['delivery-arrived']])
  await expect(listMails(sent.sender.ctx, { limit: 5 })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(sendTestMail(sent.sender.ctx, { address: 'a@b.cz', language: 'en' })).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('a test mail goes at once and leaves no row', async ({ world }) => {
  await sendTestMail(world.system, { address: 'admin@example.com', language: 'de' })
  expect(world.deps.mailer.sent).toMatchObject([{ to: { address: 'admin@example.com' }, subject: 'Testnachricht' }])
  expect(await mailStates(world)).toEqual([])
})

test('old mails and links are forgotten by the regular clean-up, young ones are not', async ({ world }) => {
  const sent = await delivery(world)
  await tell(world, sent)
  await sendPasswordLink(world.system, { userId: sent.reader.user.id })
  const counts = async () => {
    const rows = (table: 'mail' | 'password_link' | 'secret') =>
      world.deps.database.read.selectFrom(table).selectAll().execute()
    return [(await rows('mail')).length, (await rows('password_link')).length, (await rows('secret')).length]
  }
  await cleanUp(world.system)
  expect(await counts()).toEqual([2, 1, 1])
  world.advance(9 * DAY_MS)
  await cleanUp(world.system)
  expect(await counts()).toEqual([2, 0, 0])
  world.advance(90 * DAY_MS)
  await forgetMails(world.system, { before: world.deps.clock() - 90 * DAY_MS })
  expect(await counts()).toEqual([0, 0, 0])
})
