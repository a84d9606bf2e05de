/** Counts what rules find in a text that comes in pieces. What was found is never told, only that it was. */
import type { ContentRule } from '#core/ports.ts'
import { bankAccountMatcher } from './bank-accounts.ts'
import { cardNumberMatcher } from './card-numbers.ts'
import { keywordMatcher, keywordRefusal } from './keywords.ts'
import { CONTEXT_CHARS, MAX_MATCH_CHARS, type Matcher } from './matcher.ts'
import { patternMatcher, patternRefusal } from './patterns.ts'

const MAX_KEYWORDS = 500
/** Each one goes through the text by itself. */
const MAX_PATTERNS = 50
/** Text is searched in pieces of this size. */
const WINDOW_CHARS = 128 * 1024

export interface Scan {
  /** The next piece of a document. Answers true when nothing more can be learnt. */
  add(text: string): boolean
  /** The document ends here: no match reaches from it into the next one. */
  endDocument(): boolean
  matched(): readonly ContentRule[]
}

export function openScan(rules: readonly ContentRule[]): Scan {
  const counters = rules.map(rule => openCounter(rule))
  let window = ''
  /** Where in the window new matches may begin; before it is context. */
  let from = 0
  const isDone = () => counters.every(counter => counter.isMatched())

  const search = (to: number) => {
    for (const counter of counters) counter.search(window, from, to)
    const kept = Math.max(0, to - CONTEXT_CHARS)
    window = window.slice(kept)
    from = to - kept
    for (const counter of counters) counter.forget(kept)
  }

  return {
    add(text) {
      window += text.normalize('NFC')
      // What begins near the end of the window may go on behind it.
      while (window.length - from >= WINDOW_CHARS + MAX_MATCH_CHARS) search(from + WINDOW_CHARS)
      return isDone()
    },
    endDocument() {
      search(window.length)
      window = ''
      from = 0
      for (const counter of counters) counter.restart()
      return isDone()
    },
    matched: () => rules.filter((_rule, at) => counters[at]?.isMatched()),
  }
}

interface Counter {
  /** Counts what begins in the window from `from` to before `to`. */
  search(window: string, from: number, to: number): void
  /** The window lost so many characters at its start. */
  forget(length: number): void
  restart(): void
  isMatched(): boolean
}

function openCounter({ kind, terms, minMatches }: ContentRule): Counter {
  const finders = matchersOf(kind, terms).map(matcher => ({ matcher, next: 0 }))
  const keys = new Set<string>()
  let places = 0
  const isMatched = () => keys.size + places >= minMatches

  return {
    isMatched,
    search(window, from, to) {
      for (const finder of finders) {
        finder.next = Math.max(finder.next, from)
        while (!isMatched()) {
          const match = finder.next < to ? finder.matcher(window, finder.next) : undefined
          if (!match || match.start >= to) break
          finder.next = match.end
          if (match.key === undefined) places += 1
          else keys.add(match.key)
        }
      }
    },
    forget(length) {
      for (const finder of finders) finder.next = Math.max(0, finder.next - length)
    },
    restart() {
      for (const finder of finders) finder.next = 0
    },
  }
}

function matchersOf(kind: ContentRule['kind'], terms: readonly string[]): Matcher[] {
  switch (kind) {
    case 'pattern':
      return terms.map(patternMatcher)
    case 'keywords':
      return [keywordMatcher(terms)]
    case 'card-number':
      return [cardNumberMatcher]
    case 'bank-account':
      return [bankAccountMatcher]
  }
}

/** Why a rule is refused; undefined for one that can be used. */
export function ruleRefusal({ kind, terms }: Pick<ContentRule, 'kind' | 'terms'>): string | undefined {
  if (kind === 'card-number' || kind === 'bank-account') {
    return terms.length > 0 ? 'numbers are known by their check digits and take no terms' : undefined
  }
  if (terms.length === 0) return 'a rule of words or patterns has at least one'
  const [limit, refusal] = kind === 'pattern' ? [MAX_PATTERNS, patternRefusal] : [MAX_KEYWORDS, keywordRefusal]
  if (terms.length > limit) return `a rule has at most ${limit} of them`
  return terms.map(refusal).find(reason => reason !== undefined)
}
