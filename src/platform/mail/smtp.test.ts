import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { MailRefused } from '#core/errors.ts'
import { startReceiver } from '#test/mail-receiver.ts'
import type { SmtpLocation } from './location.ts'
import { smtpMailer } from './smtp.ts'

const from = { name: 'Zásilkovna', address: 'noreply@example.com' }
const mail = {
  messageId: '0190@files.example.com',
  to: { name: 'Žofie Kovářová', address: 'zofie@example.com' },
  subject: 'Nová zásilka: Přílohy – část 2 ✓',
  text: 'Dobrý den,\n\nObdrželi jste zásilku.\n',
  html: '<p>Obdrželi jste zásilku.</p>',
}

/** A mailer for a server on this machine, and what it warned of. */
function mailerFor(port: number, location: Partial<SmtpLocation> = {}) {
  const warnings: string[] = []
  const mailer = smtpMailer({
    host: 'localhost',
    port,
    implicitTls: false,
    startTls: 'none',
    user: '',
    password: '',
    from,
    warn: text => void warnings.push(text),
    ...location,
  })
  onTestFinished(() => mailer.close())
  return { mailer, warnings }
}

const refusalOf = (sent: Promise<void>) =>
  sent.then(
    () => undefined,
    (error: unknown) => error,
  )

test('a mail arrives with both parts, its id, and every letter of names and subject', async () => {
  await using receiver = await startReceiver()
  await mailerFor(receiver.port).mailer.send(mail)
  expect(receiver.mails).toMatchObject([
    {
      sentBy: 'noreply@example.com',
      sentTo: ['zofie@example.com'],
      from: { name: 'Zásilkovna', address: 'noreply@example.com' },
      to: [mail.to],
      subject: mail.subject,
      messageId: '<0190@files.example.com>',
      text: expect.stringContaining(mail.text),
      html: expect.stringContaining(mail.html),
    },
  ])
  expect(receiver.mails[0]!.raw).toMatch(/^Auto-Submitted: auto-generated\r$/m)
})

test('a line break in a name or subject begins no header and adds no receiver', async () => {
  await using receiver = await startReceiver()
  const break_ = '\r\nBcc: eve@example.com\r\n\r\nbody'
  await mailerFor(receiver.port).mailer.send({
    ...mail,
    to: { name: `Jan${break_}`, address: mail.to.address },
    subject: `Hello${break_}`,
  })
  const [received] = receiver.mails
  expect(received).toMatchObject({ sentTo: ['zofie@example.com'], subject: 'Hello Bcc: eve@example.com body' })
  expect(received!.bcc).toBeUndefined()
  expect(received!.to).toEqual([{ name: 'Jan Bcc: eve@example.com body', address: mail.to.address }])
})

test('an address that would be more than one is refused before anything is sent', async () => {
  await using receiver = await startReceiver()
  const { mailer } = mailerFor(receiver.port)
  for (const address of ['a@b.cz\r\nRCPT TO:<eve@example.com>', 'a@b.cz, eve@example.com', 'Eve <eve@example.com>']) {
    await expect(mailer.send({ ...mail, to: { name: '', address } })).rejects.toThrow(MailRefused)
  }
  expect(receiver.mails).toEqual([])
})

test.for(['RCPT', 'DATA'] as const)('a permanent refusal at %s is final, and the log is told', async at => {
  await using receiver = await startReceiver()
  receiver.refuse(at, 550, 1)
  const { mailer, warnings } = mailerFor(receiver.port)
  await expect(mailer.send(mail)).rejects.toThrow(MailRefused)
  expect(warnings).toEqual([expect.stringContaining('Not today')])
  await mailer.send(mail)
  expect(receiver.mails).toHaveLength(1)
})

test.for([
  ['RCPT', 450],
  ['DATA', 451],
] as const)('a temporary refusal at %s is one to try again after', async ([at, code]) => {
  await using receiver = await startReceiver()
  receiver.refuse(at, code, 1)
  const { mailer, warnings } = mailerFor(receiver.port)
  const error = await refusalOf(mailer.send(mail))
  expect(error).toBeInstanceOf(Error)
  expect(error).not.toBeInstanceOf(MailRefused)
  expect(warnings).toEqual([])
})

test('a server that is away, and one that wants no mail from this sender, are no refusals for good', async () => {
  await using receiver = await startReceiver({
    onMailFrom: (_address, _session, done) => done(Object.assign(new Error('Who?'), { responseCode: 550 })),
  })
  const unwanted = await refusalOf(mailerFor(receiver.port).mailer.send(mail))
  await receiver.close()
  const away = await refusalOf(mailerFor(receiver.port).mailer.send(mail))
  for (const error of [unwanted, away]) {
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(MailRefused)
  }
})

test('the mailer signs in, and a wrong password does not show in the error', async () => {
  await using receiver = await startReceiver({
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) =>
      username === 'mailer' && password === 'rosebud' ? done(null, { user: username }) : done(new Error('No')),
  })
  await mailerFor(receiver.port, { user: 'mailer', password: 'rosebud' }).mailer.send(mail)
  expect(receiver.mails).toMatchObject([{ user: 'mailer' }])
  const error = await refusalOf(mailerFor(receiver.port, { user: 'mailer', password: 'hunter2' }).mailer.send(mail))
  expect(error).not.toBeInstanceOf(MailRefused)
  expect(String(error)).toContain('535')
  expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('hunter2')
})

describe('encryption', () => {
  test('is used where it is offered, whatever the certificate, when it is opportunistic', async () => {
    await using receiver = await startReceiver(selfSigned())
    await mailerFor(receiver.port, { startTls: 'opportunistic' }).mailer.send(mail)
    expect(receiver.mails).toMatchObject([{ overTls: true }])
  })

  test('may be missing when it is opportunistic', async () => {
    await using receiver = await startReceiver({ hideSTARTTLS: true })
    await mailerFor(receiver.port, { startTls: 'opportunistic' }).mailer.send(mail)
    expect(receiver.mails).toMatchObject([{ overTls: false }])
  })

  test('must be there, with a certificate that somebody vouches for, when it is required', async () => {
    await using plain = await startReceiver({ disabledCommands: ['STARTTLS'] })
    await using unknown = await startReceiver(selfSigned())
    for (const { port } of [plain, unknown]) {
      const error = await refusalOf(mailerFor(port, { startTls: 'required' }).mailer.send(mail))
      expect(error).toBeInstanceOf(Error)
      expect(error).not.toBeInstanceOf(MailRefused)
    }
    expect([...plain.mails, ...unknown.mails]).toEqual([])
  })

  test.for(['required', 'from the first byte'])('works with a certificate that is trusted: %s', async how => {
    const own = selfSigned()
    const before = getCACertificates()
    setDefaultCACertificates([...before, own.cert])
    onTestFinished(() => setDefaultCACertificates(before))
    const implicitTls = how !== 'required'
    await using receiver = await startReceiver({ ...own, secure: implicitTls })
    await mailerFor(receiver.port, { implicitTls, startTls: 'required' }).mailer.send(mail)
    expect(receiver.mails).toMatchObject([{ overTls: true }])
  })
})

/** A certificate for localhost that nobody vouches for. */
function selfSigned(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-cert-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  try {
    execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
