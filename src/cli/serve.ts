/** `serve`, `worker` and `init`: the commands that start something. */
import cluster from 'node:cluster'
import { flushCompileCache } from 'node:module'
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
import { expectedUrl, readConfig, type Config } from '#config'
import { checkReady } from '#core/readiness.ts'
import { countJobs } from '#jobs/queue.ts'
import { createLog, type Logger } from '#platform/log.ts'
import { answerCollector, createCollector, createJobMetrics, createMetrics } from '#platform/metrics.ts'
import { startWorkers } from './cluster.ts'
import { greeting } from './greeting.ts'
import { withInstallation } from './open.ts'
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
  /** Rejects while the process should get no requests. */
  checkReady: () => Promise<void>
  /** What does the work, added as it is started, so that a start that fails half-way can be taken back. */
  work: Running[]
  /** Tells about the work and stops last. */
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
    life.work.push(await startJobs(life, Math.max(config.jobConcurrency, 1)))
    life.admin = await startAdmin({ ...life, metrics: joined(jobMetrics(life)) })
    tellOfSpool(life)
    life.log.info({ ...(life.admin && { admin: life.admin.url }) }, 'working on jobs')
  })
}

async function init(): Promise<void> {
  await withInstallation(async ({ signIn }, config) => {
    if (!signIn) print(`${config.dataDir} was set up before; nothing was changed.`)
  })
}

async function serveAlone(life: Life): Promise<void> {
  const metrics = createMetrics()
  const server = await startServer({ ...life, metrics })
  life.work.push(server)
  life.admin = await startAdmin({ ...life, metrics: joined(metrics, jobMetrics(life)) })
  await workOnJobs(life)
  announce(life, server.url)
}

/** The primary process takes no requests itself: it looks after those that do. */
async function serveWithWorkers(life: Life): Promise<void> {
  const { config, log } = life
  const workers = await startWorkers(config.workers, log)
  life.work.push(workers)
  const ready = async () => {
    await life.checkReady()
    await workers.checkReady()
  }
  life.admin = await startAdmin({ ...life, checkReady: ready, metrics: joined(createCollector(), jobMetrics(life)) })
  announce(life, expectedUrl({ ...config, publicUrl: '', port: workers.port }))
}

async function serveAsWorker(life: Life): Promise<void> {
  const metrics = createMetrics()
  answerCollector()
  life.work.push(await startServer({ ...life, metrics }))
  await workOnJobs(life)
}

async function workOnJobs(life: Life): Promise<void> {
  const { jobConcurrency } = life.config
  if (jobConcurrency > 0) life.work.push(await startJobs(life, jobConcurrency))
}

const jobMetrics = ({ installation }: Life) => createJobMetrics(() => countJobs(installation.deps))

const joined =
  (...sources: { text(): Promise<string> }[]) =>
  async () =>
    (await Promise.all(sources.map(source => source.text()))).join('\n')

function tellOfSpool({ config: { mail }, log }: Life): void {
  if (!mail.smtp) log.info({ dir: mail.spoolDir }, 'mails are kept in a folder: ENTREPOT_SMTP_URL is not set')
}

function announce(life: Life, url: string): void {
  const { config, installation, log, admin } = life
  const { signIn } = installation
  if (signIn) print(greeting(signIn, { baseUrl: config.publicUrl || url, dialects: config.dialects }))
  tellOfSpool(life)
  log.info({ url, ...(admin && { admin: admin.url }) }, 'ready')
}

/** From opening the installation to closing it: a signal ends it, a second one at once. */
async function live(
  config: Config,
  start: (life: Life) => Promise<void>,
  signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'],
): Promise<void> {
  const log = createLog({ level: config.logLevel, format: config.logFormat })
  const installation = await openInstallation(config, log)
  const stop = stopOn(signals)
  const checkOwn = async () => {
    if (stop.signal.aborted) throw new Error('The server is stopping')
    await checkReady(installation.deps)
  }
  const life: Life = { config, log, installation, checkReady: checkOwn, work: [] }
  try {
    await start(life)
    // Servers are often killed; what they compiled shall speed up their next start all the same.
    flushCompileCache()
    await stop.asked
    log.info({ limitMs: config.shutdownTimeoutMs }, 'stopping')
  } finally {
    const limitMs = stop.signal.aborted ? config.shutdownTimeoutMs : 0
    await Promise.all(life.work.map(part => part.stop(limitMs)))
    await life.admin?.stop(0)
    await installation.close()
    // A worker's channel to the primary process would keep it alive.
    if (cluster.isWorker) process.disconnect?.()
  }
  log.info('stopped')
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
