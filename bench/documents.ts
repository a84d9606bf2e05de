/** Lists of documents across spaces, with filters and whole, out of very many. */
import { attempt, subject, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import { requestHead } from './connection.ts'
import { numberedName, runJob } from './jobs.ts'

const folder = 'documents'
const fileBytes = 64
const pageFiles = 1000

const lists = [
  { id: 'documents-first', title: 'first 1,000 documents', query: () => `limit=${pageFiles}&offset=0` },
  {
    id: 'documents-last',
    title: 'last 1,000 documents',
    query: (files: number) => `limit=${pageFiles}&offset=${files - pageFiles}`,
  },
  {
    id: 'documents-filtered',
    title: '1,000 documents by the beginning of their title',
    query: () => `limit=${pageFiles}&title__startswith=${numberedName(pageFiles).slice(0, -3)}`,
  },
] as const

export const documents: Scenario = {
  id: 'documents',
  measures: lists.map(({ id, title }) => ({ id, title, unit: 'ms', rate: false, goal: { must: 100, aim: 50 } })),
  about: ({ bigFolderFiles, listTimes }) =>
    `Document filing: ${pageFiles} of ${bigFolderFiles} files of one space with all their fields (about 1 KiB each), the first, ` +
    `the last, and those whose title begins so. Median of ${listTimes} requests over one connection after a warm-up; the ` +
    'number of entries in the answer is checked before. No peer has such lists.',
  run: bench =>
    withServers(
      bench,
      { folders: [folder], targets: bench.targets.filter(({ name }) => name === subject) },
      async lanes => {
        for (const lane of lanes) await attempt(bench, lane.name, () => measure(bench, lane))
      },
    ),
}

async function measure(bench: Bench, { name, running }: Lane): Promise<void> {
  const { bigFolderFiles: files, connections, listTimes } = bench.sizes
  const { wire, documents: wireOfDocuments } = running
  if (!wireOfDocuments) throw new Error('serves no documents')
  const fill = { folder, sizeBytes: fileBytes, connections: 2 * connections, seed: folder, limit: { requests: files } }
  await runJob({ kind: 'put-many', wire, ...fill })
  for (const { id, query } of lists) {
    const request = requestHead(wireOfDocuments, 'GET', `/api/v2/files/?${query(files)}`)
    const entries = { pattern: '"snapshot_id"', count: pageFiles }
    const { medianMs } = await runJob({
      kind: 'repeat',
      wire: wireOfDocuments,
      request,
      entries,
      warmUps: 5,
      times: listTimes,
    })
    bench.record(id, name, medianMs)
  }
}
