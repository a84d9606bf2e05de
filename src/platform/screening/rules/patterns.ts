/** Rules of regular expressions, in time that grows with the text alone. */
import { RE2JS, RE2JSSyntaxException } from 're2js'
import type { Matcher } from './matcher.ts'

const MAX_PATTERN_CHARS = 1_000
/** Instructions of the compiled pattern: repetitions of repetitions make it large. */
const MAX_PROGRAM = 10_000

/** Each pattern finds places of its own. */
export function patternMatcher(pattern: string): Matcher {
  const compiled = RE2JS.compile(pattern, RE2JS.MULTILINE)
  let tested = ''
  let isThere = false
  return (text, from) => {
    // Whether there is a match at all is found out many times faster than where it is.
    if (text !== tested) {
      tested = text
      isThere = compiled.test(text)
    }
    if (!isThere) return undefined
    const matcher = compiled.matcher(text)
    for (let at = from; at <= text.length && matcher.find(at); at = matcher.end() + 1) {
      // What is nothing may stand anywhere and says nothing.
      if (matcher.end() > matcher.start()) return { start: matcher.start(), end: matcher.end() }
    }
    return undefined
  }
}

/** Why a pattern is refused. */
export function patternRefusal(pattern: string): string | undefined {
  if (pattern.length > MAX_PATTERN_CHARS) return `a pattern has at most ${MAX_PATTERN_CHARS} characters`
  try {
    const compiled = RE2JS.compile(pattern, RE2JS.MULTILINE)
    if (compiled.programSize() > MAX_PROGRAM) return 'a pattern repeats too much'
    return compiled.matches('') ? 'a pattern matches nothing at all' : undefined
  } catch (error) {
    if (error instanceof RE2JSSyntaxException) return error.message.slice(0, 200)
    throw error
  }
}
