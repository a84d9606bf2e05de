/** The main thread's end of the examiner: one thread per process, there while it is needed. */
import { Worker } from 'node:worker_threads'
import type { Examined, Verdict } from '#core/ports.ts'
import type { FromExaminer, Task, ToExaminer } from './examiner-messages.ts'
import type { ArchiveLimits } from './limits.ts'

export interface Examiner {
  /** Throws what reading the content throws, and the signal's reason. */
  examine(task: Task, content: Examined, signal: AbortSignal): Promise<Verdict>
  close(): Promise<void>
}

/** A cancelled examination that has not noticed by then is stuck in a computation: its thread is ended. */
const GRACE_MS = 2_000
/** A thread without work goes and takes its memory with it. */
const IDLE_MS = 60_000
/** The thread's heap. What it holds of archives lies outside and is limited apart. */
const HEAP_MIB = 512

/** The thread has ended under an examination, maybe for a fault of another one. */
class ExaminerGone extends Error {}

export function openExaminer(limits: ArchiveLimits): Examiner {
  let thread: Thread | undefined
  const take = () => (thread = thread?.isAlive() ? thread : startThread(limits))

  return {
    async examine(task, content, signal) {
      for (let attempt = 1; ; attempt++) {
        signal.throwIfAborted()
        try {
          return await take().examine(task, content, signal)
        } catch (error) {
          // Once more, as another content may have brought the thread down.
          if (!(error instanceof ExaminerGone) || attempt > 1) throw error
        }
      }
    },
    async close() {
      await thread?.end()
    },
  }
}

interface Thread {
  isAlive(): boolean
  examine(task: Task, content: Examined, signal: AbortSignal): Promise<Verdict>
  end(): Promise<void>
}

function startThread(limits: ArchiveLimits): Thread {
  const worker = new Worker(new URL('./examiner-worker.ts', import.meta.url), {
    name: 'examiner',
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  })
  worker.unref()
  const examinations = new Map<number, Examination>()
  let isAlive = true
  let idle: NodeJS.Timeout | undefined
  let ids = 0

  const lose = (cause?: unknown) => {
    isAlive = false
    for (const examination of examinations.values()) examination.lose(new ExaminerGone('The examiner ended', { cause }))
  }
  const end = async () => {
    isAlive = false
    clearTimeout(idle)
    // It may be all that keeps the process alive until it has ended.
    worker.ref()
    await worker.terminate()
  }
  const forget = (id: number) => {
    examinations.delete(id)
    if (examinations.size > 0 || !isAlive) return
    worker.unref()
    idle = setTimeout(() => void end(), IDLE_MS).unref()
  }
  worker.on('message', (message: FromExaminer) => examinations.get(message.id)?.receive(message))
  worker.on('error', lose)
  worker.on('exit', () => lose())

  return {
    isAlive: () => isAlive,
    end,
    async examine(task, content, signal) {
      const id = (ids += 1)
      const send = (message: ToExaminer, transfer: ArrayBuffer[] = []) => worker.postMessage(message, transfer)
      const examination = openExamination({ id, content, signal, send, onStuck: () => void end() })
      examinations.set(id, examination)
      clearTimeout(idle)
      worker.ref()
      const { name, sizeBytes, rules } = content
      send({ id, op: 'examine', task, subject: { name, sizeBytes, rules }, limits })
      try {
        return await examination.verdict
      } finally {
        // One that was cancelled stays until the thread has let go of it.
        void examination.ended.then(() => forget(id))
      }
    },
  }
}

interface Examination {
  verdict: Promise<Verdict>
  /** Resolves when the thread has done with it. */
  ended: Promise<void>
  receive(message: FromExaminer): void
  lose(error: Error): void
}

interface Means {
  id: number
  content: Examined
  signal: AbortSignal
  send: (message: ToExaminer, transfer?: ArrayBuffer[]) => void
  onStuck: () => void
}

function openExamination({ id, content, signal, send, onStuck }: Means): Examination {
  const { promise: verdict, resolve, reject } = Promise.withResolvers<Verdict>()
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  const reads = openReads({ id, content, send, onFailure: reject })
  let grace: NodeJS.Timeout | undefined

  const cancel = () => {
    reject(signal.reason)
    send({ id, op: 'cancel' })
    grace = setTimeout(onStuck, GRACE_MS).unref()
  }
  const finish = () => {
    clearTimeout(grace)
    signal.removeEventListener('abort', cancel)
    reads.close()
    end()
  }
  signal.addEventListener('abort', cancel, { once: true })

  return {
    verdict,
    ended,
    receive(message) {
      if (message.did === 'judge') resolve(message.verdict)
      else if (message.did === 'fail') reject(new Error(`The examiner cannot judge: ${message.reason}`))
      else return reads.receive(message)
      finish()
    },
    lose(error) {
      reject(error)
      finish()
    },
  }
}

type ReadMessage = Extract<FromExaminer, { read: number }>

interface Reads {
  receive(message: ReadMessage): void
  close(): void
}

/** The ranges that the thread reads, each at its own pace: a chunk goes when the thread asks for one. */
function openReads({
  id,
  content,
  send,
  onFailure,
}: Pick<Means, 'id' | 'content' | 'send'> & { onFailure: (error: unknown) => void }): Reads {
  const streams = new Map<number, AsyncIterator<Uint8Array>>()

  async function next(read: number, stream: AsyncIterator<Uint8Array>): Promise<void> {
    try {
      const step = await stream.next()
      if (!step.done) {
        // A copy of its own that can be handed over: chunks may be views of shared memory.
        const bytes = new Uint8Array(step.value)
        return send({ id, op: 'chunk', read, bytes }, [bytes.buffer])
      }
      send({ id, op: 'end', read })
    } catch (error) {
      onFailure(error)
      send({ id, op: 'fail', read })
    }
    streams.delete(read)
  }

  const leave = (read: number) => {
    // Whoever left does not want to hear that leaving failed.
    streams
      .get(read)
      ?.return?.()
      .catch(() => {})
    streams.delete(read)
  }

  return {
    receive(message) {
      if (message.did === 'leave') return leave(message.read)
      const { read } = message
      const stream =
        message.did === 'read' ? content.read(message.start, message.end)[Symbol.asyncIterator]() : streams.get(read)
      if (!stream) return
      streams.set(read, stream)
      void next(read, stream)
    },
    close() {
      for (const read of streams.keys()) leave(read)
    },
  }
}
