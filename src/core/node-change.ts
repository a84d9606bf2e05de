/** Everything that a client says of a file beside its content, changed as one act: name, place, attributes, metadata. */
import { inTx, type Ctx } from './ctx.ts'
import { replaceMetadata } from './metadata.ts'
import { moveNode } from './node-move.ts'
import { getLiveNode, renameNode, type ExpectedState, type Node, type NodeAttributes } from './nodes.ts'

/**
 * Gives a node this name (or a numbered one beside another), place and attributes, and one namespace these values. Raises its
 * revision once. Throws what renameNode and moveNode throw, `invalid-input` for metadata that is too much.
 */
export function changeNode(
  ctx: Ctx,
  input: {
    nodeId: number
    name: string
    parentId: number
    attributes: NodeAttributes
    metadata: { namespace: string; values: Readonly<Record<string, string>> }
  } & ExpectedState,
): Promise<Node> {
  const { metadata, ...change } = input
  return inTx(ctx, async ctx => {
    const node = await getLiveNode(ctx, input.nodeId)
    const renaming = { ...change, onConflict: 'rename-new' } as const
    const changed = node.parentId === input.parentId ? await renameNode(ctx, renaming) : await moveNode(ctx, renaming)
    await replaceMetadata(ctx, { nodeId: node.id, ...metadata })
    return changed
  })
}
