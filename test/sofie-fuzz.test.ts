/** Hostile requests to every operation: whatever comes, the API answers in its own words and tells nobody what is not his. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { createGroup } from '#core/groups.ts'
import { sofieDescription } from '#dialects/sofie/index.ts'
import { addFile, addFolder, addressOf, announce, sendPackage, type Parcel } from '#test/sofie-packages.ts'
import type { Answer } from '#test/answer.ts'
import { test, type Sent, type SofieWorld } from '#test/sofie-world.ts'

/** Each with packages of its own, as some requests end them. */
const ROUNDS = 20
const RUNS = 100
/** In the names of what nobody else may know of. */
const MARKER = 'MARKER-OF-SOMEBODY-ELSE'

const routes = sofieDescription.operations.flatMap(({ method, path, body, aliases = [] }) =>
  [{ method, path }, ...aliases].map(way => ({ ...way, schema: body?.kind === 'json' ? (body.schema as Schema) : {} })),
)

/** What of a body's schema is looked at here. */
interface Schema {
  properties?: Record<string, unknown>
  items?: Schema
}

const hostileText = fc.oneof(
  fc.constantFrom(
    '',
    '\0',
    'a\0b',
    '\ud800',
    '..',
    '.',
    '/',
    '%',
    "'; drop table node; --",
    '__proto__',
    '\u202e',
    'x'.repeat(10_001),
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
)
const hostileValue = fc.oneof(
  hostileText,
  fc.constantFrom(null, true, -1, 0, 0.5, 1e308, Number.MAX_SAFE_INTEGER, 2 ** 31, [], {}, [[]], { a: { b: {} } }),
)

const uuid = /^[0-9a-f-]{36}$/

/** Attributes as they should be, for bodies that get a step further. */
const fittingValues: Record<string, fc.Arbitrary<unknown>> = {
  accessType: fc.constantFrom('PUBLIC', 'INTERNAL', 'PRIVATE'),
  recipients: fc.constant([{ type: 'REGULAR', email: addressOf('regular') }]),
  name: fc.oneof(fc.constantFrom('a.txt', 'folder'), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })),
  note: fc.string({ unit: 'grapheme' }),
  size: fc.integer({ min: 0, max: 20 }),
  state: fc.constantFrom('UPLOADED', 'CANCELED'),
  password: fc.constant('secret'),
  downloadPassword: fc.constant('secret'),
  downloadExpiration: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.constant('2026-02-01T00:00:00Z')),
  limitAccessCount: fc.integer({ min: 1, max: 3 }),
  conflictResolution: fc.constantFrom('REPLACE', 'RENAME', 'RENAME_NEW', 'RENAME_EXISTING', 'DENY'),
  persistent: fc.boolean(),
  hash: fc.constantFrom('0'.repeat(64), 'F'.repeat(64)),
  mimeType: fc.constantFrom('text/plain', ''),
  username: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  email: fc.constantFrom('a@b.test', addressOf('blind')),
  accessibility: fc.constantFrom('PUBLIC', 'PRIVATE'),
  permissions: fc.constantFrom([], ['LOGIN']),
  type: fc.constantFrom('USER', 'ADMIN', 'BLIND'),
  ipRanges: fc.constantFrom('', '10.0.0.0/8'),
  sendResetPasswordToken: fc.boolean(),
  expireAt: fc.constant('2030-01-01T00:00:00Z'),
}

const filters = fc.oneof(
  hostileText,
  fc
    .tuple(
      fc.constantFrom('==', 'contains', 'icontains', 'in', 'and', '!', 'or', '__proto__'),
      fc.constantFrom('name', 'note', 'tags', 'id', 'size', 'created', 'flags', 'constructor', 'checkState'),
      hostileValue,
      fc.boolean(),
    )
    .map(([operator, name, value, isTurned]) => {
      const operands = [{ var: name }, value]
      return JSON.stringify({ [operator]: isTurned ? operands.toReversed() : operands })
    }),
)

/** Ids by the names of parameters, of things that belong together; `rootFolderId` among them. */
type Ids = Record<string, string>

