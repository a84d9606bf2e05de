/** Folded texts of spaces, kept with their nodes: lists look for words in them without regard to case. */
import type { NodeTable } from '#db/schema.ts'
import type { TxCtx } from './ctx.ts'
import { fold } from './names.ts'

/** To be called whenever label or notes of a space's root were written. */
export async function writeSpaceText(
  ctx: TxCtx,
  { id: nodeId, label, notes }: Pick<NodeTable, 'id' | 'label' | 'notes'>,
): Promise<void> {
  const folded = { labelFold: fold(label), notesFold: notes === null ? null : fold(notes) }
  await ctx.db
    .insertInto('space_text')
    .values({ nodeId, ...folded })
    .onConflict(clash => clash.column('nodeId').doUpdateSet(folded))
    .execute()
}
