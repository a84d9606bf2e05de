import { deliveryOf } from '#core/space-rows.ts'
import { describe, expect } from 'vitest'
import { signIn, anonymousActor } from '#core/auth.ts'
import { listContentRules } from '#core/content-rules.ts'
import { listGrants } from '#core/grants.ts'
import { findUserByLogin } from '#core/users.ts'
import { findNode } from '#cli/names.ts'
import { test, type World } from '#test/world.ts'
import { applyDescription, readDescription } from './index.ts'

const example = `
users:
  - { username: partner5, password: "correct horse 5", email: p5@example.com, homeSpace: partner5 }
  - { username: clerk, password: "correct horse c", email: clerk@example.com }
groups:
  - { name: back-office, members: [clerk] }
spaces:
  - name: partner5
    folders: [inbox, outbox/archive]
    grants:
      - { user: partner5, allow: [list, read, create, write, delete] }
      - { group: back-office, allow: [list, read, change] }
`

const everything = `
roles:
  - { name: auditors, rights: [audit.read, users.read] }
users:
  - { username: ann, password: correct horse a, name: Ann, handle: ann.1, roles: [auditors], rights: [spaces.create],
      addresses: [127.0.0.1, 10.0.0.0/8], homeSpace: projects/alpha/in }
  - { username: 4711, kind: service, expires: 2030-01-01, onExpiry: remove, state: blocked }
groups:
  - { name: all-staff, members: [{ group: staff }, 4711] }
  - { name: staff, members: [{ user: ann }], roles: [auditors], rights: [users.read] }
spaces:
  - name: projects
    owner: ann
    quota: 10GiB
    trashRetention: 7d
    fileExpiry: 90d
    versionRetention: 5
    keepManager: user
    lastMemberLeaves: refuse
    caseRule: folded
    sumRule: own-first
    readProtection: false
    defaultClassification: 2
    externalSharing: false
    unscreenedDownloads: true
    clientEncryption: false
    approval: none
    grants: &team
      - { user: ann, allow: [list, read, create, write, change, delete, manage] }
      - { everyone: signed-in, allow: [list] }
      - { group: all-staff, allow: [list, read], holdLaterMembers: true, hidden: true }
    spaces:
      - name: alpha
        inheritsGrants: true
        folders: [{ path: in, grants: [{ user: ann, allow: [list, read] }] }, out/deep]
      - name: beta
        grants: *team
        visibleElsewhere: false
        delivery: { access: private, accessLimit: 3, expires: 2030-05-01, persistent: true, password: sesam open }
tokens:
  - { user: ann, name: ci, expires: 2030-01-01, addresses: [10.0.0.0/8], scope: [{ space: projects/alpha, allow: [list, read] }] }
contentRules:
  - { name: cards, kind: card-number, minMatches: 2, effect: quarantine }
  - { name: secret, kind: keywords, terms: [confidential, 4711], effect: flag }
tenants:
  - name: Acme
    hosts: [Files.Acme.example:8080]
    quota: 1TiB
    users:
      - { username: ann, password: another horse, homeSpace: acme }
    spaces:
      - { name: acme, grants: [{ user: ann, allow: [list] }] }
`

const apply = (world: World, text: string, options = {}) =>
  applyDescription(world.system, readDescription(text), options)
const countEvents = async (world: World) => (await world.events()).length

async function canSignIn(world: World, login: string, password: string, tenantId = world.tenant.id): Promise<boolean> {
  const ctx = world.ctx(anonymousActor(tenantId, 'test', '127.0.0.1'))
  return signIn(ctx, { login, password, client: 'test', address: '127.0.0.1' }).then(
    () => true,
    () => false,
  )
}

const actionsAt = async (world: World, path: string) => {
  const node = await findNode(world.system, path)
  const grants = await listGrants(world.system, { nodeId: node!.id })
  return grants.map(grant => grant.names.join(' '))
}

