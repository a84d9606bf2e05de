/** What a configuration file may say, and the values that come out of it. */
import { actions, type Action } from '#core/permissions.ts'
import { accountKinds } from '#core/principals.ts'
import { systemRights } from '#core/roles.ts'
import { durationHint, parseDuration, parseSize, sizeHint } from '#platform/units.ts'
import {
  flag,
  list,
  object,
  oneOf,
  optional,
  orNone,
  parsed,
  placedText,
  required,
  text,
  textOr,
  type Placed,
  type Reader,
} from './read-yaml.ts'

type ReadBy<R> = R extends Reader<infer T> ? T : never

const duration = parsed(durationHint, parseDuration)
const size = parsed(sizeHint, parseSize)
const count = parsed('a whole number', value => (/^\d{1,9}$/.test(value) ? Number(value) : undefined))
const moment = parsed('a time such as 2027-01-31 or 2027-01-31T12:00:00Z', value => {
  const ms = /^\d{4}-\d\d-\d\d/.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(ms) ? undefined : ms
})
const actionName = oneOf(...(Object.keys(actions) as Action[])) // the table's own keys
const right = oneOf(...systemRights)

const user = object({
  username: required(text),
  password: optional(text),
  name: optional(text),
  email: optional(text),
  handle: optional(text),
  kind: optional(oneOf(...accountKinds)),
  state: optional(oneOf('active', 'blocked')),
  homeSpace: optional(orNone('none', placedText)),
  expires: optional(orNone('never', moment)),
  onExpiry: optional(oneOf('block', 'remove')),
  addresses: optional(list(text)),
  roles: optional(list(placedText)),
  rights: optional(list(right)),
})
export type UserEntry = ReadBy<typeof user>

const group = object({
  name: required(text),
  members: required(
    list(
      textOr(
        short => ({ user: short, at: short.at }),
        object({ user: optional(placedText), group: optional(placedText) }),
      ),
    ),
  ),
  roles: optional(list(placedText)),
  rights: optional(list(right)),
})
export type GroupEntry = ReadBy<typeof group>

const role = object({ name: required(text), rights: required(list(right)) })
export type RoleEntry = ReadBy<typeof role>

const grant = object({
  user: optional(placedText),
  group: optional(placedText),
  everyone: optional(oneOf('signed-in')),
  allow: required(list(actionName)),
  holdLaterMembers: optional(flag),
  hidden: optional(flag),
})
export type GrantEntry = ReadBy<typeof grant>

const folder: Reader<Placed<{ path: string; grants?: GrantEntry[] }>> = textOr(
  ({ text: path, at }) => ({ path, at }),
  object({ path: required(text), grants: optional(list(grant)) }),
)
export type FolderEntry = ReadBy<typeof folder>

const delivery = object({
  access: required(oneOf('public', 'internal', 'private')),
  accessLimit: optional(orNone('none', count)),
  expires: optional(orNone('never', moment)),
  persistent: optional(flag),
  password: optional(orNone('none', text)),
})

/** Field names are those of the core's policy; values are written as people write them. */
const policy = {
  inheritsGrants: optional(flag),
  sumRule: optional(oneOf('union', 'own-first')),
  caseRule: optional(oneOf('exact', 'folded')),
  keepManager: optional(oneOf('none', 'user', 'user-or-group')),
  lastMemberLeaves: optional(oneOf('keep', 'delete', 'refuse')),
  quota: optional(orNone('none', size)),
  trashRetention: optional(orNone('default', duration)),
  fileExpiry: optional(orNone('never', duration)),
  versionRetention: optional(orNone('all', count)),
  clientEncryption: optional(flag),
  readProtection: optional(flag),
  defaultClassification: optional(orNone('none', count)),
  approval: optional(oneOf('none', 'required', 'waiting', 'approved', 'refused')),
  externalSharing: optional(flag),
  unscreenedDownloads: optional(flag),
  visibleElsewhere: optional(flag),
  delivery: optional(orNone('none', delivery)),
}

const spaceFields = {
  name: required(text),
  owner: optional(placedText),
  ...policy,
  folders: optional(list(folder)),
  grants: optional(list(grant)),
}
const plainSpace = object(spaceFields)
export type SpaceEntry = ReadBy<typeof plainSpace> & { spaces?: SpaceEntry[] }

const space: Reader<SpaceEntry> = (node, file) => object({ ...spaceFields, spaces: optional(list(space)) })(node, file)

const token = object({
  user: required(placedText),
  name: required(text),
  expires: optional(orNone('never', moment)),
  addresses: optional(list(text)),
  scope: optional(list(object({ space: optional(placedText), allow: required(list(actionName)) }))),
})
export type TokenEntry = ReadBy<typeof token>

const contentRule = object({
  name: required(text),
  kind: required(oneOf('pattern', 'keywords', 'card-number', 'bank-account')),
  terms: optional(list(text)),
  minMatches: optional(count),
  effect: required(oneOf('flag', 'quarantine')),
})
export type ContentRuleEntry = ReadBy<typeof contentRule>

const contents = {
  roles: optional(list(role)),
  users: optional(list(user)),
  groups: optional(list(group)),
  spaces: optional(list(space)),
  tokens: optional(list(token)),
  contentRules: optional(list(contentRule)),
}
const tenant = object({
  name: required(text),
  hosts: optional(list(text)),
  quota: optional(orNone('none', size)),
  ...contents,
})
export type TenantEntry = ReadBy<typeof tenant>

/** What is written at the top belongs to the provider's tenant. */
export const description = object({ ...contents, tenants: optional(list(tenant)) })
export type Description = ReadBy<typeof description>
/** The part that each tenant has, the provider's included. */
export type Contents = Pick<Description, 'roles' | 'users' | 'groups' | 'spaces' | 'tokens' | 'contentRules'>
