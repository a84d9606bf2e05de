/** Who may call what: every operation of the API as everybody, each time on a package, a user, a group and a token of its own. */
import { expect } from 'vitest'
import { createToken } from '#core/tokens.ts'
import { sofieDescription } from '#dialects/sofie/index.ts'
import { addFile, addFolder, addressOf, announce, idOf, sendPackage, type Parcel } from '#test/sofie-packages.ts'
import type { Answer } from '#test/answer.ts'
import { test, type Sent, type SofieWorld } from '#test/sofie-world.ts'

const callers = {
  sender: { as: 'sender' },
  contributor: { as: 'contributor' },
  regular: { as: 'regular' },
  blind: { as: 'blind' },
  stranger: { as: 'stranger' },
  admin: { as: 'admin' },
  asSender: { as: 'admin', impersonate: 'sender' },
  nobody: {},
} as const satisfies Record<string, Sent>

/** A status below 400 that is the outcome, or why not. */
const words = {
  '200': '200',
  '201': '201',
  '204': '204',
  denied: '403 PERMISSION_DENIED',
  'no user': '403 USER_ONLY',
  'no admin': '403 ADMIN_ONLY',
  'not there': '404 NOT_FOUND',
  'no token': '401 TOKEN_INVALID',
} as const

/** The package is private, with a recipient of each type; a password or a limit it has for the calls that are about it. */
const matrix = `
operation              | sender    | contributor | regular   | blind     | stranger  | admin    | asSender | nobody
createPackage          | 201       | 201         | 201       | 201       | 201       | no user  | 201      | no token
listReceivedPackages   | 200       | 200         | 200       | 200       | 200       | no user  | 200      | no token
listSentPackages       | 200       | 200         | 200       | 200       | 200       | no user  | 200      | no token
getPackage             | 200       | 200         | 200       | 200       | not there | 200      | 200      | no token
updatePackage          | 204       | denied      | denied    | denied    | not there | 204      | 204      | no token
deletePackage          | 204       | denied      | denied    | denied    | not there | 204      | 204      | no token
shredPackage           | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
createPasswordToken    | 201       | 201         | 201       | 201       | not there | 201      | 201      | no token
createLimitAccessToken | 201       | 201         | 201       | 201       | not there | no user  | 201      | no token
addRecipients          | 201       | denied      | denied    | denied    | not there | 201      | 201      | no token
removeRecipient        | 204       | denied      | denied    | denied    | not there | 204      | 204      | no token
createFolder           | 201       | 201         | denied    | denied    | not there | no user  | 201      | no token
getFolderContent       | 200       | 200         | 200       | 200       | not there | 200      | 200      | no token
renameFolder           | 204       | 204         | denied    | denied    | not there | 204      | 204      | no token
deleteFolder           | 204       | 204         | denied    | denied    | not there | 204      | 204      | no token
shredFolder            | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
createFile             | 201       | 201         | denied    | denied    | not there | no user  | 201      | no token
getFile                | 200       | 200         | 200       | 200       | not there | 200      | 200      | no token
uploadFile             | 204       | 204         | denied    | denied    | not there | no user  | 204      | no token
setFileState           | 204       | 204         | denied    | denied    | not there | no user  | 204      | no token
downloadFile           | 200       | 200         | 200       | 200       | not there | 200      | 200      | no token
renameFile             | 204       | 204         | denied    | denied    | not there | 204      | 204      | no token
deleteFile             | 204       | 204         | denied    | denied    | not there | 204      | 204      | no token
shredFile              | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
listUsers              | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
createUser             | no admin  | no admin    | no admin  | no admin  | no admin  | 201      | no admin | no token
getUser                | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
updateUser             | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
listUserGroups         | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
createUserGroup        | no admin  | no admin    | no admin  | no admin  | no admin  | 201      | no admin | no token
getUserGroup           | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
updateUserGroup        | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
listUserGroupMembers   | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
addUserGroupMembers    | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
setUserGroupMembers    | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
removeUserGroupMember  | no admin  | no admin    | no admin  | no admin  | no admin  | 204      | no admin | no token
listApiTokens          | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
createApiToken         | no admin  | no admin    | no admin  | no admin  | no admin  | 201      | no admin | no token
getApiToken            | no admin  | no admin    | no admin  | no admin  | no admin  | 200      | no admin | no token
`

const PASSWORD = 'secret'
/** Each row makes up to eight packages. */
const TIMEOUT_MS = 60_000

/** What a call is about. */
interface Target {
  parcel: Parcel
  /** Values of the parameters in paths. */
  ids: Record<string, string>
}

/** Bodies by operation; others have none. */
const bodies: Record<string, (target: Target, sofie: SofieWorld) => Sent> = {
  createPackage: () => ({ json: { accessType: 'PUBLIC' } }),
  updatePackage: () => ({ json: { name: 'New' } }),
  createPasswordToken: () => ({ json: { password: PASSWORD } }),
  addRecipients: () => ({ json: [{ type: 'REGULAR', email: 'who@elsewhere.test' }] }),
  createFolder: ({ parcel }) => ({ json: { parentId: parcel.rootFolderId, name: 'new' } }),
  renameFolder: () => ({ json: { name: 'new' } }),
  createFile: () => ({ json: { name: 'new', size: 1 } }),
  uploadFile: () => ({ payload: 'content', headers: { 'content-type': 'application/octet-stream' } }),
  setFileState: () => ({ json: { state: 'CANCELED' } }),
  renameFile: () => ({ json: { name: 'new' } }),
  createUser: () => ({ json: { username: crypto.randomUUID(), email: 'new@example.test', password: 'long enough' } }),
  updateUser: () => ({ json: { company: 'New' } }),
  createUserGroup: () => ({ json: { name: crypto.randomUUID(), accessibility: 'PRIVATE' } }),
  updateUserGroup: () => ({ json: { accessibility: 'PUBLIC' } }),
  addUserGroupMembers: (_target, { users }) => ({ json: [users.stranger.user.id] }),
  setUserGroupMembers: (_target, { users }) => ({ json: [users.stranger.user.id] }),
  createApiToken: (_target, { users }) => ({ json: { type: 'USER', userId: users.stranger.user.id, name: 'new' } }),
}

