/** One place that settles a taken name for something new: a folder, or a file whose bytes are still to come. */
import { TransactionLost } from '#db/database.ts'
import { authorize, authorizeBelow } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError, isDomainError } from './errors.ts'
import { requireChangeable } from './gates.ts'
import { checkName, nameKey } from './names.ts'
import {
  findChild,
  freeName,
  getContainer,
  holdNames,
  holdStructure,
  insertFolder,
  nameColumns,
  nameTaken,
  openContainer,
  updateNodeRow,
  type Node,
  type NodeAttributes,
} from './nodes.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { cancelUploadRow, unfinished, type Upload } from './transfers.ts'
import { trashNode } from './trash.ts'

/** `replace` also takes away a folder with everything in it, and an unfinished upload that holds the name. */
export type NameStrategy = 'fail' | 'replace' | 'rename-new' | 'rename-existing'

/** What was in the way. A file may be one whose upload has not ended. */
export interface NodeRef {
  nodeId: number
  uid: string
  kind: 'file' | 'folder'
  /** The one it has now. */
  name: string
}

export interface Settled {
  renamed: NodeRef[]
  replaced: NodeRef[]
}

export interface WantedName {
  parentId: number
  name: string
  onConflict: NameStrategy
}

/** A container that takes something new, and the name it can have there. */
export interface ClaimedName {
  parent: Node & { spaceId: number }
  space: Space
  name: string
  settled: Settled
}

/**
 * Finds the name for something new in a container and settles what has it. Others who want a name there wait until the
 * transaction ends. Throws `name-refused`, `name-taken`, `not-found`, `not-a-folder`, `forbidden`, and what gates and locks say
 * of the container and of what is in the way.
 */
export async function claimName(ctx: TxCtx, input: WantedName): Promise<ClaimedName> {
  const asked = checkName(input.name)
  const mayTakeFolder = await wouldReplaceFolder(ctx, input)
  if (mayTakeFolder) await holdStructure(ctx, 'exclusive')
  const { parent, space } = await openContainer(ctx, input.parentId, 'create')
  await holdNames(ctx, parent.id)
  const taken = await findChild(ctx, parent.id, nameKey(asked, space.caseRule))
  const place = { parent, space, name: asked }
  if (!taken) return { ...place, settled: { renamed: [], replaced: [] } }
  switch (input.onConflict) {
    case 'fail':
      throw nameTaken(taken)
    case 'rename-new': {
      const name = await freeName(ctx, parent.id, asked, space.caseRule)
      return { ...place, name, settled: { renamed: [], replaced: [] } }
    }
    case 'replace': {
      // It came between looking and waiting: look again.
      if (taken.kind === 'folder' && !mayTakeFolder) throw new TransactionLost()
      return { ...place, settled: { renamed: [], replaced: [await takeAway(ctx, space, taken)] } }
    }
    case 'rename-existing':
      return { ...place, settled: { renamed: [await renameAway(ctx, space, taken)], replaced: [] } }
  }
}

/** Taking a folder away needs the whole structure to itself, which cannot be had once others share it with us. */
async function wouldReplaceFolder(ctx: TxCtx, { parentId, name, onConflict }: WantedName): Promise<boolean> {
  if (onConflict !== 'replace') return false
  const parent = await getContainer(ctx, parentId)
  const { caseRule } = await getSpaceRow(ctx, parent.spaceId)
  return (await findChild(ctx, parent.id, nameKey(name, caseRule)))?.kind === 'folder'
}

async function takeAway(ctx: TxCtx, space: Space, taken: Node): Promise<NodeRef> {
  const ref = refTo(taken, taken.name)
  if (taken.state === 'reserved') {
    await cancelHolder(ctx, space, taken)
    return ref
  }
  await authorize(ctx, 'delete', taken)
  if (taken.kind === 'folder') await authorizeBelow(ctx, 'delete', taken)
  await trashNode(ctx, taken)
  return ref
}

/** An unfinished upload is given up for another one by who opened it, or by the owner of the space. */
async function cancelHolder(ctx: TxCtx, space: Space, reserved: Node): Promise<void> {
  const upload = await getHolder(ctx, reserved)
  const { principalId, kind } = ctx.actor
  const isAllowed = kind === 'system' || upload.principalId === principalId || space.ownerId === principalId
  if (!isAllowed) throw new DomainError('forbidden', { action: 'delete', nodeId: reserved.id })
  try {
    await cancelUploadRow(ctx, upload)
  } catch (error) {
    if (isDomainError(error, 'wrong-state')) throw new TransactionLost() // it ended at this moment: look again
    throw error
  }
}

async function getHolder(ctx: TxCtx, reserved: Node): Promise<Upload> {
  const upload = await ctx.db
    .selectFrom('upload')
    .selectAll()
    .where('reservedUid', '=', reserved.uid)
    .where('state', 'in', unfinished)
    .executeTakeFirst()
  if (!upload) throw new TransactionLost() // it ended at this moment: look again
  return upload
}

async function renameAway(ctx: TxCtx, space: Space, taken: Node): Promise<NodeRef> {
  const ref = refTo(taken, await freeName(ctx, taken.parentId ?? 0, taken.name, space.caseRule))
  await authorize(ctx, 'change', taken)
  await requireChangeable(ctx, taken)
  if (taken.state === 'reserved') await renameHolder(ctx, taken, ref.name)
  await updateNodeRow(ctx, taken, nameColumns(ref.name, ref.name, space.caseRule))
  await ctx.emit({ type: 'node.renamed', spaceId: space.id, subject1: `node:${taken.id}` })
  return ref
}

/** The upload before its node, as at its end: so that neither waits for the other. */
async function renameHolder(ctx: TxCtx, reserved: Node, name: string): Promise<void> {
  const renamed = await ctx.db
    .updateTable('upload')
    .set({ name })
    .where('reservedUid', '=', reserved.uid)
    .where('state', 'in', unfinished)
    .returning('id')
    .executeTakeFirst()
  if (!renamed) throw new TransactionLost()
}

/** Throws `name-taken` for a nested space: that gives way to nobody. */
function refTo(taken: Node, name: string): NodeRef {
  const { kind } = taken
  if (kind !== 'file' && kind !== 'folder') throw nameTaken(taken)
  return { nodeId: taken.id, uid: taken.uid, kind, name }
}

/** Makes a folder, settling a taken name. Throws what `claimName` throws. */
export function createFolderSettled(
  ctx: Ctx,
  input: WantedName & { attributes?: NodeAttributes },
): Promise<{ folder: Node; settled: Settled }> {
  return inTx(ctx, async ctx => {
    const { settled, ...place } = await claimName(ctx, input)
    const { attributes = {} } = input
    const folder = await insertFolder(ctx, { ...place, label: place.name, attributes })
    if (!folder) throw new TransactionLost()
    return { folder, settled }
  })
}
