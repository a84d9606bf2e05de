/** Groups of users: what their members may do, and how they can be addressed. */
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import {
  createProfiledGroup,
  findGroups,
  getProfiledGroup,
  updateProfiledGroup,
  type GroupProfile,
  type GroupReach,
} from '#core/group-profiles.ts'
import { addMembers, getGroup, listMembers, removeMembers, setMembers } from '#core/groups.ts'
import { findPrincipals, isAccountKind } from '#core/principals.ts'
import type { SystemRight } from '#core/roles.ts'
import { json } from '#http/request-body.ts'
import { errorTable, op, refusalsOf, refuse, Refused, wrongField, type Refusal } from './errors.ts'
import { parseFilter } from './filter.ts'
import { permissionRights } from './permissions.ts'
import {
  Created,
  DateTime,
  Email,
  FilteredPageQuery,
  MemberPath,
  PageQuery,
  presentPage,
  presentTime,
  readPage,
  UserGroupPath,
  Uuid,
} from './schemas.ts'

type Permission = keyof typeof permissionRights

const permissions = Object.keys(permissionRights) as Permission[] // the table has no others
const permissionRightList: readonly SystemRight[] = Object.values(permissionRights)

const reaches = { PUBLIC: 'public', INTERNAL: 'internal', PRIVATE: 'private' } as const satisfies Record<
  string,
  GroupReach
>
const shownReaches = { public: 'PUBLIC', internal: 'INTERNAL', private: 'PRIVATE' } as const

const MAX_LENGTH = 100

const name = T.String({ maxLength: MAX_LENGTH, description: 'Group name.' })
const accessibility = T.Enum(['PUBLIC', 'INTERNAL', 'PRIVATE'], { title: 'GroupAccessibility' })
const attributes = {
  email: T.Optional(Email('Address of the group.', { maxLength: MAX_LENGTH })),
  distribution: T.Optional(T.Boolean({ description: 'Distribution group: its address stands for all members.' })),
}
const Permissions = T.Array(T.Enum(permissions, { title: 'UserPermission' }), { uniqueItems: true })

const shape = {
  id: Uuid('Group ID.'),
  name,
  email: attributes.email,
  distribution: T.Boolean({ description: 'Distribution group: its address stands for all members.' }),
  permissions: Permissions,
  accessibility,
}
const UserGroup = T.Object(shape, { title: 'UserGroup' })
const UserGroupDetail = T.Object({ ...shape, createdAt: DateTime('Creation time.') }, { title: 'UserGroupDetail' })
const UserGroupCreate = T.Object({ name, ...attributes, permissions: T.Optional(Permissions), accessibility })
const UserGroupUpdate = T.Object({
  name: T.Optional(name),
  ...attributes,
  permissions: T.Optional(Permissions),
  accessibility: T.Optional(accessibility),
})

const page = <S extends Parameters<typeof T.Array>[0]>(row: S, description: string) =>
  T.Object({
    total: T.Integer({ minimum: 0, description: 'Records that match.' }),
    count: T.Integer({ minimum: 0, description: 'Records on this page.' }),
    data: T.Array(row, { description }),
  })

const UserIds = T.Array(Uuid('User.'))

const tag = 'User groups'

const errors = {
  'invalid-input': ({ field, rule }: { field: string; rule: string }): Refusal =>
    field === 'email' && rule === 'taken'
      ? refuse(409, 'NAME_CONFLICT', 'The e-mail address is taken')
      : errorTable['invalid-input']({ field, rule }),
}

const groupOperations = [
  op({
    id: 'listUserGroups',
    method: 'GET',
    path: '/user-groups',
    aliases: [{ method: 'GET', path: '/userGroups' }],
    roles: 'admin',
    tag,
    summary: 'List user groups',
    query: FilteredPageQuery,
    reply: page(UserGroup, 'Groups, newest first.'),
    refusals: refusalsOf(400, 401, 403),
    handler: async ({ ctx, query }) => {
      const condition = query.$filter === undefined ? undefined : parseFilter(query.$filter, 'group')
      const { total, rows } = await findGroups(ctx, { condition, ...readPage(query) })
      return presentPage({ total, rows: rows.map(presentGroup) })
    },
  }),
  op({
    id: 'createUserGroup',
    method: 'POST',
    path: '/user-groups',
    aliases: [{ method: 'POST', path: '/userGroups' }],
    roles: 'admin',
    tag,
    summary: 'Create a user group',
    body: json(UserGroupCreate),
    status: 201,
    reply: Created,
    refusals: refusalsOf(400, 401, 403, 409),
    errors,
    handler: async ({ ctx, body }) => {
      const { id } = await createProfiledGroup(ctx, { ...readGroup(body), name: body.name })
      return { id }
    },
  }),
  op({
    id: 'getUserGroup',
    method: 'GET',
    path: '/user-groups/{userGroupId}',
    aliases: [{ method: 'GET', path: '/userGroups/{userGroupId}' }],
    roles: 'admin',
    tag,
    summary: 'Get a user group',
    params: UserGroupPath,
    reply: UserGroupDetail,
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params }) => {
      const group = await getProfiledGroup(ctx, { groupId: params.userGroupId })
      return { ...presentGroup(group), createdAt: presentTime(group.createdAt) }
    },
  }),
  op({
    id: 'updateUserGroup',
    method: 'PATCH',
    path: '/user-groups/{userGroupId}',
    aliases: [{ method: 'PATCH', path: '/userGroups/{userGroupId}' }],
    roles: 'admin',
    tag,
    summary: 'Change group attributes',
    params: UserGroupPath,
    body: json(UserGroupUpdate),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409),
    errors,
    handler: async ({ ctx, params, body, reply }) => {
      await updateProfiledGroup(ctx, { groupId: params.userGroupId, ...readGroup(body) })
      return reply.code(204).send()
    },
  }),
]

