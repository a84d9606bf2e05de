/** Several processes behind one port: the primary process watches, its workers serve. */
import cluster, { type Worker } from 'node:cluster'
import type { Logger } from '#platform/log.ts'
import type { Running } from '#app'

export interface Workers extends Running {
  /** The port that the workers share. */
  port: number
  /** Rejects when no worker serves. */
  checkReady(): Promise<void>
}

/** A worker that ends is replaced after this pause, so that one that cannot start does not take the machine. */
const RESTART_PAUSE_MS = 1_000

/** Starts `count` workers; resolves when all of them listen, rejects when one cannot. */
export async function startWorkers(count: number, log: Logger): Promise<Workers> {
  let stopping = false
  const serving = new Set<number>()
  cluster.on('listening', worker => serving.add(worker.id))
  cluster.on('exit', worker => serving.delete(worker.id))
  const starting = Promise.all(Array.from({ length: count }, () => listening(cluster.fork())))
  const ports = await starting.catch(async (error: unknown) => {
    await stopAll()
    throw error
  })
  cluster.on('exit', (worker, code, signal) => {
    if (stopping) return
    log.error({ worker: worker.process.pid, code, signal }, 'a worker process ended and will be replaced')
    setTimeout(() => !stopping && cluster.fork(), RESTART_PAUSE_MS)
  })
  return {
    port: ports[0] ?? 0,
    async checkReady() {
      if (serving.size === 0) throw new Error('No worker process serves')
    },
    async stop() {
      stopping = true
      await stopAll()
    },
  }
}

/** The port of a new worker. Rejects when it ends before it listens. */
function listening(worker: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once('listening', address => resolve(address.port))
    worker.once('exit', () => reject(new Error('A worker process could not start')))
  })
}

async function stopAll(): Promise<void> {
  const workers = Object.values(cluster.workers ?? {}).filter(worker => worker !== undefined)
  await Promise.all(workers.map(stopWorker))
}

/** Each worker keeps to the time limit itself. */
function stopWorker(worker: Worker): Promise<void> {
  const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()))
  worker.process.kill('SIGTERM')
  return ended
}
