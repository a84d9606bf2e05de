/** Listing a folder whole, and single pages of a very big one. */
import { interleave, subject, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import type { Wire } from './connection.ts'
import { runJob } from './jobs.ts'

const folder = 'listed'
const bigFolder = 'listed-big'
const fileBytes = 64

export const listing: Scenario = {
  id: 'listing',
  measures: [
    { id: 'list-all', title: 'list a whole folder', unit: 'ms', rate: false, goal: { must: 60, aim: 35 } },
    { id: 'first-page', title: 'first page of a big folder', unit: 'ms', rate: false, goal: { must: 10, aim: 5 } },
    { id: 'last-page', title: 'last page of a big folder', unit: 'ms', rate: false, goal: { must: 10, aim: 5 } },
  ],
  about: ({ folderFiles, bigFolderFiles, pageFiles, listTimes }) =>
    `A folder of ${folderFiles} files listed whole in one answer (peers: PROPFIND with Depth 1; nginx has none), and ` +
    `the first and the last ${pageFiles} of ${bigFolderFiles} files (no peer has pages). Median of ${listTimes} requests ` +
    'over one connection after a warm-up; the number of entries in the answer is checked before.',
  run: bench =>
    withServers(bench, { folders: [folder, bigFolder] }, async lanes => {
      await listWhole(bench, lanes)
      await listPages(
        bench,
        lanes.filter(({ name }) => name === subject),
      )
    }),
}

const fill = (bench: Bench, wire: Wire, target: { folder: string; limit: { requests: number } }) =>
  runJob({
    kind: 'put-many',
    wire,
    sizeBytes: fileBytes,
    connections: 2 * bench.sizes.connections,
    seed: folder,
    ...target,
  })

async function timeListing(bench: Bench, { running }: Lane, name: string, page: { limit: number; start: number }) {
  const listed = running.list(name, page)
  if (!listed) throw new Error('cannot list')
  const { medianMs } = await runJob({
    kind: 'repeat',
    wire: running.wire,
    ...listed,
    warmUps: 5,
    times: bench.sizes.listTimes,
  })
  return medianMs
}

async function listWhole(bench: Bench, lanes: Lane[]): Promise<void> {
  const { folderFiles } = bench.sizes
  const page = { limit: folderFiles, start: 0 }
  const able = lanes.filter(({ running }) => running.list(folder, page))
  const filled = await interleave({ ...bench, rounds: 1 }, able, async ({ running: { wire } }) => {
    await fill(bench, wire, { folder, limit: { requests: folderFiles } })
    return {}
  })
  await interleave({ ...bench, rounds: 1 }, filled, async lane => ({
    'list-all': await timeListing(bench, lane, folder, page),
  }))
}

async function listPages(bench: Bench, lanes: Lane[]): Promise<void> {
  const { bigFolderFiles, pageFiles: limit } = bench.sizes
  await interleave({ ...bench, rounds: 1 }, lanes, async lane => {
    await fill(bench, lane.running.wire, { folder: bigFolder, limit: { requests: bigFolderFiles } })
    return {
      'first-page': await timeListing(bench, lane, bigFolder, { limit, start: 0 }),
      'last-page': await timeListing(bench, lane, bigFolder, { limit, start: bigFolderFiles - limit }),
    }
  })
}
