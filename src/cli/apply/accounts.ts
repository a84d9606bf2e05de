/** Brings roles, users, groups and tokens to what a file describes. */
import { everybodyId, groupNamed, nodeAt, userNamed } from '#cli/names.ts'
import { createGroup, findGroupByName, listMembers, setMembers } from '#core/groups.ts'
import type { ScopeEntry } from '#core/ctx.ts'
import { storeIpRanges } from '#core/ip-ranges.ts'
import { actionSet } from '#core/permissions.ts'
import { assignRole, createRole, grantRight, listRoles, setRoleRights, type SystemRight } from '#core/roles.ts'
import { createToken, listTokens } from '#core/tokens.ts'
import { findUserByLogin, insertUser, updateUser, writePasswordHash, type User } from '#core/users.ts'
import type { Contents, GrantEntry, GroupEntry, RoleEntry, TokenEntry, UserEntry } from './description.ts'
import type { Placed } from './read-yaml.ts'
import { differences, given, note, placed, type Work } from './work.ts'

export async function applyRole(work: Work, { name, rights, at }: RoleEntry): Promise<void> {
  const { ctx } = work
  const known = (await listRoles(ctx)).find(role => role.name === name)
  await placed(at, async () => {
    if (!known) {
      await createRole(ctx, { name, rights })
      return note(work, `created role ${name}`)
    }
    const same = new Set(known.rights).symmetricDifference(new Set(rights)).size === 0
    if (!same) await setRoleRights(ctx, { roleId: known.id, rights })
    note(work, same ? undefined : `changed role ${name}`)
  })
}

export async function applyUser(work: Work, entry: UserEntry): Promise<void> {
  const { ctx } = work
  await placed(entry.at, async () => {
    const known = await findUserByLogin(ctx, entry.username)
    const change = known ? await changeUser(work, known, entry) : await makeUser(work, entry)
    note(work, change)
  })
}

const accountOf = ({ name, email, handle, kind, expires, onExpiry, addresses }: UserEntry) =>
  given({ name, email, handle, kind, expiresAt: expires, onExpiry, ipRanges: addresses })

async function makeUser({ ctx, hashes }: Work, entry: UserEntry): Promise<string> {
  const { id } = await insertUser(ctx, { login: entry.username, ...accountOf(entry) }, hashes.get(entry) ?? null)
  if (entry.state === 'blocked') await updateUser(ctx, { userId: id, state: 'blocked' })
  return `created user ${entry.username}`
}

async function changeUser({ ctx, hashes }: Work, known: User, entry: UserEntry): Promise<string | undefined> {
  const { ipRanges, ...wanted } = { ...accountOf(entry), ...given({ state: entry.state }) }
  const changes = {
    ...differences(known, wanted),
    // Ranges are stored in a normal form.
    ...(ipRanges && storeIpRanges(ipRanges) !== storeIpRanges(known.ipRanges) && { ipRanges }),
  }
  const passwordHash = hashes.get(entry)
  const fields = [...Object.keys(changes), ...(passwordHash === undefined ? [] : ['password'])]
  if (fields.length === 0) return undefined
  if (Object.keys(changes).length > 0) await updateUser(ctx, { userId: known.id, ...changes })
  if (passwordHash !== undefined) await writePasswordHash(ctx, { userId: known.id, passwordHash })
  return `changed user ${entry.username} (${fields.join(', ')})`
}

/** Homes come last: they may be spaces of the same file. */
export async function applyHome(work: Work, { username, homeSpace, at }: UserEntry): Promise<void> {
  if (homeSpace === undefined) return
  const { ctx } = work
  await placed(homeSpace === null ? at : homeSpace.at, async () => {
    const user = await userNamed(ctx, username)
    const homeNodeId = homeSpace === null ? null : (await nodeAt(ctx, homeSpace.text)).id
    if (user.homeNodeId === homeNodeId) return note(work, undefined)
    await updateUser(ctx, { userId: user.id, homeNodeId })
    note(work, `set home of ${username}: ${homeSpace?.text ?? 'none'}`)
  })
}

