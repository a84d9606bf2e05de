/** The load driver: a Node of its own that does one job (see jobs.ts), tells the outcome and ends. */
import { createHash, randomInt } from 'node:crypto'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { Connection, expectSuccess, requestHead, uploadFrame } from './connection.ts'
import { numberedName, type Job, type Limit, type Outcome, type Reply, type WarmUp } from './jobs.ts'

const patternBytes = 1024 * 1024

type JobOf<K extends Job['kind']> = Extract<Job, { kind: K }>

/** Pseudo-random bytes that big contents repeat and small contents are cut from. */
const pattern = (seed: string) => createHash('shake256', { outputLength: patternBytes }).update(seed).digest()

function* repeated(bytes: Buffer, sizeBytes: number): Generator<Buffer> {
  for (let left = sizeBytes; left > 0; left -= bytes.length) yield bytes.subarray(0, left)
}

/** Virtual machines give freed memory back; the first touch of a new page then costs more than the transfer. */
function warmMemory(warmUp: WarmUp | undefined): void {
  if (!warmUp) return
  const file = openSync(warmUp.file, 'w')
  for (const part of repeated(Buffer.alloc(patternBytes, 1), warmUp.bytes)) writeSync(file, part)
  closeSync(file)
  rmSync(warmUp.file)
}

function summary(startedAt: number, latenciesMs: number[]): Outcome {
  const seconds = (performance.now() - startedAt) / 1000
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { seconds, requests: sorted.length, medianMs: at(0.5), p99Ms: at(0.99) }
}

async function uploadOne({ wire, sizeBytes }: JobOf<'upload'>, path: string, content: Buffer): Promise<void> {
  using connection = new Connection(wire.port)
  const { before, after } = uploadFrame(wire, path, sizeBytes)
  const answered = connection.answer()
  let early = false
  const stopSending = () => (early = true)
  answered.then(stopSending, stopSending)
  await connection.write(before)
  for (const part of repeated(content, sizeBytes)) {
    if (early) break
    await connection.write(part)
  }
  if (!early) await connection.write(after)
  expectSuccess(await answered)
}

async function upload(job: JobOf<'upload'>): Promise<Outcome> {
  const content = pattern(job.seed)
  warmMemory(job.warmUp)
  const startedAt = performance.now()
  await Promise.all(job.paths.map(path => uploadOne(job, path, content)))
  return summary(startedAt, [performance.now() - startedAt])
}

async function fetchWhole(
  { wire, path, sizeBytes }: JobOf<'download' | 'check'>,
  onBody?: (part: Buffer) => void,
): Promise<void> {
  using connection = new Connection(wire.port, onBody)
  const answer = await connection.request(requestHead(wire, 'GET', `${wire.filesPath}/${path}`))
  if (answer.bodyBytes !== sizeBytes) throw new Error(`${answer.bodyBytes} bytes came instead of ${sizeBytes}`)
}

async function download(job: JobOf<'download'>): Promise<Outcome> {
  warmMemory(job.warmUp)
  const startedAt = performance.now()
  await fetchWhole(job)
  return summary(startedAt, [performance.now() - startedAt])
}

async function check(job: JobOf<'check'>): Promise<Outcome> {
  const startedAt = performance.now()
  const expected = createHash('sha256')
  for (const part of repeated(pattern(job.seed), job.sizeBytes)) expected.update(part)
  const received = createHash('sha256')
  await fetchWhole(job, part => received.update(part))
  if (received.digest('hex') !== expected.digest('hex')) throw new Error('other bytes came back than were sent')
  return summary(startedAt, [])
}

type Send = (connection: Connection, n: number) => Promise<unknown>

