/** Places in the tree: reading them, and making, renaming and changing folders and files. */
import type { Selectable } from 'kysely'
import { prepared, remembered, type Build } from '#db/prepared.ts'
import type { NodeTable } from '#db/schema.ts'
import { TransactionLost } from '#db/database.ts'
import { authorize } from './access.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireOpenSpace } from './gates.ts'
import { checkName, fold, nameKey, numberedName } from './names.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { writeSpaceText } from './space-texts.ts'
import { addTotals } from './totals.ts'

export type Node = Selectable<NodeTable>

const nodeById = remembered<{ id: number }, Node>((db, arg) =>
  db.selectFrom('node').selectAll().where('id', '=', arg('id')),
)

/** The row, whatever its state. Throws `not-found` for another tenant's. */
export async function getNodeRow(ctx: Ctx, nodeId: number): Promise<Node> {
  const [node] = await nodeById(ctx.db, { id: nodeId })
  if (!node || node.tenantId !== ctx.actor.tenantId)
    throw new DomainError('not-found', { what: 'node', id: String(nodeId) })
  return node
}

/** A live node. Throws `not-found`. */
export async function getLiveNode(ctx: Ctx, nodeId: number): Promise<Node> {
  const node = await getNodeRow(ctx, nodeId)
  if (node.state !== 'live') throw new DomainError('not-found', { what: 'node', id: String(nodeId) })
  return node
}

const rootOfTenant = remembered<{ tenantId: string }, Node>((db, arg) =>
  db
    .selectFrom('node')
    .innerJoin('tenant', 'tenant.rootNodeId', 'node.id')
    .selectAll('node')
    .where('tenant.id', '=', arg('tenantId')),
)

/** The root above all top-level spaces of the actor's tenant. */
export async function getTenantRoot(ctx: Ctx): Promise<Node> {
  const [root] = await rootOfTenant(ctx.db, { tenantId: ctx.actor.tenantId })
  if (!root) throw new DomainError('not-found', { what: 'tenant', id: ctx.actor.tenantId })
  return root
}

/** A live node that the actor may list. Throws `not-found`. */
export async function getNode(ctx: Ctx, { nodeId }: { nodeId: number }): Promise<Node> {
  const node = await getLiveNode(ctx, nodeId)
  await authorize(ctx, 'list', node)
  return node
}

/** Waits until nobody else changes the node, and keeps others waiting until the transaction ends. */
export const awaitNode = (ctx: TxCtx, nodeId: number) => ctx.database.lock(ctx.db, `node:${nodeId}`, 'exclusive')

/** A live node that nobody else changes until the transaction ends. Throws `not-found`. */
export async function holdNode(ctx: TxCtx, nodeId: number): Promise<Node> {
  await awaitNode(ctx, nodeId)
  return getLiveNode(ctx, nodeId)
}

/** A live folder or space root, the tenant's root not among them. Throws `not-found` or `not-a-folder`. */
export async function getContainer(ctx: Ctx, nodeId: number): Promise<Node & { spaceId: number }> {
  const node = await getLiveNode(ctx, nodeId)
  if (node.kind === 'file' || node.spaceId === null) throw new DomainError('not-a-folder', { nodeId })
  return { ...node, spaceId: node.spaceId }
}

const childQuery: Build<{ parentId: number; nameKey: string }, Node> = (db, arg) =>
  db.selectFrom('node').selectAll().where('parentId', '=', arg('parentId')).where('nameKey', '=', arg('nameKey'))

const childByKey = prepared(childQuery)
const stepByKey = remembered(childQuery)

/** The live or reserved child of that name. */
export async function findChild(ctx: Ctx, parentId: number, key: string): Promise<Node | undefined> {
  const [child] = await childByKey(ctx.db, { parentId, nameKey: key })
  return child
}

/** The same for a step on a way further down, which many requests take. */
export async function findStep(ctx: Ctx, parentId: number, key: string): Promise<Node | undefined> {
  const [child] = await stepByKey(ctx.db, { parentId, nameKey: key })
  return child
}