/** Operations on the password or the limit of a package need one that has it. */
const policies: Record<string, object> = {
  createPasswordToken: { downloadPassword: PASSWORD },
  createLimitAccessToken: { limitAccessCount: 5 },
}

/** With what the path names. */
async function makePackage(operation: string, path: string, sofie: SofieWorld): Promise<Target> {
  const parcel = await sendPackage(sofie, policies[operation])
  const { packageId } = parcel
  return {
    parcel,
    ids: {
      packageId,
      ...(path.includes('{fileId}') && { fileId: await makeFile(operation, sofie, parcel) }),
      ...(path.includes('{folderId}') && { folderId: await addFolder(sofie, parcel) }),
      ...(path.includes('{recipientId}') && { recipientId: await findRecipient(sofie, parcel) }),
    },
  }
}

async function makeFile(operation: string, sofie: SofieWorld, parcel: Parcel): Promise<string> {
  if (operation === 'uploadFile' || operation === 'setFileState') return announce(sofie, parcel)
  return (await addFile(sofie, parcel)).split('/').at(-1) ?? ''
}

async function findRecipient({ send }: SofieWorld, { path }: Parcel): Promise<string> {
  const { body } = await send('GET', path, { as: 'sender' })
  const { recipients } = body as { recipients: { id: string; email: string }[] } // held against the contract
  return recipients.find(({ email }) => email === addressOf('regular'))?.id ?? ''
}

async function makeAccounts({ world, users, send }: SofieWorld): Promise<Record<string, string>> {
  const { user } = await world.user(undefined, { email: 'new@elsewhere.test' })
  const { token } = await createToken(users.stranger.ctx, { principalId: users.stranger.user.id, name: 'old' })
  const json = { name: crypto.randomUUID(), accessibility: 'PRIVATE' }
  const userGroupId = idOf(await send('POST', '/user-groups', { as: 'admin', json }))
  return { userId: user.id, userGroupId, apiTokenId: token.id }
}

const noPackage: Parcel = { packageId: '', rootFolderId: '', path: '' }

/** Calls the operation on something new, by one of the ways to it. */
async function call(
  sofie: SofieWorld,
  { operation, method, path, caller }: { operation: string; method: string; path: string; caller: Sent },
): Promise<Answer> {
  const target = await makeTarget(operation, path, sofie)
  const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => target.ids[name] ?? '')
  return sofie.send(method, url, { ...bodies[operation]?.(target, sofie), ...caller })
}

async function makeTarget(operation: string, path: string, sofie: SofieWorld): Promise<Target> {
  if (path.includes('{packageId}')) return makePackage(operation, path, sofie)
  return { parcel: noPackage, ids: path.includes('{') ? await makeAccounts(sofie) : {} }
}

const outcome = ({ status, headers }: Answer) =>
  status < 400 ? String(status) : `${status} ${String(headers['x-sofie-response-reason'])}`

const [[, ...columns], ...rows] = matrix
  .trim()
  .split('\n')
  .map(line => line.split('|').map(cell => cell.trim())) as [string[], ...string[][]] // the first line is there
const operations = new Map(sofieDescription.operations.map(row => [row.id, row]))

test('the matrix has every operation once', () => {
  expect(rows.map(([operation]) => operation)).toHaveLength(operations.size)
  expect(new Set(rows.map(([operation]) => operation))).toEqual(new Set(operations.keys()))
  expect(columns).toEqual(Object.keys(callers))
})

test.for(rows.map(([operation = '', ...cells]) => [operation, cells] as const))(
  '%s',
  { timeout: TIMEOUT_MS },
  async ([operation, cells], { sofie }) => {
    const { method, path } = operations.get(operation)!
    const expected = Object.fromEntries(columns.map((who, at) => [who, words[cells[at] as keyof typeof words]]))
    const outcomes: Record<string, string> = {}
    for (const [who, caller] of Object.entries(callers))
      outcomes[who] = outcome(await call(sofie, { operation, method, path, caller }))
    expect(outcomes).toEqual(expected)
  },
)

const aliased = [...operations.values()].filter(({ aliases }) => aliases)

test('twenty-one further ways lead to operations', () => {
  expect(aliased.flatMap(({ aliases = [] }) => aliases)).toHaveLength(21)
})

test.for(aliased.map(row => [row.id, row] as const))(
  '%s answers the same on each of its ways',
  { timeout: TIMEOUT_MS },
  async ([id, row], { sofie }) => {
    for (const as of ['sender', 'admin', 'regular'] as const) {
      const expected = await call(sofie, { operation: id, method: row.method, path: row.path, caller: { as } })
      for (const { method, path } of row.aliases ?? []) {
        const answer = await call(sofie, { operation: id, method, path, caller: { as } })
        expect([outcome(answer), keysOf(answer)]).toEqual([outcome(expected), keysOf(expected)])
      }
    }
  },
)

const keysOf = ({ body }: Answer): string[] => Object.keys(body as object)
