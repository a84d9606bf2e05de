/** Brings spaces, folders and grants to what a file describes. */
import { userNamed } from '#cli/names.ts'
import { listGrants, removeGrant, setGrant, type Grant } from '#core/grants.ts'
import { nameKey } from '#core/names.ts'
import { createFolder, findChild } from '#core/nodes.ts'
import { actionNames, actionSet } from '#core/permissions.ts'
import { findPrincipals } from '#core/principals.ts'
import { deliveryOf, type Space } from '#core/space-rows.ts'
import { createSpace, findSpaceByName, updateSpacePolicy, type SpacePolicy } from '#core/spaces.ts'
import { subjectOf } from './accounts.ts'
import { nameOfSubject } from './check.ts'
import type { FolderEntry, GrantEntry, SpaceEntry } from './description.ts'
import { BadFile } from './read-yaml.ts'
import { differences, given, note, placed, type Work } from './work.ts'

interface Parent {
  /** Ends with a slash, empty at the top. */
  path: string
  spaceId?: number
}

/** A space with its folders and grants, then the spaces inside it. */
export async function applySpace(work: Work, entry: SpaceEntry, parent: Parent = { path: '' }): Promise<void> {
  const { ctx } = work
  const path = `${parent.path}${entry.name}`
  const inParent = parent.spaceId === undefined ? {} : { parentSpaceId: parent.spaceId }
  const known = await placed(entry.at, () => findSpaceByName(ctx, { name: entry.name, ...inParent }))
  const space = known ?? (await makeSpace(work, entry, inParent))
  if (!known) note(work, `created space ${path}`)
  const fill = () => fillSpace(work, entry, { path, space })
  if (known) await changeSpace(work, entry, { path, space, fill })
  else await fill()
  for (const nested of entry.spaces ?? []) await applySpace(work, nested, { path: `${path}/`, spaceId: space.id })
}

interface SpaceAt {
  path: string
  space: Space
}

async function fillSpace(work: Work, { folders = [], grants }: SpaceEntry, at: SpaceAt): Promise<void> {
  for (const folder of folders) await applyFolder(work, at, folder)
  if (grants) await applyGrants(work, { path: at.path, nodeId: at.space.id }, grants)
}

/** A space that loses its rule about managers does so before its grants change, one that gets it after that. */
async function changeSpace(
  work: Work,
  entry: SpaceEntry,
  { path, space, fill }: SpaceAt & { fill: () => Promise<void> },
): Promise<void> {
  await requireOwner(work, entry, space)
  const { keepManager, ...policy } = policyOf(work, entry)
  const early = keepManager === 'none' ? { ...policy, keepManager } : policy
  const changes = await changePolicy(work, entry, space, early)
  await fill()
  if (keepManager && keepManager !== 'none') changes.push(...(await changePolicy(work, entry, space, { keepManager })))
  note(work, changes.length > 0 ? `changed space ${path} (${changes.join(', ')})` : undefined)
}

async function makeSpace(work: Work, entry: SpaceEntry, inParent: { parentSpaceId?: number }): Promise<Space> {
  const { ctx } = work
  const managerIds: string[] = []
  for (const grant of entry.grants ?? []) {
    if (grant.allow.includes('manage')) managerIds.push(await placed(grant.at, () => subjectOf(work, grant)))
  }
  const { owner } = entry
  const ownerId = owner && (await placed(owner.at, () => userNamed(ctx, owner.text))).id
  return placed(entry.at, () =>
    createSpace(ctx, {
      name: entry.name,
      ...inParent,
      managerIds,
      policy: policyOf(work, entry),
      ...given({ ownerId }),
    }),
  )
}

async function requireOwner({ ctx }: Work, { owner }: SpaceEntry, known: Space): Promise<void> {
  if (!owner) return
  const { id } = await placed(owner.at, () => userNamed(ctx, owner.text))
  if (id !== known.ownerId)
    throw new BadFile([{ ...owner.at, reason: 'the owner of a space that exists cannot be changed' }])
}

