/** Names and values that clients attach to a file, in a namespace per dialect: each writes and clears only its own. */
import { prepared } from '#db/prepared.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireOpenSpace } from './gates.ts'
import {
  getLiveNode,
  holdNode,
  holdStructure,
  requireRevision,
  updateNodeRow,
  type ExpectedState,
  type Node,
} from './nodes.ts'
import { describing } from './permissions.ts'
import { getSpaceRow } from './space-rows.ts'

/** Limits of one file's metadata in one namespace. */
export const MAX_KEYS = 200
export const MAX_KEY_BYTES = 255
export const MAX_VALUE_BYTES = 8 * 1024

const metadataOfNode = prepared<{ nodeId: number; namespace: string }, { key: string; value: string }>((db, arg) =>
  db
    .selectFrom('node_metadata')
    .select(['key', 'value'])
    .where('nodeId', '=', arg('nodeId'))
    .where('namespace', '=', arg('namespace'))
    .orderBy('key'),
)

/** Metadata of one node; the caller has asked for the right to see it. */
export async function loadMetadata(
  ctx: Ctx,
  input: { nodeId: number; namespace: string },
): Promise<Record<string, string>> {
  const rows = await metadataOfNode(ctx.db, input)
  return recordOf(rows)
}

/** How many ids go into one query. */
const CHUNK = 1_000

/** Most pages have none at all, which a look at the range of ids tells. */
const anyMetadata = prepared<{ namespace: string; from: number; to: number }, { nodeId: number }>((db, arg) =>
  db
    .selectFrom('node_metadata')
    .select('nodeId')
    .where('nodeId', '>=', arg('from'))
    .where('nodeId', '<=', arg('to'))
    .where('namespace', '=', arg('namespace'))
    .limit(1),
)

/** Metadata of a page of nodes, all of them children of `parentId`; nodes without any are absent. */
export async function loadMetadataOfMany(
  ctx: Ctx,
  { nodeIds, parentId, namespace }: { nodeIds: readonly number[]; parentId: number; namespace: string },
): Promise<Map<number, Record<string, string>>> {
  if (nodeIds.length === 0) return new Map()
  const [any] = await anyMetadata(ctx.db, { namespace, ...rangeOf(nodeIds) })
  if (!any) return new Map()
  const rows = await ctx.db
    .selectFrom('node_metadata')
    .select(['nodeId', 'key', 'value'])
    .where('namespace', '=', namespace)
    // A long page is cheaper to find by its folder than by a list of ids.
    .where('nodeId', 'in', nodeIds.length <= CHUNK ? nodeIds : liveChildren(ctx, parentId))
    .orderBy('nodeId')
    .orderBy('key')
    .execute()
  const byNode = Map.groupBy(rows, row => row.nodeId)
  return new Map(byNode.entries().map(([nodeId, own]) => [nodeId, recordOf(own)]))
}

const rangeOf = (ids: readonly number[]) => ({
  from: ids.reduce((least, id) => Math.min(least, id), Infinity),
  to: ids.reduce((most, id) => Math.max(most, id), 0),
})

const liveChildren = ({ db }: Ctx, parentId: number) =>
  db.selectFrom('node').select('id').where('parentId', '=', parentId).where('state', '=', 'live')

/** Not by assignment: a key may be called `__proto__`. */
const recordOf = (rows: readonly { key: string; value: string }[]): Record<string, string> =>
  Object.fromEntries(rows.map(({ key, value }) => [key, value]))

/** Metadata of a file that the actor may read. */
export async function getMetadata(ctx: Ctx, { nodeId, namespace }: { nodeId: number; namespace: string }) {
  await authorize(ctx, 'read', await getLiveNode(ctx, nodeId))
  return loadMetadata(ctx, { nodeId, namespace })
}

/**
 * Adds and overwrites the named keys; others stay. `mediaType`, where given, becomes the media type of the current version.
 * Throws `invalid-input`, `revision-conflict`, and what right (`change` or `write`), gates and locks say.
 */
