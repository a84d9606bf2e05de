/** Request bodies as chunks that are freed as soon as they were used. */
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { DomainError } from '#core/errors.ts'

/** What takes bytes in; a segment writer is one. A promise is back pressure, and until it resolves the chunk is kept. */
export interface ByteSink {
  write(chunk: Uint8Array): Promise<void> | undefined
}

export interface Body {
  /**
   * The next chunk, or undefined at the end. The chunk before is given up with this call and may be gone.
   * Throws DomainError `upload-interrupted` when the client went away before the end.
   */
  next(): Promise<Buffer | undefined>
  /** Discards what is left, so that the connection can serve the next request. */
  close(): void
}

/**
 * Reads a stream by its `data` events, which bring every chunk as it came: `read()` would join what has piled up.
 * One reader per stream.
 */
export function openBody(stream: Readable): Body {
  const chunks: Buffer[] = []
  let ended = stream.readableEnded
  let broken = stream.destroyed && !ended
  let arrival: PromiseWithResolvers<void> | undefined
  let current: Buffer | undefined
  const ownsChunks = comesFromSocket(stream)

  const wake = () => {
    arrival?.resolve()
    arrival = undefined
  }
  const onData = (chunk: Buffer) => {
    chunks.push(chunk)
    if (!arrival) stream.pause()
    wake()
  }
  const onEnd = () => {
    ended = true
    wake()
  }
  const onBreak = () => {
    broken = !ended
    wake()
  }
  stream.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)

  return {
    async next() {
      if (current && ownsChunks) freeChunk(current)
      current = undefined
      for (;;) {
        current = chunks.shift()
        if (current) return current
        if (broken) throw new DomainError('upload-interrupted', {})
        if (ended) return undefined
        arrival = Promise.withResolvers()
        const { promise } = arrival
        if (stream.isPaused()) stream.resume()
        await promise
      }
    },
    close() {
      stream.off('data', onData).resume()
      chunks.length = 0
    },
  }
}

/** Nobody else sees the memory of what came over a socket. Not asked for by class, as Node loads its WebSocket with `node:http`. */
const comesFromSocket = (stream: Readable) => 'socket' in stream && stream.socket instanceof Socket

/** Passes a whole body on; answers its length in bytes. Throws what `next` and the sink throw, and then discards. */
export async function pipeBody(stream: Readable, sink: ByteSink): Promise<number> {
  const body = openBody(stream)
  let sizeBytes = 0
  try {
    for (let chunk = await body.next(); chunk; chunk = await body.next()) {
      sizeBytes += chunk.length
      const taken = sink.write(chunk)
      if (taken) await taken
    }
    return sizeBytes
  } finally {
    body.close()
  }
}

/** A whole body, chunk by chunk; each is gone when the next is asked for. Leaving early discards the rest. */
export async function* chunksOfBody(stream: Readable): AsyncGenerator<Uint8Array> {
  const body = openBody(stream)
  try {
    for (let chunk = await body.next(); chunk; chunk = await body.next()) yield chunk
  } finally {
    body.close()
  }
}

/**
 * Gives the memory of a chunk back at once; waiting for the collector makes large transfers a third slower. Only for
 * bytes nobody else has a view of: a chunk of a Node request does not share its memory, others may.
 */
export function freeChunk({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
