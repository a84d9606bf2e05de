/** Runs jobs: several at a time, at once when told, by looking now and then otherwise. */
import { setTimeout as sleep } from 'node:timers/promises'
import { makeCtx, systemActor, type Ctx, type Deps } from '#core/ctx.ts'
import type { JobKind, JobPayloads } from '#core/jobs.ts'
import {
  completeJob,
  failJob,
  LEASE_MS,
  leaseJob,
  releaseAbandoned,
  renewLease,
  returnJob,
  type LeasedJob,
} from './queue.ts'

/** What does a job of each kind. It may be called twice for one job, also at the same time. */
export type JobHandlers = { [K in JobKind]: (ctx: Ctx, payload: JobPayloads[K], signal: AbortSignal) => Promise<void> }

/** Where a worker tells what happened. */
export interface JobLog {
  debug(facts: object, text: string): void
  warn(facts: object, text: string): void
  error(facts: object, text: string): void
}

export interface WorkerOptions {
  deps: Deps
  handlers: JobHandlers
  /** Tenant of jobs that belong to none. */
  providerTenantId: string
  concurrency: number
  log: JobLog
  pollMs?: number
}

export interface JobWorker {
  /** Looks for work now. */
  wake(): void
  /** Takes no more jobs and waits for those that run; what has not ended within the limit is given back. */
  stop(limitMs: number): Promise<void>
}

const POLL_MS = 1_000
const ABANDONED_EVERY_MS = LEASE_MS / 4

export function startWorker({ pollMs = POLL_MS, ...options }: WorkerOptions): JobWorker {
  const { deps, concurrency, log } = options
  const kinds = Object.keys(options.handlers) as JobKind[] // the table's own keys
  const name = `${process.pid}:${deps.newId()}`
  const aborter = new AbortController()
  const bell = createBell()
  let stopping = false
  let releasedAt = -Infinity

  async function loop(): Promise<void> {
    while (!stopping) {
      const worked = await workOnce().catch((error: unknown) => {
        log.error({ err: error }, 'the job queue cannot be read')
        return false
      })
      if (!worked && !stopping) await bell.wait(pollMs)
    }
  }

  async function workOnce(): Promise<boolean> {
    if (performance.now() - releasedAt > ABANDONED_EVERY_MS) {
      releasedAt = performance.now()
      await releaseAbandoned(deps)
    }
    const job = await leaseJob(deps, name, kinds)
    if (!job) return false
    await runJob(job, options, aborter.signal)
    return true
  }

  const loops = Array.from({ length: concurrency }, loop)
  return {
    wake: () => bell.ring(),
    async stop(limitMs) {
      stopping = true
      bell.ring()
      const timer = setTimeout(() => aborter.abort(), limitMs)
      await Promise.all(loops)
      clearTimeout(timer)
    },
  }
}

/** Runs one job to its end and books the outcome. Never throws for what the job itself does. */
async function runJob(job: LeasedJob, { deps, handlers, providerTenantId, log }: WorkerOptions, signal: AbortSignal) {
  const renewal = setInterval(() => void renewLease(deps, job).catch(() => {}), LEASE_MS / 3)
  const ctx = makeCtx(deps, systemActor(job.tenantId ?? providerTenantId, 'job'), `job-${job.id}-${job.attempts}`)
  const facts = { job: job.id, kind: job.kind, attempt: job.attempts }
  try {
    // Kind and payload of a job belong together; the compiler cannot follow that through the look-up.
    const run = handlers[job.kind] as (ctx: Ctx, payload: unknown, signal: AbortSignal) => Promise<void>
    await unlessAborted(signal, run(ctx, job.payload, signal))
    await completeJob(deps, job)
    log.debug(facts, 'job done')
  } catch (error) {
    if (signal.aborted) return void (await returnJob(deps, job))
    const state = await failJob(deps, job, error)
    if (state === 'dead') log.error({ ...facts, err: error }, 'job given up')
    else log.warn({ ...facts, err: error }, 'job failed, will be tried again')
  } finally {
    clearInterval(renewal)
  }
}

/** The outcome of `work`, or a rejection as soon as the worker has to stop. */
async function unlessAborted(signal: AbortSignal, work: Promise<void>): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const stop = () => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Lets sleepers be woken before their time. */
function createBell() {
  let ringer = new AbortController()
  return {
    ring() {
      ringer.abort()
      ringer = new AbortController()
    },
    wait: (limitMs: number) => sleep(limitMs, undefined, { signal: ringer.signal }).catch(() => {}),
  }
}
