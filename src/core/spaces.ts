/** Spaces: tree roots with members and policy. They nest; each is a node as well. */
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { authorize, listableSpaceIds } from './access.ts'
import { DomainError } from './errors.ts'
import { checkName, nameKey } from './names.ts'
import {
  findChild,
  freeName,
  getLiveNode,
  getTenantRoot,
  holdStructure,
  insertTotals,
  lostName,
  nameTaken,
  tryInsertNode,
  updateNodeRow,
  type Node,
} from './nodes.ts'
import { allActions } from './permissions.ts'
import { requireRight } from './roles.ts'
import { getSpaceRow, type DeliveryPolicy, type Space } from './space-rows.ts'
import { changeSpaceState } from './space-state.ts'
import { addTotals } from './totals.ts'
import { moveAccess, setGrantRow } from './grants.ts'

/** Everything by which spaces differ. Durations in milliseconds, sizes in bytes, null for "no limit" or "the server's default". */
export interface SpacePolicy {
  /** The grants of the space above count here; the space has none of its own. */
  inheritsGrants: boolean
  /** How several grants of one user add up. */
  sumRule: Space['sumRule']
  /** Whether names that differ only in case are the same name. */
  caseRule: Space['caseRule']
  /** Whether somebody with `manage` must remain. */
  keepManager: Space['keepManager']
  lastMemberLeaves: Space['lastMemberLeaves']
  quotaBytes: number | null
  trashRetentionMs: number | null
  fileExpiryMs: number | null
  /** Superseded versions kept per file; null for all. */
  versionRetention: number | null
  clientEncryption: boolean
  /** New files ask for a fresh proof of identity before they are read. */
  readProtection: boolean
  defaultClassification: number | null
  approval: Space['approval']
  externalSharing: boolean
  /** Content may be fetched before screening has ended. */
  unscreenedDownloads: boolean
  /** A delivery is listed by doors other than the one it was made through. */
  visibleElsewhere: boolean
  delivery: DeliveryPolicy | null
  /** PHC string; null for no password. */
  deliveryPasswordHash: string | null
  /** Recipients of a delivery are told by mail. */
  deliveryNotifies: boolean
}

export const defaultPolicy: SpacePolicy = {
  inheritsGrants: false,
  sumRule: 'union',
  caseRule: 'exact',
  keepManager: 'none',
  lastMemberLeaves: 'keep',
  quotaBytes: null,
  trashRetentionMs: null,
  fileExpiryMs: null,
  versionRetention: null,
  clientEncryption: false,
  readProtection: false,
  defaultClassification: null,
  approval: 'none',
  externalSharing: true,
  unscreenedDownloads: true,
  visibleElsewhere: true,
  delivery: null,
  deliveryPasswordHash: null,
  deliveryNotifies: false,
}

type PolicyColumns = Omit<
  Space,
  | 'id'
  | 'uid'
  | 'tenantId'
  | 'parentSpaceId'
  | 'ownerId'
  | 'state'
  | 'accessCount'
  | 'passwordEncryption'
  | 'approvalDecidedAt'
  | 'approvalDecidedBy'
  | 'stateChangedAt'
  | 'contentPurgedAt'
  | 'wrappingKey'
  | 'lastLogAt'
  | 'changedAt'
>

/** Booleans as 0 and 1, the delivery policy in columns of its own; absent fields stay absent. */
function policyColumns({ delivery, ...policy }: Partial<SpacePolicy>): Partial<PolicyColumns> {
  const columns = Object.entries(policy).map(([field, value]) => [
    field,
    typeof value === 'boolean' ? Number(value) : value,
  ])
  return {
    ...(Object.fromEntries(columns) as Partial<PolicyColumns>), // same keys by construction
    ...(delivery !== undefined && deliveryColumns(delivery)),
  }
}

const deliveryColumns = (delivery: DeliveryPolicy | null) => ({
  deliveryAccess: delivery?.accessType ?? null,
  deliveryExpiresAt: delivery?.expiresAt ?? null,
  deliveryPersistent: Number(delivery?.persistent ?? false),
  accessLimit: delivery?.accessLimit ?? null,
})

export interface NewSpace {
  name: string
  /** Absent for a top-level space. */
  parentSpaceId?: number
  /** Folder inside the parent space that holds it; the parent's root by default. */
  parentId?: number
  /** Default: the actor. */
  ownerId?: string
  managerIds?: readonly string[]
  policy?: Partial<SpacePolicy>
  onConflict?: 'fail' | 'rename-new'
}

