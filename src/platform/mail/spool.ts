/** Keeps mails in a folder, where nothing is configured to send them: one file each, as a mail server would get it. */
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Mailer } from '#core/ports.ts'
import { syncFolder } from '#platform/blobs/sync-folder.ts'
import type { Mailbox } from './location.ts'
import { messageOf } from './message.ts'

export interface SpoolPlace {
  dir: string
  from: Mailbox
}

/** The folder is made with the first mail. Mails may hold links that open accounts: nobody else may read them. */
export function spoolMailer({ dir, from }: SpoolPlace): Mailer {
  return {
    kind: 'spool',
    async send(mail) {
      // Loaded with the first mail: the start of the server need not wait for it.
      const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
      const bytes = await new MailComposer(messageOf(mail, from)).compile().build()
      await mkdir(dir, { recursive: true, mode: 0o700 })
      await writeWhole(join(dir, fileName(mail.messageId)), bytes)
      await syncFolder(dir)
    },
    close: async () => {},
  }
}

const fileName = (messageId: string) => `${messageId.replaceAll(/[^A-Za-z0-9.@_-]/g, '_')}.eml`

/** The file is there whole or not at all. */
async function writeWhole(path: string, bytes: Buffer): Promise<void> {
  const stagePath = `${path}.${process.pid}.part`
  try {
    const file = await open(stagePath, 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(stagePath, path)
  } catch (error) {
    await rm(stagePath, { force: true })
    throw error
  }
}
