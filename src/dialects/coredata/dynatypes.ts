/** Dynatypes of files: named kinds of documents, the same for every tenant. Only those beside `File` link contacts. */
import { createHash } from 'node:crypto'
import { Type as T } from 'typebox'

/** The kinds that the vendor's reference names; the first is what a file is when nobody says otherwise. */
const titles = ['File', 'Contract', 'LetterIn', 'LetterOut', 'Memo', 'Other', 'Report'] as const
export type Dynatype = (typeof titles)[number]
export const defaultDynatype: Dynatype = 'File'

export const isDynatype = (title: string): title is Dynatype => titles.some(known => known === title)

/** Of files; documents that are none have an empty object. */
export const DynatypeRef = T.Union([
  T.Object({
    caption_plural: T.String(),
    caption_singular: T.String(),
    id: T.String({ format: 'uuid' }),
    title: T.String(),
  }),
  T.Object({}, { maxProperties: 0 }),
])

/** The id follows from the title, so that it is the same everywhere and for ever. */
function idOf(title: string): string {
  const hex = createHash('sha256').update(`dynatype:${title}`).digest('hex')
  // RFC 9562 §5.8: version 8 is for ids of one's own making.
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}

const known = new Map(
  titles.map(title => [
    title,
    {
      caption_plural: `dynatypes_labels:${title}_plural:`,
      caption_singular: `dynatypes_labels:${title}_singular:`,
      id: idOf(title),
      title,
    },
  ]),
)

/** What a stored title shows as; one that is not known any more shows as the default. */
export const presentDynatype = (title: string | undefined) =>
  known.get(isDynatype(title ?? '') ? (title as Dynatype) : defaultDynatype)! // every title has its entry
