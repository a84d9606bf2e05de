import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { compileCondition, type Condition } from '#core/conditions.ts'
import { deliveryFields } from '#core/delivery-fields.ts'
import { listInbox } from '#core/delivery-list.ts'
import { inTx } from '#core/ctx.ts'
import { setGrantRow } from '#core/grants.ts'
import { actions } from '#core/permissions.ts'
import { FilterRefused, parseFilter } from '#dialects/sofie/filter.ts'
import { makeSpace } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

const parse = (rule: unknown, kind: 'package' | 'group' = 'package') => parseFilter(JSON.stringify(rule), kind)
const attribute = (name: string) => ({ var: name })
const is = (name: string, value: unknown) => ({ '==': [attribute(name), value] })

describe('a filter of packages', () => {
  test('is read as the example of the documentation says', () => {
    expect(parse({ and: [is('name', 'Project summary'), { in: ['done', attribute('tags')] }] })).toEqual({
      all: [
        { field: 'name', test: 'equals', value: 'Project summary' },
        { field: 'tags', test: 'has', value: 'done' },
      ],
    })
  })

  test('negates with and without a list, and takes eq for ==', () => {
    const met = { field: 'rechecked', test: 'equals', value: true }
    const eq = { eq: [attribute('recheckInProgress'), true] }
    expect(parse({ or: [{ '!': [eq] }, { '!': eq }] })).toEqual({ any: [{ not: met }, { not: met }] })
  })

  test.for<[string, unknown, string, unknown]>([
    ['name', 'a', 'name', 'a'],
    ['downloadPasswordProtected', false, 'passwordProtected', false],
    ['approveRequired', true, 'approvalRequired', true],
    ['size', 12, 'size', 12],
    ['accessCount', 0, 'accessCount', 0],
    ['limitAccessCount', 5, 'accessLimit', 5],
    ['limitAccessCount', 0, 'accessLimit', null],
    ['created', '2026-01-05T09:00:00.5+01:00', 'createdAt', Date.UTC(2026, 0, 5, 8, 0, 0, 500)],
    ['disapproved', '2026-01-05t08:00:00z', 'refusedAt', Date.UTC(2026, 0, 5, 8)],
    ['id', '28EC36F3-9C1F-4E3A-B907-F42E85FFCDD4', 'id', '28ec36f3-9c1f-4e3a-b907-f42e85ffcdd4'],
  ])('asks for %s %s', ([name, value, field, stored]) => {
    expect(parse(is(name, value))).toEqual({ field, test: 'equals', value: stored })
  })

  test.for<[string, string, string, string[]]>([
    ['workflowState', 'SHREDDED', 'state', ['purged']],
    ['workflowState', 'REQUESTED', 'state', []],
    ['workflowState', 'active', 'state', []],
    ['checkState', 'UNKNOWN', 'check', ['pending']],
    ['accessType', 'INTERNAL', 'access', ['internal']],
    ['encryptionType', 'SERVER_KEY', 'encryption', ['server']],
    ['dataIntegrity', 'INACCESSIBLE', 'integrity', ['inaccessible']],
  ])('knows %s %s', ([name, value, field, words]) => {
    expect(parse(is(name, value))).toEqual({ any: words.map(word => ({ field, test: 'equals', value: word })) })
  })

  test('finds a state by a part of its word', () => {
    const contains = (name: string, value: string) => parse({ contains: [attribute(name), value] })
    const states = (...words: string[]) => ({ any: words.map(value => ({ field: 'state', test: 'equals', value })) })
    expect(contains('workflowState', 'ED')).toEqual(states('deleted', 'archived', 'purged'))
    expect(contains('workflowState', '')).toEqual(states('active', 'deleted', 'archived', 'purged'))
    expect(contains('checkState', 'TINE')).toEqual({ any: [{ field: 'check', test: 'equals', value: 'quarantined' }] })
  })

  test('translates flags and does not know others', () => {
    const flag = (value: string) => parse({ in: [value, attribute('flags')] })
    expect(flag('DLP_MATCHED')).toEqual({ field: 'flags', test: 'has', value: 'matched' })
    expect(flag('FORWARDED')).toEqual({ any: [] })
    expect(flag('toString')).toEqual({ any: [] })
  })

  test('tells the states of encryption apart as they are shown', () => {
    const open = { field: 'encryption', test: 'equals', value: 'none' }
    const passing = {
      all: [
        { ...open, value: 'password' },
        { field: 'check', test: 'equals', value: 'pending' },
      ],
    }
    expect(parse(is('encryptionStatus', 'NOT_ENCRYPTED'))).toEqual(open)
    expect(parse(is('encryptionStatus', 'ENCRYPTING'))).toEqual(passing)
    expect(parse(is('encryptionStatus', 'ENCRYPTED'))).toEqual({ not: { any: [open, passing] } })
    expect(parse(is('encryptionStatus', 'FAILED'))).toEqual({ any: [] })
  })
})

