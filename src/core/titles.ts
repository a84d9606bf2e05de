/** Titles of files: the one that a file was given, else its label without the extension. Finding files by them. */
import { sql, type RawBuilder } from 'kysely'
import type { NodeTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'

type Sql = RawBuilder<unknown>

/** The title that a file goes by. */
export const titleOf = ({ title, label }: Pick<NodeTable, 'title' | 'label'>): string => title ?? stemOf(label)

/** Without the last dot and what follows; a dot in front begins a name, not an extension. */
function stemOf(label: string): string {
  const dot = label.lastIndexOf('.')
  return dot > 0 ? label.slice(0, dot) : label
}

export interface TitleFilter {
  title?: string
  titlePrefix?: string
}

/** Conditions on files, one for each index that answers the filter; none of them meets a file that another one meets. */
export function titleConditions({ actor }: Ctx, { title, titlePrefix = '' }: TitleFilter): Sql[] {
  if (!canMatch(title, titlePrefix)) return []
  const given = sql`node."tenantId" = ${actor.tenantId} and node.title is not null`
  const none = sql`node."tenantId" = ${actor.tenantId} and node.title is null`
  const [ofTitle, ofLabel] =
    title === undefined
      ? [prefixRange(sql`node.title`, titlePrefix), labelsByPrefix(titlePrefix)]
      : [sql`node.title = ${title}`, labelsOf(title)]
  return [sql`${given} and ${ofTitle}`, ...ofLabel.map(label => sql`${none} and ${label}`)]
}

/** In characters, as databases count. */
const lengthOf = (text: string): number => Array.from(text).length

/** Labels whose stem is this: the text itself, and the text with one more dot and anything behind it. */
function labelsOf(stem: string): Sql[] {
  if (stem === '') return []
  const withExtension = sql`${prefixRange(sql`node.label`, `${stem}.`)}
    and substr(node.label, ${lengthOf(stem) + 2}) not like '%.%'`
  return stemOf(stem) === stem ? [sql`node.label = ${stem}`, withExtension] : [withExtension]
}

/** Labels whose stem begins so. A dot within the prefix must not be the last one, or it would begin the extension. */
function labelsByPrefix(prefix: string): Sql[] {
  const range = prefixRange(sql`node.label`, prefix)
  if (stemOf(prefix) === prefix) return [range]
  return [sql`${range} and substr(node.label, ${lengthOf(prefix) + 1}) like '%.%'`]
}

/** No stored text holds NUL or lone surrogates, and PostgreSQL would refuse to be asked. */
const canMatch = (text: string | undefined, prefix: string): boolean =>
  [text ?? '', prefix].every(asked => !asked.includes('\0') && asked.isWellFormed()) &&
  (text === undefined || text.startsWith(prefix))

/** Conditions on one column that is compared as it is; undefined where nothing can meet them. */
export function textConditions(
  column: Sql,
  { text, prefix = '' }: { text: string | undefined; prefix: string | undefined },
): Sql[] | undefined {
  if (!canMatch(text, prefix)) return undefined
  if (text !== undefined) return [sql`${column} = ${text}`]
  return prefix === '' ? [] : [prefixRange(column, prefix)]
}

/** A condition: the column begins with the text. As a range of an index in the order of code points. */
function prefixRange(column: Sql, prefix: string): Sql {
  const end = endOfPrefix(prefix)
  return end === undefined ? sql`${column} >= ${prefix}` : sql`${column} >= ${prefix} and ${column} < ${end}`
}

/** The least text above all that begin so; undefined where there is none. */
function endOfPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, char => char.codePointAt(0) ?? 0)
  while (points.at(-1) === 0x10ffff) points.pop()
  const last = points.pop()
  if (last === undefined) return undefined
  // What lies between is no text of its own.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
}
