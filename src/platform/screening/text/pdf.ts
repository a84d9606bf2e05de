/** The text of PDF documents, page by page, of which only the parts in use are read. */
import type { PDFDataRangeTransport, PDFPageProxy } from 'unpdf/pdfjs'
import type { Source } from '#platform/screening/bytes.ts'

/** The reader keeps what it has read of a document. */
export const MAX_PDF_BYTES = 128 * 2 ** 20
/** Text of further pages is not looked at. */
export const MAX_PDF_PAGES = 5_000

const RANGE_BYTES = 256 * 1024

/** The document opens only with a password. */
export class EncryptedDocument extends Error {}

/** Throws EncryptedDocument and what reading throws; a broken document ends where it breaks. */
export async function* textOfPdf(source: Source): AsyncGenerator<string> {
  // Large, and most contents are no PDF.
  const pdf = await import('unpdf/pdfjs')
  const { range, failed } = openRange(new pdf.PDFDataRangeTransport(source.sizeBytes, null), source)
  const loading = pdf.getDocument({ range, rangeChunkSize: RANGE_BYTES, ...options })
  try {
    const document = await Promise.race([loading.promise, failed])
    for (let number = 1; number <= Math.min(document.numPages, MAX_PDF_PAGES); number++) {
      yield await Promise.race([textOfPage(await document.getPage(number)), failed])
    }
  } catch (error) {
    if (error instanceof ReadFailed) throw error.cause
    if (error instanceof pdf.PasswordException) throw new EncryptedDocument('the document has a password')
  } finally {
    await loading.destroy()
  }
}

/** Nothing is drawn and nothing is fetched; the reader's complaints about broken documents are of no interest. */
const options = {
  disableAutoFetch: true,
  disableStream: true,
  disableFontFace: true,
  isEvalSupported: false,
  useSystemFonts: false,
  useWorkerFetch: false,
  stopAtErrors: false,
  verbosity: 0,
}

class ReadFailed extends Error {}

/** Answers the reader's requests for ranges. `failed` rejects with ReadFailed when one cannot be read. */
function openRange(range: PDFDataRangeTransport, source: Source) {
  const { promise: failed, reject } = Promise.withResolvers<never>()
  failed.catch(() => {})
  range.requestDataRange = (start: number, end: number) => {
    readAll(source, start, Math.min(end, source.sizeBytes)).then(
      bytes => range.onDataRange(start, bytes),
      (cause: unknown) => reject(new ReadFailed('the document cannot be read', { cause })),
    )
  }
  return { range, failed }
}

async function readAll(source: Source, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start)
  let at = 0
  for await (const chunk of source.read(start, end)) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

async function textOfPage(page: PDFPageProxy): Promise<string> {
  const { items } = await page.getTextContent()
  const text = items.map(piece => ('str' in piece ? piece.str + (piece.hasEOL ? '\n' : '') : '')).join('')
  page.cleanup()
  return `${text}\n`
}
