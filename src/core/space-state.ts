/** Whether a space is within reach: what may follow what, and what becomes of its name. */
import type { TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { fold, nameKey } from './names.ts'
import { freeName, getLiveNode, type Node } from './nodes.ts'
import { getSpaceRow, type Space } from './space-rows.ts'

const transitions: Record<Space['state'], readonly Space['state'][]> = {
  active: ['deleted', 'archived', 'purged'],
  deleted: ['active', 'archived', 'purged'],
  archived: ['active', 'deleted', 'purged'],
  purged: [],
}

/**
 * Changes the state; the caller has asked for the right. The name is free while the space is out of reach; coming back it gets
 * a number where the name was taken meanwhile. Throws `wrong-state`.
 */
export async function changeSpaceState(
  ctx: TxCtx,
  { before, state }: { before: Space; state: Space['state'] },
): Promise<Space> {
  const allowed = transitions[before.state]
  if (!allowed.includes(state)) {
    throw new DomainError('wrong-state', { what: 'space', state: before.state, needed: allowed.join(' or ') })
  }
  const space = await ctx.db
    .updateTable('space')
    .set({ state, changedAt: ctx.clock(), stateChangedAt: ctx.clock() })
    .where('id', '=', before.id)
    .where('state', '=', before.state)
    .returningAll()
    .executeTakeFirst()
  if (!space) throw new DomainError('busy', {})
  const node = await getLiveNode(ctx, space.id)
  const name = state === 'active' ? await claimName(ctx, node, space) : { nameKey: null }
  await ctx.db.updateTable('node').set(name).where('id', '=', node.id).execute()
  await ctx.emit({
    type: 'space.state-changed',
    spaceId: space.id,
    subject1: `node:${space.id}`,
    facts: { before: before.state, after: state },
  })
  return space
}

async function claimName(ctx: TxCtx, node: Node, { parentSpaceId }: Space): Promise<Partial<Node>> {
  const caseRule = parentSpaceId === null ? 'exact' : (await getSpaceRow(ctx, parentSpaceId)).caseRule
  const name = await freeName(ctx, node.parentId ?? 0, node.name, caseRule)
  return { name, nameFold: fold(name), nameKey: nameKey(name, caseRule) }
}
