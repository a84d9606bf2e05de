import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startReceiver } from '#test/mail-receiver.ts'
import { run, serve } from '#test/server-process.ts'

let folder = ''
let env: Record<string, string> = {}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-mail-'))
  env = { ENTREPOT_DATA_DIR: join(folder, 'data'), ENTREPOT_MAIL_FROM: 'Files <files@example.com>' }
})
afterEach(() => rmSync(folder, { recursive: true }))

const smtp = (port: number, password = 'rosebud') => `smtp://mailer:${password}@127.0.0.1:${port}?tls=none`

/** Takes mails from who knows the password. */
const startGuarded = () =>
  startReceiver({
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ password }, _session, done) =>
      password === 'rosebud' ? done(null, { user: 'mailer' }) : done(new Error('Wrong')),
  })

// What is tested here does not depend on the engine.
describe.skipIf(process.env.TEST_DATABASE_URL)('mail', { timeout: 120_000 }, () => {
  test('a test mail goes into the folder as long as there is no mail server', async () => {
    const outcome = await run(['mail', 'test', 'admin@example.com'], env)
    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringContaining('no mail server is set') })
    expect(readdirSync(join(folder, 'data', 'mail-spool'))).toHaveLength(1)
  })

  test('a test mail says whether the server took it, refused it or was not there', async () => {
    await using receiver = await startGuarded()
    const attempt = (url: string) => run(['mail', 'test', 'admin@example.com'], { ...env, ENTREPOT_SMTP_URL: url })
    const taken = await attempt(smtp(receiver.port))
    expect(taken).toMatchObject({ code: 0, stdout: expect.stringContaining('127.0.0.1 took the mail') })
    receiver.refuse('RCPT', 550, 1)
    const refused = await attempt(smtp(receiver.port))
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('was not sent and would not be') })
    const wrong = await attempt(smtp(receiver.port, 'hunter2'))
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('was not sent: ') })
    expect(JSON.stringify(wrong)).not.toContain('hunter2')
    await receiver.close()
    expect(await attempt(smtp(receiver.port))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ECONNREFUSED'),
    })
    expect(receiver.mails).toMatchObject([{ subject: 'Test message', user: 'mailer' }])
  })

  test('an invited user follows his mail to the page, chooses a password and signs in with it', async () => {
    await using receiver = await startGuarded()
    const settings = { ...env, ENTREPOT_SMTP_URL: smtp(receiver.port), ENTREPOT_LOG_LEVEL: 'debug' }
    await using server = await serve(settings)
    expect(await run(['user', 'create', 'zofie', '--email', 'zofie@example.com'], settings)).toMatchObject({ code: 0 })
    expect(await run(['user', 'link', 'zofie'], settings)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('zofie@example.com'),
    })
    await expect.poll(() => receiver.mails.length, { timeout: 60_000 }).toBe(1)
    const [, token] = /\/account\/password\?token=(\S+)/.exec(receiver.mails[0]!.text!)!
    const page = await fetch(`${server.url}/account/password?token=${token}`)
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('zofie')])
    const password = 'a password of my own'
    const body = new URLSearchParams({ token: token!, password, repeat: password })
    expect((await fetch(`${server.url}/account/password`, { method: 'POST', body })).status).toBe(200)
    const login = { method: 'POST', body: new URLSearchParams({ username: 'zofie', password }) }
    expect((await fetch(`${server.url}/2.0/login/basic`, login)).status).toBe(200)
    const { stdout } = await run(['mail', 'list', '--state', 'sent', '--json'], settings)
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'choose-password', state: 'sent', address: 'zofie@example.com' })
    for (const secret of [token!, 'rosebud', password]) expect(server.output.stderr).not.toContain(secret)
  })

  test('a server without a mail server says once where it keeps mails', async () => {
    await using server = await serve(env)
    expect(server.output.stderr.split('ENTREPOT_SMTP_URL is not set')).toHaveLength(2)
  })
})