/** Nearly as the schema says. */
function json({ properties, items }: Schema, ids: Ids): fc.Arbitrary<unknown> {
  const anyId = fc.constantFrom(...Object.values(ids))
  if (items) return fc.array(items.properties ? json(items, ids) : anyId, { maxLength: 3 })
  const fitting: typeof fittingValues = { ...fittingValues, parentId: fc.constant(ids['rootFolderId']), userId: anyId }
  const fields = Object.keys(properties ?? fitting).map(name => {
    const value = fc.oneof({ weight: 15, arbitrary: fitting[name] ?? hostileValue }, hostileValue)
    return [name, fc.option(value, { nil: undefined, freq: 4 })] as const
  })
  return fc.record(Object.fromEntries(fields))
}

const body = (schema: Schema, ids: Ids): fc.Arbitrary<Sent> =>
  fc.oneof(
    { weight: 30, arbitrary: json(schema, ids).map(value => ({ json: value })) },
    { weight: 3, arbitrary: hostileValue.map(value => ({ json: value })) },
    fc.constantFrom<Sent>(
      {},
      { payload: '{', headers: { 'content-type': 'application/json' } },
      { payload: '{}', headers: { 'content-type': 'text/plain' } },
      { payload: 'content', headers: { 'content-type': 'application/octet-stream' } },
      { payload: '[1', headers: { 'content-type': 'multipart/form-data; boundary=x' } },
    ),
  )

/** Whatever a header can hold. */
const headerValue = fc.oneof(
  fc.constantFrom('', 'x'.repeat(2_000), '\u00ff\u00fe', '../..', 'AAAA', "' or 1=1"),
  fc.base64String({ maxLength: 100 }),
)
const headers = fc.record(
  {
    'x-sofie-download-password': fc.oneof(fc.constant('secret'), headerValue),
    'x-sofie-password-token': headerValue,
    'x-sofie-limit-access-token': headerValue,
    'x-sofie-impersonate-username': fc.oneof(fc.constantFrom('sender', 'regular'), headerValue),
    authorization: headerValue,
    range: fc.constantFrom('bytes=0-', 'bytes=9-1', 'bytes=-0', 'lines=1'),
  },
  { requiredKeys: [] },
)

/** Few requests bring a header that spoils them. */
const someHeaders = fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, headers)

const segment = (id: string) => (uuid.test(id) ? id : encodeURIComponent(id.toWellFormed()))

interface Pool {
  /** Everybody may name these. */
  all: Ids[]
  /** What administrators name: they may reach everything, and would open it to others. */
  harmless: Ids[]
}

const queries = fc.oneof(
  fc.constant(''),
  filters.map(filter => `?$filter=${encodeURIComponent(filter.toWellFormed())}`),
  fc.constantFrom('?$top=-1', '?$top=5000&$skip=999999999999999', '?$skip=x', '?$top=1&$top=2', '?%00=%zz'),
)

const callers = fc.constantFrom<Sent>(
  { as: 'sender' },
  { as: 'contributor' },
  { as: 'regular' },
  { as: 'blind' },
  { as: 'admin' },
  { as: 'admin', impersonate: 'regular' },
  {},
)

/** Mostly what the path asks for. */
const idFor = (name: string, ids: Ids) =>
  fc.oneof(
    { weight: 20, arbitrary: fc.constant(ids[name] ?? '') },
    { weight: 2, arbitrary: fc.constantFrom(...Object.values(ids)) },
    hostileText.map(text => text.slice(0, 200)),
  )

const requests = ({ all, harmless }: Pool) =>
  callers.chain(caller =>
    fc
      .tuple(fc.constantFrom(...routes), fc.constantFrom(...(caller.as === 'admin' ? harmless : all)))
      .chain(([{ method, path, schema }, ids]) => {
        const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
        return fc.record({
          caller: fc.constant(caller),
          method: fc.constant(method),
          path: fc
            .tuple(...names.map(name => idFor(name, ids)))
            .map(values => path.replaceAll(/\{\w+\}/g, () => segment(values.shift() ?? ''))),
          query: queries,
          sent: method === 'GET' ? fc.constant<Sent>({}) : body(schema, ids),
          headers: someHeaders,
        })
      }),
  )

type Request = ReturnType<typeof requests> extends fc.Arbitrary<infer R> ? R : never

