/** An engine over ClamAV's daemon: the whole content goes through its socket (`INSTREAM`), nothing over shared files. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Examined, ScreeningEngine, Verdict } from '#core/ports.ts'
import type { EnginePlace } from './location.ts'
import { converse, isCutOff, withLine, type Line } from './socket.ts'
import { clean, encrypted, infected, tooLarge } from './verdicts.ts'

/** More than any answer has. */
const MAX_ANSWER_BYTES = 4_096
const CHUNK_BYTES = 64 * 1024
/** How far before the place of a broken connection, and how long between two chunks, an answer is waited for. */
const CAREFUL_BYTES = 2 ** 20
const CAREFUL_PAUSE_MS = 2

export function clamdEngine({ name, mandatory, timeoutMs, maxBytes, address }: EnginePlace): ScreeningEngine {
  return {
    name,
    mandatory,
    timeoutMs,
    async examine(content, signal) {
      if (maxBytes !== undefined && content.sizeBytes > maxBytes) return tooLarge(`larger than ${maxBytes} bytes`)
      const progress = { sentBytes: 0 }
      const attempt = (carefulFrom: number) =>
        withLine(address, signal, line => ask(line, { content, progress, carefulFrom }))
      try {
        return verdictOf(await attempt(Infinity))
      } catch (error) {
        // When its limit is passed the daemon says so and closes at once, and a write that fails then can cost the answer.
        if (!isCutOff(error) || progress.sentBytes === 0) throw error
        return verdictOf(await attempt(progress.sentBytes - CAREFUL_BYTES))
      }
    },
  }
}

interface Question {
  content: Examined
  progress: { sentBytes: number }
  /** From there on it goes slowly, so that an answer is heard before anything more is sent. */
  carefulFrom: number
}

const ask = (line: Line, question: Question) => converse(line, readAnswer(line), send(line, question))

async function send(line: Line, { content, progress, carefulFrom }: Question): Promise<void> {
  progress.sentBytes = 0
  await line.write('zINSTREAM\0')
  for await (const chunk of content.read()) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
      const piece = chunk.subarray(at, at + CHUNK_BYTES)
      await line.write(Buffer.concat([lengthOf(piece.length), piece]))
      progress.sentBytes += piece.length
      if (progress.sentBytes >= carefulFrom) await sleep(CAREFUL_PAUSE_MS)
    }
  }
  await line.write(lengthOf(0))
}

function lengthOf(bytes: number): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes)
  return length
}

/** One line that ends with a zero byte. */
async function readAnswer(line: Line): Promise<string> {
  let answer = Buffer.alloc(0)
  for await (const chunk of line.incoming) {
    answer = Buffer.concat([answer, chunk])
    const end = answer.indexOf(0)
    if (end >= 0) return answer.toString('utf8', 0, end)
    if (answer.length > MAX_ANSWER_BYTES) throw new Error('clamd answers without an end')
  }
  throw new Error('clamd closed the connection without an answer')
}

/** Throws for an answer that is no verdict. */
function verdictOf(answer: string): Verdict {
  const text = answer.replace(/^stream: /, '').trim()
  if (text === 'OK') return clean
  if (text.startsWith('INSTREAM size limit exceeded')) return tooLarge('larger than the limit of clamd')
  const found = /^(\S.*) FOUND$/.exec(text)?.[1]
  if (!found) throw new Error(`clamd answers: ${text.slice(0, 200)}`)
  // Not malware, but what its settings keep it from looking at.
  if (found.startsWith('Heuristics.Limits.Exceeded')) return tooLarge('beyond the limits of clamd')
  return found.startsWith('Heuristics.Encrypted') ? encrypted : infected(found)
}
