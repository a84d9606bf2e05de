/** Hands mails to a mail server. */
import { MailRefused } from '#core/errors.ts'
import type { Mailer } from '#core/ports.ts'
import type { Mailbox, SmtpLocation } from './location.ts'
import { messageOf } from './message.ts'

const CONNECT_TIMEOUT_MS = 15_000
const SILENCE_TIMEOUT_MS = 60_000
const MAX_CONNECTIONS = 3

export interface SmtpPlace extends SmtpLocation {
  from: Mailbox
  /** Is told what a server refuses for good. */
  warn: (text: string) => void
}

export function smtpMailer({ from, warn, ...location }: SmtpPlace): Mailer {
  let connecting: ReturnType<typeof connect> | undefined
  return {
    kind: 'smtp',
    async send(mail) {
      const message = messageOf(mail, from)
      try {
        const transport = await (connecting ??= connect(location))
        await transport.sendMail(message)
      } catch (error) {
        if (!isRefusal(error)) throw error
        warn(`Mail ${mail.messageId} is refused: ${error.message}`)
        throw new MailRefused(error.message, { cause: error })
      }
    },
    close: async () => (await connecting)?.close(),
  }
}

/** The library is loaded with the first mail: the start of the server need not wait for it. */
async function connect(location: SmtpLocation) {
  const { createTransport } = await import('nodemailer')
  return createTransport({ pool: true, ...connectionTo(location) })
}

function connectionTo({ host, port, implicitTls, startTls, user, password }: SmtpLocation) {
  return {
    host,
    port,
    secure: implicitTls,
    requireTLS: startTls === 'required',
    ignoreTLS: startTls === 'none',
    opportunisticTLS: startTls === 'opportunistic',
    // Who could show a wrong certificate could as well hide that the server offers TLS.
    ...(startTls === 'opportunistic' && !implicitTls && { tls: { rejectUnauthorized: false } }),
    ...(user !== '' && { auth: { user, pass: password } }),
    maxConnections: MAX_CONNECTIONS,
    // Trying again is the job's: it knows how often, and the mail outlives the process.
    maxRequeues: 0,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    greetingTimeout: CONNECT_TIMEOUT_MS,
    dnsTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_TIMEOUT_MS,
  }
}

/** Refused are the receiver or the mail, for good. A sender or a password that is refused may be put right. */
function isRefusal(error: unknown): error is Error {
  if (!(error instanceof Error) || !('command' in error)) return false
  const isPermanent = 'permanent' in error && error.permanent === true
  return isPermanent && (error.command === 'RCPT TO' || error.command === 'DATA')
}
