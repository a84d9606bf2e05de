/** A mail as the library takes it, whichever way it goes. */
import type { SendMailOptions } from 'nodemailer'
import { MailRefused } from '#core/errors.ts'
import type { OutgoingMail } from '#core/ports.ts'
import { isMailAddress, type Mailbox } from './location.ts'

/** Throws MailRefused for a receiver that is no single address. */
export function messageOf({ messageId, to, subject, text, html }: OutgoingMail, from: Mailbox) {
  if (!isMailAddress(to.address)) throw new MailRefused('The receiver is no mail address')
  return {
    messageId: `<${messageId}>`,
    from: { name: oneLine(from.name), address: from.address },
    to: { name: oneLine(to.name), address: to.address },
    envelope: { from: from.address, to: [to.address] },
    subject: oneLine(subject),
    text,
    html,
    // Holiday notes and the like need not answer (RFC 3834).
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
    disableFileAccess: true,
    disableUrlAccess: true,
  } satisfies SendMailOptions
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g

/** Names come from anybody: a line break in one would begin a header of his own. */
const oneLine = (text: string) => text.toWellFormed().replaceAll(CONTROLS, ' ').trim()
