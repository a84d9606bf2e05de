/** Payment card numbers: known first digits, the length that goes with them, and the check digit. */
import type { Match, Matcher } from './matcher.ts'

interface Issuer {
  /** First digits, as a range of numbers of one length. */
  from: number
  to: number
  lengths: readonly number[]
}

const issuers: readonly Issuer[] = [
  { from: 4, to: 4, lengths: [13, 16, 19] },
  { from: 51, to: 55, lengths: [16] },
  { from: 2221, to: 2720, lengths: [16] },
  { from: 34, to: 34, lengths: [15] },
  { from: 37, to: 37, lengths: [15] },
  { from: 300, to: 305, lengths: [14, 16] },
  { from: 3095, to: 3095, lengths: [14, 16] },
  { from: 36, to: 36, lengths: [14, 15, 16, 17, 18, 19] },
  { from: 38, to: 39, lengths: [14, 16, 17, 18, 19] },
  { from: 6011, to: 6011, lengths: [16, 17, 18, 19] },
  { from: 644, to: 659, lengths: [16, 17, 18, 19] },
  { from: 3528, to: 3589, lengths: [16, 17, 18, 19] },
  { from: 62, to: 62, lengths: [16, 17, 18, 19] },
  { from: 2200, to: 2204, lengths: [16, 17, 18, 19] },
  { from: 50, to: 50, lengths: [13, 14, 15, 16, 17, 18, 19] },
  { from: 56, to: 58, lengths: [13, 14, 15, 16, 17, 18, 19] },
  { from: 60, to: 61, lengths: [13, 14, 15, 16, 17, 18, 19] },
  { from: 63, to: 69, lengths: [13, 14, 15, 16, 17, 18, 19] },
]

/** Whether digits alone, without anything between them, are a card number. */
export function isCardNumber(digits: string): boolean {
  return /^\d{13,19}$/.test(digits) && isIssued(digits) && !/^(\d)\1*$/.test(digits) && hasCheckDigit(digits)
}

const isIssued = (digits: string) =>
  issuers.some(({ from, to, lengths }) => {
    const first = Number(digits.slice(0, String(from).length))
    return first >= from && first <= to && lengths.includes(digits.length)
  })

/** Every second digit from the right doubled, the digits of all summed up: a multiple of ten. */
export function hasCheckDigit(digits: string): boolean {
  let sum = 0
  for (let back = 0; back < digits.length; back++) {
    const digit = Number(digits[digits.length - 1 - back])
    sum += back % 2 === 0 ? digit : digit * 2 - (digit > 4 ? 9 : 0)
  }
  return sum % 10 === 0
}

/**
 * Groups of at least two digits, apart by one and the same space or dash: 4-4-4-4, 4-6-5 and whatever else is printed.
 * None is a part of a longer row of digits or stands behind a decimal point.
 */
const GROUPS = /(?<!\d|\d[.,])\d{2,19}(?!\d)(?:([ \u00a0\u2011-])\d{2,19}(?!\d)(?:\1\d{2,19}(?!\d)){0,7})?/g

export const cardNumberMatcher: Matcher = (text, from) => {
  for (let at = from; ;) {
    GROUPS.lastIndex = at
    const run = GROUPS.exec(text)
    if (!run) return undefined
    const match = cardAtStart(run[0].split(run[1] ?? ' '), run.index)
    if (match) return match
    // A number may begin with the second group: after a date, say.
    at = run.index + run[0].search(/\D|$/)
  }
}

/** The longest card number that the first groups are. */
function cardAtStart(groups: readonly string[], start: number): Match | undefined {
  for (let count = groups.length; count > 0; count--) {
    const digits = groups.slice(0, count).join('')
    if (isCardNumber(digits)) return { start, end: start + digits.length + count - 1, key: digits }
  }
  return undefined
}
