/** The only place that builds things: config -> Deps -> servers -> stop(). */
import { randomUUIDv7 } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { ConfigError, settingsOf, type Config, type DialectName } from '#config'
import { inTx, makeCtx, systemActor, type Deps } from '#core/ctx.ts'
import type { BlobStore } from '#core/ports.ts'
import { openReadLog } from '#core/reads.ts'
import { initialise, isInitialised } from '#core/setup.ts'
import { createSpace } from '#core/spaces.ts'
import { findTenantByHost } from '#core/tenants.ts'
import { startTouches } from '#core/touches.ts'
import { findUserByLogin, updateUser } from '#core/users.ts'
import { openDatabase } from '#db/open.ts'
import { coredata, coredataDescription } from '#dialects/coredata/index.ts'
import { mft, mftDescription } from '#dialects/mft/index.ts'
import { sofie, sofieDescription } from '#dialects/sofie/index.ts'
import { addDocs } from '#http/docs.ts'
import { addHealth, addMetrics } from '#http/health.ts'
import { addPasswordPage } from '#http/password-page.ts'
import type { DialectDescription } from '#http/openapi.ts'
import { createServer } from '#http/server.ts'
import { jobHandlers } from '#jobs/handlers.ts'
import { armSchedule } from '#jobs/schedule.ts'
import { startWorker } from '#jobs/worker.ts'
import { decryptSmall, encryptSmall, storedSize } from '#platform/blobs/frames.ts'
import { BlobsRefused, type BlobsPlace } from '#platform/blobs/location.ts'
import { openBlobs } from '#platform/blobs/open.ts'
import { openKeyRing } from '#platform/key-ring.ts'
import { openMailer } from '#platform/mail/open.ts'
import { loggedUrl, type Logger } from '#platform/log.ts'
import type { Metrics } from '#platform/metrics.ts'
import { openEngines, type EngineOptions } from '#platform/screening/open.ts'

/** Exists only on the first start and is kept nowhere. */
export interface SignIn {
  login: string
  password: string
}

/** An opened data directory. */
export interface Installation {
  deps: Deps
  providerTenantId: string
  /** How to sign in, on the very first start only. */
  signIn: SignIn | undefined
  close(): Promise<void>
}

/** Opens database, keys and blobs, making what is missing on the first start. */
export async function openInstallation(config: Config, log: Logger): Promise<Installation> {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
  const database = await openDatabase({ url: config.databaseUrl, poolSize: config.databasePool })
  try {
    // A missing key ring beside a database with content is a loss, not a beginning.
    const keys = await openKeyRing(config.masterKeyFile, { create: !(await isInitialised(database)) })
    const blobs = await openStore(config.blobs, log)
    const means = {
      database,
      blobs,
      inline: inlineFrames,
      keys,
      clock: Date.now,
      newId: () => randomUUIDv7(),
      settings: settingsOf(config),
      engines: openEngines(engineOptions(config)),
      mailer: openMailer(config.mail, { warn: text => log.warn(text) }),
    }
    const note = (text: string) => (error: unknown) => log.error({ err: error }, text)
    const reads = openReadLog(means, note('reads could not be written and wait'))
    const touches = startTouches(means, note('last uses could not be written and wait'))
    const deps: Deps = { ...means, reads }
    const signIn = await firstStart(deps)
    const { id: providerTenantId } = await findTenantByHost(deps, '')
    const close = async () => {
      await touches.stop()
      await reads.close()
      await means.mailer.close()
      for (const engine of means.engines) await engine.close?.()
      await blobs.close()
      await database.close()
    }
    return { deps, providerTenantId, signIn, close }
  } catch (error) {
    await database.close()
    throw error
  }
}

function engineOptions(config: Config): EngineOptions {
  const { archiveDepth: depth, archiveEntries: entries, archiveBytes: unpackedBytes, archiveRatio: ratio } = config
  return { places: config.screening, limits: { depth, entries, unpackedBytes, ratio } }
}

/** Opens the store of contents. Throws ConfigError for a place that cannot be used as it is configured. */
export async function openStore(place: BlobsPlace, log: Logger): Promise<BlobStore> {
  try {
    return await openBlobs(place, { warn: text => log.warn(text), debug: text => log.debug(text) })
  } catch (error) {
    throw error instanceof BlobsRefused ? new ConfigError(error.message, { cause: error }) : error
  }
}

export const inlineFrames: Deps['inline'] = {
  encrypt: ({ segmentId, key, plain }) => encryptSmall(key, segmentId, plain),
  decrypt: ({ segmentId, key, stored }) => decryptSmall(key, segmentId, stored),
  storedSize,
}

/** Makes tenant, administrator and his home space on the first start; later it only checks the keys. */
async function firstStart(deps: Deps): Promise<SignIn | undefined> {
  const { created, login, password } = await initialise(deps)
  if (!created) return undefined
  const provider = await findTenantByHost(deps, '')
  const ctx = makeCtx(deps, systemActor(provider.id, 'entrepot init'), deps.newId())
  await inTx(ctx, async ctx => {
    const admin = await findUserByLogin(ctx, login)
    if (!admin) throw new Error(`The account ${login} is not there`)
    const space = await createSpace(ctx, { name: login, ownerId: admin.id, managerIds: [admin.id] })
    await updateUser(ctx, { userId: admin.id, homeNodeId: space.id })
  })
  return { login, password: password ?? '' }
}

/** Something that runs until it is told to stop. */
export interface Running {
  stop(limitMs: number): Promise<void>
}

