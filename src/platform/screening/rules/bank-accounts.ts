/** International bank account numbers (ISO 13616): a known country, its length, and the check digits. */
import type { Match, Matcher } from './matcher.ts'

/** Length by country, as the registry of account numbers has it. */
const LENGTHS: Record<string, number> = {
  AD: 24, AE: 23, AL: 28, AT: 20, AZ: 28, BA: 20, BE: 16, BG: 22, BH: 22, BI: 27, BR: 29, BY: 28, CH: 21, CR: 22, CY: 28,
  CZ: 24, DE: 22, DJ: 27, DK: 18, DO: 28, EE: 20, EG: 29, ES: 24, FI: 18, FK: 18, FO: 18, FR: 27, GB: 22, GE: 22, GI: 23,
  GL: 18, GR: 27, GT: 28, HN: 28, HR: 21, HU: 28, IE: 22, IL: 23, IQ: 23, IS: 26, IT: 27, JO: 30, KW: 30, KZ: 20, LB: 28,
  LC: 32, LI: 21, LT: 20, LU: 20, LV: 21, LY: 25, MC: 27, MD: 24, ME: 22, MK: 19, MN: 20, MR: 27, MT: 31, MU: 30, NI: 28,
  NL: 18, NO: 15, OM: 23, PK: 24, PL: 28, PS: 29, PT: 25, QA: 29, RO: 24, RS: 22, RU: 33, SA: 24, SC: 31, SD: 18, SE: 24,
  SI: 19, SK: 24, SM: 27, SO: 23, ST: 25, SV: 28, TL: 23, TN: 24, TR: 26, UA: 29, VA: 22, VG: 24, XK: 20, YE: 30,
} // prettier-ignore

/** Whether letters and digits alone, in capitals, are an account number. */
export function isBankAccount(account: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]+$/.test(account) || LENGTHS[account.slice(0, 2)] !== account.length) return false
  return remainderOf(account.slice(4) + account.slice(0, 4)) === 1
}

/** Modulo 97, letters counted as 10 to 35. */
function remainderOf(account: string): number {
  let remainder = 0
  for (const character of account) {
    const value = parseInt(character, 36)
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97
  }
  return remainder
}

const START = /(?<![\p{L}\p{N}])[A-Za-z]{2}\d{2}/gu
const ACCOUNT_CHARACTER = /[A-Za-z0-9]/
const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u

/** Finds account numbers in one piece or in groups apart by one space or dash. */
export const bankAccountMatcher: Matcher = (text, from) => {
  START.lastIndex = from
  for (let start = START.exec(text); start; start = START.exec(text)) {
    const match = accountAt(text, start.index)
    if (match) return match
    START.lastIndex = start.index + 1
  }
  return undefined
}

function accountAt(text: string, start: number): Match | undefined {
  const length = LENGTHS[text.slice(start, start + 2).toUpperCase()] ?? 0
  let account = ''
  let end = start
  while (account.length < length && end < text.length) {
    const character = text[end]!
    if (ACCOUNT_CHARACTER.test(character)) account += character.toUpperCase()
    // Two of them in a row end it.
    else if (!/[ \u00a0-]/.test(character) || !ACCOUNT_CHARACTER.test(text[end - 1]!)) return undefined
    end += 1
  }
  if (LETTER_OR_DIGIT.test(text[end] ?? '') || !isBankAccount(account)) return undefined
  return { start, end, key: account }
}