const insertNodeRow = prepared<Node, { id: number }>((db, arg) =>
  db
    .insertInto('node')
    .values({
      id: arg('id'),
      uid: arg('uid'),
      tenantId: arg('tenantId'),
      kind: arg('kind'),
      parentId: arg('parentId'),
      spaceId: arg('spaceId'),
      accessId: arg('accessId'),
      name: arg('name'),
      nameKey: arg('nameKey'),
      nameFold: arg('nameFold'),
      label: arg('label'),
      title: arg('title'),
      revision: arg('revision'),
      snapshotUid: arg('snapshotUid'),
      currentVersionId: arg('currentVersionId'),
      state: arg('state'),
      deletedAt: arg('deletedAt'),
      deletedBy: arg('deletedBy'),
      deletionId: arg('deletionId'),
      classification: arg('classification'),
      notes: arg('notes'),
      expiresAt: arg('expiresAt'),
      writeProtected: arg('writeProtected'),
      readProtected: arg('readProtected'),
      clientCreatedAt: arg('clientCreatedAt'),
      clientModifiedAt: arg('clientModifiedAt'),
      createdAt: arg('createdAt'),
      createdBy: arg('createdBy'),
      changedAt: arg('changedAt'),
      changedBy: arg('changedBy'),
    })
    .onConflict(clash => clash.doNothing())
    .returning('id'),
)

export interface NewNode {
  id: number
  kind: 'space' | 'folder' | 'file'
  parent: Node
  /** Absent for a space, which is a space of its own. */
  space?: Space
  name: string
  label?: string
  state?: 'live' | 'reserved'
  caseRule: 'exact' | 'folded'
  currentVersionId?: number
  attributes?: NodeAttributes
}

/** What a client may say of a node beside its place and content. */
export interface NodeAttributes {
  title?: string | null
  classification?: number | null
  notes?: string | null
  /** Epoch milliseconds. */
  expiresAt?: number | null
  clientCreatedAt?: number | null
  clientModifiedAt?: number | null
  writeProtected?: boolean
  readProtected?: boolean
}

/** Inserts the row, or answers undefined when the name was taken meanwhile. */
export async function tryInsertNode(ctx: TxCtx, input: NewNode): Promise<Node | undefined> {
  const now = ctx.clock()
  const { parent, space } = input
  const row: Node = {
    ...attributeColumns(input, now),
    id: input.id,
    uid: ctx.newId(),
    tenantId: ctx.actor.tenantId,
    kind: input.kind,
    parentId: parent.id,
    spaceId: space?.id ?? input.id,
    accessId: parent.accessId,
    name: input.name,
    nameKey: nameKey(input.name, input.caseRule),
    nameFold: fold(input.name),
    label: input.label ?? input.name,
    revision: 1,
    snapshotUid: ctx.newId(),
    currentVersionId: input.currentVersionId ?? null,
    state: input.state ?? 'live',
    deletedAt: null,
    deletedBy: null,
    deletionId: null,
    createdAt: now,
    createdBy: ctx.actor.principalId,
    changedAt: now,
    changedBy: ctx.actor.principalId,
  }
  const [inserted] = await insertNodeRow(ctx.db, row)
  if (inserted && row.kind === 'space') await writeSpaceText(ctx, row)
  return inserted && row
}

const unsaid = { title: null, notes: null, clientCreatedAt: null, clientModifiedAt: null } as const

/** What the client says of the node, and where it says nothing, what the space says. */
function attributeColumns({ kind, space, attributes = {} }: NewNode, now: number) {
  const defaults = kind === 'file' ? fileDefaults(space, now) : { expiresAt: null, readProtected: false }
  return {
    ...unsaid,
    ...attributes,
    classification: attributes.classification ?? space?.defaultClassification ?? null,
    expiresAt: attributes.expiresAt ?? defaults.expiresAt,
    writeProtected: Number(attributes.writeProtected ?? false),
    readProtected: Number(attributes.readProtected ?? defaults.readProtected),
  }
}

const fileDefaults = (space: Space | undefined, now: number) => ({
  expiresAt: space?.fileExpiryMs ? now + space.fileExpiryMs : null,
  readProtected: space?.readProtection === 1,
})

export const kindOf = (node: Node): 'file' | 'folder' | 'space' | 'reserved' =>
  node.state === 'reserved' ? 'reserved' : node.kind === 'root' ? 'space' : node.kind

export function nameTaken(existing: Node): DomainError {
  return new DomainError('name-taken', { name: existing.name, parentId: existing.parentId ?? 0, by: kindOf(existing) })
}

/** How many numbered names are tried before giving up. */
const MAX_NUMBERED = 10_000

/**
 * The first of `name`, `name (1)`, `name (2)`, … that is free in the container. Others who look for one there wait until the
 * transaction ends, so that they do not all find the same.
 */
export async function freeName(
  ctx: TxCtx,
  parentId: number,
  name: string,
  caseRule: 'exact' | 'folded',
): Promise<string> {
  await holdNames(ctx, parentId)
  for (let count = 0; count < MAX_NUMBERED; count += 1) {
    const candidate = count === 0 ? name : numberedName(name, count)
    if (!(await findChild(ctx, parentId, nameKey(candidate, caseRule)))) return candidate
  }
  throw new DomainError('name-taken', { name, parentId, by: 'file' })
}

