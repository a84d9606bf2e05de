/** A real mail server inside the test, that keeps what it gets. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import PostalMime, { type Email } from 'postal-mime'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export interface ReceivedMail extends Email {
  raw: string
  /** Addresses of the envelope. */
  sentBy: string
  sentTo: string[]
  overTls: boolean
  /** As whom the sender signed in. */
  user: string | undefined
}

export interface MailReceiver extends AsyncDisposable {
  port: number
  readonly mails: ReceivedMail[]
  /** What the next mails are refused with: at the receiver's address, or after their content. */
  refuse(at: 'RCPT' | 'DATA', code: number, times: number): void
  close(): Promise<void>
}

/** On a free port of the loopback address, or on the named one. */
export async function startReceiver({
  port = 0,
  ...options
}: SMTPServerOptions & { port?: number } = {}): Promise<MailReceiver> {
  const mails: ReceivedMail[] = []
  const refusals: { at: string; code: number }[] = []
  const refusal = (at: string) => {
    if (refusals[0]?.at !== at) return undefined
    return Object.assign(new Error('Not today'), { responseCode: refusals.shift()!.code })
  }
  const server = new SMTPServer({
    logger: false,
    authOptional: true,
    closeTimeout: 100,
    onRcptTo: (_address, _session, done) => done(refusal('RCPT')),
    onData(stream, session, done) {
      void buffer(stream).then(async bytes => {
        const refused = refusal('DATA')
        if (refused) return done(refused)
        const { mailFrom, rcptTo } = session.envelope
        mails.push({
          ...(await PostalMime.parse(bytes)),
          raw: bytes.toString('latin1'),
          sentBy: mailFrom ? mailFrom.address : '',
          sentTo: rcptTo.map(({ address }) => address),
          overTls: Boolean(session.secure),
          user: session.user,
        })
        done()
      })
    },
    ...options,
  })
  server.on('error', () => {}) // clients that go away
  server.listen(port, '127.0.0.1')
  await once(server.server, 'listening')
  const close = () => new Promise<void>(resolve => server.close(resolve))
  return {
    port: (server.server.address() as AddressInfo).port, // it listens on a port, not on a pipe
    mails,
    refuse: (at, code, times) => void refusals.push(...Array.from({ length: times }, () => ({ at, code }))),
    close,
    [Symbol.asyncDispose]: close,
  }
}
