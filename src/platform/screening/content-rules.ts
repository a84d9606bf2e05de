/** The engine that looks for what a tenant does not want to leave. */
import type { ScreeningEngine } from '#core/ports.ts'
import type { Examiner } from './examiner.ts'
import { ruleRefusal } from './rules/scan.ts'
import { clean } from './verdicts.ts'

const TIMEOUT_MS = 30 * 60_000

export const contentRulesEngine = (examiner: Examiner): ScreeningEngine => ({
  name: 'content-rules',
  mandatory: true,
  timeoutMs: TIMEOUT_MS,
  isHarmless: (_head, { rules }) => rules.length === 0,
  examine: async (content, signal) => (content.rules.length === 0 ? clean : examiner.examine('rules', content, signal)),
  checkRule: ruleRefusal,
})
