/** Puts received content into the tree under a name, settling what else has that name. One transaction, from load to totals. */
import type { ConflictStrategy } from '#db/schema.ts'
import { authorize } from './access.ts'
import type { TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireChangeable, requireWritableSpace } from './gates.ts'
import { addMetadata, replaceMetadata } from './metadata.ts'
import { checkName, nameKey } from './names.ts'
import {
  awaitNode,
  findChild,
  freeName,
  getContainer,
  holdNode,
  holdStructure,
  nameAmongSiblings,
  nameColumns,
  nameTaken,
  requireRevision,
  saidColumns,
  tryInsertNode,
  updateNodeRow,
  type ExpectedState,
  type Node,
  type NodeAttributes,
} from './nodes.ts'
import { describing } from './permissions.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addTotals, type TotalsDelta } from './totals.ts'
import { trashNode } from './trash.ts'
import { binVersion, getCurrentVersion, insertVersion, type NewVersion, type Version } from './versions.ts'

export interface Placement extends ExpectedState {
  parentId: number
  name: string
  /** The name as the user sees it, where it may repeat; the name itself by default. */
  label?: string
  onConflict: ConflictStrategy
  mediaType: string
  attributes?: NodeAttributes
  /** Replaces all metadata of one namespace. */
  metadata?: { namespace: string; values: Readonly<Record<string, string>> }
  /** The node that the upload holds the name with. */
  reservedNodeId?: number
}

export interface Placed {
  node: Node
  version: Version
  /** What the conflict strategy did to another node or to the name. */
  settled?: { how: 'superseded' | 'replaced' | 'renamed-new' | 'renamed-existing'; nodeId: number; name: string }
}

type PlacedContent = NewVersion['content']

/** A name may be taken between looking and inserting; then we look again, so often at most. */
const ATTEMPTS = 5

/**
 * Throws `name-taken`, `name-refused`, `not-found`, `not-a-folder`, `forbidden`, `revision-conflict`, `quota-exceeded`, and what
 * gates and locks say.
 */
export async function placeFile(ctx: TxCtx, input: Placement, content: PlacedContent): Promise<Placed> {
  await holdStructure(ctx, 'shared')
  const parent = await getContainer(ctx, input.parentId)
  const space = await getSpaceRow(ctx, parent.spaceId)
  const asked = checkName(input.name)
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const placed = await tryPlace(ctx, { ...input, name: asked }, { parent, space, content })
    if (placed) return placed
  }
  throw new DomainError('busy', {})
}

export interface NewContent extends ExpectedState {
  nodeId: number
  mediaType: string
  /** The file takes this name as well, or a numbered one beside another file. */
  name?: string
}

/**
 * Gives a live file another content, wherever it is and whatever it is called. Throws `not-found`, `not-a-file`, `forbidden`,
 * `revision-conflict`, `quota-exceeded`, and what gates and locks say.
 */
export async function placeVersion(ctx: TxCtx, input: NewContent, content: PlacedContent): Promise<Placed> {
  await holdStructure(ctx, 'shared')
  const node = await holdNode(ctx, input.nodeId)
  if (node.kind !== 'file' || node.spaceId === null) throw new DomainError('not-a-file', { nodeId: node.id })
  const space = await getSpaceRow(ctx, node.spaceId)
  return addVersion(ctx, { ...input, renameTo: input.name }, { space, content }, node)
}

interface Site {
  parent: Node
  space: Space
  content: PlacedContent
}

async function tryPlace(ctx: TxCtx, input: Placement, site: Site): Promise<Placed | undefined> {
  const { parent, space } = site
  const existing = await findChild(ctx, parent.id, nameKey(input.name, space.caseRule))
  if (existing && existing.id === input.reservedNodeId) return fillReserved(ctx, input, site, existing)
  if (!existing) {
    requireNothingExpected(input)
    return insertFile(ctx, input, site, input.name)
  }
  if (existing.state === 'live' && existing.kind === 'file' && input.onConflict === 'new-version') {
    await awaitNode(ctx, existing.id)
    // Who held it before us may have changed, moved or deleted it.
    const held = await findChild(ctx, parent.id, nameKey(input.name, space.caseRule))
    return held?.id === existing.id ? addVersion(ctx, input, site, held) : undefined
  }
  return settle(ctx, input, site, existing)
}

/** An expected revision means an existing file. */
function requireNothingExpected({ expectedRevision, expectedSnapshot }: Placement): void {
  const expected = expectedRevision ?? expectedSnapshot
  if (expected !== undefined) throw new DomainError('revision-conflict', { expected, current: 0 })
}

async function settle(ctx: TxCtx, input: Placement, site: Site, existing: Node): Promise<Placed | undefined> {
  const { parent, space } = site
  switch (input.onConflict) {
    case 'fail':
    case 'new-version': {
      await authorize(ctx, 'create', parent)
      throw nameTaken(existing)
    }
    case 'rename-new': {
      const name = await freeName(ctx, parent.id, input.name, space.caseRule)
      const placed = await insertFile(ctx, input, site, name)
      return placed && { ...placed, settled: { how: 'renamed-new', nodeId: placed.node.id, name } }
    }
    case 'replace': {
      if (existing.state === 'reserved' || existing.kind !== 'file') throw nameTaken(existing)
      await authorize(ctx, 'delete', existing)
      requireRevision(existing, input)
      await trashNode(ctx, existing)
      const placed = await insertFile(ctx, input, site, input.name)
      return placed && { ...placed, settled: { how: 'replaced', nodeId: existing.id, name: existing.name } }
    }
    case 'rename-existing': {
      if (existing.state === 'reserved') throw nameTaken(existing)
      const name = await renameAway(ctx, site, existing)
      const placed = await insertFile(ctx, input, site, input.name)
      return placed && { ...placed, settled: { how: 'renamed-existing', nodeId: existing.id, name } }
    }
  }
}

