/** Work that follows from what happened: rows of the same transaction, leased by workers, retried, given up visibly. */
import type { TxCtx } from './ctx.ts'
import type { DomainEvent, EventType } from './events.ts'

/** Every kind of job and what it needs to know. `jobs/` says which core function does it. */
export interface JobPayloads {
  /** Remove the bytes of blobs that no version refers to any more. */
  'blob.collect': { blobIds: string[] }
  /** Overwrite what purged rows left in free pages and the log. */
  'database.scrub': Record<never, never>
  /** Remove stored objects that no row knows, and collect blobs that nothing refers to. */
  sweep: Record<never, never>
  /** Expire abandoned uploads and forget ended ones. */
  'upload.expire': Record<never, never>
  /** Delete files whose time has come, and remove accounts that said so. */
  expiry: Record<never, never>
  /** Purge what has been in the trash for too long, and superseded versions beyond the space's number. */
  'trash.purge': Record<never, never>
  /** Look into a content. */
  'version.screen': { versionId: number }
  /** Take up contents whose screening got lost. */
  'screening.resume': Record<never, never>
  'mail.send': { mailId: string }
  /** Deliveries end, and some time later their contents. */
  'delivery.retention': Record<never, never>
  /** Seal new events into a batch of the hash chain. */
  'audit.seal': Record<never, never>
  /** Drop sealed batches that are older than the audit log is kept. */
  'audit.drop': Record<never, never>
  /** Forget ended sessions, old throttles, done jobs. */
  'clean-up': Record<never, never>
  /** Held by a backup that runs: as long as its lease lasts, no blob is collected. */
  'backup.hold': Record<never, never>
}

export type JobKind = keyof JobPayloads

/** Jobs that an event brings along. An event type that is absent brings none. */
const followUps: Partial<Record<EventType, (event: DomainEvent) => readonly NewJob[]>> = {}

type NewJob = {
  [K in JobKind]: { kind: K; payload: JobPayloads[K]; dedupKey?: string; runAt?: number; maxAttempts?: number }
}[JobKind]

const MAX_ATTEMPTS = 10

/** Adds a job. One with the `dedupKey` of a job that is still waiting is dropped. */
export async function enqueue(ctx: TxCtx, job: NewJob): Promise<void> {
  await ctx.db
    .insertInto('job')
    .values({
      tenantId: ctx.actor.tenantId,
      kind: job.kind,
      payload: JSON.stringify(job.payload),
      dedupKey: job.dedupKey ?? null,
      state: 'ready',
      runAt: job.runAt ?? ctx.clock(),
      attempts: 0,
      maxAttempts: job.maxAttempts ?? MAX_ATTEMPTS,
      createdAt: ctx.clock(),
    })
    .onConflict(clash => clash.column('dedupKey').doNothing())
    .execute()
}

export async function enqueueFollowUps(ctx: TxCtx, event: DomainEvent): Promise<void> {
  const jobs = followUps[event.type]?.(event) ?? []
  for (const job of jobs) await enqueue(ctx, job)
}