export interface RunningServer extends Running {
  url: string
}

interface Parts {
  config: Config
  installation: Installation
  log: Logger
}

interface ServerParts extends Parts {
  /** Rejects while the server should get no requests. */
  checkReady: () => Promise<void>
  metrics: Metrics
}

/** Serves the dialects that are switched on. */
export async function startServer({
  config,
  installation,
  log,
  checkReady,
  metrics,
}: ServerParts): Promise<RunningServer> {
  const app = createServer({
    log,
    newId: installation.deps.newId,
    trustedProxies: config.trustedProxies,
    ...(config.tlsCert && { tls: { cert: readFileSync(config.tlsCert), key: readFileSync(config.tlsKey) } }),
    stallTimeoutMs: config.stallTimeoutMs,
    strictTransport: Boolean(config.tlsCert) || config.publicUrl.startsWith('https:'),
    loggedUrl,
    observer: metrics,
    requestArrives: () => installation.deps.database.readTogether(),
  })
  for (const name of config.dialects) await addDialect(app, name, config, installation.deps)
  addDocs(
    app,
    config.dialects.map(name => dialects[name].description),
  )
  await addPasswordPage(app, { deps: installation.deps })
  addHealth(app, { checkReady })
  await app.listen({ host: config.host, port: config.port })
  return { url: urlOf(app, config.host), stop: limitMs => stopServing(app, limitMs) }
}

interface Dialect {
  description: DialectDescription
  add(app: FastifyInstance, config: Config, deps: Deps): Promise<void>
}

const dialects: Record<DialectName, Dialect> = {
  coredata: {
    description: coredataDescription,
    add: (app, { publicUrl }, deps) => coredata(app, { deps, publicUrl: publicUrl || undefined }),
  },
  mft: {
    description: mftDescription,
    add: (app, { publicUrl, cookieSecure, cookieSameSite }, deps) =>
      mft(app, {
        deps,
        publicUrl: publicUrl || undefined,
        cookies: { secure: cookieSecure, ...(cookieSameSite !== 'off' && { sameSite: cookieSameSite }) },
      }),
  },
  sofie: {
    description: sofieDescription,
    add: (app, _config, deps) => sofie(app, { deps }),
  },
}

async function addDialect(app: FastifyInstance, name: DialectName, config: Config, deps: Deps): Promise<void> {
  await app.register(async scope => {
    scope.addHook('onRoute', route => {
      route.config = { ...route.config, dialect: name }
    })
    await dialects[name].add(scope, config, deps)
  })
}

function urlOf(app: FastifyInstance, host: string): string {
  const { port } = app.server.address() as AddressInfo // it listens on a port, not on a pipe
  const scheme = app.initialConfig.https ? 'https' : 'http'
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** How often connections that became idle while the server stops are closed. */
const IDLE_SWEEP_MS = 50

/** Takes no new connections, lets requests in progress end, and cuts them off after the limit. */
async function stopServing(app: FastifyInstance, limitMs: number): Promise<void> {
  const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MS)
  const late = setTimeout(() => app.server.closeAllConnections(), limitMs)
  await app.close()
  clearInterval(idle)
  clearTimeout(late)
}

interface AdminParts extends Parts {
  checkReady: () => Promise<void>
  metrics: () => Promise<string>
}

/** Health and metrics on a port of their own. Undefined when it is switched off. */
export async function startAdmin({
  config,
  log,
  installation,
  checkReady,
  metrics,
}: AdminParts): Promise<RunningServer | undefined> {
  if (config.adminPort === null) return undefined
  const app = createServer({
    log,
    newId: installation.deps.newId,
    trustedProxies: [],
    stallTimeoutMs: config.stallTimeoutMs,
    strictTransport: false,
    loggedUrl,
    observer: { requestDone() {}, transferStarted() {}, transferEnded() {} },
  })
  addHealth(app, { checkReady })
  addMetrics(app, metrics)
  await listenAdmin(app, config, log)
  return { url: urlOf(app, config.adminHost), stop: limitMs => stopServing(app, limitMs) }
}

/** A second installation on one machine should start without configuration too: it takes a free admin port. */
async function listenAdmin(
  app: FastifyInstance,
  { adminHost, adminPort, adminPortChosen }: Config,
  log: Logger,
): Promise<void> {
  try {
    await app.listen({ host: adminHost, port: adminPort ?? 0 })
  } catch (error) {
    if (adminPortChosen || !isAddressInUse(error)) throw error
    log.warn({ port: adminPort }, 'the admin port is taken, a free one is used instead')
    await app.listen({ host: adminHost, port: 0 })
  }
}

export const isAddressInUse = (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'

/** How often missing recurring jobs are added. */
const ARM_EVERY_MS = 30_000

/** Works on jobs, with as many at a time as `concurrency` says. */
export async function startJobs({ installation, log }: Parts, concurrency: number): Promise<Running> {
  const { deps, providerTenantId } = installation
  const ctx = makeCtx(deps, systemActor(providerTenantId, 'schedule'), 'schedule')
  await armSchedule(ctx)
  const worker = startWorker({ deps, handlers: jobHandlers, providerTenantId, concurrency, log })
  const arming = setInterval(() => {
    armSchedule(ctx).then(
      () => worker.wake(),
      (error: unknown) => log.error({ err: error }, 'recurring jobs cannot be added'),
    )
  }, ARM_EVERY_MS)
  return {
    async stop(limitMs) {
      clearInterval(arming)
      await worker.stop(limitMs)
    },
  }
}
