/** Liveness, readiness and metrics, for those who watch the server. */
import type { FastifyInstance } from 'fastify'

export interface HealthOptions {
  /** Rejects with the reason when the server should get no requests. */
  checkReady: () => Promise<void>
}

/** An answer serves everybody who asks within that time: the check writes to disk. */
const READY_FRESH_MS = 1_000
const READY_TIMEOUT_MS = 5_000

export function addHealth(app: FastifyInstance, { checkReady }: HealthOptions): void {
  const ready = reuse(() => within(READY_TIMEOUT_MS, checkReady()), READY_FRESH_MS)
  app.get('/healthz', { exposeHeadRoute: true }, () => ({ status: 'ok' }))
  app.get('/readyz', { exposeHeadRoute: true }, async (request, reply) => {
    try {
      await ready()
      return { status: 'ready' }
    } catch (error) {
      request.log.warn({ err: error }, 'not ready')
      return reply.code(503).send({ status: 'not ready' })
    }
  })
}

export function addMetrics(app: FastifyInstance, text: () => Promise<string>): void {
  app.get('/metrics', async (_request, reply) => {
    reply.type('text/plain; version=0.0.4; charset=utf-8')
    return text()
  })
}

function reuse(check: () => Promise<void>, freshMs: number): () => Promise<void> {
  let last: { startedAt: number; result: Promise<void> } | undefined
  return () => {
    const now = performance.now()
    if (!last || now - last.startedAt > freshMs) last = { startedAt: now, result: check() }
    return last.result
  }
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${limitMs} ms`)), limitMs)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