const memberPath = '/user-groups/{userGroupId}/users'
const memberAlias = '/userGroups/{userGroupId}/users'
const memberRefusals = refusalsOf(400, 401, 403, 404)

const memberOperations = [
  op({
    id: 'listUserGroupMembers',
    method: 'GET',
    path: memberPath,
    aliases: [{ method: 'GET', path: memberAlias }],
    roles: 'admin',
    tag,
    summary: 'List group members',
    params: UserGroupPath,
    query: PageQuery,
    reply: page(Uuid('User.'), 'User IDs.'),
    refusals: memberRefusals,
    handler: async ({ ctx, params, query }) => {
      const { offset, limit } = readPage(query)
      const members = await listMembers(ctx, { groupId: params.userGroupId })
      const ids = members.filter(({ kind }) => isUser(kind)).map(({ id }) => id)
      return presentPage({ total: ids.length, rows: ids.slice(offset, offset + limit) })
    },
  }),
  op({
    id: 'addUserGroupMembers',
    method: 'POST',
    path: memberPath,
    aliases: [{ method: 'POST', path: memberAlias }],
    roles: 'admin',
    tag,
    summary: 'Add members',
    params: UserGroupPath,
    body: json(UserIds),
    status: 204,
    reply: 'empty',
    refusals: memberRefusals,
    handler: async ({ ctx, params: { userGroupId: groupId }, body, reply }) => {
      await getGroup(ctx, { groupId })
      const before = new Set((await listMembers(ctx, { groupId })).map(({ id }) => id))
      const memberIds = (await readUserIds(ctx, body)).filter(id => !before.has(id))
      await addMembers(ctx, { groupId, memberIds })
      return reply.code(204).send()
    },
  }),
  op({
    id: 'setUserGroupMembers',
    method: 'PUT',
    path: memberPath,
    aliases: [{ method: 'PUT', path: memberAlias }],
    roles: 'admin',
    tag,
    summary: 'Replace members',
    description: 'Members that are no users, groups among them, stay.',
    params: UserGroupPath,
    body: json(UserIds),
    status: 204,
    reply: 'empty',
    refusals: memberRefusals,
    handler: async ({ ctx, params: { userGroupId: groupId }, body, reply }) => {
      await getGroup(ctx, { groupId })
      const others = (await listMembers(ctx, { groupId })).filter(({ kind }) => !isUser(kind)).map(({ id }) => id)
      await setMembers(ctx, { groupId, memberIds: [...(await readUserIds(ctx, body)), ...others] })
      return reply.code(204).send()
    },
  }),
  op({
    id: 'removeUserGroupMember',
    method: 'DELETE',
    path: `${memberPath}/{userId}`,
    aliases: [{ method: 'DELETE', path: `${memberAlias}/{userId}` }],
    roles: 'admin',
    tag,
    summary: 'Remove a member',
    params: MemberPath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params: { userGroupId: groupId, userId }, reply }) => {
      const members = await listMembers(ctx, { groupId })
      const isThere = members.some(({ id, kind }) => id === userId && isUser(kind))
      if (isThere) await removeMembers(ctx, { groupId, memberIds: [userId] })
      return reply.code(204).send()
    },
  }),
]

export const userGroupOperations = [...groupOperations, ...memberOperations]

const isUser = (kind: GroupMemberKind) => isAccountKind(kind) && kind !== 'administrator'
type GroupMemberKind = Parameters<typeof isAccountKind>[0]

/** Refuses ids that stand there twice, and such as are no users. */
async function readUserIds(ctx: Ctx, given: readonly string[]): Promise<string[]> {
  const ids = given.map(id => id.toLowerCase())
  if (new Set(ids).size < ids.length) throw new Refused(wrongField('body', 'names a user twice'))
  const known = await findPrincipals(ctx, ids)
  const stranger = ids.find(id => {
    const user = known.get(id)
    return !user || user.state === 'removed' || !isUser(user.kind)
  })
  if (stranger !== undefined) throw new Refused(wrongField('body', `${stranger} is no user`))
  return ids
}

/** Fields that are to change; what is absent stays. */
function readGroup({ name, email, distribution, permissions, accessibility }: Static<typeof UserGroupUpdate>) {
  return {
    ...(name !== undefined && { name }),
    ...(email !== undefined && { email: email === '' ? null : email }),
    ...(distribution !== undefined && { isDistribution: distribution }),
    ...(accessibility !== undefined && { reach: reaches[accessibility] }),
    ...(permissions !== undefined && {
      rights: permissions.map(permission => permissionRights[permission]),
      among: permissionRightList,
    }),
  }
}

const presentGroup = ({ id, name, email, isDistribution, rights, reach }: GroupProfile) => ({
  id,
  name,
  ...(email !== null && { email }),
  distribution: isDistribution,
  permissions: permissions.filter(permission => rights.includes(permissionRights[permission])),
  accessibility: shownReaches[reach],
})
