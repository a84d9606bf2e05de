import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import PostalMime from 'postal-mime'
import { expect, onTestFinished, test } from 'vitest'
import { openMailer } from './open.ts'

const mail = {
  messageId: '0190@files.example.com',
  to: { name: 'Žofie', address: 'zofie@example.com' },
  subject: 'Nová zásilka ✓',
  text: 'Dobrý den',
  html: '<p>Dobrý den</p>',
}

function spool() {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-spool-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const dir = join(folder, 'mail-spool')
  const from = { name: 'Entrepot', address: 'entrepot@localhost' }
  return { dir, mailer: openMailer({ smtp: undefined, spoolDir: dir, from }, { warn() {} }) }
}

test('a kept mail is a file that a mail program reads, for nobody but the server', async () => {
  const { dir, mailer } = spool()
  await mailer.send(mail)
  const file = join(dir, '0190@files.example.com.eml')
  expect(await PostalMime.parse(readFileSync(file))).toMatchObject({
    from: { name: 'Entrepot', address: 'entrepot@localhost' },
    to: [mail.to],
    subject: mail.subject,
    messageId: '<0190@files.example.com>',
    text: expect.stringContaining(mail.text),
    html: expect.stringContaining(mail.html),
  })
  expect([statSync(dir).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600])
})

test('a repeated mail replaces its file, and nothing else is left in the folder', async () => {
  const { dir, mailer } = spool()
  await mailer.send(mail)
  await mailer.send({ ...mail, subject: 'Again' })
  expect(readdirSync(dir)).toEqual(['0190@files.example.com.eml'])
  expect(readFileSync(join(dir, '0190@files.example.com.eml'), 'utf8')).toContain('Subject: Again')
})

test('an id leads to no other folder', async () => {
  const { dir, mailer } = spool()
  await mailer.send({ ...mail, messageId: '../../x@[::1]' })
  expect(readdirSync(dir)).toEqual(['.._.._x@___1_.eml'])
})