/** Groups are made before any gets its members: they nest. */
export async function applyGroup(work: Work, { name, at }: GroupEntry): Promise<void> {
  const { ctx } = work
  const known = await findGroupByName(ctx, name)
  if (!known) await placed(at, () => createGroup(ctx, { name }))
  note(work, known ? undefined : `created group ${name}`)
}

export async function applyMembers(work: Work, { name, members, at }: GroupEntry): Promise<void> {
  const { ctx } = work
  const { id: groupId } = await placed(at, () => groupNamed(ctx, name))
  const memberIds: string[] = []
  for (const member of members) memberIds.push(await placed(member.at, () => subjectOf(work, member)))
  const before = (await listMembers(ctx, { groupId })).map(member => member.id)
  if (new Set(before).symmetricDifference(new Set(memberIds)).size === 0) return note(work, undefined)
  await placed(at, () => setMembers(ctx, { groupId, memberIds }))
  note(work, `changed members of group ${name}`)
}

/** Id of the user, the group, or everybody. */
export async function subjectOf({ ctx }: Work, { user, group }: Pick<GrantEntry, 'user' | 'group'>): Promise<string> {
  if (user) return (await userNamed(ctx, user.text)).id
  if (group) return (await groupNamed(ctx, group.text)).id
  return everybodyId(ctx)
}

interface Holder {
  name: string
  id: string
  roles: readonly Placed<{ text: string }>[]
  rights: readonly SystemRight[]
}

/** Adds the roles and rights that users and groups lack. */
export async function applyRights(work: Work, { users = [], groups = [] }: Contents): Promise<void> {
  for (const { username, roles = [], rights = [] } of users) {
    const { id } = await userNamed(work.ctx, username)
    await addRights(work, { name: `user ${username}`, id, roles, rights })
  }
  for (const { name, roles = [], rights = [] } of groups) {
    const { id } = await groupNamed(work.ctx, name)
    await addRights(work, { name: `group ${name}`, id, roles, rights })
  }
}

async function addRights(work: Work, { name, id: principalId, roles, rights }: Holder): Promise<void> {
  const { ctx } = work
  const held = await ctx.db
    .selectFrom('principal_right')
    .select('right')
    .where('principalId', '=', principalId)
    .execute()
  for (const right of rights) {
    const has = held.some(row => row.right === right)
    if (!has) await grantRight(ctx, { principalId, right })
    note(work, has ? undefined : `gave ${name} the right ${right}`)
  }
  const holds = await ctx.db.selectFrom('role_holder').select('roleId').where('principalId', '=', principalId).execute()
  const known = roles.length > 0 ? await listRoles(ctx) : []
  for (const { text, at } of roles) {
    const role = known.find(candidate => candidate.name === text)
    const has = holds.some(row => row.roleId === role?.id)
    if (!has) await placed(at, () => assignRole(ctx, { roleId: role?.id ?? text, principalId }))
    note(work, has ? undefined : `gave ${name} the role ${text}`)
  }
}

/** A token that is there under its name is left alone: its secret is in use. */
export async function applyToken(work: Work, { user, name, expires, addresses, scope, at }: TokenEntry): Promise<void> {
  const { ctx, report } = work
  const { id: principalId } = await placed(user.at, () => userNamed(ctx, user.text))
  const known = await listTokens(ctx, { principalId })
  if (known.some(token => token.name === name)) return note(work, undefined)
  const entries: ScopeEntry[] = []
  for (const { space, allow } of scope ?? []) {
    const nodeId = space && (await placed(space.at, () => nodeAt(ctx, space.text))).id
    entries.push({ actions: actionSet(allow), ...(nodeId !== undefined && { nodeId }) })
  }
  const { secret } = await placed(at, () =>
    createToken(ctx, {
      principalId,
      name,
      ...given({ expiresAt: expires, ipRanges: addresses }),
      ...(scope && { scope: entries }),
    }),
  )
  note(work, `created token ${name} of ${user.text}`)
  report.secrets.push(`secret of token ${name} of ${user.text}: ${secret}`)
}
