/** Brings the rules about contents to what a file lists: those, and no others. */
import { isSameRule, listContentRules, setContentRules } from '#core/content-rules.ts'
import type { ContentRule } from '#core/ports.ts'
import type { Contents, ContentRuleEntry } from './description.ts'
import { note, placed, type Work } from './work.ts'

export async function applyContentRules(work: Work, { contentRules }: Contents): Promise<void> {
  if (!contentRules) return
  const listed = new Set(contentRules.map(entry => entry.name))
  const before = await listContentRules(work.ctx)
  const kept = new Map(before.filter(({ name }) => listed.has(name)).map(rule => [rule.name, rule]))
  if (kept.size < before.length) await setContentRules(work.ctx, [...kept.values()])
  for (const { name } of before) if (!kept.has(name)) note(work, `removed content rule ${name}`)
  for (const entry of contentRules) await applyRule(work, entry, kept)
}

/** One at a time, so that a refused rule is told at its own place in the file. `rules` are those that are there. */
async function applyRule(work: Work, entry: ContentRuleEntry, rules: Map<string, ContentRule>): Promise<void> {
  const rule = ruleOf(entry)
  const known = rules.get(rule.name)
  if (known && isSameRule(known, rule)) return note(work, undefined)
  rules.set(rule.name, rule)
  await placed(entry.at, () => setContentRules(work.ctx, [...rules.values()]))
  note(work, `${known ? 'changed' : 'created'} content rule ${rule.name}`)
}

const ruleOf = ({ name, kind, terms = [], minMatches = 1, effect }: ContentRuleEntry): ContentRule => ({
  name,
  kind,
  terms,
  minMatches,
  effect,
})
