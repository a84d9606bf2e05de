/** From the command to the first good answer, on a store that holds files. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { attempt, type Bench, type Scenario, type Target } from './bench.ts'
import { runJob } from './jobs.ts'

const folder = 'stock'

export const startup: Scenario = {
  id: 'startup',
  measures: [{ id: 'startup', title: 'start to ready', unit: 'ms', rate: false, goal: { must: 1000, aim: 500 } }],
  about: ({ starts, smallFiles }) =>
    'From spawning the program to the first good answer (Entrepot: 200 from /readyz; peers: any answer), on a store ' +
    `that holds ${smallFiles} files. Median of ${starts} starts, the server alone on the machine.`,
  run: async bench => {
    for (const target of bench.targets) await attempt(bench, target.name, () => measure(bench, target))
  },
}

async function measure(bench: Bench, target: Target): Promise<void> {
  const { smallFiles, smallBytes: sizeBytes, connections, starts } = bench.sizes
  const root = join(bench.scratch, target.name)
  await mkdir(root, { mode: 0o755 })
  const installation = await target.install(root, [folder])
  const first = await installation.start()
  try {
    const limit = { requests: smallFiles }
    await runJob({ kind: 'put-many', wire: first.wire, folder, sizeBytes, connections, seed: folder, limit })
  } finally {
    await first.stop()
  }
  const values: number[] = []
  for (let n = 0; n < starts; n++) {
    const running = await installation.start()
    await running.stop()
    values.push(running.readyMs)
  }
  bench.record('startup', target.name, values)
}
