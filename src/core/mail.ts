/** The outbox: mails as rows of the transaction that gives the occasion. Jobs send them (mail-send.ts). */
import type { MailTable } from '#db/schema.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { enqueue } from './jobs.ts'
import type { DeliveryMailKind } from './mail-text.ts'
import { requireRight } from './roles.ts'

export type MailKind = DeliveryMailKind | 'choose-password'
export type MailState = MailTable['state']
export const mailStates: readonly MailState[] = ['waiting', 'sent', 'spooled', 'failed']

/** With pauses of up to an hour: for a day and a half, as mail servers do for each other. */
const MAX_ATTEMPTS = 48

/**
 * Has a mail sent to a principal once the transaction is through. `subjectId` is what it is about: the uid of a delivery, or
 * the id of a password link. For one kind, recipient, subject and `occasion` there is one mail, however often it is asked for.
 */
export async function queueMail(
  ctx: TxCtx,
  {
    kind,
    recipientId,
    subjectId,
    occasion,
  }: { kind: MailKind; recipientId: string; subjectId?: string; occasion: string },
): Promise<void> {
  const mail = await ctx.db
    .insertInto('mail')
    .values({
      id: ctx.newId(),
      tenantId: ctx.actor.tenantId,
      dedupKey: [kind, recipientId, subjectId ?? '', occasion].join(':'),
      kind,
      recipientId,
      subjectId: subjectId ?? null,
      state: 'waiting',
      createdAt: ctx.clock(),
    })
    .onConflict(clash => clash.columns(['tenantId', 'dedupKey']).doNothing())
    .returning('id')
    .executeTakeFirst()
  if (mail) await enqueue(ctx, { kind: 'mail.send', payload: { mailId: mail.id }, maxAttempts: MAX_ATTEMPTS })
}

export interface Mail {
  id: string
  kind: string
  state: MailState
  recipientName: string
  address: string | null
  createdAt: number
  sentAt: number | null
}

/** Newest first. Throws `forbidden`. */
export async function listMails(ctx: Ctx, { state, limit }: { state?: MailState; limit: number }): Promise<Mail[]> {
  await requireRight(ctx, 'config.manage')
  return ctx.db
    .selectFrom('mail')
    .innerJoin('principal', 'principal.id', 'mail.recipientId')
    .select(['mail.id', 'mail.kind', 'mail.state', 'mail.createdAt', 'mail.sentAt'])
    .select(['principal.name as recipientName', 'principal.email as address'])
    .where('mail.tenantId', '=', ctx.actor.tenantId)
    .$if(state !== undefined, query => query.where('mail.state', '=', state!))
    .orderBy('mail.createdAt', 'desc')
    .orderBy('mail.id', 'desc')
    .limit(limit)
    .execute()
}

/** Forgets mails of all tenants that are older, sent or not. Called by a regular job. */
export async function forgetMails(ctx: Ctx, { before }: { before: number }): Promise<void> {
  await inTx(ctx, ctx => ctx.db.deleteFrom('mail').where('createdAt', '<', before).execute())
}