export function setMetadata(
  ctx: Ctx,
  input: {
    nodeId: number
    namespace: string
    values: Readonly<Record<string, string>>
    mediaType?: string
  } & ExpectedState,
): Promise<Node> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const node = await holdNode(ctx, input.nodeId)
    await authorize(ctx, describing, node)
    requireRevision(node, input)
    if (node.spaceId === null) throw new DomainError('not-a-file', { nodeId: node.id })
    requireOpenSpace(ctx, await getSpaceRow(ctx, node.spaceId))
    await requireChangeable(ctx, node)
    checkValues(input.values)
    const changed = await updateNodeRow(ctx, node, {})
    await insertValues(ctx, input)
    await requireKeyCount(ctx, input)
    if (input.mediaType !== undefined) await setMediaType(ctx, node, input.mediaType)
    await ctx.emit({ type: 'node.changed', spaceId: node.spaceId, subject1: `node:${node.id}` })
    return changed
  })
}

/** Gives a new node its metadata. */
export async function addMetadata(
  ctx: TxCtx,
  input: { nodeId: number; namespace: string; values: Readonly<Record<string, string>> },
): Promise<void> {
  checkValues(input.values)
  await insertValues(ctx, input)
}

/** Clears the namespace of a node and fills it anew. The caller has asked for the right. */
export async function replaceMetadata(
  ctx: TxCtx,
  input: { nodeId: number; namespace: string; values: Readonly<Record<string, string>> },
): Promise<void> {
  checkValues(input.values)
  await clearNamespace(ctx.db, input)
  await insertValues(ctx, input)
}

const clearNamespace = prepared<{ nodeId: number; namespace: string }, never>((db, arg) =>
  db.deleteFrom('node_metadata').where('nodeId', '=', arg('nodeId')).where('namespace', '=', arg('namespace')),
)

async function insertValues(
  ctx: TxCtx,
  { nodeId, namespace, values }: { nodeId: number; namespace: string; values: Readonly<Record<string, string>> },
): Promise<void> {
  const rows = Object.entries(values).map(([key, value]) => ({ nodeId, namespace, key, value }))
  if (rows.length === 0) return
  await ctx.db
    .insertInto('node_metadata')
    .values(rows)
    .onConflict(clash =>
      clash.columns(['nodeId', 'namespace', 'key']).doUpdateSet(eb => ({ value: eb.ref('excluded.value') })),
    )
    .execute()
}

async function requireKeyCount(
  ctx: TxCtx,
  { nodeId, namespace }: { nodeId: number; namespace: string },
): Promise<void> {
  const rows = await metadataOfNode(ctx.db, { nodeId, namespace })
  if (rows.length > MAX_KEYS)
    throw new DomainError('invalid-input', { field: 'metadata', rule: `at most ${MAX_KEYS} names` })
}

async function setMediaType(ctx: TxCtx, node: Node, mediaType: string): Promise<void> {
  if (node.currentVersionId === null) throw new DomainError('not-a-file', { nodeId: node.id })
  await ctx.db.updateTable('version').set({ mediaType }).where('id', '=', node.currentVersionId).execute()
}

/** Throws `invalid-input` for names and values that are too long, empty names, too many names, or text that is not Unicode. */
export function checkValues(values: Readonly<Record<string, string>>): void {
  const entries = Object.entries(values)
  const refuse = (rule: string) => new DomainError('invalid-input', { field: 'metadata', rule })
  if (entries.length > MAX_KEYS) throw refuse(`at most ${MAX_KEYS} names`)
  for (const [key, value] of entries) {
    if (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES) throw refuse(`names have 1 to ${MAX_KEY_BYTES} bytes`)
    if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw refuse(`values have at most ${MAX_VALUE_BYTES} bytes`)
    // PostgreSQL cannot keep NUL, and lone surrogates are no text.
    if (/\0/.test(key + value) || !key.isWellFormed() || !value.isWellFormed())
      throw refuse('text must be Unicode without NUL')
  }
}