test('a filter of groups asks for their own attributes', () => {
  const asked = { and: [is('distribution', true), { in: ['PASSWORD_ENCRYPTION', attribute('permissions')] }] }
  expect(parse(asked, 'group')).toEqual({
    all: [
      { field: 'isDistribution', test: 'equals', value: true },
      { field: 'rights', test: 'has', value: 'deliveries.encrypt' },
    ],
  })
  expect(parse({ icontains: [attribute('email'), 'A@'] }, 'group')).toEqual({
    field: 'email',
    test: 'contains-folded',
    value: 'A@',
  })
  expect(parse({ contains: [attribute('accessibility'), 'INT'] }, 'group')).toEqual({
    any: [{ field: 'reach', test: 'equals', value: 'internal' }],
  })
  expect(() => parse(is('tags', 'a'), 'group')).toThrow(FilterRefused)
  expect(parse({ in: ['__proto__', attribute('permissions')] }, 'group')).toEqual({ any: [] })
})

const nested = (depth: number): unknown => (depth === 1 ? is('name', 'a') : { '!': nested(depth - 1) })

describe('what is refused', () => {
  test.for<[string, unknown]>([
    ['no operator', {}],
    ['two operators', { ...is('name', 'a'), or: [] }],
    ['a bare value', true],
    ['a list', [is('name', 'a')]],
    ['nothing', null],
    ['an unknown operator', { '!=': [attribute('name'), 'a'] }],
    ['an operator by a name of objects', { constructor: [attribute('name'), 'a'] }],
    ['an unknown attribute', is('sender', 'a')],
    ['an attribute by a name of objects', is('__proto__', 'a')],
    ['an attribute of groups', is('distribution', true)],
    ['an operator that the attribute does not have', { icontains: [attribute('workflowState'), 'A'] }],
    ['== of a list attribute', is('tags', 'a')],
    ['in of a text', { in: ['a', attribute('name')] }],
    ['arguments the wrong way round', { '==': ['a', attribute('name')] }],
    ['in the wrong way round', { in: [attribute('tags'), 'a'] }],
    ['one argument', { '==': [attribute('name')] }],
    ['three arguments', { '==': [attribute('name'), 'a', 'b'] }],
    ['arguments that are no list', { '==': attribute('name') }],
    ['an attribute with a default', { '==': [{ var: ['name', 'x'] }, 'a'] }],
    ['an empty and', { and: [] }],
    ['an or without a list', { or: is('name', 'a') }],
    ['a number for a text', is('name', 1)],
    ['a text for a number', is('size', '1')],
    ['a number for true', is('recheckInProgress', 1)],
    ['null', is('approved', null)],
    ['a list for a word', is('workflowState', ['ACTIVE'])],
    ['a time without a zone', is('created', '2026-01-05T08:00:00')],
    ['a day', is('created', '2026-01-05')],
    ['17 operators within each other', nested(17)],
  ])('is %s', ([, rule]) => {
    expect(() => parse(rule)).toThrow(FilterRefused)
  })

  test.for(['', '{', '{"==":[{"var":"name"},"a"]', 'name eq 1', '[', '\0', '['.repeat(8000)])(
    'is what is no JSON: %s',
    filter => {
      expect(() => parseFilter(filter, 'package')).toThrow(FilterRefused)
    },
  )

  test('is what is too long, but not what just fits', () => {
    const sized = (bytes: number) => {
      const empty = JSON.stringify(is('name', ''))
      return JSON.stringify(
        is('name', 'é'.repeat((bytes - empty.length) / 2) + (bytes % 2 === empty.length % 2 ? '' : 'a')),
      )
    }
    expect(Buffer.byteLength(sized(8192))).toBe(8192)
    expect(parseFilter(sized(8192), 'package')).toHaveProperty('field', 'name')
    expect(() => parseFilter(sized(8193), 'package')).toThrow(FilterRefused)
  })

  test('is not what has 16 operators within each other', () => {
    expect(parse(nested(16))).toHaveProperty('not')
  })

  test('says so with a status and a reason', () => {
    const refused = new FilterRefused('why')
    expect(refused.refusal).toMatchObject({ status: 400, reason: 'FILTER_NOT_SUPPORTED' })
  })
})

