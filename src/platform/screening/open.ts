/** The engines of an installation. */
import type { ScreeningEngine } from '#core/ports.ts'
import { archivesEngine } from './archives.ts'
import { clamdEngine } from './clamd.ts'
import { contentRulesEngine } from './content-rules.ts'
import { openExaminer } from './examiner.ts'
import { icapEngine } from './icap.ts'
import type { ArchiveLimits } from './limits.ts'
import type { EnginePlace } from './location.ts'
import { testSignature } from './test-signature.ts'

export interface EngineOptions {
  places: readonly EnginePlace[]
  limits: ArchiveLimits
}

/** Always in this order: the own ones, of which the cheap come first, and then those that were configured. */
export function openEngines({ places, limits }: EngineOptions): readonly ScreeningEngine[] {
  const examiner = openExaminer(limits)
  // Both share the thread, and either one's end may be all that closes it.
  const close = () => examiner.close()
  return [
    testSignature,
    { ...archivesEngine(examiner), close },
    { ...contentRulesEngine(examiner), close },
    ...places.map(place => (place.kind === 'clamd' ? clamdEngine(place) : icapEngine(place))),
  ]
}
