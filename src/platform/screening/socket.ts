/** A connection to an engine, for one content: opened, written to with back pressure, read from, and always closed. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { EnginePlace } from './location.ts'

export interface Line {
  /** Resolves when more may be written. Throws when the other side has gone. */
  write(bytes: Uint8Array | string): Promise<void>
  /** What comes, until the other side closes; whoever stops reading closes the line. Throws when the connection breaks. */
  readonly incoming: AsyncIterable<Uint8Array>
  close(): void
}

/**
 * Runs `work` over a connection of its own and closes it, whatever happens. Throws the signal's reason when it aborts, and
 * the connection's error where the address cannot be reached.
 */
export async function withLine<T>(
  address: EnginePlace['address'],
  signal: AbortSignal,
  work: (line: Line) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const socket = connect(address)
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = () => {
    socket.destroy()
    reject(signal.reason)
  }
  aborted.catch(() => {})
  signal.addEventListener('abort', abort, { once: true })
  // Errors show where somebody reads or writes; here they only must not bring the process down.
  socket.on('error', () => {})
  try {
    // Reading the content may take long too, so that what aborts does not wait for it.
    return await Promise.race([aborted, converseOver(socket, work)])
  } finally {
    signal.removeEventListener('abort', abort)
    socket.destroy()
  }
}

async function converseOver<T>(socket: Socket, work: (line: Line) => Promise<T>): Promise<T> {
  await once(socket, 'connect')
  return work({
    write: bytes => write(socket, bytes),
    incoming: socket,
    close: () => void socket.destroy(),
  })
}

async function write(socket: Socket, bytes: Uint8Array | string): Promise<void> {
  // An answer that waits is read before a write can fail, and with that the connection.
  await turn()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.write(bytes, error => (error ? reject(error) : resolve()))
  await promise
}

/**
 * Two sides of one conversation, as an answer may come before everything is sent. The answer ends the sending, and so it
 * counts even when the sending failed; without one, the first failure is thrown.
 */
export async function converse<T>(line: Line, listening: Promise<T>, sending: Promise<void>): Promise<T> {
  let first: { error: unknown } | undefined
  const fail = (error: unknown) => {
    first ??= { error }
    line.close()
    throw error
  }
  const answered = listening.finally(() => line.close())
  const [answer] = await Promise.allSettled([answered.catch(fail), sending.catch(fail)])
  if (answer.status === 'fulfilled') return answer.value
  throw first?.error
}

/** The other side cut the connection. */
export const isCutOff = (error: unknown) =>
  error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