/**
 * Makes a folder. Throws `name-refused`, `name-taken`, `forbidden`, `not-found`, `not-a-folder`, and what the gates say.
 * `rename-new` gives the folder a free name beside a taken one.
 */
export function createFolder(
  ctx: Ctx,
  input: { parentId: number; name: string; onConflict?: 'fail' | 'rename-new'; attributes?: NodeAttributes },
): Promise<Node> {
  return inTx(ctx, async ctx => {
    const { parent, space } = await openContainer(ctx, input.parentId, 'create')
    const asked = checkName(input.name)
    const name = input.onConflict === 'rename-new' ? await freeName(ctx, parent.id, asked, space.caseRule) : asked
    const { attributes = {} } = input
    const folder = await insertFolder(ctx, { parent, space, name, label: asked, attributes })
    if (!folder) throw await lostName(ctx, parent.id, name, { caseRule: space.caseRule, onConflict: input.onConflict })
    return folder
  })
}

/** A folder with its totals, or undefined when the name was taken meanwhile. */
export async function insertFolder(
  ctx: TxCtx,
  { parent, space, ...said }: { parent: Node; space: Space; name: string; label: string; attributes: NodeAttributes },
): Promise<Node | undefined> {
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const place = { kind: 'folder', parent, space, caseRule: space.caseRule } as const
  const folder = await tryInsertNode(ctx, { ...place, ...said, id: id! })
  if (!folder) return undefined
  await insertTotals(ctx, folder.id)
  await ctx.emit({ type: 'node.created', spaceId: space.id, subject1: `node:${folder.id}` })
  await addTotals(ctx, parent.id, { folders: 1 })
  return folder
}

/** Keeps others who settle a name in the container waiting until the transaction ends. */
export const holdNames = (ctx: TxCtx, parentId: number) => ctx.database.lock(ctx.db, `names:${parentId}`, 'exclusive')

/** Why an insert found its name taken: by whom, or, where any free name would have done, only by another transaction. */
export async function lostName(
  ctx: TxCtx,
  parentId: number,
  name: string,
  wanted: { caseRule: 'exact' | 'folded'; onConflict: string | undefined },
): Promise<Error> {
  const taken = await findChild(ctx, parentId, nameKey(name, wanted.caseRule))
  return taken && wanted.onConflict !== 'rename-new' ? nameTaken(taken) : new TransactionLost()
}

/** The zero totals of a new container. */
export async function insertTotals(ctx: TxCtx, nodeId: number): Promise<void> {
  await ctx.db
    .insertInto('node_total')
    .values({ nodeId, files: 0, folders: 0, bytes: 0, binBytes: 0, changedAt: ctx.clock() })
    .execute()
}

/** A container for writing, with its space: structure held still, right and gates asked. */
export async function openContainer(ctx: TxCtx, nodeId: number, action: 'create' | 'write' | 'change' | 'delete') {
  await holdStructure(ctx, 'shared')
  const parent = await getContainer(ctx, nodeId)
  await authorize(ctx, action, parent)
  const space = await getSpaceRow(ctx, parent.spaceId)
  requireOpenSpace(ctx, space)
  return { parent, space }
}

/**
 * Keeps folders from being moved or deleted (shared) or anything from being put into them (exclusive) until the end of
 * the transaction. Without it, a file could be put into a folder that is being deleted at the same moment.
 */
export function holdStructure(ctx: TxCtx, mode: 'shared' | 'exclusive'): Promise<void> {
  return ctx.database.lock(ctx.db, `structure:${ctx.actor.tenantId}`, mode)
}

/** Throws `revision-conflict` unless the expected revision or snapshot, where given, is the node's. */
export function requireRevision(node: Node, expected: ExpectedState): void {
  if (expected.expectedRevision !== undefined && expected.expectedRevision !== node.revision) {
    throw new DomainError('revision-conflict', { expected: expected.expectedRevision, current: node.revision })
  }
  if (expected.expectedSnapshot !== undefined && expected.expectedSnapshot !== node.snapshotUid) {
    throw new DomainError('revision-conflict', { expected: expected.expectedSnapshot, current: node.snapshotUid })
  }
}

export interface ExpectedState {
  expectedRevision?: number
  expectedSnapshot?: string
}

/**
 * Changes columns of a node and raises revision and snapshot. Where somebody has changed it since `node` was read, the
 * transaction runs again and sees it.
 */
