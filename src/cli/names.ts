/** Names as people write them, and the rows they mean. */
import type { Ctx } from '#core/ctx.ts'
import { findGroupByName } from '#core/groups.ts'
import { nameKey } from '#core/names.ts'
import { findChild, getTenantRoot, type Node } from '#core/nodes.ts'
import { isAction, type Action, actions } from '#core/permissions.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import { findUserByLogin, type User } from '#core/users.ts'
import { parseDuration, durationHint } from '#platform/units.ts'
import { CommandFailed } from './terminal.ts'

/** A space or a folder in it, by a path such as `projects/2026/inbox`. */
export async function findNode(ctx: Ctx, path: string): Promise<Node | undefined> {
  let node = await getTenantRoot(ctx)
  for (const name of path.split('/').filter(part => part !== '')) {
    const caseRule = node.spaceId === null ? 'exact' : (await getSpaceRow(ctx, node.spaceId)).caseRule
    const child = await findChild(ctx, node.id, nameKey(name, caseRule))
    if (!child || child.state !== 'live') return undefined
    node = child
  }
  return node.kind === 'root' ? undefined : node
}

export async function nodeAt(ctx: Ctx, path: string): Promise<Node> {
  const node = await findNode(ctx, path)
  if (!node) throw new CommandFailed(`There is no space or folder ${path}`)
  return node
}

export async function spaceAt(ctx: Ctx, path: string): Promise<Node> {
  const node = await findNode(ctx, path)
  if (node?.kind !== 'space') throw new CommandFailed(`There is no space ${path}`)
  return node
}

export async function userNamed(ctx: Ctx, login: string): Promise<User> {
  const user = await findUserByLogin(ctx, login)
  if (!user) throw new CommandFailed(`There is no user ${login}`)
  return user
}

export async function groupNamed(ctx: Ctx, name: string) {
  const group = await findGroupByName(ctx, name)
  if (!group) throw new CommandFailed(`There is no group ${name}`)
  return group
}

/** Id of the subject that stands for everybody who is signed in. */
export async function everybodyId(ctx: Ctx): Promise<string> {
  const row = await ctx.db
    .selectFrom('principal')
    .select('id')
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('kind', '=', 'signed-in')
    .executeTakeFirstOrThrow()
  return row.id
}

/** `signed-in`, `group:<name>`, or a login with or without `user:`. */
export async function subjectId(ctx: Ctx, text: string): Promise<string> {
  if (text === 'signed-in') return everybodyId(ctx)
  if (text.startsWith('group:')) return (await groupNamed(ctx, text.slice('group:'.length))).id
  return (await userNamed(ctx, text.replace(/^user:/, ''))).id
}

export function actionsNamed(words: readonly string[]): Action[] {
  return words
    .flatMap(word => word.split(','))
    .map(word => {
      if (isAction(word)) return word
      throw new CommandFailed(`There is no action ${word}; known are ${Object.keys(actions).join(', ')}`)
    })
}

/** The moment that lies so long after now. */
export function momentAfter(now: number, text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new CommandFailed(`${text} is not ${durationHint}`)
  return now + ms
}
