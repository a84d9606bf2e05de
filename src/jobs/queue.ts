/**
 * The job table as a queue. A worker leases a job for a while and renews the lease as it works; what a dead worker held is
 * free again when its lease runs out, so a job may run twice and every handler must bear that.
 */
import type { Ctx, Deps } from '#core/ctx.ts'
import type { JobKind, JobPayloads } from '#core/jobs.ts'

/** A leased job. Worker and attempt together name the lease: a later lease of the same job differs in one of them. */
export type LeasedJob = { [K in JobKind]: Lease & { kind: K; payload: JobPayloads[K] } }[JobKind]

interface Lease {
  id: number
  tenantId: string | null
  attempts: number
  maxAttempts: number
  leasedBy: string
}

export const LEASE_MS = 60_000
const BACKOFF_MS = 2_000
const MAX_BACKOFF_MS = 3_600_000
const MAX_ERROR_LENGTH = 1_000

type Queue = Pick<Deps, 'database' | 'clock'>

/**
 * Leases the job that waits longest, or undefined when none is due. Two workers may pick the same one; the conditional
 * update lets one of them have it, and the other looks again.
 */
export async function leaseJob(
  queue: Queue,
  worker: string,
  kinds: readonly JobKind[],
): Promise<LeasedJob | undefined> {
  for (;;) {
    const now = queue.clock()
    const due = await queue.database.read
      .selectFrom('job')
      .select(['id', 'attempts'])
      .where('state', '=', 'ready')
      .where('runAt', '<=', now)
      .where('kind', 'in', kinds)
      .orderBy('runAt')
      .orderBy('id')
      .limit(1)
      .executeTakeFirst()
    if (!due) return undefined
    const leased = await queue.database.transaction(tx =>
      tx
        .updateTable('job')
        // The dedup key is free from now on: what is asked for while the job runs must run after it.
        .set({
          state: 'running',
          leasedBy: worker,
          leasedUntil: now + LEASE_MS,
          attempts: due.attempts + 1,
          dedupKey: null,
        })
        .where('id', '=', due.id)
        .where('state', '=', 'ready')
        .where('attempts', '=', due.attempts)
        .returning(['id', 'tenantId', 'kind', 'payload', 'attempts', 'maxAttempts'])
        .executeTakeFirst(),
    )
    // `enqueue` wrote kind and payload as a pair.
    if (leased) return { ...leased, payload: JSON.parse(leased.payload), leasedBy: worker } as LeasedJob
  }
}

/** Keeps the job for another while. False when the lease was lost meanwhile. */
export function renewLease(queue: Queue, job: LeasedJob): Promise<boolean> {
  return change(queue, job, { leasedUntil: queue.clock() + LEASE_MS })
}

export function completeJob(queue: Queue, job: LeasedJob): Promise<boolean> {
  return change(queue, job, {
    state: 'done',
    leasedBy: null,
    leasedUntil: null,
    lastError: null,
    endedAt: queue.clock(),
  })
}

/** Puts the job off after a failure, longer each time; after the last attempt it stays as a dead letter. */
export async function failJob(queue: Queue, job: LeasedJob, error: unknown): Promise<'ready' | 'dead'> {
  const now = queue.clock()
  const state = job.attempts >= job.maxAttempts ? 'dead' : 'ready'
  await change(queue, job, {
    state,
    leasedBy: null,
    leasedUntil: null,
    lastError: String(error).slice(0, MAX_ERROR_LENGTH),
    ...(state === 'dead' ? { endedAt: now } : { runAt: now + backoffMs(job.attempts) }),
  })
  return state
}

/** Gives a job back untried, because its worker has to stop. */
export function returnJob(queue: Queue, job: LeasedJob): Promise<boolean> {
  return change(queue, job, { state: 'ready', leasedBy: null, leasedUntil: null, attempts: job.attempts - 1 })
}

/** Doubles from attempt to attempt; half of it is random, so that many failures of one cause do not come back as one. */
function backoffMs(attempts: number): number {
  const longest = Math.min(BACKOFF_MS * 2 ** (attempts - 1), MAX_BACKOFF_MS)
  return Math.round(longest * (0.5 + Math.random() / 2))
}

/** Frees the jobs of workers that died: their leases ran out. One that was tried often enough becomes a dead letter. */
export async function releaseAbandoned({ database, clock }: Queue): Promise<void> {
  const now = clock()
  const abandoned = await database.read
    .selectFrom('job')
    .select(['id', 'attempts', 'maxAttempts'])
    .where('state', '=', 'running')
    .where('leasedUntil', '<=', now)
    .execute()
  for (const { id, attempts, maxAttempts } of abandoned) {
    const dead = attempts >= maxAttempts
    await database.transaction(tx =>
      tx
        .updateTable('job')
        .set({ leasedBy: null, leasedUntil: null, lastError: 'The worker vanished', state: dead ? 'dead' : 'ready' })
        .set(dead ? { endedAt: now } : { runAt: now })
        .where('id', '=', id)
        .where('state', '=', 'running')
        .where('leasedUntil', '<=', now)
        .execute(),
    )
  }
}

type JobChange = Partial<{
  state: 'ready' | 'done' | 'dead'
  leasedBy: null
  leasedUntil: number | null
  lastError: string | null
  endedAt: number
  runAt: number
  attempts: number
}>

/** Changes a job if this lease still holds it. */
async function change({ database }: Queue, job: LeasedJob, values: JobChange): Promise<boolean> {
  const changed = await database.transaction(tx =>
    tx
      .updateTable('job')
      .set(values)
      .where('id', '=', job.id)
      .where('state', '=', 'running')
      .where('leasedBy', '=', job.leasedBy)
      .where('attempts', '=', job.attempts)
      .returning('id')
      .executeTakeFirst(),
  )
  return changed !== undefined
}

export type JobState = 'ready' | 'running' | 'done' | 'dead'

export async function countJobs({ database }: Queue): Promise<{ kind: string; state: string; jobs: number }[]> {
  return database.read
    .selectFrom('job')
    .select(({ fn }) => ['kind', 'state', fn.countAll<number>().as('jobs')])
    .groupBy(['kind', 'state'])
    .execute()
}

/** Newest first. */
export async function listJobs(ctx: Ctx, { state, limit }: { state?: JobState; limit: number }) {
  return ctx.db
    .selectFrom('job')
    .select(['id', 'kind', 'state', 'attempts', 'maxAttempts', 'runAt', 'createdAt', 'endedAt', 'lastError'])
    .$if(state !== undefined, query => query.where('state', '=', state!))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

/** Gives dead letters a new set of attempts: the named one, or all. Answers how many. */
export async function retryDead({ database, clock }: Queue, jobId?: number): Promise<number> {
  const retried = await database.transaction(tx =>
    tx
      .updateTable('job')
      .set({ state: 'ready', attempts: 0, runAt: clock(), endedAt: null })
      .where('state', '=', 'dead')
      .$if(jobId !== undefined, query => query.where('id', '=', jobId!))
      .returning('id')
      .execute(),
  )
  return retried.length
}

/** Forgets jobs that ended well before `before`. Dead letters stay until someone looks at them. */
export async function forgetDone({ database }: Queue, before: number): Promise<void> {
  await database.transaction(tx =>
    tx.deleteFrom('job').where('state', '=', 'done').where('endedAt', '<', before).execute(),
  )
}
