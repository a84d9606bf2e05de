/** User accounts. Administrators are no users here. */
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { groupsOf } from '#core/groups.ts'
import { sendPasswordLink } from '#core/password-links.ts'
import { accountKinds, type AccountKind } from '#core/principals.ts'
import { emptyProfile, findProfiles, type Profile, type ProfileChanges } from '#core/profiles.ts'
import { createUser, getUser, listUsers, updateUser, type NewUser, type User as CoreUser } from '#core/users.ts'
import { json } from '#http/request-body.ts'
import { errorTable, op, refusalsOf, refuse, Refused, wrongField, type Refusal } from './errors.ts'
import { parseIpRanges, presentIpRanges } from './ip-ranges.ts'
import { Created, DateTime, Email, parseTime, presentTime, UserPath, Uuid } from './schemas.ts'

const LANGUAGES = ['EN', 'CS', 'SK', 'HU'] as const
type ShownLanguage = (typeof LANGUAGES)[number]

/** What goes in and comes out under the same names. */
const attributes = {
  firstName: T.Optional(T.String({ description: 'Given name.' })),
  lastName: T.Optional(T.String({ description: 'Family name.' })),
  company: T.Optional(T.String()),
  phoneNumber: T.Optional(T.String()),
  ipRanges: T.Optional(T.String({ description: 'Allowed client ranges, CIDR, comma separated; empty: any.' })),
  language: T.Optional(T.Enum(LANGUAGES, { description: 'Preferred language.' })),
  expireAt: T.Optional(DateTime('When the account is removed automatically.')),
  sshPublicKeys: T.Optional(T.String({ description: 'OpenSSH authorized_keys lines, one key per line.' })),
  defaultSftpPackage: T.Optional(Uuid('Package opened over SFTP when the login name carries no #packageId.')),
}
const username = T.String({ description: 'Login name; unique.' })
const email = Email('E-mail address.')
const enabled = T.Boolean({ description: 'The account is active.' })

const User = T.Object(
  {
    id: Uuid('User ID.'),
    username,
    email,
    ...attributes,
    enabled,
    userGroups: T.Array(Uuid('User group.'), { description: 'Groups of the user.' }),
  },
  { title: 'User' },
)
const UserCreate = T.Object({
  username,
  email,
  ...attributes,
  enabled: T.Optional(enabled),
  password: T.Optional(T.String({ writeOnly: true, description: 'Initial password.' })),
  sendResetPasswordToken: T.Optional(
    T.Boolean({ writeOnly: true, description: 'Mail a link for choosing a password; needed without a password.' }),
  ),
})
const UserUpdate = T.Object({
  username: T.Optional(username),
  email: T.Optional(email),
  ...attributes,
  enabled: T.Optional(enabled),
  password: T.Optional(T.String({ writeOnly: true, description: 'New password.' })),
  clearExpireAt: T.Optional(T.Boolean({ writeOnly: true, description: 'Drops the date of automatic removal.' })),
})

const tag = 'Users'

/** What the core's fields are called here. */
const shownFields: Readonly<Record<string, string>> = {
  login: 'username',
  name: 'firstName',
  givenName: 'firstName',
  familyName: 'lastName',
  phone: 'phoneNumber',
  sshKeys: 'sshPublicKeys',
  sftpSpaceUid: 'defaultSftpPackage',
}

const errors = {
  'invalid-input': ({ field, rule }: { field: string; rule: string }): Refusal =>
    field === 'email' && rule === 'taken'
      ? refuse(409, 'NAME_CONFLICT', 'The e-mail address is taken')
      : errorTable['invalid-input']({ field: shownFields[field] ?? field, rule }),
}

export const userOperations = [
  op({
    id: 'listUsers',
    method: 'GET',
    path: '/users',
    roles: 'admin',
    tag,
    summary: 'List users',
    reply: T.Object({ data: T.Array(User) }),
    refusals: refusalsOf(401, 403),
    handler: async ({ ctx }) => {
      const { rows } = await listUsers(ctx, { kinds, limit: Number.MAX_SAFE_INTEGER })
      return { data: await presentUsers(ctx, rows) }
    },
  }),
  op({
    id: 'createUser',
    method: 'POST',
    path: '/users',
    roles: 'admin',
    tag,
    summary: 'Create a local user',
    body: json(UserCreate),
    status: 201,
    reply: Created,
    refusals: refusalsOf(400, 401, 403, 409),
    errors,
    handler: async ({ ctx, body }) => {
      const { username: login, password, sendResetPasswordToken = false } = body
      if (password === undefined && !sendResetPasswordToken)
        throw new Refused(wrongField('password', 'is required unless sendResetPasswordToken is true'))
      const { id } = await createUser(ctx, {
        ...readAccount(body),
        login,
        ...(password !== undefined && { password }),
      })
      if (sendResetPasswordToken) await sendPasswordLink(ctx, { userId: id })
      return { id }
    },
  }),
  op({
    id: 'getUser',
    method: 'GET',
    path: '/users/{userId}',
    roles: 'admin',
    tag,
    summary: 'Get a user',
    params: UserPath,
    reply: User,
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params }) => {
      const [shown] = await presentUsers(ctx, [await getOrdinary(ctx, params.userId)])
      return shown!
    },
  }),
  op({
    id: 'updateUser',
    method: 'PATCH',
    path: '/users/{userId}',
    roles: 'admin',
    tag,
    summary: 'Change user attributes',
    params: UserPath,
    body: json(UserUpdate),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409),
    errors,
    handler: async ({ ctx, params, body, reply }) => {
      const { username: login, password, clearExpireAt = false } = body
      if (clearExpireAt && body.expireAt !== undefined)
        throw new Refused(wrongField('clearExpireAt', 'excludes expireAt'))
      const changes = readAccount(body)
      await getOrdinary(ctx, params.userId)
      await updateUser(ctx, {
        userId: params.userId,
        ...changes,
        ...(login !== undefined && { login }),
        ...(password !== undefined && { password }),
        ...(clearExpireAt && { expiresAt: null }),
      })
      return reply.code(204).send()
    },
  }),
]

