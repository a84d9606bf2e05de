/** What people write into a space. Unlike events, messages can be changed; both share the space's log and its times. */
import { sql, type RawBuilder, type Selectable } from 'kysely'
import type { MessageTable } from '#db/schema.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { drawSpaceTime } from './events.ts'
import { loadFileReach, showing } from './file-search.ts'
import { requireOpenSpace } from './gates.ts'
import { getLiveNode } from './nodes.ts'
import { hasAction } from './permissions.ts'
import { getSpaceRow } from './space-rows.ts'
import { requireAccount, requireVisible } from './visibility.ts'

export type Message = Selectable<MessageTable>

const MAX_TEXT_BYTES = 64 * 1024

/** Writes into a space's log; `spaceTime` is later than that of everything in it. Throws `forbidden`, `invalid-input`. */
export function writeMessage(ctx: Ctx, input: { spaceId: number; nodeId?: number; text: string }): Promise<Message> {
  return inTx(ctx, async ctx => {
    await authorize(ctx, 'log.write', await getLiveNode(ctx, input.spaceId))
    requireOpenSpace(ctx, await getSpaceRow(ctx, input.spaceId))
    if (input.nodeId !== undefined) await requireWithin(ctx, input.nodeId, input.spaceId)
    return insertMessage(ctx, { ...input, nodeId: input.nodeId ?? null, versionId: null })
  })
}

async function insertMessage(
  ctx: TxCtx,
  input: Pick<Message, 'spaceId' | 'nodeId' | 'versionId' | 'text'>,
): Promise<Message> {
  checkText(input.text)
  const { spaceId, nodeId, versionId, text } = input
  const message = await ctx.db
    .insertInto('message')
    .values({
      id: ctx.newId(),
      tenantId: ctx.actor.tenantId,
      spaceId,
      nodeId,
      versionId,
      authorId: ctx.actor.principalId,
      text,
      spaceTime: (await drawSpaceTime(ctx, spaceId)) ?? ctx.clock(),
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  const subject2 = nodeId === null ? {} : { subject2: `node:${nodeId}` }
  await ctx.emit({ type: 'message.written', spaceId, subject1: `message:${message.id}`, ...subject2 })
  return message
}

/**
 * Comments on a file, remembering the version that was current. Whoever may list and read the file may comment: `log.write`
 * is for a space's log as a whole. Throws `not-found`, `forbidden`, `not-a-file`, `invalid-input`.
 */
export function commentFile(ctx: Ctx, { nodeId, text }: { nodeId: number; text: string }): Promise<Message> {
  return inTx(ctx, async ctx => {
    requireAccount(ctx, 'comment')
    const node = await getLiveNode(ctx, nodeId)
    const space = await requireVisible(ctx, node)
    await authorize(ctx, 'read', node)
    if (node.kind !== 'file') throw new DomainError('not-a-file', { nodeId })
    return insertMessage(ctx, { spaceId: space.id, nodeId, versionId: node.currentVersionId, text })
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

/** What somebody has written about a file. */
export type Comment = Message & {
  nodeId: number
  nodeUid: string
  authorName: string
}

/**
 * Comments on one file, or on all files that the actor may list, oldest first. Throws `not-found` for a file that he may not
 * list, and `not-a-file`.
 */
export async function listComments(
  ctx: Ctx,
  { nodeId, offset, limit }: { nodeId?: number; offset: number; limit: number },
): Promise<{ total: number; rows: Comment[] }> {
  const where = await (nodeId === undefined ? onAnyFile(ctx) : onFile(ctx, nodeId))
  const { rows: counted } = await sql<{ total: number }>`
    select count(*) as total from message join node on node.id = message."nodeId" where ${where}`.execute(ctx.db)
  const total = Number(counted[0]?.total ?? 0)
  if (limit === 0 || offset >= total) return { total, rows: [] }
  const { rows } = await sql<Comment>`
    select message.*, node.uid as "nodeUid", principal.name as "authorName"
    from (
      select message.id from message join node on node.id = message."nodeId" where ${where}
      order by message."spaceTime", message.id limit ${limit} offset ${offset}
    ) page
      join message on message.id = page.id
      join node on node.id = message."nodeId"
      join principal on principal.id = message."authorId"
    order by message."spaceTime", message.id`.execute(ctx.db)
  return { total, rows }
}

const standing = sql`message."nodeId" is not null and message."deletedAt" is null`

async function onFile(ctx: Ctx, nodeId: number): Promise<RawBuilder<unknown>> {
  const node = await getLiveNode(ctx, nodeId)
  await requireVisible(ctx, node)
  if (node.kind !== 'file') throw new DomainError('not-a-file', { nodeId })
  return sql`${standing} and message."nodeId" = ${nodeId}`
}

async function onAnyFile(ctx: Ctx): Promise<RawBuilder<unknown>> {
  const shown = showing(ctx, await loadFileReach(ctx))
  return sql`${standing} and message."tenantId" = ${ctx.actor.tenantId} and ${sql.join(shown, sql` and `)}`
}

function checkText(text: string): void {
  if (text === '' || Buffer.byteLength(text) > MAX_TEXT_BYTES || text.includes('\0') || !text.isWellFormed()) {
    throw new DomainError('invalid-input', { field: 'text', rule: `1 to ${MAX_TEXT_BYTES} bytes of Unicode` })
  }
}
