import { describe, expect } from 'vitest'
import { test, type World } from '#test/world.ts'
import { anonymousActor, signIn } from './auth.ts'
import type { Ctx } from './ctx.ts'
import { sendMail } from './mail-send.ts'
import { listMails } from './mail.ts'
import { choosePassword, getPasswordLink, sendPasswordLink } from './password-links.ts'
import { grantRight } from './roles.ts'
import { createUser } from './users.ts'

const NEW = 'a brand new password'
const visitor = (world: World): Ctx => world.ctx(anonymousActor(world.tenant.id, 'browser', '192.0.2.1'))

/** The token in the newest mail. */
async function mailedToken(world: World, ctx = world.system): Promise<string> {
  const [mail] = await listMails(ctx, { limit: 1 })
  await sendMail(ctx, { mailId: mail!.id })
  const [, token] = /\/account\/password\?token=([\w-]+)/.exec(world.deps.mailer.sent.at(-1)!.text)!
  return token!
}

async function invited(world: World) {
  const user = await createUser(world.system, { login: 'zofie', email: 'zofie@example.com', name: 'Žofie' })
  await sendPasswordLink(world.system, { userId: user.id })
  return { user, token: await mailedToken(world) }
}

const login = (world: World, password: string) =>
  signIn(visitor(world), { login: 'zofie', password, client: 'browser', address: '192.0.2.1' })

test('the mailed link sets the password of its account, once, under its owner’s name', async ({ world }) => {
  const { user, token } = await invited(world)
  await expect(getPasswordLink(visitor(world), { token })).resolves.toMatchObject({ userId: user.id, login: 'zofie' })
  await choosePassword(visitor(world), { token, password: NEW })
  await expect(login(world, NEW)).resolves.toMatchObject({ actor: { principalId: user.id } })
  await expect(choosePassword(visitor(world), { token, password: 'another password' })).rejects.toMatchObject({
    code: 'not-found',
    details: { what: 'link', id: '' },
  })
  const { actorId } = await world.deps.database.read
    .selectFrom('event')
    .select('actorId')
    .where('type', '=', 'user.password-changed')
    .executeTakeFirstOrThrow()
  expect(actorId).toBe(user.id)
})

test('of two who use a link at the same time, one sets the password', async ({ world }) => {
  const { token } = await invited(world)
  const tries = ['first of the passwords', 'second of the passwords'].map(password =>
    choosePassword(visitor(world), { token, password }),
  )
  const outcomes = await Promise.allSettled(tries)
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
})

test('the token is nowhere in the database once its mail is out, and sealed before', async ({ world }) => {
  const user = await createUser(world.system, { login: 'zofie', email: 'zofie@example.com' })
  await sendPasswordLink(world.system, { userId: user.id })
  const secrets = () => world.deps.database.read.selectFrom('secret').selectAll().execute()
  const [sealed] = await secrets()
  const token = await mailedToken(world)
  expect(Buffer.from(sealed!.sealed).toString('latin1')).not.toContain(token)
  expect(await secrets()).toEqual([])
  const links = await world.deps.database.read.selectFrom('password_link').selectAll().execute()
  expect(JSON.stringify(links)).not.toContain(token)
})

test('the use of a link ends the sessions of the account', async ({ world }) => {
  const { user, token } = await invited(world)
  await choosePassword(visitor(world), { token, password: NEW })
  await login(world, NEW)
  await sendPasswordLink(world.system, { userId: user.id })
  await choosePassword(visitor(world), { token: await mailedToken(world), password: 'and yet another one' })
  const sessions = await world.deps.database.read.selectFrom('session').select('endedAt').execute()
  expect(sessions.filter(({ endedAt }) => endedAt === null)).toEqual([])
})

test('a refused password leaves the link as it was', async ({ world }) => {
  const { token } = await invited(world)
  await expect(choosePassword(visitor(world), { token, password: 'short' })).rejects.toMatchObject({
    code: 'password-refused',
    details: { rule: 'too-short' },
  })
  await choosePassword(visitor(world), { token, password: NEW })
  await login(world, NEW)
})

