import { expect } from 'vitest'
import { test as base } from '#test/world.ts'
import { listContentRules, loadRules, setContentRules } from './content-rules.ts'
import type { ContentRule, ScreeningEngine } from './ports.ts'
import { grantRight } from './roles.ts'

const engine: ScreeningEngine = {
  name: 'rules',
  mandatory: true,
  timeoutMs: 1_000,
  checkRule: ({ terms }) => (terms.includes('(') ? 'not a pattern' : undefined),
  examine: async () => ({ kind: 'clean', quarantines: false }),
}

const test = base.extend<{ engines: readonly ScreeningEngine[] }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  engines: async ({}, use) => use([engine]),
})

const words: ContentRule = { name: 'words', kind: 'keywords', terms: ['secret'], minMatches: 1, effect: 'quarantine' }
const cards: ContentRule = { name: 'cards', kind: 'card-number', terms: [], minMatches: 2, effect: 'flag' }

test('rules take the place of those before; the same ones stay, and each change is an event', async ({ world }) => {
  await setContentRules(world.system, [words, cards])
  expect(await listContentRules(world.system)).toEqual([cards, words])
  const ids = () => world.system.db.selectFrom('content_rule').select(['name', 'id']).orderBy('name').execute()
  const [, before] = await ids()
  await setContentRules(world.system, [words, { ...cards, minMatches: 3 }])
  expect((await ids())[1]).toEqual(before)
  await setContentRules(world.system, [])
  expect(await loadRules(world.system)).toEqual([])
  expect(await world.events()).toEqual([
    'content-rule.created',
    'content-rule.created',
    'content-rule.removed',
    'content-rule.created',
    'content-rule.removed',
    'content-rule.removed',
  ])
})

test('terms never reach the log', async ({ world }) => {
  await setContentRules(world.system, [words])
  const rows = await world.system.db.selectFrom('event').select('facts').where('facts', 'is not', null).execute()
  expect(JSON.stringify(rows)).not.toContain('secret')
})

test('each tenant has rules of its own', async ({ world }) => {
  const tenant = await world.otherTenant()
  await setContentRules(world.system, [words])
  expect(await loadRules(world.ctx({ ...world.system.actor, tenantId: tenant.id }))).toEqual([])
})

test('only who may change the configuration sees or sets them', async ({ world }) => {
  const { ctx, user } = await world.user()
  await expect(setContentRules(ctx, [words])).rejects.toMatchObject({ code: 'forbidden' })
  await expect(listContentRules(ctx)).rejects.toMatchObject({ code: 'forbidden' })
  await grantRight(world.system, { principalId: user.id, right: 'config.manage' })
  await setContentRules(ctx, [words])
  expect(await listContentRules(ctx)).toEqual([words])
})

const refusals: { name: string; rules: ContentRule[]; field: string }[] = [
  { name: 'without a name', rules: [{ ...words, name: ' ' }], field: 'contentRules. .name' },
  { name: 'named as another one', rules: [words, { ...cards, name: 'words' }], field: 'contentRules.words.name' },
  { name: 'without words', rules: [{ ...words, terms: [] }], field: 'contentRules.words.terms' },
  { name: 'with an empty word', rules: [{ ...words, terms: ['a', ''] }], field: 'contentRules.words.terms' },
  { name: 'for numbers with words', rules: [{ ...cards, terms: ['4'] }], field: 'contentRules.cards.terms' },
  { name: 'for no matches', rules: [{ ...words, minMatches: 0 }], field: 'contentRules.words.minMatches' },
  { name: 'that an engine cannot follow', rules: [{ ...words, terms: ['('] }], field: 'contentRules.words.terms' },
]

test.for(refusals)('a rule $name is refused, and nothing changes', async ({ rules, field }, { world }) => {
  await setContentRules(world.system, [cards])
  await expect(setContentRules(world.system, rules)).rejects.toMatchObject({
    code: 'invalid-input',
    details: { field },
  })
  expect(await loadRules(world.system)).toEqual([cards])
})
