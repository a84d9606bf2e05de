/** Many small files a second, up and down. */
import { interleave, MiB, warmUpFor, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import { runJob } from './jobs.ts'

const stock = 'stock'
/** As many as the peers have. */
const PROCESSES = 2
const roundFolder = (round: number) => `round-${round}`

export const small: Scenario = {
  id: 'small',
  measures: [
    {
      id: 'small-upload',
      title: 'small uploads',
      unit: '/s',
      rate: true,
      goal: { peer: 'apache', must: 0.4, aim: 0.8 },
    },
    { id: 'small-upload-p99', title: 'small upload, 99th percentile', unit: 'ms', rate: false },
    {
      id: 'small-download',
      title: 'small downloads',
      unit: '/s',
      rate: true,
      goal: { peer: 'apache', must: 0.4, aim: 0.8 },
    },
    { id: 'small-download-p99', title: 'small download, 99th percentile', unit: 'ms', rate: false },
  ],
  about: ({ smallBytes, connections, measureMs, smallFiles }) =>
    `Files of ${smallBytes / 1024} KiB over ${connections} keepalive connections, one request at a time on each, for ` +
    `${measureMs / 1000} s after a warm-up: uploads under fresh names (Entrepot: multipart, each durable before its ` +
    `answer), then downloads in random order of ${smallFiles} files stored before. Entrepot runs with \`--workers 2\`, as the ` +
    `peers have two processes each; everywhere else it is the default, one process.`,
  run: bench => {
    const folders = Array.from({ length: bench.rounds }, (_, n) => roundFolder(n + 1))
    return withServers(bench, { folders: [stock, ...folders], processes: PROCESSES }, lanes => measure(bench, lanes))
  },
}

async function measure(bench: Bench, lanes: Lane[]): Promise<void> {
  const { connections, smallBytes: sizeBytes, smallFiles: count, warmUpMs, measureMs } = bench.sizes
  const limit = { warmUpMs, measureMs }
  const warmUp = warmUpFor(bench, 256 * MiB)

  const uploading = await interleave(bench, lanes, async ({ running: { wire } }, round) => {
    const target = { wire, folder: roundFolder(round), sizeBytes, connections }
    const { requests, seconds, p99Ms } = await runJob({ kind: 'put-many', ...target, seed: `${round}`, limit, warmUp })
    return { 'small-upload': requests / seconds, 'small-upload-p99': p99Ms }
  })
  const stocked = await interleave({ ...bench, rounds: 1 }, uploading, async ({ running: { wire } }) => {
    const target = { wire, folder: stock, sizeBytes, connections }
    await runJob({ kind: 'put-many', ...target, seed: stock, limit: { requests: count } })
    return {}
  })
  await interleave(bench, stocked, async ({ running: { wire } }) => {
    const target = { wire, folder: stock, sizeBytes, connections, count }
    const { requests, seconds, p99Ms } = await runJob({ kind: 'get-many', ...target, limit })
    return { 'small-download': requests / seconds, 'small-download-p99': p99Ms }
  })
}
