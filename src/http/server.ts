/** The Fastify instance that all dialects share: limits, timeouts, proxies, TLS, request ids, security headers. */
import type { Socket } from 'node:net'
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { routableUrl } from './addresses.ts'

export interface ServerOptions {
  log: FastifyBaseLogger
  newId: () => string
  /** Addresses and ranges whose X-Forwarded-* headers count. */
  trustedProxies: readonly string[]
  tls?: { cert: Buffer; key: Buffer }
  /** A connection without traffic for so long is closed, whatever it was doing. */
  stallTimeoutMs: number
  /** Clients reach the server by HTTPS, here or at a proxy: tells browsers to stay with it. */
  strictTransport: boolean
  /** How an address may appear in the log. */
  loggedUrl: (url: string) => string
  observer: Observer
  /** Called for each request before anything is done for it. */
  requestArrives?: () => void
}

/** Is told about traffic; counts it. */
export interface Observer {
  requestDone(facts: DoneRequest): void
  transferStarted(direction: Direction): void
  transferEnded(direction: Direction): void
}

export type Direction = 'up' | 'down'

export interface DoneRequest {
  dialect: string
  operation: string
  status: number | 'aborted'
  durationMs: number
  receivedBytes: number
  sentBytes: number
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whose operation a route is, for logs and metrics. */
    dialect?: string
  }
}

/** Encoded paths are long: each byte of a name may take three characters. */
const MAX_PATH_LENGTH = 8192
const JSON_LIMIT_BYTES = 1024 * 1024

export function createServer(options: ServerOptions): FastifyInstance {
  const { tls } = options
  const common = {
    loggerInstance: options.log,
    // Requests are logged below, once they are over.
    logController: new LogController({ disableRequestLogging: true }),
    // Lines name their request themselves: a logger for each would cost more than most requests ever log.
    childLoggerFactory: (logger: FastifyBaseLogger) => logger,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    genReqId: options.newId,
    bodyLimit: JSON_LIMIT_BYTES,
    connectionTimeout: options.stallTimeoutMs,
    // A transfer may take hours as long as it moves.
    requestTimeout: 0,
    keepAliveTimeout: Math.min(options.stallTimeoutMs, 72_000),
    forceCloseConnections: 'idle' as const,
    rewriteUrl: routableUrl,
    routerOptions: { maxParamLength: MAX_PATH_LENGTH },
  }
  // Fastify's types tell plain and TLS servers apart; nothing that we call differs.
  const app = (tls ? Fastify({ ...common, https: tls }) : Fastify(common)) as FastifyInstance
  refuseTwoHosts(app)
  addSecurityHeaders(app, options)
  observeRequests(app, options)
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ message: 'Not found' }))
  return app
}

/** RFC 9112 §3.2 demands it: with two, a proxy and we might each take another one for the host. Node takes the first. */
function refuseTwoHosts(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { rawHeaders } = request.raw
    const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host')
    done(hosts.length > 1 ? Object.assign(new Error('Two Host headers'), { statusCode: 400 }) : undefined)
  })
}

function addSecurityHeaders(app: FastifyInstance, { strictTransport }: ServerOptions): void {
  const headers = {
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    // Stored files are never run as pages of ours; a page that needs more says so itself.
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
    ...(strictTransport && { 'strict-transport-security': 'max-age=31536000' }),
  }
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(headers)
    reply.header('x-request-id', request.id)
    done()
  })
}

function observeRequests(app: FastifyInstance, { observer, loggedUrl, requestArrives }: ServerOptions): void {
  const wire = wireCounter()
  app.addHook('onRequest', (request, reply, done) => {
    requestArrives?.()
    const startedAt = performance.now()
    const takesFile = isFileUpload(request)
    if (takesFile) observer.transferStarted('up')
    // Comes once, after the whole answer as well as after a broken connection.
    reply.raw.once('close', () => {
      if (takesFile) observer.transferEnded('up')
      const facts = doneRequest(request, reply, performance.now() - startedAt, wire(request.raw.socket))
      observer.requestDone(facts)
      logRequest(request, facts, loggedUrl)
    })
    done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isStream(payload)) {
      observer.transferStarted('down')
      reply.raw.once('close', () => observer.transferEnded('down'))
    }
    done(null, payload)
  })
}

const isFileUpload = ({ headers }: FastifyRequest) =>
  /^(multipart\/|application\/octet-stream)/i.test(headers['content-type'] ?? '')

const isStream = (payload: unknown) => typeof payload === 'object' && payload !== null && 'pipe' in payload

function doneRequest(
  request: FastifyRequest,
  reply: FastifyReply,
  durationMs: number,
  bytes: { receivedBytes: number; sentBytes: number },
): DoneRequest {
  const { dialect = 'none', row } = request.routeOptions.config
  const status = reply.raw.writableFinished ? reply.statusCode : 'aborted'
  return { dialect, operation: row?.id ?? 'none', status, durationMs, ...bytes }
}

/** Bytes on a connection since the last time it was asked for: a connection carries many requests. */
function wireCounter() {
  const counted = new WeakMap<Socket, { read: number; written: number }>()
  return (socket: Socket) => {
    const before = counted.get(socket) ?? { read: 0, written: 0 }
    const now = { read: socket.bytesRead ?? 0, written: socket.bytesWritten ?? 0 }
    counted.set(socket, now)
    return { receivedBytes: now.read - before.read, sentBytes: now.written - before.written }
  }
}

/** Ordinary requests are facts of the audit log already; the log shows them at `debug`. */
function logRequest(request: FastifyRequest, facts: DoneRequest, loggedUrl: (url: string) => string): void {
  const level = typeof facts.status === 'number' && facts.status >= 500 ? 'warn' : 'debug'
  if (level === 'debug' && !['debug', 'trace'].includes(request.log.level)) return
  const { dialect, operation, status, durationMs } = facts
  const line = {
    reqId: request.id,
    method: request.method,
    url: loggedUrl(request.url),
    address: request.ip,
    dialect,
    operation,
    status,
  }
  request.log[level]({ ...line, ms: Math.round(durationMs) }, 'request')
}
