/** The members of a tar archive, in a stream. */
import { drain, type Bytes } from './bytes.ts'
import { BrokenArchive } from './limits.ts'

const BLOCK_BYTES = 512
/** Headers that only describe the next member are read whole, up to here. */
const MAX_DESCRIPTION_BYTES = 2 ** 20

export interface TarMember {
  name: string
  /** To be read before the next member is asked for; what is left over is skipped. */
  bytes: Bytes
}

interface Header {
  name: string
  type: string
  sizeBytes: number
}

/** What a description says of the member behind it. */
type Described = Partial<Pick<Header, 'name' | 'sizeBytes'>>

/** Regular files of every flavour of tar. Throws BrokenArchive where the stream is none. */
export async function* tarMembers(archive: Bytes): AsyncGenerator<TarMember> {
  const cursor = openCursor(archive)
  try {
    let described: Described = {}
    for (;;) {
      const block = await cursor.take(BLOCK_BYTES)
      const plain = block && parseHeader(block)
      if (!plain) return
      const header = { ...plain, ...described }
      const bytes = cursor.flow(hasBytes(header.type) ? header.sizeBytes : 0)
      if (/[xL]/.test(header.type)) described = await describe(header, bytes)
      else {
        described = {}
        if (isFile(header.type)) yield { name: header.name, bytes }
      }
      await drain(bytes)
      if (hasBytes(header.type)) await drain(cursor.flow(padding(header.sizeBytes)))
    }
  } finally {
    await cursor.leave()
  }
}

const isFile = (type: string) => /[07\0S]/.test(type)
/** Links, devices and folders name a size at times, but have nothing behind them. */
const hasBytes = (type: string) => !/[1-6]/.test(type)
const padding = (sizeBytes: number) => (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES

/** Undefined for the block of zeros at the end. */
function parseHeader(block: Buffer): Header | undefined {
  if (block.every(byte => byte === 0)) return undefined
  const sizeBytes = parseSize(block.subarray(124, 136))
  return { name: textUntilZero(block.subarray(0, 100)), type: String.fromCharCode(block[156]!), sizeBytes }
}

/** Octal digits, or a big-endian number where the first bit is set. */
function parseSize(field: Buffer): number {
  const size = field[0]! & 0x80 ? Number(field.readBigUInt64BE(4)) : parseInt(textUntilZero(field).trim() || '0', 8)
  if (!Number.isSafeInteger(size)) throw new BrokenArchive('a member of a tar archive has no size')
  return size
}

function textUntilZero(field: Buffer): string {
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end < 0 ? field.length : end)
}

async function describe(header: Header, bytes: Bytes): Promise<Described> {
  if (header.sizeBytes > MAX_DESCRIPTION_BYTES) return {}
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  const text = Buffer.concat(chunks)
  return header.type === 'L' ? { name: textUntilZero(text) } : parseRecords(text.toString())
}

/** Records such as `20 path=a/long/name`, one a line. */
function parseRecords(text: string): Described {
  const name = /^\d+ path=(.*)$/m.exec(text)?.[1]
  const size = /^\d+ size=(\d{1,15})$/m.exec(text)?.[1]
  return { ...(name !== undefined && { name }), ...(size !== undefined && { sizeBytes: Number(size) }) }
}

interface Cursor {
  /** Exactly so many bytes; undefined at the end. */
  take(length: number): Promise<Buffer | undefined>
  /** The next bytes as they come; throws BrokenArchive when there are fewer. */
  flow(length: number): Bytes
  leave(): Promise<void>
}

function openCursor(bytes: Bytes): Cursor {
  const source = bytes[Symbol.asyncIterator]()
  let rest: Uint8Array = new Uint8Array()

  /** At least one byte and at most `limit`; undefined at the end. */
  async function next(limit: number): Promise<Uint8Array | undefined> {
    while (rest.length === 0) {
      const step = await source.next()
      if (step.done) return undefined
      rest = step.value
    }
    const piece = rest.subarray(0, limit)
    rest = rest.subarray(piece.length)
    return piece
  }

  async function take(length: number): Promise<Buffer | undefined> {
    const pieces: Uint8Array[] = []
    for (let missing = length; missing > 0;) {
      const piece = await next(missing)
      if (!piece) return undefined
      pieces.push(piece)
      missing -= piece.length
    }
    return Buffer.concat(pieces)
  }

  return {
    take,
    flow(length) {
      let missing = length
      // One count for all that read it, so that a second reader takes up where the first one left.
      return {
        async *[Symbol.asyncIterator]() {
          while (missing > 0) {
            const piece = await next(missing)
            if (!piece) throw new BrokenArchive('a tar archive ends too early')
            missing -= piece.length
            yield piece
          }
        },
      }
    },
    async leave() {
      await source.return?.()
    },
  }
}