describe('a link opens nothing', () => {
  const expectClosed = (world: World, token: string) =>
    Promise.all([
      expect(getPasswordLink(visitor(world), { token })).rejects.toMatchObject({ code: 'not-found' }),
      expect(choosePassword(visitor(world), { token, password: NEW })).rejects.toMatchObject({ code: 'not-found' }),
    ])

  test('after its time', async ({ world }) => {
    const { token } = await invited(world)
    world.advance(world.deps.settings.passwordLinkMs)
    await expectClosed(world, token)
  })

  test('after a newer one was sent', async ({ world }) => {
    const { user, token } = await invited(world)
    await sendPasswordLink(world.system, { userId: user.id })
    const newer = await mailedToken(world)
    await expectClosed(world, token)
    await choosePassword(visitor(world), { token: newer, password: NEW })
  })

  test('for an account that is blocked, and for a wrong token', async ({ world }) => {
    const { token } = await invited(world)
    await expectClosed(world, `${token.slice(0, -1)}${token.endsWith('A') ? 'E' : 'A'}`)
    await expectClosed(world, '')
    await world.deps.database.transaction(tx => tx.updateTable('principal').set({ state: 'blocked' }).execute())
    await expectClosed(world, token)
  })
})

test('a mail that waited longer than its link lives is not sent', async ({ world }) => {
  const user = await createUser(world.system, { login: 'zofie', email: 'zofie@example.com' })
  await sendPasswordLink(world.system, { userId: user.id })
  world.advance(world.deps.settings.passwordLinkMs)
  const [mail] = await listMails(world.system, { limit: 1 })
  await sendMail(world.system, { mailId: mail!.id })
  expect(world.deps.mailer.sent).toEqual([])
  expect(await listMails(world.system, { limit: 1 })).toMatchObject([{ state: 'failed' }])
  expect(await world.deps.database.read.selectFrom('secret').selectAll().execute()).toEqual([])
})

test('who tries many tokens has to wait, whatever he brings then', async ({ world }) => {
  const { token } = await invited(world)
  const { throttleAfter } = world.deps.settings
  for (let guess = 0; guess < throttleAfter * 10; guess++) {
    await expect(getPasswordLink(visitor(world), { token: `guess-${guess}` })).rejects.toMatchObject({
      code: 'not-found',
    })
  }
  await expect(getPasswordLink(visitor(world), { token: 'one more' })).rejects.toMatchObject({ code: 'throttled' })
  await expect(getPasswordLink(visitor(world), { token })).rejects.toMatchObject({ code: 'throttled' })
})

test('a link of another tenant works by the one address that mails name', async ({ world }) => {
  const other = await world.otherTenant()
  const system = { ...world.system, actor: { ...world.system.actor, tenantId: other.id } }
  const user = await createUser(system, { login: 'zofie', email: 'zofie@example.com' })
  await sendPasswordLink(system, { userId: user.id })
  const token = await mailedToken(world, system)
  await choosePassword(visitor(world), { token, password: NEW })
  const ctx = world.ctx(anonymousActor(other.id, 'browser', '192.0.2.1'))
  await expect(
    signIn(ctx, { login: 'zofie', password: NEW, client: 'browser', address: '192.0.2.1' }),
  ).resolves.toMatchObject({ actor: { tenantId: other.id } })
})

test('only who may manage the account sends a link, and only to one with an address', async ({ world }) => {
  const { user, ctx } = await world.user('zofie', { email: 'zofie@example.com' })
  const silent = await world.user('mute')
  await expect(sendPasswordLink(ctx, { userId: user.id })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(sendPasswordLink(world.system, { userId: silent.user.id })).rejects.toMatchObject({
    code: 'invalid-input',
    details: { field: 'email', rule: 'missing' },
  })
  await expect(sendPasswordLink(world.system, { userId: 'nobody' })).rejects.toMatchObject({ code: 'not-found' })
  expect(await listMails(world.system, { limit: 5 })).toEqual([])
})

test('nobody gets at an account with more rights than his own by way of a link', async ({ world }) => {
  const clerk = await world.user('clerk')
  const chief = await world.user('chief', { email: 'chief@example.com' })
  await grantRight(world.system, { principalId: clerk.user.id, right: 'users.manage' })
  await grantRight(world.system, { principalId: chief.user.id, right: 'audit.read' })
  await expect(sendPasswordLink(clerk.ctx, { userId: chief.user.id })).rejects.toMatchObject({ code: 'forbidden' })
  await grantRight(world.system, { principalId: clerk.user.id, right: 'audit.read' })
  await sendPasswordLink(clerk.ctx, { userId: chief.user.id })
})
