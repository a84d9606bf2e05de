/** The verdicts that engines give, and how long a name in them may be. */
import type { Verdict } from '#core/ports.ts'

export const clean: Verdict = { kind: 'clean', quarantines: false }

/** Could not be looked into as a whole; `limit` says what was in the way. */
export const tooLarge = (limit: string): Verdict => ({ kind: 'too-large', quarantines: false, description: limit })

export const encrypted: Verdict = {
  kind: 'encrypted',
  quarantines: false,
  description: 'a part is encrypted and was not looked into',
}

export const infected = (name: string): Verdict => ({ kind: 'infected', quarantines: true, name: shownName(name) })

/** At most 200 characters, without control characters: names come from outside. */
export function shownName(name: string): string {
  return name
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, 200)
}
