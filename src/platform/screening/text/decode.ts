/** Plain text out of bytes, whose charset nobody names. */
import type { Bytes } from '#platform/screening/bytes.ts'

type Charset = 'utf-8' | 'utf-16le' | 'utf-16be'

/** True where the first bytes look like text: a byte order mark, or nothing that text never holds. */
export function isText(head: Uint8Array): boolean {
  return markOf(head) !== undefined || (head.length > 0 && !head.some(isBinary))
}

/** NUL and most other control characters. */
const isBinary = (byte: number) => byte < 0x20 && (byte < 0x09 || byte > 0x0d) && byte !== 0x1b && byte !== 0x1a

function markOf(head: Uint8Array): Charset | undefined {
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return 'utf-8'
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le'
  return head[0] === 0xfe && head[1] === 0xff ? 'utf-16be' : undefined
}

/** By the byte order mark; without one UTF-8, and Latin-1 from where that cannot be. */
export function decodeText(head: Uint8Array, bytes: Bytes): AsyncIterable<string> {
  const charset = markOf(head)
  return charset?.startsWith('utf-16') ? decodeMarked(charset, bytes) : decodeUnmarked(bytes)
}

async function* decodeMarked(charset: Charset, bytes: Bytes): AsyncGenerator<string> {
  const decoder = new TextDecoder(charset)
  for await (const chunk of bytes) yield decoder.decode(chunk, { stream: true })
  yield decoder.decode()
}

async function* decodeUnmarked(bytes: Bytes): AsyncGenerator<string> {
  const decode = openDecoder()
  let rest: Uint8Array = new Uint8Array()
  for await (const chunk of bytes) {
    const joined = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    const end = joined.length - unfinished(joined)
    // A copy: the chunk may be a small view of much memory.
    rest = joined.slice(end)
    yield decode(joined.subarray(0, end))
  }
  yield decode(rest)
}

/** Once something is no UTF-8, nothing that follows is taken for it. */
function openDecoder(): (bytes: Uint8Array) => string {
  const strict = new TextDecoder('utf-8', { fatal: true })
  const latin = new TextDecoder('windows-1252')
  let isUtf8 = true
  return bytes => {
    if (!isUtf8) return latin.decode(bytes)
    try {
      return strict.decode(bytes)
    } catch {
      isUtf8 = false
      return latin.decode(bytes)
    }
  }
}

/** How many bytes at the end belong to a character whose last bytes are missing. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return lengthOf(byte) > back ? back : 0
  }
  return 0
}

const lengthOf = (leading: number) => (leading >= 0xf0 ? 4 : leading >= 0xe0 ? 3 : 2)
