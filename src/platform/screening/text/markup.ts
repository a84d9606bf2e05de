/** The text between the tags of XML, as office documents keep it. Broken XML gives what text there is. */

/** Where a line or a cell ends. Runs of one line are not separated: a number may be split over several. */
const ENDS_LINE = new Set(['p', 'br', 'cr', 'tab', 'c', 'si', 'row', 'h', 'line-break', 'table-cell', 'table-row'])
/** A tag that does not end within so many characters is taken for text. */
const MAX_TAG_CHARS = 2 ** 20
const MAX_ENTITY_CHARS = 12

export async function* textOfMarkup(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of pieces) {
    const { text, kept } = cut(rest + piece)
    rest = kept
    if (text) yield text
  }
  yield decodeEntities(rest)
}

/** The text of all that is finished, and what waits for its end. */
function cut(markup: string): { text: string; kept: string } {
  let text = ''
  for (let at = 0; ;) {
    const start = markup.indexOf('<', at)
    if (start < 0) {
      const end = markup.length - unfinishedEntity(markup, at)
      return { text: text + decodeEntities(markup.slice(at, end)), kept: markup.slice(end) }
    }
    text += decodeEntities(markup.slice(at, start))
    const tag = tagAt(markup, start)
    if (!tag) return waitOrTake(text, markup.slice(start))
    text += tag.text
    at = tag.end
  }
}

const waitOrTake = (text: string, kept: string) =>
  kept.length > MAX_TAG_CHARS ? { text: text + kept, kept: '' } : { text, kept }

interface Tag {
  end: number
  /** What it stands for. */
  text: string
}

/** Undefined where it has no end yet. */
function tagAt(markup: string, start: number): Tag | undefined {
  const opening = markup.slice(start, start + 9)
  if ('<![CDATA['.startsWith(opening) && opening.length < 9) return undefined
  if (opening === '<![CDATA[') return until(markup, start + 9, ']]>', true)
  if (opening.startsWith('<!--')) return until(markup, start + 4, '-->', false)
  const tag = until(markup, start + 1, '>', false)
  const name = tag && /^\/?(?:[\w.-]+:)?([\w.-]+)/.exec(markup.slice(start + 1, Math.min(tag.end, start + 80)))?.[1]
  return tag && { end: tag.end, text: name && ENDS_LINE.has(name) ? '\n' : '' }
}

function until(markup: string, from: number, mark: string, isText: boolean): Tag | undefined {
  const end = markup.indexOf(mark, from)
  return end < 0 ? undefined : { end: end + mark.length, text: isText ? markup.slice(from, end) : '' }
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decodeEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:#x([\da-f]{1,6})|#(\d{1,7})|(\w{2,4}));/gi, (entity, hex, decimal, name) => {
    if (name) return ENTITIES[String(name)] ?? entity
    const code = hex ? parseInt(String(hex), 16) : Number(decimal)
    return code <= 0x10ffff ? String.fromCodePoint(code) : entity
  })
}

/** Length of an entity at the end whose semicolon is missing. */
function unfinishedEntity(text: string, from: number): number {
  const at = text.lastIndexOf('&')
  if (at < from || text.length - at > MAX_ENTITY_CHARS || text.includes(';', at)) return 0
  return text.length - at
}
