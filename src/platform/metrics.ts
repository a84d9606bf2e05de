/** Counters for Prometheus. With several workers the primary process adds theirs up. */
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** One answered request. */
export interface RequestFacts {
  dialect: string
  operation: string
  /** `aborted`: the client went away before the answer was out. */
  status: number | 'aborted'
  durationMs: number
  receivedBytes: number
  sentBytes: number
}

export interface Metrics {
  requestDone(facts: RequestFacts): void
  transferStarted(direction: 'up' | 'down'): void
  transferEnded(direction: 'up' | 'down'): void
  /** Everything in Prometheus' text format. */
  text(): Promise<string>
}

const PREFIX = 'entrepot_'

/** The metrics of this process. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const requests = new Counter({
    name: `${PREFIX}requests_total`,
    help: 'Requests by API, operation and status',
    labelNames: ['dialect', 'operation', 'status'],
    registers,
  })
  const durations = new Histogram({
    name: `${PREFIX}request_duration_seconds`,
    help: 'From the first byte of the request to the last of the answer',
    labelNames: ['dialect', 'operation'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600],
    registers,
  })
  const received = new Counter({
    name: `${PREFIX}received_bytes_total`,
    help: 'Bytes from clients',
    labelNames: ['dialect'],
    registers,
  })
  const sent = new Counter({
    name: `${PREFIX}sent_bytes_total`,
    help: 'Bytes to clients',
    labelNames: ['dialect'],
    registers,
  })
  const transfers = new Gauge({
    name: `${PREFIX}transfers_in_progress`,
    help: 'File bodies on their way in (up) and out (down)',
    labelNames: ['direction'],
    registers,
  })
  AggregatorRegistry.setRegistries(registry)
  return {
    requestDone({ dialect, operation, status, durationMs, receivedBytes, sentBytes }) {
      requests.inc({ dialect, operation, status: String(status) })
      durations.observe({ dialect, operation }, durationMs / 1000)
      received.inc({ dialect }, receivedBytes)
      sent.inc({ dialect }, sentBytes)
    },
    transferStarted: direction => transfers.inc({ direction }),
    transferEnded: direction => transfers.dec({ direction }),
    text: () => registry.metrics(),
  }
}

/** Lets the primary process collect what this worker process counts. */
export const answerCollector = () => void new AggregatorRegistry()

/** Adds up the metrics of all worker processes. For the primary process. */
export function createCollector(): { text(): Promise<string> } {
  const registry = new AggregatorRegistry()
  return { text: () => registry.clusterMetrics() }
}

/** The job table as metrics. It is the same for every process, so only one of them shows it. */
export function createJobMetrics(countJobs: () => Promise<{ kind: string; state: string; jobs: number }[]>): {
  text(): Promise<string>
} {
  const registry = new Registry()
  const jobs = new Gauge({
    name: `${PREFIX}jobs`,
    help: 'Jobs by kind and state',
    labelNames: ['kind', 'state'],
    registers: [registry],
    async collect() {
      jobs.reset()
      for (const row of await countJobs()) jobs.set({ kind: row.kind, state: row.state }, row.jobs)
    },
  })
  return { text: () => registry.metrics() }
}