/** The policy as the core knows it; fields that the file does not name are absent. */
function policyOf({ hashes }: Work, entry: SpaceEntry): Partial<SpacePolicy> {
  const { delivery } = entry
  const deliveryPasswordHash = delivery === null || delivery?.password === null ? null : hashes.get(entry)
  return given({
    inheritsGrants: entry.inheritsGrants,
    sumRule: entry.sumRule,
    caseRule: entry.caseRule,
    keepManager: entry.keepManager,
    lastMemberLeaves: entry.lastMemberLeaves,
    quotaBytes: entry.quota,
    trashRetentionMs: entry.trashRetention,
    fileExpiryMs: entry.fileExpiry,
    versionRetention: entry.versionRetention,
    clientEncryption: entry.clientEncryption,
    readProtection: entry.readProtection,
    defaultClassification: entry.defaultClassification,
    approval: entry.approval,
    externalSharing: entry.externalSharing,
    unscreenedDownloads: entry.unscreenedDownloads,
    visibleElsewhere: entry.visibleElsewhere,
    delivery: delivery && {
      accessType: delivery.access,
      accessLimit: delivery.accessLimit ?? null,
      expiresAt: delivery.expires ?? null,
      persistent: delivery.persistent ?? false,
    },
    deliveryPasswordHash,
  })
}

/** Names of the fields that were changed. */
async function changePolicy(
  { ctx }: Work,
  { at }: SpaceEntry,
  space: Space,
  wanted: Partial<SpacePolicy>,
): Promise<string[]> {
  // A delivery that requires consent has asked for it; what came of that is not for the file to say.
  const hasAsked = space.deliveryAccess !== null && space.approval !== 'none'
  const approval = hasAsked && wanted.approval === 'required' ? 'required' : space.approval
  const known = { ...space, delivery: deliveryOf(space), approval }
  const numbers = Object.entries(wanted).map(([name, value]) => [
    name,
    typeof value === 'boolean' ? Number(value) : value,
  ])
  const names = Object.keys(differences(known, Object.fromEntries(numbers) as Record<string, unknown>)) // same names as `wanted`
  if (names.length === 0) return []
  const policy = Object.fromEntries(Object.entries(wanted).filter(([name]) => names.includes(name)))
  await placed(at, () => updateSpacePolicy(ctx, { spaceId: space.id, policy }))
  return names
}

async function applyFolder(
  work: Work,
  { path, space }: { path: string; space: Space },
  entry: FolderEntry,
): Promise<void> {
  const { ctx } = work
  let nodeId = space.id
  let made = false
  for (const name of entry.path.split('/')) {
    const known = await findChild(ctx, nodeId, nameKey(name, space.caseRule))
    const folder = known ?? (await placed(entry.at, () => createFolder(ctx, { parentId: nodeId, name })))
    if (folder.kind !== 'folder')
      throw new BadFile([{ ...entry.at, reason: `"${name}" is a ${folder.kind}, not a folder` }])
    made ||= !known
    nodeId = folder.id
  }
  note(work, made ? `created folder ${path}/${entry.path}` : undefined)
  if (entry.grants) await applyGrants(work, { path: `${path}/${entry.path}`, nodeId }, entry.grants)
}

interface GrantPlace {
  path: string
  nodeId: number
}

/** The grants at a node become exactly these. New ones come first: somebody with `manage` may have to remain. */
async function applyGrants(work: Work, place: GrantPlace, entries: readonly GrantEntry[]): Promise<void> {
  const before = await listGrants(work.ctx, { nodeId: place.nodeId })
  const subjectIds = new Set<string>()
  for (const entry of entries) subjectIds.add(await applyGrant(work, place, { entry, before }))
  const others = before.filter(grant => !subjectIds.has(grant.subjectId)).map(grant => grant.subjectId)
  const names = await findPrincipals(work.ctx, others)
  for (const subjectId of others) {
    await removeGrant(work.ctx, { nodeId: place.nodeId, subjectId })
    const subject = names.get(subjectId)
    note(work, `removed grant of ${subject?.login ?? subject?.name ?? subjectId} on ${place.path}`)
  }
}

/** Answers whose grant it is. */
async function applyGrant(
  work: Work,
  { path, nodeId }: GrantPlace,
  { entry, before }: { entry: GrantEntry; before: readonly Grant[] },
): Promise<string> {
  const { allow, holdLaterMembers = false, hidden = false } = entry
  const subjectId = await placed(entry.at, () => subjectOf(work, entry))
  const wanted = { actions: actionSet(allow), holdLaterMembers: Number(holdLaterMembers), hidden: Number(hidden) }
  const known = before.find(grant => grant.subjectId === subjectId)
  const same = known !== undefined && Object.keys(differences(known, wanted)).length === 0
  if (!same) {
    const grant = { nodeId, subjectId, actions: allow, holdLaterMembers, hidden }
    await placed(entry.at, () => setGrant(work.ctx, grant))
  }
  const what = actionNames(wanted.actions).join(', ') || 'nothing'
  note(work, same ? undefined : `set grant of ${nameOfSubject(entry)} on ${path}: ${what}`)
  return subjectId
}