/**
 * Makes a space. Top-level ones need the right `spaces.create`, nested ones `manage` on the parent.
 * Throws `name-taken`, `name-refused`, `forbidden`, `last-manager` (a policy that wants a manager and got none).
 */
export async function createSpace(ctx: Ctx, input: NewSpace): Promise<Space & { node: Node }> {
  if (input.parentSpaceId === undefined) await requireRight(ctx, 'spaces.create')
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const parent = await parentOf(ctx, input)
    const policy = startingPolicy(input)
    if (policy.inheritsGrants && input.parentSpaceId === undefined) {
      throw new DomainError('invalid-input', {
        field: 'inheritsGrants',
        rule: 'a top-level space has nothing to inherit',
      })
    }
    const node = await insertSpaceNode(ctx, parent, input, policy)
    const space = await ctx.db
      .insertInto('space')
      .values({
        ...(policyColumns(policy) as PolicyColumns), // defaults make it whole
        id: node.id,
        uid: ctx.newId(),
        tenantId: ctx.actor.tenantId,
        parentSpaceId: input.parentSpaceId ?? null,
        ownerId: input.ownerId ?? ctx.actor.principalId,
        state: 'active',
        accessCount: 0,
        lastLogAt: 0,
        changedAt: ctx.clock(),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await insertTotals(ctx, node.id)
    for (const subjectId of input.managerIds ?? [])
      await setGrantRow(ctx, { nodeId: node.id, subjectId, actions: allActions })
    if (policy.keepManager !== 'none' && !policy.inheritsGrants && !input.managerIds?.length) {
      throw new DomainError('last-manager', { spaceId: node.id })
    }
    await ctx.emit({ type: 'space.created', spaceId: node.id, subject1: `node:${node.id}` })
    await addTotals(ctx, parent.id, { folders: 1 })
    return { ...space, node }
  })
}

/** A delivery that requires consent waits for it from the beginning. */
function startingPolicy({ policy }: NewSpace): SpacePolicy {
  const whole = { ...defaultPolicy, ...policy }
  return whole.delivery && whole.approval === 'required' ? { ...whole, approval: 'waiting' } : whole
}

async function parentOf(ctx: TxCtx, input: NewSpace): Promise<Node> {
  if (input.parentSpaceId === undefined) return getTenantRoot(ctx)
  const parent = await getLiveNode(ctx, input.parentId ?? input.parentSpaceId)
  await authorize(ctx, 'manage', parent)
  if (parent.spaceId !== input.parentSpaceId)
    throw new DomainError('not-found', { what: 'space', id: String(input.parentSpaceId) })
  return parent
}

async function insertSpaceNode(ctx: TxCtx, parent: Node, input: NewSpace, policy: SpacePolicy): Promise<Node> {
  const caseRule = parent.spaceId === null ? 'exact' : (await getSpaceRow(ctx, parent.spaceId)).caseRule
  const asked = checkName(input.name)
  const name = input.onConflict === 'rename-new' ? await freeName(ctx, parent.id, asked, caseRule) : asked
  const [id] = await ctx.database.nextIds(ctx.db, 1)
  const node = await tryInsertNode(ctx, { id: id!, kind: 'space', parent, name, label: asked, caseRule })
  if (!node) throw await lostName(ctx, parent.id, name, { caseRule, onConflict: input.onConflict })
  if (policy.inheritsGrants) return node
  await ctx.db.updateTable('node').set({ accessId: node.id }).where('id', '=', node.id).execute()
  return { ...node, accessId: node.id }
}

/** An active space that the actor may list. Throws `not-found`. */
export async function getSpace(ctx: Ctx, { spaceId }: { spaceId: number }): Promise<Space> {
  await authorize(ctx, 'list', await getLiveNode(ctx, spaceId))
  return getSpaceRow(ctx, spaceId)
}

/** Finds a top-level or nested space by name. */
export async function findSpaceByName(
  ctx: Ctx,
  input: { name: string; parentSpaceId?: number },
): Promise<Space | undefined> {
  const parentId = input.parentSpaceId ?? (await getTenantRoot(ctx)).id
  const caseRule = input.parentSpaceId === undefined ? 'exact' : (await getSpaceRow(ctx, input.parentSpaceId)).caseRule
  const node = await findChild(ctx, parentId, nameKey(input.name, caseRule))
  return node?.kind === 'space' ? getSpaceRow(ctx, node.id) : undefined
}

