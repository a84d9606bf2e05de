/** Streams of bytes, as the engines read them. */

export type Bytes = AsyncIterable<Uint8Array>

/** Bytes that can be read from anywhere, as often as wanted. */
export interface Source {
  sizeBytes: number
  /** From `start` (inclusive) to `end` (exclusive). */
  read(start?: number, end?: number): Bytes
}

export function memorySource(bytes: Uint8Array): Source {
  return {
    sizeBytes: bytes.length,
    // oxlint-disable-next-line require-await -- the shape of a source is asynchronous
    async *read(start = 0, end = bytes.length) {
      if (end > start) yield bytes.subarray(start, end)
    },
  }
}

/** The first bytes, fewer where there are fewer. */
export async function takeHead(source: Source, length: number): Promise<Uint8Array> {
  const end = Math.min(length, source.sizeBytes)
  return end === 0 ? new Uint8Array() : join(await gather(source.read(0, end)))
}

/** A stream whose first bytes are known. Whoever peeked leaves it in the end, whether it was read or not. */
export interface Peeked {
  /** As many as were asked for, or all where there are fewer. */
  head: Uint8Array
  /** The whole stream, head included. Once. */
  bytes: Bytes
  leave(): Promise<void>
}

export async function peek(bytes: Bytes, length: number): Promise<Peeked> {
  const source = bytes[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  let known = 0
  while (known < length) {
    const next = await source.next()
    if (next.done) break
    chunks.push(next.value)
    known += next.value.length
  }
  return {
    head: join(chunks).subarray(0, length),
    bytes: resume(chunks, source),
    async leave() {
      await source.return?.()
    },
  }
}

async function* resume(chunks: readonly Uint8Array[], source: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks
  for (let next = await source.next(); !next.done; next = await source.next()) yield next.value
}

/** Tells of each chunk's length before it gives the chunk on. */
export async function* counted(bytes: Bytes, count: (length: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    count(chunk.length)
    yield chunk
  }
}

export async function drain(bytes: Bytes): Promise<void> {
  for await (const chunk of bytes) void chunk
}

/** All of it in one piece; undefined when it is longer than `limit`. */
export async function collect(bytes: Bytes, limit: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of bytes) {
    length += chunk.length
    if (length > limit) return undefined
    chunks.push(chunk)
  }
  return join(chunks)
}

async function gather(bytes: Bytes): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return chunks
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}