async function renameAway(ctx: TxCtx, { parent, space }: Site, existing: Node): Promise<string> {
  await authorize(ctx, 'change', existing)
  await requireChangeable(ctx, existing)
  const name = await freeName(ctx, parent.id, existing.name, space.caseRule)
  await updateNodeRow(ctx, existing, nameColumns(name, name, space.caseRule))
  await ctx.emit({ type: 'node.renamed', spaceId: space.id, subject1: `node:${existing.id}` })
  return name
}

async function insertFile(ctx: TxCtx, input: Placement, site: Site, name: string): Promise<Placed | undefined> {
  const { parent, space, content } = site
  await authorize(ctx, 'create', parent)
  requireWritableSpace(ctx, space)
  const [nodeId, versionId] = await ctx.database.nextIds(ctx.db, 2)
  const node = await tryInsertNode(ctx, {
    id: nodeId!,
    kind: 'file',
    parent,
    space,
    name,
    label: input.label ?? input.name,
    caseRule: space.caseRule,
    currentVersionId: versionId!,
    ...(input.attributes && { attributes: input.attributes }),
  })
  if (!node) return undefined
  const version = await insertVersion(ctx, {
    id: versionId!,
    nodeId: node.id,
    content,
    mediaType: input.mediaType,
    isFirst: true,
    space,
  })
  return finish(ctx, input, { node, version }, { files: 1, bytes: content.sizeBytes })
}

async function fillReserved(ctx: TxCtx, input: Placement, site: Site, reserved: Node): Promise<Placed> {
  const { parent, space, content } = site
  await authorize(ctx, 'create', parent)
  requireWritableSpace(ctx, space)
  const [versionId] = await ctx.database.nextIds(ctx.db, 1)
  const version = await insertVersion(ctx, {
    id: versionId!,
    nodeId: reserved.id,
    content,
    mediaType: input.mediaType,
    isFirst: true,
    space,
  })
  const node = await updateNodeRow(ctx, reserved, {
    state: 'live',
    currentVersionId: version.id,
    ...saidColumns(input.attributes),
  })
  return finish(ctx, input, { node, version }, { files: 1, bytes: content.sizeBytes })
}

type VersionInput = Pick<Placement, 'attributes' | 'metadata' | 'mediaType' | keyof ExpectedState> & {
  renameTo?: string | undefined
}

async function addVersion(
  ctx: TxCtx,
  input: VersionInput,
  { space, content }: Pick<Site, 'space' | 'content'>,
  existing: Node,
): Promise<Placed> {
  await authorize(ctx, 'write', existing)
  requireWritableSpace(ctx, space)
  await requireChangeable(ctx, existing)
  requireRevision(existing, input)
  const before = await getCurrentVersion(ctx, existing)
  const [versionId] = await ctx.database.nextIds(ctx.db, 1)
  const node = await updateNodeRow(ctx, existing, {
    currentVersionId: versionId!,
    ...(input.renameTo !== undefined && (await renamed(ctx, existing, space, input.renameTo))),
    ...saidColumns(input.attributes),
  })
  const version = await insertVersion(ctx, {
    id: versionId!,
    nodeId: node.id,
    chainId: before.chainId,
    content,
    mediaType: input.mediaType,
    isFirst: false,
    space,
  })
  await binVersion(ctx, { node: existing, versionId: before.id, cause: 'superseded', deletionId: null })
  const delta = { bytes: content.sizeBytes - before.sizeBytes, binBytes: before.sizeBytes }
  const placed = await finish(ctx, input, { node, version }, delta, before.id)
  return { ...placed, settled: { how: 'superseded', nodeId: node.id, name: node.name } }
}

async function renamed(ctx: TxCtx, node: Node, { caseRule }: Space, wanted: string) {
  const asked = checkName(wanted)
  await authorize(ctx, describing, node)
  const place = { parentId: node.parentId ?? 0, asked, caseRule, onConflict: 'rename-new' }
  return nameColumns(await nameAmongSiblings(ctx, node, place), asked, caseRule)
}

async function finish(
  ctx: TxCtx,
  input: Pick<Placement, 'metadata'>,
  placed: Placed,
  delta: TotalsDelta,
  before?: number,
): Promise<Placed> {
  const { node, version } = placed
  if (input.metadata) {
    const write = before === undefined ? addMetadata : replaceMetadata
    await write(ctx, { nodeId: node.id, ...input.metadata })
  }
  await ctx.emit({
    type: 'version.created',
    spaceId: node.spaceId,
    subject1: `node:${node.id}`,
    subject2: `version:${version.id}`,
    facts: { bytes: version.sizeBytes, ...(before !== undefined && { before }) },
  })
  await addTotals(ctx, node.parentId ?? 0, delta)
  return placed
}