/** Live spaces that the actor may list, by name. */
export async function listSpaces(ctx: Ctx): Promise<(Space & { node: Node })[]> {
  const ids = await listableSpaceIds(ctx)
  if (ids.length === 0) return []
  const nodes = await ctx.db
    .selectFrom('node')
    .selectAll()
    .where('id', 'in', ids)
    .orderBy('name')
    .orderBy('id')
    .execute()
  const spaces = await ctx.db.selectFrom('space').selectAll().where('id', 'in', ids).execute()
  const byId = new Map(spaces.map(space => [space.id, space]))
  return nodes.flatMap(node => {
    const space = byId.get(node.id)
    return space ? [{ ...space, node }] : []
  })
}

/** Changes policy fields; needs `manage`. Turning inheritance on drops the space's own grants from effect. */
export function updateSpacePolicy(ctx: Ctx, input: { spaceId: number; policy: Partial<SpacePolicy> }): Promise<Space> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const node = await getLiveNode(ctx, input.spaceId)
    await authorize(ctx, 'manage', node)
    const before = await getSpaceRow(ctx, input.spaceId)
    const { policy } = input
    if (policy.inheritsGrants !== undefined && Number(policy.inheritsGrants) !== before.inheritsGrants) {
      await switchInheritance(ctx, node, before, policy.inheritsGrants)
    }
    if (policy.caseRule !== undefined && policy.caseRule !== before.caseRule)
      await rekeyNames(ctx, before, policy.caseRule)
    const space = await ctx.db
      .updateTable('space')
      .set({ ...policyColumns(policy), changedAt: ctx.clock() })
      .where('id', '=', input.spaceId)
      .returningAll()
      .executeTakeFirstOrThrow()
    await updateNodeRow(ctx, await getLiveNode(ctx, input.spaceId), {})
    await ctx.emit({
      type: 'space.changed',
      spaceId: space.id,
      subject1: `node:${space.id}`,
      facts: { fields: Object.keys(policy) },
    })
    return space
  })
}

/** Moves every node that takes its access from one access node to another one. */
async function switchInheritance(ctx: TxCtx, node: Node, space: Space, inherits: boolean): Promise<void> {
  if (space.parentSpaceId === null) {
    throw new DomainError('invalid-input', {
      field: 'inheritsGrants',
      rule: 'a top-level space has nothing to inherit',
    })
  }
  const parent = await getLiveNode(ctx, node.parentId ?? space.parentSpaceId)
  const target = inherits ? parent.accessId : node.id
  await moveAccess(ctx, node.id, node.accessId, target)
}

/** Gives every live name of the space its key under the new rule. Throws `name-taken` where two names become one. */
async function rekeyNames(ctx: TxCtx, space: Space, caseRule: Space['caseRule']): Promise<void> {
  const nodes = await ctx.db
    .selectFrom('node')
    .selectAll()
    .where('spaceId', '=', space.id)
    .where('id', '<>', space.id)
    .where('nameKey', 'is not', null)
    .execute()
  const nested = await ctx.db
    .selectFrom('node')
    .innerJoin('space', 'space.id', 'node.id')
    .selectAll('node')
    .where('space.parentSpaceId', '=', space.id)
    .where('node.nameKey', 'is not', null)
    .execute()
  const seen = new Map<string, Node>()
  for (const node of [...nodes, ...nested]) {
    const key = `${node.parentId}/${nameKey(node.name, caseRule)}`
    const twin = seen.get(key)
    if (twin) throw nameTaken(twin)
    seen.set(key, node)
  }
  for (const node of [...nodes, ...nested]) {
    await ctx.db
      .updateTable('node')
      .set({ nameKey: nameKey(node.name, caseRule) })
      .where('id', '=', node.id)
      .execute()
  }
}

/**
 * Takes a space out of reach or back. Its name is free meanwhile; coming back it gets a number where the name was taken.
 * Throws `wrong-state`.
 */
export function setSpaceState(
  ctx: Ctx,
  input: { spaceId: number; state: 'active' | 'deleted' | 'archived' },
): Promise<Space> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    await authorize(ctx, 'manage', await getLiveNode(ctx, input.spaceId))
    return changeSpaceState(ctx, { before: await getSpaceRow(ctx, input.spaceId), state: input.state })
  })
}