function send(sofie: SofieWorld, { caller, method, path, query, sent, headers }: Request): Promise<Answer> {
  const all = { ...sent.headers, ...headers }
  return sofie.send(method, path + query, { ...sent, ...caller, headers: all, beyondContract: true })
}

async function contentsOf(sofie: SofieWorld, parcel: Parcel, file: Parameters<typeof addFile>[2] = {}): Promise<Ids> {
  const { packageId, rootFolderId } = parcel
  const fileId = (await addFile(sofie, parcel, file)).split('/').at(-1) ?? ''
  return { packageId, rootFolderId, fileId, folderId: rootFolderId, recipientId: rootFolderId }
}

async function secretPackage(sofie: SofieWorld): Promise<Ids> {
  const recipients = [{ type: 'REGULAR', email: addressOf('stranger') }]
  const parcel = await sendPackage(sofie, { name: MARKER, note: MARKER, recipients }, 'stranger')
  return contentsOf(sofie, parcel, { as: 'stranger', name: MARKER, content: MARKER })
}

const outcomes = [
  '200',
  '201',
  '204',
  '400 BAD_REQUEST',
  '400 FILTER_NOT_SUPPORTED',
  '401 TOKEN_INVALID',
  '403 PERMISSION_DENIED',
  '403 PACKAGE_PASSWORD_REQUIRED',
  '403 LIMIT_ACCESS_TOKEN_REQUIRED',
  '404 NOT_FOUND',
  '409 FILE_STATE',
  '409 PACKAGE_NOT_ACTIVE',
]

const outcomeOf = ({ status, headers }: Answer) =>
  [status, ...(status < 400 ? [] : [headers['x-sofie-response-reason']])].join(' ')

/** Packages: an open one with an unfinished file, one with a password, one with a limit, one that has ended. */
async function makeHarmless(sofie: SofieWorld, accounts: Ids): Promise<Ids[]> {
  const open = await sendPackage(sofie)
  const protectedOne = await sendPackage(sofie, { downloadPassword: 'secret', accessType: 'PUBLIC' })
  const limited = await sendPackage(sofie, { limitAccessCount: 5 })
  const ended = await sendPackage(sofie)
  const endedIds = { ...(await contentsOf(sofie, ended)), ...accounts }
  await sofie.send('DELETE', ended.path, { as: 'sender' })
  const ids = { ...(await contentsOf(sofie, open)), ...accounts }
  return [
    { ...ids, folderId: await addFolder(sofie, open) },
    { ...ids, fileId: await announce(sofie, open, { name: 'open' }) },
    { ...(await contentsOf(sofie, protectedOne)), ...accounts },
    { ...(await contentsOf(sofie, limited)), ...accounts },
    // Only administrators learn that it has ended: to be met at all, it stands here more often.
    ...Array.from({ length: 3 }, () => endedIds),
  ]
}

test(
  'hostile requests get an answer in the words of the API, and nothing of others',
  { timeout: 300_000 },
  async ({ sofie }) => {
    const { user } = await sofie.world.user('spare', { email: 'spare@example.test' })
    const { id: groupId } = await createGroup(sofie.world.system, { name: 'Spare' })
    const secret = await secretPackage(sofie)
    const seen = new Set<string>()
    for (let round = 0; round < ROUNDS; round += 1) {
      const harmless = await makeHarmless(sofie, { userId: user.id, userGroupId: groupId, apiTokenId: user.id })
      const property = fc.asyncProperty(requests({ all: [...harmless, secret], harmless }), async request => {
        const answer = await send(sofie, request)
        seen.add(outcomeOf(answer))
        checkAnswer(request, answer)
      })
      await fc.assert(property, { numRuns: RUNS })
    }
    // They got somewhere, in every way.
    for (const outcome of outcomes) expect([...seen]).toContain(outcome)
  },
)

function checkAnswer({ caller }: Request, { status, headers, body, raw }: Answer): void {
  expect(status).toBeLessThan(500)
  if (status >= 400)
    expect(body).toMatchObject({ reason: headers['x-sofie-response-reason'], message: expect.any(String) })
  const isAdministrator = caller.as === 'admin' && !caller.impersonate
  if (!isAdministrator) expect(raw.includes(MARKER)).toBe(false)
}