export async function updateNodeRow(ctx: TxCtx, node: Node, columns: Partial<Node>): Promise<Node> {
  const now = ctx.clock()
  const changed = await ctx.db
    .updateTable('node')
    .set({
      ...columns,
      revision: node.revision + 1,
      snapshotUid: ctx.newId(),
      changedAt: now,
      changedBy: ctx.actor.principalId,
    })
    .where('id', '=', node.id)
    .where('revision', '=', node.revision)
    .returningAll()
    .executeTakeFirst()
  if (!changed) throw new TransactionLost()
  const isText = columns.label !== undefined || columns.notes !== undefined
  if (isText && changed.kind === 'space') await writeSpaceText(ctx, changed)
  return changed
}

/** Columns of a name that was found free for what was asked. */
export const nameColumns = (name: string, asked: string, caseRule: 'exact' | 'folded') => ({
  name,
  label: asked,
  nameKey: nameKey(name, caseRule),
  nameFold: fold(name),
})

/** Columns of what a client said of a node; what it did not say is not among them. */
export function saidColumns({ writeProtected, readProtected, ...plain }: NodeAttributes = {}): Partial<Node> {
  const said = {
    ...plain,
    writeProtected: writeProtected === undefined ? undefined : Number(writeProtected),
    readProtected: readProtected === undefined ? undefined : Number(readProtected),
  }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as Partial<Node> // only Node columns
}

/** Renames a node in place; name and label both change. Throws `name-taken`, `name-refused`, `revision-conflict`. */
export function renameNode(
  ctx: Ctx,
  input: {
    nodeId: number
    name: string
    onConflict?: 'fail' | 'rename-new'
    attributes?: NodeAttributes
  } & ExpectedState,
): Promise<Node> {
  return inTx(ctx, async ctx => {
    const { node, space } = await openForChange(ctx, input.nodeId)
    requireRevision(node, input)
    const asked = checkName(input.name)
    const parentId = node.parentId ?? 0
    const caseRule = await siblingRule(ctx, node, space)
    const name = await nameAmongSiblings(ctx, node, { parentId, asked, caseRule, onConflict: input.onConflict })
    const renamed = await updateNodeRow(ctx, node, {
      ...nameColumns(name, asked, caseRule),
      ...saidColumns(input.attributes),
    })
    const isRenamed = asked !== node.label || name !== node.name
    const type = isRenamed ? 'node.renamed' : 'node.changed'
    await ctx.emit({ type, spaceId: space.id, subject1: `node:${node.id}` })
    return renamed
  })
}

/** The name that a node gets for the one asked for; who has a numbered one for it already keeps that. Throws `name-taken`. */
export async function nameAmongSiblings(
  ctx: TxCtx,
  node: Node,
  wanted: { parentId: number; asked: string; caseRule: 'exact' | 'folded'; onConflict: string | undefined },
): Promise<string> {
  const { parentId, asked, caseRule } = wanted
  const taken = await findChild(ctx, parentId, nameKey(asked, caseRule))
  if (!taken || taken.id === node.id) return asked
  if (wanted.onConflict !== 'rename-new') throw nameTaken(taken)
  return asked === node.label ? node.name : freeName(ctx, parentId, asked, caseRule)
}

/** Names of spaces are ruled by what they lie in: the space above, or at the top the exact rule. */
async function siblingRule(ctx: Ctx, node: Node, space: Space): Promise<'exact' | 'folded'> {
  if (node.kind !== 'space') return space.caseRule
  return space.parentSpaceId === null ? 'exact' : (await getSpaceRow(ctx, space.parentSpaceId)).caseRule
}

/**
 * A live node for a change of name, place or attributes: right, gates and locks asked. Write protection does not stop the
 * lifting of itself.
 */
async function openForChange(ctx: TxCtx, nodeId: number, { liftsProtection = false } = {}) {
  await holdStructure(ctx, 'shared')
  const node = await holdNode(ctx, nodeId)
  if (node.spaceId === null) throw new DomainError('forbidden', { action: 'change' })
  await authorize(ctx, node.kind === 'space' ? 'manage' : 'change', node)
  const space = await getSpaceRow(ctx, node.spaceId)
  requireOpenSpace(ctx, space)
  await requireChangeable(ctx, liftsProtection ? { ...node, writeProtected: 0 } : node)
  return { node, space }
}

/** Changes what a client may say of a node. Absent fields stay. */
export function updateNode(
  ctx: Ctx,
  input: { nodeId: number; attributes: NodeAttributes } & ExpectedState,
): Promise<Node> {
  return inTx(ctx, async ctx => {
    const { attributes } = input
    const liftsProtection = attributes.writeProtected === false
    const { node, space } = await openForChange(ctx, input.nodeId, { liftsProtection })
    requireRevision(node, input)
    const changed = await updateNodeRow(ctx, node, saidColumns(attributes))
    await ctx.emit({ type: 'node.changed', spaceId: space.id, subject1: `node:${node.id}` })
    return changed
  })
}
