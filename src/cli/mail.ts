/** `entrepot mail …` */
import type { Command } from 'commander'
import { MailRefused } from '#core/errors.ts'
import { findLanguage, languages } from '#core/languages.ts'
import { listMails, mailStates } from '#core/mail.ts'
import { sendTestMail } from '#core/mail-send.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

const MAX_LISTED = 200

export function addMailCommands(mail: Command): void {
  mail
    .command('list')
    .description(`list the last ${MAX_LISTED} mails, newest first`)
    .option('--state <state>', mailStates.join(', '))
    .option('--json', 'one JSON object per line')
    .action(list)
  mail
    .command('test <address>')
    .description('send a test mail at once and say what became of it')
    .option('--language <language>', languages.join(', '), 'en')
    .action(sendTest)
}

async function list(options: TenantOption & { state?: string; json?: boolean }): Promise<void> {
  const state = mailStates.find(known => known === options.state)
  if (options.state !== undefined && !state) throw new CommandFailed(`--state must be one of ${mailStates.join(', ')}`)
  await withTenant(options, async ctx => {
    const mails = await listMails(ctx, { ...(state && { state }), limit: MAX_LISTED })
    const shown = mails.map(row => ({
      mail: row.id,
      kind: row.kind,
      state: row.state,
      to: row.recipientName,
      address: row.address,
      created: showTime(row.createdAt),
      sent: showTime(row.sentAt),
    }))
    printTable(shown, options)
  })
}

async function sendTest(address: string, options: TenantOption & { language: string }): Promise<void> {
  const language = findLanguage(options.language)
  if (!language) throw new CommandFailed(`--language must be one of ${languages.join(', ')}`)
  await withTenant(options, async (ctx, { mail }) => {
    try {
      await sendTestMail(ctx, { address, language })
    } catch (error) {
      throw new CommandFailed(
        `The mail was not sent${error instanceof MailRefused ? ' and would not be' : ''}: ${reason(error)}`,
      )
    }
    print(
      mail.smtp ? `${mail.smtp.host} took the mail for ${address}` : `kept in ${mail.spoolDir}: no mail server is set`,
    )
  })
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error))
