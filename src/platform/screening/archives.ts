/** The engine that looks into archives: bombs, the test file within, and what is locked away from every look. */
import type { ScreeningEngine } from '#core/ports.ts'
import type { Examiner } from './examiner.ts'
import { containerOf } from './magic.ts'

/** Much can be unpacked in that time. */
const TIMEOUT_MS = 30 * 60_000

export const archivesEngine = (examiner: Examiner): ScreeningEngine => ({
  name: 'archives',
  mandatory: true,
  timeoutMs: TIMEOUT_MS,
  isHarmless: head => containerOf(head) === undefined,
  examine: (content, signal) => examiner.examine('archives', content, signal),
})
