/** `serve`, `worker` and `init`: the commands that start something. */
import cluster from 'node:cluster'
import type { Command } from 'commander'
import {
  openInstallation,
  startAdmin,
  startJobs,
  startServer,
  type Installation,
  type Running,
  type RunningServer,
} from '#app'
import { readConfig, type Config } from '#config'
import { checkReady } from '#core/readiness.ts'
import { countJobs } from '#jobs/queue.ts'
import { createLog, type Logger } from '#platform/log.ts'
import { answerCollector, createCollector, createJobMetrics, createMetrics } from '#platform/metrics.ts'
import { startWorkers } from './cluster.ts'
import { greeting } from './greeting.ts'
import { expectedUrl, withInstallation } from './open.ts'
import { print } from './terminal.ts'

export function addServeCommands(program: Command): void {
  program
    .command('serve')
    .description('run the server')
    .option('--workers <count>', 'processes that share the port (default: ENTREPOT_WORKERS)')
    .action(async ({ workers }: { workers?: string }) => serve(workers))
  program.command('worker').description('work on jobs only, beside servers that share the database').action(worker)
  program.command('init').description('make data directory, database, master key and administrator').action(init)
}

/** What a process works with while it runs. */
interface Life {
  config: Config
  log: Logger
  installation: Installation
  /** Aborted as soon as a stop begins. */
  stopping: AbortSignal
  /** Rejects while the process should get no requests. */
  ready(): Promise<void>
}

/** Parts that do the work, and the one that tells about it and stops last. */
interface Started {
  work: Running[]
  admin?: RunningServer | undefined
}

async function serve(workers: string | undefined): Promise<void> {
  const config = readConfig({ ...process.env, ...(workers !== undefined && { ENTREPOT_WORKERS: workers }) })
  if (cluster.isWorker) return live(config, serveAsWorker, ['SIGTERM'])
  await live(config, config.workers > 1 ? serveWithWorkers : serveAlone)
}

async function worker(): Promise<void> {
  const config = readConfig(process.env)
  await live(config, async life => {
    const jobs = await startJobs(life, Math.max(config.jobConcurrency, 1))
    const admin = await startAdmin({ ...life, checkReady: life.ready, metrics: jobMetrics(life).text })
    life.log.info({ ...(admin && { admin: admin.url }) }, 'working on jobs')
    return { work: [jobs], admin }
  })
}

async function init(): Promise<void> {
  await withInstallation(async ({ signIn }, config) => {
    if (!signIn) print(`${config.dataDir} was set up before; nothing was changed.`)
  })
}

async function serveAlone(life: Life): Promise<Started> {
  const { config, installation } = life
  const metrics = createMetrics()
  const server = await startServer({ ...life, checkReady: life.ready, metrics })
  const admin = await startAdmin({ ...life, checkReady: life.ready, metrics: joined(metrics, jobMetrics(life)) })
  announce(life, server.url, admin)
  return { work: [server, ...(await jobsOf(config, life))], admin }
}

/** The primary process takes no requests itself: it looks after those that do. */
async function serveWithWorkers(life: Life): Promise<Started> {
  const { config } = life
  const workers = await startWorkers(config.workers, life.log)
  const ready = async () => {
    await life.ready()
    await workers.checkReady()
  }
  const admin = await startAdmin({ ...life, checkReady: ready, metrics: joined(createCollector(), jobMetrics(life)) })
  announce(life, expectedUrl({ ...config, publicUrl: '', port: workers.port }), admin)
  return { work: [workers], admin }
}

async function serveAsWorker(life: Life): Promise<Started> {
  const metrics = createMetrics()
  answerCollector()
  const server = await startServer({ ...life, checkReady: life.ready, metrics })
  return { work: [server, ...(await jobsOf(life.config, life))] }
}

const jobsOf = async ({ jobConcurrency }: Config, life: Life): Promise<Running[]> =>
  jobConcurrency > 0 ? [await startJobs(life, jobConcurrency)] : []

const jobMetrics = ({ installation }: Life) => createJobMetrics(() => countJobs(installation.deps))

const joined =
  (...sources: { text(): Promise<string> }[]) =>
  async () =>
    (await Promise.all(sources.map(source => source.text()))).join('\n')

function announce({ config, installation, log }: Life, url: string, admin: RunningServer | undefined): void {
  const { signIn } = installation
  if (signIn) print(greeting(signIn, { baseUrl: config.publicUrl || url, dialects: config.dialects }))
  log.info({ url, ...(admin && { admin: admin.url }) }, 'ready')
}

/** From opening the installation to closing it: a signal ends it, a second one at once. */
async function live(
  config: Config,
  start: (life: Life) => Promise<Started>,
  signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'],
): Promise<void> {
  const log = createLog({ level: config.logLevel, format: config.logFormat })
  const installation = await openInstallation(config, log)
  const stop = stopOn(signals)
  const ready = async () => {
    if (stop.signal.aborted) throw new Error('The server is stopping')
    await checkReady(installation.deps)
  }
  try {
    const { work, admin } = await start({ config, log, installation, stopping: stop.signal, ready })
    await stop.asked
    log.info({ limitMs: config.shutdownTimeoutMs }, 'stopping')
    await Promise.all(work.map(part => part.stop(config.shutdownTimeoutMs)))
    await admin?.stop(0)
  } finally {
    await installation.close()
  }
  log.info('stopped')
  // A worker's channel to the primary process would keep it alive.
  if (cluster.isWorker) process.disconnect?.()
}

function stopOn(signals: readonly NodeJS.Signals[]): { signal: AbortSignal; asked: Promise<void> } {
  const controller = new AbortController()
  const { promise: asked, resolve } = Promise.withResolvers<void>()
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(1)
    controller.abort()
    resolve()
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // A terminal sends its interrupt to every process of the group; workers wait for what their primary says.
    process.on(signal, signals.includes(signal) ? onSignal : () => {})
  }
  return { signal: controller.signal, asked }
}