const kinds: readonly AccountKind[] = accountKinds.filter(kind => kind !== 'administrator')

async function getOrdinary(ctx: Ctx, userId: string): Promise<CoreUser> {
  const user = await getUser(ctx, { userId })
  if (!kinds.includes(user.kind)) throw new DomainError('not-found', { what: 'user', id: userId })
  return user
}

/** Fields that are to change; what is absent stays. */
function readAccount(body: Static<typeof UserUpdate>): Partial<NewUser> {
  const { email, ipRanges, expireAt, enabled } = body
  return {
    ...(email !== undefined && { email, ownEmail: true }),
    ...(ipRanges !== undefined && { ipRanges: parseIpRanges(ipRanges) }),
    ...(expireAt !== undefined && { expiresAt: parseTime('expireAt', expireAt), onExpiry: 'remove' as const }),
    ...(enabled !== undefined && { state: enabled ? ('active' as const) : ('blocked' as const) }),
    ...readProfile(body),
  }
}

/** Empty where nothing of it is named. */
function readProfile(body: Static<typeof UserUpdate>): { profile?: ProfileChanges } {
  const { firstName, lastName, company, phoneNumber, language, sshPublicKeys, defaultSftpPackage } = body
  const profile: ProfileChanges = {
    ...(firstName !== undefined && { givenName: firstName }),
    ...(lastName !== undefined && { familyName: lastName }),
    ...(company !== undefined && { company }),
    ...(phoneNumber !== undefined && { phone: phoneNumber }),
    ...(language !== undefined && { language: coreLanguages[language] }),
    ...(sshPublicKeys !== undefined && { sshKeys: sshPublicKeys }),
    ...(defaultSftpPackage !== undefined && { sftpSpaceUid: defaultSftpPackage.toLowerCase() }),
  }
  return Object.keys(profile).length === 0 ? {} : { profile }
}

const coreLanguages = { EN: 'en', CS: 'cs', SK: 'sk', HU: 'hu' } as const satisfies Record<ShownLanguage, string>

/** Undefined for a language that this API has no word for. */
const presentLanguage = (language: Profile['language']) => LANGUAGES.find(shown => coreLanguages[shown] === language)

async function presentUsers(ctx: Ctx, users: readonly CoreUser[]): Promise<Static<typeof User>[]> {
  const ids = users.map(({ id }) => id)
  const profiles = await findProfiles(ctx, ids)
  const groups = await groupsOf(ctx, ids)
  return users.map(user => ({
    ...presentAccount(user),
    ...presentProfile(profiles.get(user.id) ?? emptyProfile),
    enabled: user.state === 'active',
    userGroups: groups.get(user.id) ?? [],
  }))
}

const presentAccount = ({ id, login, email, ipRanges, expiresAt }: CoreUser) => ({
  id,
  username: login ?? '',
  email: email ?? '',
  ...(ipRanges.length > 0 && { ipRanges: presentIpRanges(ipRanges) }),
  ...(expiresAt !== null && { expireAt: presentTime(expiresAt) }),
})

function presentProfile({ givenName, familyName, company, phone, language, sshKeys, sftpSpaceUid }: Profile) {
  const shownLanguage = presentLanguage(language)
  return {
    ...(givenName !== null && { firstName: givenName }),
    ...(familyName !== null && { lastName: familyName }),
    ...(company !== null && { company }),
    ...(phone !== null && { phoneNumber: phone }),
    ...(shownLanguage && { language: shownLanguage }),
    ...(sshKeys !== null && { sshPublicKeys: sshKeys }),
    ...(sftpSpaceUid !== null && { defaultSftpPackage: sftpSpaceUid }),
  }
}
