import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { expect, onTestFinished } from 'vitest'
import { signIn, anonymousActor } from '#core/auth.ts'
import { inTx } from '#core/ctx.ts'
import { languages } from '#core/languages.ts'
import { listMails } from '#core/mail.ts'
import { sendMail } from '#core/mail-send.ts'
import { sendPasswordLink } from '#core/password-links.ts'
import { createUser } from '#core/users.ts'
import { test, type World } from '#test/world.ts'
import { passwordPageTexts } from './password-page-texts.ts'
import { addPasswordPage } from './password-page.ts'
import { createServer } from './server.ts'

const PASSWORD = 'a brand new password'

async function site(world: World): Promise<FastifyInstance> {
  const app = createServer({
    log: pino({ level: 'silent' }),
    newId: () => 'request-1',
    trustedProxies: [],
    stallTimeoutMs: 10_000,
    strictTransport: false,
    loggedUrl: url => url,
    observer: { requestDone() {}, transferStarted() {}, transferEnded() {} },
  })
  await addPasswordPage(app, { deps: world.deps })
  onTestFinished(() => app.close())
  return app
}

/** The address in the mail of a new account, and its token. */
async function invite(world: World, login = 'zofie') {
  const user = await createUser(world.system, { login, email: 'zofie@example.com' })
  await sendPasswordLink(world.system, { userId: user.id })
  const [mail] = await listMails(world.system, { limit: 1 })
  await sendMail(world.system, { mailId: mail!.id })
  const [, path, token] = /http:\/\/127\.0\.0\.1:8080(\/\S+token=(\S+))/.exec(world.deps.mailer.sent.at(-1)!.text)!
  return { user, path: path!, token: token! }
}

const post = (app: FastifyInstance, fields: Record<string, string>, headers = {}) =>
  app.inject({
    method: 'POST',
    url: '/account/password',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams(fields).toString(),
  })

const login = (world: World, password: string) =>
  signIn(world.ctx(anonymousActor(world.tenant.id, 'test', '192.0.2.9')), {
    login: 'zofie',
    password,
    client: 'test',
    address: '192.0.2.9',
  })

test('the mailed address shows a form, and what is sent with it becomes the password', async ({ world }) => {
  const app = await site(world)
  const { path, token } = await invite(world)
  const page = await app.inject(path)
  expect(page.statusCode).toBe(200)
  expect(page.body).toContain(`name="token" value="${token}"`)
  expect(page.body).toContain('value="zofie"')
  const done = await post(app, { token, password: PASSWORD, repeat: PASSWORD })
  expect([done.statusCode, done.body]).toEqual([200, expect.stringContaining(passwordPageTexts.en.done)])
  await login(world, PASSWORD)
  expect((await app.inject(path)).statusCode).toBe(404)
})

test('the page is neither kept nor framed nor told to others, and runs nothing', async ({ world }) => {
  const app = await site(world)
  const { path } = await invite(world)
  for (const answer of [await app.inject(path), await app.inject('/account/password?token=x')]) {
    expect(answer.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
    })
    const [, style] = /<style>([^]*)<\/style>/.exec(answer.body)!
    const digest = createHash('sha256').update(style!).digest('base64')
    expect(answer.headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
    )
    expect(answer.body).not.toMatch(/<script|\son\w+=|\sstyle=/)
  }
})

test('two passwords that differ, and one that is refused, are told above the form, which still works', async ({
  world,
}) => {
  const app = await site(world)
  const { token } = await invite(world)
  const words = passwordPageTexts.en
  for (const [fields, text] of [
    [{ password: PASSWORD, repeat: `${PASSWORD}!` }, words.differs],
    [{ password: PASSWORD }, words.differs],
    [{ password: 'short', repeat: 'short' }, `${words.tooShort} 8`],
    [{ password: 'x'.repeat(1025), repeat: 'x'.repeat(1025) }, words.tooLong],
    [{ password: 'tab\tin the middle', repeat: 'tab\tin the middle' }, words.forbiddenCharacter],
  ] as const) {
    const answer = await post(app, { token, ...fields })
    expect([answer.statusCode, answer.body]).toEqual([400, expect.stringContaining(text)])
    expect(answer.body).toContain(`name="token" value="${token}"`)
    expect(answer.body).not.toContain('in the middle')
  }
  expect((await post(app, { token, password: PASSWORD, repeat: PASSWORD })).statusCode).toBe(200)
})

test('a request that is not understood is refused in words and changes nothing', async ({ world }) => {
  const app = await site(world)
  const { token } = await invite(world)
  const payload = JSON.stringify({ token, password: PASSWORD, repeat: PASSWORD })
  const json = {
    method: 'POST',
    url: '/account/password',
    headers: { 'content-type': 'application/json' },
    payload,
  } as const
  expect((await app.inject(json)).statusCode).toBe(400)
  const long = await post(app, { token, password: 'x'.repeat(9000), repeat: 'x'.repeat(9000) })
  expect([long.statusCode, long.body]).toEqual([400, expect.stringContaining(passwordPageTexts.en.refused)])
  expect((await post(app, {})).statusCode).toBe(404)
  expect((await app.inject('/account/password')).statusCode).toBe(404)
  expect((await app.inject(`/account/password?token=${token}&token=${token}`)).statusCode).toBe(404)
  await expect(login(world, PASSWORD)).rejects.toMatchObject({ code: 'wrong-credentials' })
})

test('who tries tokens is held back and told for how long', async ({ world }) => {
  const app = await site(world)
  const { path } = await invite(world)
  for (let guess = 0; guess < world.deps.settings.throttleAfter * 10; guess++) {
    expect((await app.inject(`/account/password?token=${guess}`)).statusCode).toBe(404)
  }
  const answer = await app.inject(path)
  expect([answer.statusCode, answer.body]).toEqual([429, expect.stringContaining(passwordPageTexts.en.tooManyTries)])
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
})

test('what stands in a login stays text', async ({ world }) => {
  const app = await site(world)
  const { path } = await invite(world, `"><img src=x onerror=alert(1)>'`)
  const { body } = await app.inject(path)
  expect(body).not.toContain('<img')
  expect(body).toContain('value="&quot;&gt;&lt;img')
})

test.for(languages)(
  'the page speaks %s to an account with that language, and to a browser that asks for it',
  async (language, { world }) => {
    const app = await site(world)
    const { user, path } = await invite(world)
    const asked = await app.inject({ url: path, headers: { 'accept-language': `fr, ${language};q=0.5` } })
    const unknown = await app.inject({ url: '/account/password', headers: { 'accept-language': language } })
    await inTx(world.system, ctx =>
      ctx.db.insertInto('profile').values({ principalId: user.id, language: language.toUpperCase() }).execute(),
    )
    const own = await app.inject({ url: path, headers: { 'accept-language': 'fr' } })
    for (const { body } of [asked, own]) {
      expect(body).toContain(`<html lang="${language}">`)
      expect(body).toContain(passwordPageTexts[language].submit)
    }
    expect(unknown.body).toContain(passwordPageTexts[language].unknownLink)
  },
)

test('a fault of ours says nothing of itself', async ({ world }) => {
  const app = await site(world)
  const { path } = await invite(world)
  await inTx(world.system, ctx => ctx.db.schema.alterTable('password_link').renameTo('elsewhere').execute())
  const answer = await app.inject(path)
  expect([answer.statusCode, answer.body]).toEqual([500, expect.stringContaining(passwordPageTexts.en.tryLater)])
  expect(answer.body).not.toContain('password_link')
  await inTx(world.system, ctx => ctx.db.schema.alterTable('elsewhere').renameTo('password_link').execute())
})
