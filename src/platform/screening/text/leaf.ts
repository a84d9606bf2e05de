/** Which text a file holds, and how to get at it. */
import { collect, memorySource } from '#platform/screening/bytes.ts'
import { isPdf } from '#platform/screening/magic.ts'
import type { Leaf } from '#platform/screening/walk.ts'
import { decodeText, isText } from './decode.ts'
import { textOfMarkup } from './markup.ts'
import { MAX_PDF_BYTES, textOfPdf } from './pdf.ts'

/** PDF documents within archives are held in memory while they are read. */
const MAX_HELD_PDF_BYTES = 32 * 2 ** 20

/** A document is larger than can be read for its text. */
export class DocumentTooLarge extends Error {}

/** The parts of office documents that hold what people write. */
const OFFICE_PART = /^(word|xl|ppt)\/.+\.xml$|^content\.xml$/

/** Undefined for what is no text. Throws EncryptedDocument and DocumentTooLarge, and what reading throws. */
export function textOf(leaf: Leaf): AsyncIterable<string> | undefined {
  if (isPdf(leaf.head)) return textOfLeafPdf(leaf)
  if (!isText(leaf.head)) return undefined
  const text = decodeText(leaf.head, leaf.bytes)
  return OFFICE_PART.test(leaf.name) ? textOfMarkup(text) : text
}

async function* textOfLeafPdf({ source, bytes }: Leaf): AsyncGenerator<string> {
  if (source && source.sizeBytes <= MAX_PDF_BYTES) return yield* textOfPdf(source)
  const held = source ? undefined : await collect(bytes, MAX_HELD_PDF_BYTES)
  if (!held) throw new DocumentTooLarge('a PDF document is too large to be read')
  yield* textOfPdf(memorySource(held))
}
