/** Rules of words: whole ones, in whatever case. */
import type { Matcher } from './matcher.ts'

const MAX_KEYWORD_CHARS = 200

/** All words of a rule in one expression, which repeats nothing, so that its time grows with the text alone. */
export function keywordMatcher(words: readonly string[]): Matcher {
  const letter = String.raw`[\p{L}\p{N}\p{M}_]`
  const choice = words.map(expressionOf).join('|')
  const expression = new RegExp(`(?<!${letter})(?:${choice})(?!${letter})`, 'giu')
  return (text, from) => {
    expression.lastIndex = from
    const match = expression.exec(text)
    return match ? { start: match.index, end: match.index + match[0].length } : undefined
  }
}

/** Words of a phrase may be apart by any white space, as at the end of a line. */
const expressionOf = (words: string) =>
  words
    .normalize('NFC')
    .trim()
    .split(/\s+/)
    .map(word => word.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`))
    .join(String.raw`\s{1,8}`)

/** Why a word is refused. */
export function keywordRefusal(words: string): string | undefined {
  if (!/[\p{L}\p{N}]/u.test(words)) return 'a keyword has a letter or a digit'
  return words.length > MAX_KEYWORD_CHARS ? `a keyword has at most ${MAX_KEYWORD_CHARS} characters` : undefined
}
