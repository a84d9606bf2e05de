/** What a measurement is made of: targets that are measured, scenarios that measure, figures that result. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Started } from './children.ts'
import type { Wire } from './connection.ts'
import type { EntryCount, WarmUp } from './jobs.ts'

export const subject = 'entrepot'

/** Entrepot or a peer, known to be installed. */
export interface Target {
  name: string
  version: string
  /** What has happened when an upload is answered. */
  durability: string
  /** Makes configuration and empty folders below `root`. */
  install(root: string, folders: readonly string[]): Promise<Installation>
}

export interface Installation {
  /** Starts a server on what is installed; may be called again once the last one was stopped. */
  start(options?: StartOptions): Promise<Running>
}

export interface StartOptions {
  /** Processes that answer requests, where the target can choose; one unless given. The peers always have two. */
  processes?: number
}

export interface Running extends Started {
  wire: Wire
  /** How to speak to the API for document filing, where there is one. */
  documents?: Wire
  /** How to speak to the API for sending packages, where there is one. */
  packages?: Wire
  /** A whole listing request, or undefined where the target cannot list so. `limit` undefined: everything. */
  list(folder: string, page: { limit: number; start: number }): { request: string; entries: EntryCount } | undefined
}

export interface Skipped {
  name: string
  reason: string
}

export interface Sizes {
  bigBytes: number
  smallBytes: number
  smallFiles: number
  connections: number
  warmUpMs: number
  measureMs: number
  folderFiles: number
  bigFolderFiles: number
  inboxPackages: number
  pageFiles: number
  listTimes: number
  streams: number
  starts: number
}

/** One line of the result. `rate`: more is better; otherwise less is. */
export interface Measure {
  id: string
  title: string
  unit: 'MB/s' | '/s' | 'ms' | 'MiB'
  rate: boolean
  goal?: Goal
}

/** Either a share of a peer's rate, or an absolute limit in the measure's unit. */
export type Goal = { peer: string; must: number; aim: number } | { must: number; aim: number }

export interface Figure {
  measure: string
  target: string
  /** One value a round; the median counts. */
  values: number[]
}

export interface Failure {
  scenario: string
  target: string
  message: string
}

export interface Scenario {
  id: string
  measures: readonly Measure[]
  /** What it does, for the reader of the result. */
  about: (sizes: Sizes) => string
  run: (bench: Bench) => Promise<void>
}

/** One scenario's view of the whole run. */
export interface Bench {
  scenario: string
  targets: readonly Target[]
  sizes: Sizes
  rounds: number
  /** A folder of this scenario's own, removed afterwards. */
  scratch: string
  record(measure: string, target: string, values: number | readonly number[]): void
  fail(target: string, error: unknown): void
}

export const MiB = 1024 * 1024

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}

/** The memory that a transfer of this size will touch, with room for buffers. */
export const warmUpFor = (bench: Bench, bytes: number): WarmUp => ({
  file: join(bench.scratch, 'warm-up'),
  bytes: bytes + 256 * MiB,
})

/** Runs the step for one target; a failure is recorded under the target's name and answered with undefined. */
export async function attempt<T>(bench: Bench, target: string, step: () => Promise<T>): Promise<T | undefined> {
  try {
    return await step()
  } catch (error) {
    bench.fail(target, error)
    return undefined
  }
}

export interface Lane {
  name: string
  running: Running
}

/** Installs and starts the targets, hands those that run to `measure`, and stops them whatever happens. */
export async function withServers(
  bench: Bench,
  {
    folders,
    targets = bench.targets,
    ...options
  }: { folders: readonly string[]; targets?: readonly Target[] } & StartOptions,
  measure: (lanes: Lane[]) => Promise<void>,
): Promise<void> {
  const lanes: Lane[] = []
  try {
    for (const target of targets) {
      const root = join(bench.scratch, target.name)
      await mkdir(root, { mode: 0o755 })
      const running = await attempt(bench, target.name, async () =>
        (await target.install(root, folders)).start(options),
      )
      if (running) lanes.push({ name: target.name, running })
    }
    await measure(lanes)
  } finally {
    for (const { running } of lanes) await running.stop()
  }
}

/** Runs the step for A B C A B C ..., so that what changes on the machine hits all alike. Failing lanes drop out. */
export async function interleave(
  bench: Bench,
  lanes: readonly Lane[],
  step: (lane: Lane, round: number) => Promise<Record<string, number>>,
): Promise<Lane[]> {
  const collected = new Map<Lane, Record<string, number[]>>(lanes.map(lane => [lane, {}]))
  for (let round = 1; round <= bench.rounds; round++) {
    for (const [lane, values] of collected) {
      const figures = await attempt(bench, lane.name, () => step(lane, round))
      if (!figures) collected.delete(lane)
      for (const [measure, value] of Object.entries(figures ?? {})) (values[measure] ??= []).push(value)
    }
  }
  for (const [{ name }, values] of collected)
    for (const [measure, rounds] of Object.entries(values)) bench.record(measure, name, rounds)
  return [...collected.keys()]
}