const names = [
  'id',
  'name',
  'note',
  'workflowState',
  'checkState',
  'encryptionStatus',
  'size',
  'created',
  'tags',
  'flags',
  'sender',
  '__proto__',
  'toString',
]
const words = [
  '==',
  'eq',
  'contains',
  'icontains',
  'in',
  '!',
  'and',
  'or',
  'var',
  'constructor',
  '!=',
  'all',
  '__proto__',
]
const texts = [
  "' or 1 = 1 --",
  '"',
  '%',
  '\0',
  '\ud800',
  '',
  'a',
  'ACTIVE',
  'CLEAN',
  '2026-01-05T08:00:00Z',
  ') or (1=1',
]
const hostileValue = fc.oneof(
  fc.constantFrom<unknown>(...texts),
  fc.constantFrom<unknown>(0, -0, 1.5, 1e308, 2 ** 53, true, false, null, [], {}),
)
const sound = fc.constantFrom(...names).chain(name =>
  fc.tuple(fc.constantFrom('==', 'contains', 'icontains', 'in'), hostileValue).map(([word, value]) => ({
    [word]: word === 'in' ? [value, attribute(name)] : [attribute(name), value],
  })),
)
const { rule } = fc.letrec<{ rule: unknown }>(tie => ({
  rule: fc.oneof(
    { maxDepth: 4 },
    sound,
    fc.record({ and: fc.array(sound, { minLength: 1, maxLength: 3 }) }),
    fc
      .array(fc.tuple(fc.constantFrom(...words), tie('rule')), { maxLength: 2 })
      .map(some => Object.fromEntries(some) as unknown),
    fc.record({ '!': tie('rule') }),
    fc.record({ or: fc.array(tie('rule'), { minLength: 1, maxLength: 3 }) }),
    hostileValue,
    fc.json().map(text => JSON.parse(text) as unknown),
  ),
}))
const filterText = fc.oneof(
  { weight: 5, arbitrary: rule.map(rule => JSON.stringify(rule) ?? '') },
  fc.string({ unit: 'binary' }),
  fc.json(),
)

async function sendTo(world: World, recipientId: string, name: string): Promise<string> {
  const delivery = { accessType: 'private', accessLimit: null, expiresAt: null, persistent: true } as const
  const space = await makeSpace(world, { name, policy: { delivery } })
  await inTx(world.system, ctx =>
    setGrantRow(ctx, { nodeId: space.id, subjectId: recipientId, actions: actions.list, recipient: 'regular' }),
  )
  return name
}

/** Undefined where the filter was refused as one. */
function conditionOf(filter: string, kind: 'package' | 'group'): Condition | undefined {
  try {
    return parseFilter(filter, kind)
  } catch (error) {
    if (error instanceof FilterRefused) return undefined
    throw error
  }
}

test(
  'whatever the filter, it is refused as one or finds only what is the own',
  { timeout: 60_000 },
  async ({ world }) => {
    const [me, other] = [await world.user(), await world.user()]
    const own = [await sendTo(world, me.user.id, 'a'), await sendTo(world, me.user.id, 'b')]
    await sendTo(world, other.user.id, 'foreign')
    let found = 0
    await fc.assert(
      fc.asyncProperty(filterText, async filter => {
        conditionOf(filter, 'group')
        const condition = conditionOf(filter, 'package')
        if (!condition) return
        const { rows } = await listInbox(me.ctx, { condition, offset: 0, limit: 10 })
        found += rows.length
        for (const { node } of rows) expect(own).toContain(node.label)
      }),
      { numRuns: 1000 },
    )
    expect(found).toBeGreaterThan(0)
  },
)

test('all that can be asked for is a field of deliveries', () => {
  const values: unknown[] = ['ACTIVE', 'CLEAN', 'PUBLIC', 'NONE', 'OK', 'DLP_MATCHED', '2026-01-05T08:00:00Z', 7, true]
  const asked = contractAttributes.flatMap(([name, operators]) =>
    operators.map(word => {
      const understood = values.flatMap(value => {
        const rule = { [word]: word === 'in' ? [value, attribute(name)] : [attribute(name), value] }
        return conditionOf(JSON.stringify(rule), 'package') ?? []
      })
      expect(understood, `${name} ${word}`).not.toEqual([])
      return { any: understood }
    }),
  )
  expect(() => compileCondition('sqlite', deliveryFields, { any: asked })).not.toThrow()
})

/** As the contract has them. */
const contractAttributes: readonly (readonly [string, readonly string[]])[] = [
  ['id', ['==']],
  ['name', ['==', 'contains', 'icontains']],
  ['note', ['==', 'contains', 'icontains']],
  ['workflowState', ['==', 'contains']],
  ['checkState', ['==', 'contains']],
  ['accessType', ['==']],
  ['recheckInProgress', ['==']],
  ['downloadPasswordProtected', ['==']],
  ['approveRequired', ['==']],
  ['encryptionStatus', ['==']],
  ['encryptionType', ['==']],
  ['dataIntegrity', ['==']],
  ['size', ['==']],
  ['limitAccessCount', ['==']],
  ['accessCount', ['==']],
  ['created', ['==']],
  ['uploaded', ['==']],
  ['approved', ['==']],
  ['disapproved', ['==']],
  ['tags', ['in']],
  ['flags', ['in']],
]
