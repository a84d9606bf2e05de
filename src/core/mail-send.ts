/** Sending what the outbox holds: each mail is written when it goes, from what is true then. */
import type { Selectable } from 'kysely'
import type { MailTable } from '#db/schema.ts'
import { inTx, type Ctx } from './ctx.ts'
import { MailRefused } from './errors.ts'
import { findLanguage, type Language } from './languages.ts'
import type { MailKind, MailState } from './mail.ts'
import { writeMail, type DeliveryFacts, type DeliveryMailKind, type Letter } from './mail-text.ts'
import { findMailedLink, forgetToken } from './password-links.ts'
import { refusalOfAccount, requireRight } from './roles.ts'

type MailRow = Omit<Selectable<MailTable>, 'kind'> & { kind: MailKind }

/** Why a mail is not sent, and will not be. */
type Failure = 'recipient' | 'subject' | 'refused'

/**
 * Sends a waiting mail. One about something that is no more, or to nobody who can be reached, fails for good. Throws what the
 * mailer throws where trying again may help. A crash between sending and noting it repeats the mail, under the same id.
 */
export async function sendMail(ctx: Ctx, { mailId }: { mailId: string }): Promise<void> {
  const mail = await findWaiting(ctx, mailId)
  if (!mail) return
  const reader = await findReader(ctx, mail.recipientId)
  if (!reader) return note(ctx, mail, 'failed', 'recipient')
  const letter = await findLetter(ctx, mail, reader)
  if (!letter) return note(ctx, mail, 'failed', 'subject')
  const { name, address, language } = reader
  try {
    await ctx.mailer.send({
      messageId: messageIdOf(ctx, mailId),
      to: { name, address },
      ...writeMail(letter, language),
    })
  } catch (error) {
    if (!(error instanceof MailRefused)) throw error
    return note(ctx, mail, 'failed', 'refused')
  }
  await note(ctx, mail, ctx.mailer.kind === 'spool' ? 'spooled' : 'sent')
}

/** Sends a mail of no consequence at once. Throws `forbidden`, and what the mailer throws. */
export async function sendTestMail(
  ctx: Ctx,
  { address, language }: { address: string; language: Language },
): Promise<void> {
  await requireRight(ctx, 'config.manage')
  const mail = writeMail({ kind: 'test' }, language)
  await ctx.mailer.send({ messageId: messageIdOf(ctx, ctx.newId()), to: { name: '', address }, ...mail })
}

/** The same for each try. */
const messageIdOf = ({ settings }: Ctx, mailId: string) => `${mailId}@${new URL(settings.linkUrl).hostname}`

