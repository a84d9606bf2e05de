/**
 * The examiner's thread: unpacks archives and searches texts, so that the main thread only moves bytes. It serves several
 * examinations at once and asks for the bytes that it wants to see.
 */
import { parentPort } from 'node:worker_threads'
import type { Verdict } from '#core/ports.ts'
import type { Source } from './bytes.ts'
import type { FromExaminer, Subject, Task, ToExaminer } from './examiner-messages.ts'
import type { ArchiveLimits } from './limits.ts'
import { lookIntoArchives } from './look-archives.ts'
import { lookForRules } from './look-rules.ts'

type Step = Extract<ToExaminer, { read: number }>

interface Examination {
  /** Takes the next piece of a range that is being read. */
  step(step: Step): void
  cancel(): void
}

const examinations = new Map<number, Examination>()
const send = (message: FromExaminer) => parentPort?.postMessage(message)

parentPort?.on('message', (message: ToExaminer) => {
  if (message.op === 'examine') void examine(message.id, message)
  else if (message.op === 'cancel') examinations.get(message.id)?.cancel()
  else examinations.get(message.id)?.step(message)
})

interface Order {
  task: Task
  subject: Subject
  limits: ArchiveLimits
}

async function examine(id: number, { task, subject, limits }: Order): Promise<void> {
  const { examination, read } = openExamination(id, subject.sizeBytes)
  examinations.set(id, examination)
  try {
    const content = { ...subject, read }
    const look: Promise<Verdict> =
      task === 'archives' ? lookIntoArchives(content, limits) : lookForRules(content, limits)
    send({ id, did: 'judge', verdict: await look })
  } catch (error) {
    send({ id, did: 'fail', reason: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  } finally {
    examinations.delete(id)
  }
}

function openExamination(id: number, sizeBytes: number): { examination: Examination; read: Source['read'] } {
  const waiting = new Map<number, PromiseWithResolvers<Step>>()
  let reads = 0
  let isCancelled = false

  async function* read(start = 0, end = sizeBytes): AsyncGenerator<Uint8Array> {
    const number = (reads += 1)
    const ask = (message: FromExaminer) => {
      if (isCancelled) throw new Error('The examination was cancelled')
      const answer = Promise.withResolvers<Step>()
      waiting.set(number, answer)
      send(message)
      return answer.promise
    }
    let isOpen = true
    try {
      let step = await ask({ id, did: 'read', read: number, start, end })
      for (; step.op === 'chunk'; step = await ask({ id, did: 'more', read: number })) yield step.bytes
      isOpen = false
      if (step.op === 'fail') throw new Error('The content could not be read')
    } finally {
      if (isOpen) send({ id, did: 'leave', read: number })
    }
  }

  const examination: Examination = {
    step(step) {
      // There is no verdict on a part, so nothing more is asked for.
      if (step.op === 'fail') isCancelled = true
      waiting.get(step.read)?.resolve(step)
    },
    cancel() {
      isCancelled = true
      for (const { reject } of waiting.values()) reject(new Error('The examination was cancelled'))
    },
  }
  return { examination, read }
}
