/** The main thread's end of the data worker: lines to it, one per transfer, and the memory both threads share. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { SLOT_BYTES, toError, type Answer, type FromWorker, type Request, type ToWorker } from './worker-messages.ts'

type AnswerTo<D extends Answer['did']> = Extract<Answer, { did: D }>

/** One transfer's conversation with the worker. */
export interface Line {
  send(request: Request): void
  /** An answer of this kind that has come. Throws the failure of the transfer, or that the worker has gone. */
  poll<D extends Answer['did']>(did: D): AnswerTo<D> | undefined
  /** The next answer of this kind; throws as `poll` does. */
  next<D extends Answer['did']>(did: D): Promise<AnswerTo<D>>
  /** Whoever still waits for an answer is told so. */
  close(): void
}

/** A piece of memory that both threads see. */
export interface Slot {
  id: number
  bytes: Buffer
}

export interface WorkerLink {
  /** False once the worker has ended; the link is of no use then. */
  readonly alive: boolean
  open(): Line
  takeSlot(): Slot
  returnSlot(slot: Slot): void
  /** Ends the worker; transfers under way fail, after a moment in which those that were cut off can clean up. */
  close(): Promise<void>
}

/** Slots kept for the next transfers: 2 MiB. */
const IDLE_SLOTS = 8

const CLEAN_UP_MS = 500
const CLEAN_UP_STEP_MS = 10

interface Inbox {
  receive(answer: Answer): void
  lose(error: Error): void
}

/** Of young objects: what the worker makes are messages and buffers, whose bytes lie elsewhere. */
const YOUNG_MIB = 6

/** Starts a worker. It keeps the process alive only while somebody waits for an answer. */
export function startWorker(): WorkerLink {
  const worker = new Worker(new URL('./data-worker.ts', import.meta.url), {
    name: 'data',
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  })
  const inboxes = new Map<number, Inbox>()
  const idleSlots: Slot[] = []
  const hold = holder(worker)
  let gone: Error | undefined
  let ids = 0

  const send = (message: ToWorker) => worker.postMessage(message)
  const lose = (error: Error) => {
    gone ??= error
    for (const inbox of inboxes.values()) inbox.lose(gone)
    inboxes.clear()
  }

  worker.on('message', ({ id, ...answer }: FromWorker) => inboxes.get(id)?.receive(answer))
  worker.on('error', cause => lose(new Error('The data worker failed', { cause })))
  worker.on('exit', () => lose(new Error('The data worker ended')))

  return {
    get alive() {
      return gone === undefined
    },
    open() {
      const id = (ids += 1)
      const { inbox, ...waiting } = openInbox(hold)
      if (gone) inbox.lose(gone)
      else inboxes.set(id, inbox)
      return {
        ...waiting,
        send: request => send({ ...request, id }),
        close() {
          inboxes.delete(id)
          inbox.lose(new Error('The transfer was ended'))
        },
      }
    },
    takeSlot() {
      const idle = idleSlots.pop()
      if (idle) return idle
      const memory = new SharedArrayBuffer(SLOT_BYTES)
      const slot = { id: (ids += 1), bytes: Buffer.from(memory) }
      send({ op: 'share', slot: slot.id, memory })
      return slot
    },
    returnSlot(slot) {
      if (idleSlots.length < IDLE_SLOTS) idleSlots.push(slot)
      else send({ op: 'unshare', slot: slot.id })
    },
    async close() {
      for (let waitedMs = 0; inboxes.size > 0 && waitedMs < CLEAN_UP_MS; waitedMs += CLEAN_UP_STEP_MS) {
        await sleep(CLEAN_UP_STEP_MS)
      }
      lose(new Error('The blob store was closed'))
      // It may be all that keeps the process alive until it has ended.
      worker.ref()
      await worker.terminate()
    },
  }
}

type Hold = <T>(promise: Promise<T>) => Promise<T>

/** Lets the worker hold the process while a promise is open, and only then. */
function holder(worker: Worker): Hold {
  let open = 0
  worker.unref()
  return async promise => {
    open += 1
    if (open === 1) worker.ref()
    try {
      return await promise
    } finally {
      open -= 1
      if (open === 0) worker.unref()
    }
  }
}

function openInbox(hold: Hold): { inbox: Inbox } & Pick<Line, 'poll' | 'next'> {
  const answers: Answer[] = []
  let lost: Error | undefined
  let arrival: PromiseWithResolvers<void> | undefined

  const wake = () => {
    arrival?.resolve()
    arrival = undefined
  }

  const poll: Line['poll'] = <D extends Answer['did']>(did: D) => {
    const at = answers.findIndex(answer => answer.did === did)
    // The kind was just compared, which the compiler cannot carry over to the union's member.
    if (at >= 0) return answers.splice(at, 1)[0] as AnswerTo<D>
    if (lost) throw lost
    return undefined
  }

  return {
    inbox: {
      receive(answer) {
        if (answer.did === 'fail') lost = toError(answer)
        else answers.push(answer)
        wake()
      },
      lose(error) {
        lost ??= error
        wake()
      },
    },
    poll,
    async next(did) {
      for (;;) {
        const answer = poll(did)
        if (answer) return answer
        arrival ??= Promise.withResolvers()
        await hold(arrival.promise)
      }
    },
  }
}