async function findWaiting(ctx: Ctx, mailId: string): Promise<MailRow | undefined> {
  const row = await ctx.db
    .selectFrom('mail')
    .selectAll()
    .where('id', '=', mailId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('state', '=', 'waiting')
    .executeTakeFirst()
  return row && { ...row, kind: row.kind as MailKind } // `queueMail` writes no others
}

interface Reader {
  id: string
  login: string | null
  name: string
  address: string
  language: Language
}

/** Who has an address and, where he has an account, may use it. */
async function findReader(ctx: Ctx, principalId: string): Promise<Reader | undefined> {
  const row = await ctx.db
    .selectFrom('principal')
    .innerJoin('tenant', 'tenant.id', 'principal.tenantId')
    .leftJoin('profile', 'profile.principalId', 'principal.id')
    .select(['principal.id', 'login', 'principal.name', 'email', 'principal.state', 'expiresAt', 'language'])
    .select('tenant.state as tenantState')
    .where('principal.id', '=', principalId)
    .where('principal.tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  if (!row?.email || (await refusalOfAccount(ctx, { ...row, principalId }, ctx.clock()))) return undefined
  return { ...row, address: row.email, language: findLanguage(row.language) ?? 'en' }
}

async function findLetter(ctx: Ctx, { kind, subjectId }: MailRow, reader: Reader): Promise<Letter | undefined> {
  if (subjectId === null) return undefined
  if (kind === 'choose-password') return passwordLetter(ctx, subjectId, reader)
  const delivery = await findDelivery(ctx, subjectId)
  if (!delivery || !isStillTrue(kind, delivery, reader)) return undefined
  if (kind === 'delivery-arrived' && !(await isRecipient(ctx, delivery.id, reader.id))) return undefined
  return { kind, delivery: factsOf(ctx, kind, delivery) }
}

async function passwordLetter(ctx: Ctx, linkId: string, { login }: Reader): Promise<Letter | undefined> {
  const link = await findMailedLink(ctx, linkId)
  if (!link || login === null) return undefined
  const { token, expiresAt } = link
  return {
    kind: 'choose-password',
    login,
    link: `${ctx.settings.linkUrl}/account/password?token=${token}`,
    expiresAt,
  }
}

type Delivery = NonNullable<Awaited<ReturnType<typeof findDelivery>>>

/** A delivery that can be fetched, or could if it were approved. */
async function findDelivery(ctx: Ctx, uid: string) {
  return ctx.db
    .selectFrom('space')
    .innerJoin('node', 'node.id', 'space.id')
    .innerJoin('principal as sender', 'sender.id', 'space.ownerId')
    .select(['space.id', 'space.uid', 'space.ownerId', 'space.approval', 'space.deliveryPasswordHash'])
    .select(['space.deliveryExpiresAt as expiresAt', 'space.deliveryPersistent as persistent'])
    .select(['node.label', 'node.notes', 'sender.name as senderName', 'sender.email as senderAddress'])
    .where('space.uid', '=', uid)
    .where('space.tenantId', '=', ctx.actor.tenantId)
    .where('space.deliveryAccess', 'is not', null)
    .where('space.state', '=', 'active')
    .where(eb =>
      eb.or([
        eb('space.deliveryPersistent', '=', 1),
        eb('space.deliveryExpiresAt', 'is', null),
        eb('space.deliveryExpiresAt', '>', ctx.clock()),
      ]),
    )
    .executeTakeFirst()
}

/** Between the occasion and the mail things may have changed. */
function isStillTrue(kind: DeliveryMailKind, { approval, ownerId }: Delivery, reader: Reader): boolean {
  const isSender = reader.id === ownerId
  switch (kind) {
    case 'delivery-arrived':
      return approval === 'none' || approval === 'approved'
    case 'approval-needed':
      return approval === 'waiting'
    case 'delivery-approved':
      return isSender && approval === 'approved'
    case 'delivery-refused':
      return isSender && approval === 'refused'
    case 'delivery-quarantined':
      return isSender
  }
}

/** By himself or as a member of a group. */
async function isRecipient(ctx: Ctx, spaceId: number, principalId: string): Promise<boolean> {
  const grant = await ctx.db
    .selectFrom('access_grant')
    .select('id')
    .where('nodeId', '=', spaceId)
    .where('recipient', 'is not', null)
    .where(eb =>
      eb.or([
        eb('subjectId', '=', principalId),
        eb('subjectId', 'in', eb.selectFrom('group_closure').select('groupId').where('principalId', '=', principalId)),
      ]),
    )
    .executeTakeFirst()
  return grant !== undefined
}

/** The note of a delivery with a password is for those who know the password, and its sender knows it anyway. */
function factsOf(ctx: Ctx, kind: DeliveryMailKind, delivery: Delivery): DeliveryFacts {
  const { uid, label, notes, senderName, senderAddress, expiresAt, persistent, deliveryPasswordHash } = delivery
  const tellsNote = (kind === 'delivery-arrived' || kind === 'approval-needed') && deliveryPasswordHash === null
  return {
    id: uid,
    label,
    sender: senderAddress === null ? senderName : `${senderName} (${senderAddress})`,
    note: tellsNote ? notes : null,
    expiresAt: persistent ? null : expiresAt,
    server: ctx.settings.publicUrl,
  }
}

/** Notes the end of a mail, unless another try has done so. */
async function note(ctx: Ctx, mail: MailRow, state: Exclude<MailState, 'waiting'>, reason?: Failure): Promise<void> {
  await inTx(ctx, async ctx => {
    const noted = await ctx.db
      .updateTable('mail')
      .set({ state, sentAt: state === 'failed' ? null : ctx.clock() })
      .where('id', '=', mail.id)
      .where('state', '=', 'waiting')
      .returning('id')
      .executeTakeFirst()
    if (!noted) return
    if (mail.kind === 'choose-password' && mail.subjectId !== null) await forgetToken(ctx, mail.subjectId)
    await ctx.emit({
      type: reason ? 'mail.failed' : 'mail.sent',
      subject1: `mail:${mail.id}`,
      subject2: `principal:${mail.recipientId}`,
      facts: { kind: mail.kind, about: mail.subjectId, ...(reason ? { reason } : { spooled: state === 'spooled' }) },
    })
  })
}
