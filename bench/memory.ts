/** Memory of the server while several big files come in at once. */
import { existsSync } from 'node:fs'
import { attempt, MiB, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import { memoryOf } from './children.ts'
import { runJob } from './jobs.ts'

const folder = 'big'
const sampleEveryMs = 50

export const memory: Scenario = {
  id: 'memory',
  measures: [
    {
      id: 'peak-pss',
      title: 'peak PSS during parallel uploads',
      unit: 'MiB',
      rate: false,
      goal: { must: 200, aim: 120 },
    },
    { id: 'peak-rss', title: 'peak RSS during parallel uploads', unit: 'MiB', rate: false },
    { id: 'idle-pss', title: 'PSS before the uploads', unit: 'MiB', rate: false },
  ],
  about: ({ streams, bigBytes }) =>
    `${streams} uploads of ${bigBytes / MiB} MiB at once; PSS and RSS of the server with all its processes, read from ` +
    `smaps_rollup every ${sampleEveryMs} ms; the highest sum counts. Once per server, freshly started, one server at a time.`,
  run: async bench => {
    if (!existsSync('/proc/self/smaps_rollup')) throw new Error('this system has no smaps_rollup')
    for (const target of bench.targets)
      await withServers(bench, { folders: [folder], targets: [target] }, async lanes => {
        for (const lane of lanes) await attempt(bench, lane.name, () => measure(bench, lane))
      })
  },
}

async function measure(bench: Bench, { name, running }: Lane): Promise<void> {
  const { bigBytes: sizeBytes, streams } = bench.sizes
  const idle = memoryOf(running.pid)
  const peak = { ...idle }
  const sampling = setInterval(() => {
    const now = memoryOf(running.pid)
    peak.pssMiB = Math.max(peak.pssMiB, now.pssMiB)
    peak.rssMiB = Math.max(peak.rssMiB, now.rssMiB)
  }, sampleEveryMs)
  try {
    const paths = Array.from({ length: streams }, (_, n) => `${folder}/${n}`)
    await runJob({ kind: 'upload', wire: running.wire, paths, sizeBytes, seed: folder })
  } finally {
    clearInterval(sampling)
  }
  bench.record('idle-pss', name, idle.pssMiB)
  bench.record('peak-pss', name, peak.pssMiB)
  bench.record('peak-rss', name, peak.rssMiB)
}
