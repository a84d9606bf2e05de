/** The jobs of the load driver, and how to have one done by a Node of its own. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { track } from './children.ts'
import type { Wire } from './connection.ts'

/** Memory to touch right before the clock starts: a file of this size is filled and deleted. */
export interface WarmUp {
  file: string
  bytes: number
}

export type Job =
  | { kind: 'upload'; wire: Wire; paths: string[]; sizeBytes: number; seed: string; warmUp?: WarmUp }
  | { kind: 'download'; wire: Wire; path: string; sizeBytes: number; warmUp?: WarmUp }
  /** Downloads what `upload` stored under this seed and compares the SHA-256 of the whole. */
  | { kind: 'check'; wire: Wire; path: string; sizeBytes: number; seed: string }
  /** Uploads `numberedName(0)`, `numberedName(1)`, ... into a folder, for a time or up to a number. */
  | {
      kind: 'put-many'
      wire: Wire
      folder: string
      sizeBytes: number
      connections: number
      seed: string
      limit: Limit
      warmUp?: WarmUp
    }
  /** Downloads files that `put-many` stored, in random order. */
  | {
      kind: 'get-many'
      wire: Wire
      folder: string
      sizeBytes: number
      count: number
      connections: number
      limit: Limit
    }
  /** Posts a JSON body as often as told, with the number of the request where the body has `#`. */
  | { kind: 'post-many'; wire: Wire; path: string; body: string; connections: number; limit: Limit }
  /** Sends one request again and again over one connection. */
  | { kind: 'repeat'; wire: Wire; request: string; warmUps: number; times: number; entries: EntryCount }

export type Limit = { requests: number } | { warmUpMs: number; measureMs: number }

/** The answer must hold `count` matches of the pattern (a regular expression's source). */
export interface EntryCount {
  pattern: string
  count: number
}

/** What a job took: from the first byte sent to the last answer received. */
export interface Outcome {
  seconds: number
  requests: number
  medianMs: number
  p99Ms: number
}

export type Reply = { outcome: Outcome } | { error: string }

export const numberedName = (n: number) => `f${String(n).padStart(7, '0')}`

/** Runs the job in a Node of its own, so that load and bench share no event loop. Rejects with the job's error. */
export async function runJob(job: Job): Promise<Outcome> {
  const child = track(fork(fileURLToPath(new URL('./load.ts', import.meta.url)), { detached: true }))
  const reply = await new Promise<Reply>((resolve, reject) => {
    // The other end is load.ts, which sends exactly one Reply.
    child.on('message', message => resolve(message as Reply))
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`the load driver ended early (${code})`)))
    child.send(job)
  })
  if ('error' in reply) throw new Error(reply.error)
  return reply.outcome
}
