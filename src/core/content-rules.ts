/** What a tenant does not want to leave: rules that engines look for in contents. */
import type { Selectable } from 'kysely'
import { remembered } from '#db/prepared.ts'
import type { ContentRuleTable } from '#db/schema.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import type { ContentRule } from './ports.ts'
import { requireRight } from './roles.ts'

type Row = Selectable<ContentRuleTable>

const MAX_RULES = 100
const MAX_NAME_LENGTH = 100
const MAX_TERMS = 1_000
const MAX_TERM_LENGTH = 500
const MAX_MATCHES = 1_000_000

const rulesOfTenant = remembered<{ tenantId: string }, Row>((db, arg) =>
  db.selectFrom('content_rule').selectAll().where('tenantId', '=', arg('tenantId')).orderBy('name'),
)

/** The rules of the actor's tenant, for engines: no right is asked. */
export async function loadRules(ctx: Ctx): Promise<ContentRule[]> {
  return (await rulesOfTenant(ctx.db, { tenantId: ctx.actor.tenantId })).map(ruleOf)
}

const ruleOf = ({ name, kind, terms, minMatches, effect }: Row): ContentRule => ({
  name,
  kind,
  terms: JSON.parse(terms) as string[], // written by insertRule
  minMatches,
  effect,
})

/** By name. Throws `forbidden`. */
export async function listContentRules(ctx: Ctx): Promise<ContentRule[]> {
  await requireRight(ctx, 'config.manage')
  return loadRules(ctx)
}

/**
 * These become the rules of the tenant; those that are the same stay. They count for what is looked into from now on.
 * Throws `forbidden`, `invalid-input` (`field` is `contentRules.<name>.<field>`).
 */
export async function setContentRules(ctx: Ctx, rules: readonly ContentRule[]): Promise<void> {
  await requireRight(ctx, 'config.manage')
  checkRules(ctx, rules)
  await inTx(ctx, async ctx => {
    await ctx.database.lock(ctx.db, `content-rules:${ctx.actor.tenantId}`, 'exclusive')
    const before = await rulesOfTenant(ctx.db, { tenantId: ctx.actor.tenantId })
    const wanted = new Set(rules.map(keyOf))
    const kept = new Set(before.map(row => keyOf(ruleOf(row))).filter(key => wanted.has(key)))
    for (const row of before) if (!kept.has(keyOf(ruleOf(row)))) await removeRule(ctx, row)
    for (const rule of rules) if (!kept.has(keyOf(rule))) await insertRule(ctx, rule)
  })
}

const keyOf = ({ name, kind, terms, minMatches, effect }: ContentRule): string =>
  JSON.stringify([name, kind, terms, minMatches, effect])

/** True where both say the same. */
export const isSameRule = (one: ContentRule, other: ContentRule): boolean => keyOf(one) === keyOf(other)

async function insertRule(ctx: TxCtx, rule: ContentRule): Promise<void> {
  const id = ctx.newId()
  const { name, kind, terms, minMatches, effect } = rule
  const { tenantId } = ctx.actor
  await ctx.db
    .insertInto('content_rule')
    .values({ id, tenantId, name, kind, terms: JSON.stringify(terms), minMatches, effect, createdAt: ctx.clock() })
    .execute()
  await ctx.emit({ type: 'content-rule.created', subject1: `content-rule:${id}`, facts: { kind, minMatches, effect } })
}

async function removeRule(ctx: TxCtx, { id, kind, minMatches, effect }: Row): Promise<void> {
  await ctx.db.deleteFrom('content_rule').where('id', '=', id).execute()
  await ctx.emit({ type: 'content-rule.removed', subject1: `content-rule:${id}`, facts: { kind, minMatches, effect } })
}

function checkRules(ctx: Ctx, rules: readonly ContentRule[]): void {
  if (rules.length > MAX_RULES)
    throw new DomainError('invalid-input', { field: 'contentRules', rule: `at most ${MAX_RULES}` })
  const names = new Set<string>()
  for (const rule of rules) {
    checkRule(ctx, rule)
    if (names.has(rule.name)) throw refused(rule, 'name', 'there twice')
    names.add(rule.name)
  }
}

/** Throws `invalid-input`, also where an engine cannot follow the rule. */
function checkRule(ctx: Ctx, rule: ContentRule): void {
  const { name, minMatches } = rule
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH) throw refused(rule, 'name', 'length')
  checkTerms(rule)
  if (!Number.isSafeInteger(minMatches) || minMatches < 1 || minMatches > MAX_MATCHES)
    throw refused(rule, 'minMatches', `1 to ${MAX_MATCHES}`)
  for (const engine of ctx.engines) {
    const reason = engine.checkRule?.(rule)
    if (reason !== undefined) throw refused(rule, 'terms', reason)
  }
}

function checkTerms(rule: ContentRule): void {
  const { kind, terms } = rule
  const needsTerms = kind === 'pattern' || kind === 'keywords'
  if (needsTerms !== terms.length > 0) throw refused(rule, 'terms', needsTerms ? 'missing' : 'not for numbers')
  if (terms.length > MAX_TERMS) throw refused(rule, 'terms', `at most ${MAX_TERMS}`)
  if (terms.some(term => term.trim() === '' || term.length > MAX_TERM_LENGTH)) throw refused(rule, 'terms', 'length')
}

const refused = ({ name }: ContentRule, field: string, rule: string) =>
  new DomainError('invalid-input', { field: `contentRules.${name.slice(0, MAX_NAME_LENGTH)}.${field}`, rule })
