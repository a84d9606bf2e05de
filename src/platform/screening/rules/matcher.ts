/** What finds a rule's terms in text. */

/** A place in a text. `end` is behind its last character. */
export interface Match {
  start: number
  end: number
  /** Two matches with one key are the same thing; places without one are all different. */
  key?: string
}

/** Looks from `from` on, with what stands before it as context. Undefined where nothing more is found. */
export type Matcher = (text: string, from: number) => Match | undefined

/** The longest match that is found wherever a text is cut. */
export const MAX_MATCH_CHARS = 4_096
/** How much context is looked at before a match. */
export const CONTEXT_CHARS = 64
