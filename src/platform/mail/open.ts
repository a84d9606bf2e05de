import type { Mailer } from '#core/ports.ts'
import type { Mailbox, SmtpLocation } from './location.ts'

export interface MailPlace {
  /** Undefined: mails are kept in `spoolDir`. */
  smtp: SmtpLocation | undefined
  spoolDir: string
  from: Mailbox
}

/** What does the work is loaded with the first mail: it takes as much memory as the rest of a small server. */
export function openMailer(place: MailPlace, { warn }: { warn: (text: string) => void }): Mailer {
  let opened: Promise<Mailer> | undefined
  return {
    kind: place.smtp ? 'smtp' : 'spool',
    async send(mail) {
      opened ??= load(place, warn)
      await (await opened).send(mail)
    },
    close: async () => (await opened)?.close(),
  }
}

async function load({ smtp, spoolDir: dir, from }: MailPlace, warn: (text: string) => void): Promise<Mailer> {
  if (!smtp) return (await import('./spool.ts')).spoolMailer({ dir, from })
  return (await import('./smtp.ts')).smtpMailer({ ...smtp, from, warn })
}
