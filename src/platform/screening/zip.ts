/** The members of a ZIP archive, read from wherever they lie. */
import { Readable } from 'node:stream'
import { fromRandomAccessReaderPromise, RandomAccessReader, type Entry, type ZipFile } from 'yauzl'
import type { Bytes, Source } from './bytes.ts'
import { BrokenArchive } from './limits.ts'

export interface ZipMember {
  name: string
  isEncrypted: boolean
  /** Undefined where its way of packing is not known here. */
  open: (() => Bytes) | undefined
}

/** Files in the order of the directory at the end. Throws BrokenArchive where there is none that can be read. */
export async function* zipMembers(source: Source): AsyncGenerator<ZipMember> {
  const zip = await intact(fromRandomAccessReaderPromise(new SourceReader(source), source.sizeBytes, options))
  for await (const entry of guarded(zip.eachEntry())) {
    const isEncrypted = entry.isEncrypted()
    // A folder's name ends with a slash; whatever lies behind a name like that is looked at all the same.
    if (entry.compressedSize === 0 && entry.fileName.endsWith('/')) continue
    const open = !isEncrypted && entry.canDecodeFileData() ? () => guarded(unpacked(zip, entry)) : undefined
    yield { name: entry.fileName, isEncrypted, open }
  }
}

/** Sizes are counted by ourselves, and a wrong size shall hide nothing. */
const options = { autoClose: false, validateEntrySizes: false, strictFileNames: false }

async function* unpacked(zip: ZipFile, entry: Entry): AsyncGenerator<Uint8Array> {
  yield* await zip.openReadStreamPromise(entry)
}

/** What fails while an archive is read makes it a broken one. */
export async function* guarded<T>(stream: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* stream
  } catch (cause) {
    throw new BrokenArchive('an archive cannot be read on', { cause })
  }
}

async function intact<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (cause) {
    throw new BrokenArchive('an archive cannot be read', { cause })
  }
}

const BLOCK_BYTES = 64 * 1024
/** The directory, the header of a member and the member itself take turns. */
const KEPT_BLOCKS = 4

/** Small reads, of which the directory needs two per member, come out of blocks that are kept. */
class SourceReader extends RandomAccessReader {
  readonly #source: Source
  readonly #blocks = new Map<number, Promise<Buffer>>()

  constructor(source: Source) {
    super()
    this.#source = source
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const bytes = end - start <= BLOCK_BYTES ? this.#small(start, end) : this.#source.read(start, end)
    return Readable.from(bytes, { objectMode: false })
  }

  async *#small(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end;) {
      const first = at - (at % BLOCK_BYTES)
      const piece = (await this.#block(first)).subarray(at - first, end - first)
      if (piece.length === 0) return
      at += piece.length
      yield piece
    }
  }

  #block(first: number): Promise<Buffer> {
    const block = this.#blocks.get(first) ?? this.#load(first)
    // Put last, so that the first one is always the one used longest ago.
    this.#blocks.delete(first)
    this.#blocks.set(first, block)
    if (this.#blocks.size > KEPT_BLOCKS) this.#blocks.delete(this.#blocks.keys().next().value ?? first)
    return block
  }

  async #load(first: number): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    const end = Math.min(first + BLOCK_BYTES, this.#source.sizeBytes)
    for await (const chunk of this.#source.read(first, end)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }
}
