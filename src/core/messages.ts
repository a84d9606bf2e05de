/** What people write into a space. Unlike events, messages can be changed; both share the space's log and its times. */
import type { Selectable } from 'kysely'
import type { MessageTable } from '#db/schema.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { drawSpaceTime } from './events.ts'
import { requireOpenSpace } from './gates.ts'
import { getLiveNode } from './nodes.ts'
import { hasAction } from './permissions.ts'
import { getSpaceRow } from './space-rows.ts'

export type Message = Selectable<MessageTable>

const MAX_TEXT_BYTES = 64 * 1024

/** Writes into a space's log; `spaceTime` is later than that of everything in it. Throws `forbidden`, `invalid-input`. */
export function writeMessage(ctx: Ctx, input: { spaceId: number; nodeId?: number; text: string }): Promise<Message> {
  return inTx(ctx, async ctx => {
    await authorize(ctx, 'log.write', await getLiveNode(ctx, input.spaceId))
    requireOpenSpace(ctx, await getSpaceRow(ctx, input.spaceId))
    if (input.nodeId !== undefined) await requireWithin(ctx, input.nodeId, input.spaceId)
    checkText(input.text)
    const message = await ctx.db
      .insertInto('message')
      .values({
        id: ctx.newId(),
        tenantId: ctx.actor.tenantId,
        spaceId: input.spaceId,
        nodeId: input.nodeId ?? null,
        authorId: ctx.actor.principalId,
        text: input.text,
        spaceTime: (await drawSpaceTime(ctx, input.spaceId)) ?? ctx.clock(),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await ctx.emit({ type: 'message.written', spaceId: input.spaceId, subject1: `message:${message.id}` })
    return message
  })
}

async function requireWithin(ctx: Ctx, nodeId: number, spaceId: number): Promise<void> {
  const node = await getLiveNode(ctx, nodeId)
  if (node.spaceId !== spaceId) throw new DomainError('not-found', { what: 'node', id: String(nodeId) })
  await authorize(ctx, 'list', node)
}

/** Changes the text; only its author may. */
export function changeMessage(ctx: Ctx, input: { messageId: string; text: string }): Promise<Message> {
  return inTx(ctx, async ctx => {
    const before = await getMessage(ctx, input.messageId)
    if (before.authorId !== ctx.actor.principalId) throw new DomainError('forbidden', { action: 'log.write' })
    checkText(input.text)
    const message = await ctx.db
      .updateTable('message')
      .set({ text: input.text, editedAt: ctx.clock() })
      .where('id', '=', before.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await ctx.emit({ type: 'message.changed', spaceId: before.spaceId, subject1: `message:${before.id}` })
    return message
  })
}

/** Takes the text away, by its author or by who manages the space; that something was written stays. */
export function deleteMessage(ctx: Ctx, { messageId }: { messageId: string }): Promise<void> {
  return inTx(ctx, async ctx => {
    const before = await getMessage(ctx, messageId)
    const allowed = await authorize(ctx, 'list', await getLiveNode(ctx, before.spaceId))
    if (before.authorId !== ctx.actor.principalId && !hasAction(allowed, 'manage')) {
      throw new DomainError('forbidden', { action: 'manage' })
    }
    await ctx.db.updateTable('message').set({ text: '', deletedAt: ctx.clock() }).where('id', '=', messageId).execute()
    await ctx.emit({ type: 'message.deleted', spaceId: before.spaceId, subject1: `message:${messageId}` })
  })
}

/** A message that is not deleted, in a space that the actor may list. Throws `not-found`. */
export async function getMessage(ctx: Ctx, messageId: string): Promise<Message> {
  const message = await ctx.db
    .selectFrom('message')
    .selectAll()
    .where('id', '=', messageId)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('deletedAt', 'is', null)
    .executeTakeFirst()
  if (!message) throw new DomainError('not-found', { what: 'message', id: messageId })
  await authorize(ctx, 'list', await getLiveNode(ctx, message.spaceId))
  return message
}

function checkText(text: string): void {
  if (text === '' || Buffer.byteLength(text) > MAX_TEXT_BYTES || text.includes('\0') || !text.isWellFormed()) {
    throw new DomainError('invalid-input', { field: 'text', rule: `1 to ${MAX_TEXT_BYTES} bytes of Unicode` })
  }
}