describe('apply', () => {
  test('makes what the file describes, and a second run changes nothing', async ({ world }) => {
    const first = await apply(world, example)
    expect(first).toMatchObject({ unchanged: 0, secrets: [] })
    expect(first.changes).toContain('created user partner5')
    expect(first.changes).toContain('created folder partner5/outbox/archive')
    expect(await canSignIn(world, 'partner5', 'correct horse 5')).toBe(true)
    const home = await findNode(world.system, 'partner5')
    expect(await findUserByLogin(world.system, 'partner5')).toMatchObject({
      homeNodeId: home!.id,
      email: 'p5@example.com',
    })
    expect(await actionsAt(world, 'partner5')).toEqual(['list read create write delete', 'list read change'])

    const events = await countEvents(world)
    expect(await apply(world, example)).toEqual({ changes: [], unchanged: first.changes.length, secrets: [] })
    expect(await countEvents(world)).toBe(events)
  })

  test('everything that can be written is made, and a second run changes nothing', async ({ world }) => {
    const first = await apply(world, everything)
    expect(first.secrets).toEqual([expect.stringMatching(/^secret of token ci of ann: ent_/)])
    expect(await apply(world, everything)).toEqual({ changes: [], unchanged: first.changes.length, secrets: [] })
    expect(await actionsAt(world, 'projects/beta')).toHaveLength(3)
    const spaces = await world.system.db
      .selectFrom('space')
      .innerJoin('node', 'node.id', 'space.id')
      .selectAll('space')
      .select('name')
      .execute()
    expect(spaces.find(space => space.name === 'projects')).toMatchObject({
      quotaBytes: 10_737_418_240,
      trashRetentionMs: 604_800_000,
      fileExpiryMs: 7_776_000_000,
      versionRetention: 5,
      keepManager: 'user',
      caseRule: 'folded',
      sumRule: 'own-first',
      externalSharing: 0,
      defaultClassification: 2,
    })
    expect(deliveryOf(spaces.find(space => space.name === 'beta')!)).toMatchObject({
      accessType: 'private',
      accessLimit: 3,
    })
  })

  test('a tenant of the file has users, spaces and events of its own', async ({ world }) => {
    await apply(world, everything)
    const host = await world.system.db.selectFrom('tenant_host').selectAll().executeTakeFirstOrThrow()
    expect(host.host).toBe('files.acme.example')
    expect(await canSignIn(world, 'ann', 'another horse', host.tenantId)).toBe(true)
    expect(await canSignIn(world, 'ann', 'correct horse a', host.tenantId)).toBe(false)
    const events = await world.system.db
      .selectFrom('event')
      .select('type')
      .where('tenantId', '=', host.tenantId)
      .execute()
    expect(events.map(event => event.type)).toContain('user.created')
  })

  test('a password that is right already is not hashed anew, another one replaces it', async ({ world }) => {
    const hash = async () =>
      (await world.system.db
        .selectFrom('principal')
        .select('passwordHash')
        .where('login', '=', 'clerk')
        .executeTakeFirst())!.passwordHash
    await apply(world, example)
    const before = await hash()
    await apply(world, example)
    expect(await hash()).toBe(before)
    const { changes } = await apply(world, example.replace('correct horse c', 'another horse c'))
    expect(changes).toEqual(['changed user clerk (password)'])
    expect(await canSignIn(world, 'clerk', 'another horse c')).toBe(true)
  })

  test('grants of a listed space and members of a listed group become exactly what the file says', async ({
    world,
  }) => {
    await apply(world, example)
    const { changes } = await apply(
      world,
      example
        .replace('members: [clerk]', 'members: []')
        .replace(/ {6}- { group.*\n/, '')
        .replace('[list, read, create', '[list, create'),
    )
    expect(changes).toEqual([
      'changed members of group back-office',
      'set grant of user partner5 on partner5: list, create, write, delete',
      'removed grant of back-office on partner5',
    ])
  })

  test('what the file does not name stays', async ({ world }) => {
    await apply(world, everything)
    const { changes } = await apply(world, 'users: [{ username: ann }]\nspaces: [{ name: projects }]')
    expect(changes).toEqual([])
    expect(await actionsAt(world, 'projects')).toHaveLength(3)
  })

  test('a rule that keeps a manager can be given up and come back together with the grants', async ({ world }) => {
    const users = 'users: [{ username: ann }, { username: bob }]\nspaces:\n'
    const file = (rule: string, grants: string) => `${users}  - { name: s, keepManager: ${rule}, grants: [${grants}] }`
    await apply(world, file('user', '{ user: ann, allow: [list, manage] }'))
    await apply(world, file('user', '{ user: bob, allow: [list, manage] }'))
    expect(await actionsAt(world, 's')).toEqual(['list manage'])
    await apply(world, file('none', ''))
    expect(await actionsAt(world, 's')).toEqual([])
    const { changes } = await apply(world, file('user', '{ user: ann, allow: [manage] }'))
    expect(changes).toContain('changed space s (keepManager)')
  })

  test('content rules become exactly those of the file', async ({ world }) => {
    await apply(world, everything)
    const rules =
      "[{ name: cards, kind: card-number, minMatches: 3, effect: flag }, { name: new, kind: pattern, terms: ['a+'], effect: flag }]"
    const { changes } = await apply(world, `contentRules: ${rules}`)
    expect(changes).toEqual(['removed content rule secret', 'changed content rule cards', 'created content rule new'])
    expect(await listContentRules(world.system)).toEqual([
      { name: 'cards', kind: 'card-number', terms: [], minMatches: 3, effect: 'flag' },
      { name: 'new', kind: 'pattern', terms: ['a+'], minMatches: 1, effect: 'flag' },
    ])
    expect((await apply(world, 'contentRules: []')).changes).toHaveLength(2)
    expect(await listContentRules(world.system)).toEqual([])
  })

  test('a dry run says the same and does nothing', async ({ world }) => {
    const said = await apply(world, everything, { dryRun: true })
    expect(await countEvents(world)).toBe(0)
    expect(await findUserByLogin(world.system, 'ann')).toBeUndefined()
    const done = await apply(world, everything)
    expect(said).toEqual({ ...done, secrets: [] })
  })
})

const badFiles: { name: string; text: string; mistakes: string[] }[] = [
  { name: 'an empty file', text: '', mistakes: ['1:1: the file is empty'] },
  {
    name: 'a list instead of a mapping',
    text: '- a',
    mistakes: ['1:1: expected a mapping with roles, users, groups, spaces, tokens, contentRules, tenants'],
  },
  { name: 'broken YAML', text: 'users: [\n', mistakes: ['2:1: '] },
  { name: 'a key that is there twice', text: 'users: []\nusers: []', mistakes: ['2:1: Map keys must be unique'] },
  {
    name: 'an unknown key',
    text: 'users:\n  - { username: a, pasword: b }',
    mistakes: ['2:20: "pasword" is not known here'],
  },
  { name: 'a missing key', text: 'users:\n  - { name: a }', mistakes: ['2:5: "username" is missing'] },
  { name: 'a mapping instead of a list', text: 'users: { username: a }', mistakes: ['1:8: expected a list'] },
  { name: 'a list instead of a text', text: 'users: [{ username: [a] }]', mistakes: ['1:21: expected a text'] },
  {
    name: 'an unknown word',
    text: 'users: [{ username: a, kind: robot }]',
    mistakes: ['1:30: expected one of user, guest'],
  },
  {
    name: 'an unknown action',
    text: 'spaces:\n- name: s\n  grants: [{ everyone: signed-in, allow: [fly] }]',
    mistakes: ['3:43: expected one of list, read'],
  },
  {
    name: 'an unknown right',
    text: 'roles: [{ name: r, rights: [all] }]',
    mistakes: ['1:29: expected one of users.read'],
  },
  {
    name: 'a size without a unit',
    text: 'spaces: [{ name: s, quota: 10 apples }]',
    mistakes: ['1:28: expected a size'],
  },
  {
    name: 'a duration without a unit',
    text: 'spaces: [{ name: s, fileExpiry: 30 }]',
    mistakes: ['1:33: expected a duration'],
  },
  {
    name: 'a date that is none',
    text: 'users: [{ username: a, expires: 2030-13-45 }]',
    mistakes: ['1:33: expected a time'],
  },
  {
    name: 'a flag that is a word',
    text: 'spaces: [{ name: s, externalSharing: yes }]',
    mistakes: ['1:38: expected true or false'],
  },
  {
    name: 'a user who is there twice, in another case',
    text: 'users:\n  - { username: a }\n  - { username: A }',
    mistakes: ['3:5: user a is there twice'],
  },
  {
    name: 'a grant for nobody and one for two',
    text: 'spaces:\n- name: s\n  grants:\n  - { allow: [] }\n  - { user: a, group: b, allow: [] }',
    mistakes: ['4:5: a grant names one of', '5:5: a grant names one of'],
  },
  {
    name: 'a subject with two grants',
    text: 'spaces:\n- name: s\n  grants:\n  - { user: a, allow: [] }\n  - { user: a, allow: [list] }',
    mistakes: ['5:5: grant of user a is there twice'],
  },
  {
    name: 'grants in a space that inherits them',
    text: 'spaces:\n- name: s\n  spaces:\n  - { name: t, inheritsGrants: true, grants: [] }',
    mistakes: ['4:5: a space that inherits'],
  },
  {
    name: 'a folder without a name',
    text: 'spaces: [{ name: s, folders: [a//b] }]',
    mistakes: ['1:31: the path "a//b" has an empty name'],
  },
  {
    name: 'several mistakes at once, in order',
    text: 'foo: 1\nusers:\n  - { name: x }\n  - { username: y, kind: z }',
    mistakes: ['1:1: ', '3:5: ', '4:26: '],
  },
]

test.for(badFiles)('$name is refused with its place', ({ text, mistakes }) => {
  let lines: string[] = []
  try {
    readDescription(text)
  } catch (error) {
    lines = (error as Error).message.split('\n')
  }
  expect(lines).toHaveLength(mistakes.length)
  for (const [index, mistake] of mistakes.entries()) expect(lines[index]).toContain(mistake)
})

const refusals: { name: string; text: string; mistake: string }[] = [
  {
    name: 'a content rule without what to look for',
    text: 'contentRules:\n  - { name: cards, kind: card-number, effect: flag }\n  - { name: words, kind: keywords, effect: flag }',
    mistake: '3:5: contentRules.words.terms is refused: missing',
  },
  {
    name: 'an unknown user in a grant',
    text: 'spaces:\n- name: s\n  grants:\n  - { user: ghost, allow: [list] }',
    mistake: '4:5: There is no user ghost',
  },
  {
    name: 'an unknown group in a grant',
    text: 'spaces:\n- name: s\n  grants:\n  - { group: ghost, allow: [list] }',
    mistake: '4:5: There is no group ghost',
  },
  {
    name: 'an unknown member',
    text: 'groups:\n  - { name: g, members: [ghost] }',
    mistake: '2:26: There is no user ghost',
  },
  {
    name: 'an unknown role',
    text: 'users:\n  - { username: a, roles: [ghost] }',
    mistake: '2:28: There is no role ghost',
  },
  {
    name: 'an unknown home',
    text: 'users:\n  - { username: a, homeSpace: ghost }',
    mistake: '2:31: There is no space or folder ghost',
  },
  { name: 'an unknown owner', text: 'spaces: [{ name: s, owner: ghost }]', mistake: '1:28: There is no user ghost' },
  {
    name: 'an unknown holder of a token',
    text: 'tokens: [{ user: ghost, name: t }]',
    mistake: '1:18: There is no user ghost',
  },
  {
    name: 'a short password',
    text: 'users:\n  - { username: a, password: short }',
    mistake: '2:5: The password is refused: too-short',
  },
  {
    name: 'an address range that is none',
    text: 'users:\n  - { username: a, addresses: [10.0.0.0/99] }',
    mistake: '2:5: ',
  },
  {
    name: 'groups within each other',
    text: 'groups:\n  - { name: g, members: [{ group: h }] }\n  - { name: h, members: [{ group: g }] }',
    mistake: '3:5: A group cannot be a member of itself',
  },
  {
    name: 'a name that no path can show',
    text: 'spaces: [{ name: a\\b }]',
    mistake: '1:10: The name "a\\\\b" is refused: slash',
  },
  {
    name: 'a space that must keep a manager and has none',
    text: 'spaces: [{ name: s, keepManager: user, grants: [] }]',
    mistake: '1:10: Somebody with "manage"',
  },
]

test.for(refusals)('$name is refused with its place, and nothing was changed', async ({ text, mistake }, { world }) => {
  const before = `users: [{ username: earlier }]\n`
  await expect(apply(world, text)).rejects.toThrow(mistake)
  expect(await countEvents(world)).toBe(0)
  await expect(apply(world, before)).resolves.toMatchObject({ changes: ['created user earlier'] })
})