/** Keeps all connections busy, each with one request at a time; only requests begun after the warm-up count. */
async function many({ port, count, limit }: { port: number; count: number; limit: Limit }, lane: () => Send) {
  const begunAt = performance.now()
  const timed = 'measureMs' in limit
  const measureFrom = begunAt + (timed ? limit.warmUpMs : 0)
  const measureTo = timed ? measureFrom + limit.measureMs : Infinity
  const latenciesMs: number[] = []
  let next = 0
  let firstCounted = Infinity
  const work = async () => {
    using connection = new Connection(port)
    const send = lane()
    for (;;) {
      const sentAt = performance.now()
      if (timed ? sentAt >= measureTo : next >= limit.requests) return
      await send(connection, next++)
      if (sentAt < measureFrom) continue
      firstCounted = Math.min(firstCounted, sentAt)
      latenciesMs.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: count }, work))
  return summary(firstCounted, latenciesMs)
}

async function putMany({ wire, folder, sizeBytes, connections, seed, limit, warmUp }: JobOf<'put-many'>) {
  const content = pattern(seed)
  warmMemory(warmUp)
  return many({ port: wire.port, count: connections, limit }, () => {
    const request = Buffer.allocUnsafe(4096 + sizeBytes)
    return (connection, n) => {
      const { before, after } = uploadFrame(wire, `${folder}/${numberedName(n)}`, sizeBytes)
      const from = randomInt(patternBytes - sizeBytes)
      let end = request.write(before, 'latin1')
      end += content.copy(request, end, from, from + sizeBytes)
      end += request.write(after, end, 'latin1')
      return connection.request(request.subarray(0, end))
    }
  })
}

async function getMany({ wire, folder, sizeBytes, count, connections, limit }: JobOf<'get-many'>) {
  return many({ port: wire.port, count: connections, limit }, () => async connection => {
    const address = `${wire.filesPath}/${folder}/${numberedName(randomInt(count))}`
    const answer = await connection.request(requestHead(wire, 'GET', address))
    if (answer.bodyBytes !== sizeBytes) throw new Error(`${answer.bodyBytes} bytes came instead of ${sizeBytes}`)
  })
}

async function postMany({ wire, path, body, connections, limit }: JobOf<'post-many'>) {
  return many({ port: wire.port, count: connections, limit }, () => (connection, n) => {
    const numbered = body.replaceAll('#', numberedName(n))
    const headers = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(numbered)}\r\n`
    return connection.request(requestHead(wire, 'POST', path, headers) + numbered)
  })
}

async function repeat({ wire, request, warmUps, times, entries }: JobOf<'repeat'>): Promise<Outcome> {
  const parts: Buffer[] = []
  using checking = new Connection(wire.port, part => parts.push(Buffer.from(part)))
  await checking.request(request)
  const found = Buffer.concat(parts).toString().match(new RegExp(entries.pattern, 'g'))?.length ?? 0
  if (found !== entries.count) throw new Error(`${found} entries came instead of ${entries.count}`)

  using connection = new Connection(wire.port)
  for (let n = 0; n < warmUps; n++) await connection.request(request)
  const startedAt = performance.now()
  const latenciesMs: number[] = []
  for (let n = 0; n < times; n++) {
    const sentAt = performance.now()
    await connection.request(request)
    latenciesMs.push(performance.now() - sentAt)
  }
  return summary(startedAt, latenciesMs)
}

function run(job: Job): Promise<Outcome> {
  switch (job.kind) {
    case 'upload':
      return upload(job)
    case 'download':
      return download(job)
    case 'check':
      return check(job)
    case 'put-many':
      return putMany(job)
    case 'get-many':
      return getMany(job)
    case 'post-many':
      return postMany(job)
    case 'repeat':
      return repeat(job)
  }
}

async function replyTo(job: Job): Promise<Reply> {
  try {
    return { outcome: await run(job) }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

// When the bench has gone, nobody wants the outcome.
process.on('disconnect', () => process.exit())
process.on('message', message => {
  // The other end is jobs.ts, which sends exactly one Job.
  void replyTo(message as Job).then(reply => process.send?.(reply, () => process.exit()))
})
