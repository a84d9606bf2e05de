/** One big file up, one big file down, over one connection. */
import { interleave, MiB, warmUpFor, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import { removeFile } from './connection.ts'
import { runJob } from './jobs.ts'

const folder = 'big'
const kept = `${folder}/kept`

export const transfer: Scenario = {
  id: 'transfer',
  measures: [
    {
      id: 'upload',
      title: 'upload of one big file',
      unit: 'MB/s',
      rate: true,
      goal: { peer: 'nginx', must: 0.5, aim: 0.7 },
    },
    {
      id: 'download',
      title: 'download of one big file',
      unit: 'MB/s',
      rate: true,
      goal: { peer: 'apache', must: 0.45, aim: 0.65 },
    },
  ],
  about: ({ bigBytes }) =>
    `One file of ${bigBytes / MiB} MiB over one connection: Entrepot takes one multipart stream, hashes and encrypts it; ` +
    'peers take the bare bytes by PUT. Timed from the first byte sent to the last byte of the answer. ' +
    'Before the clock starts, memory is warmed by a file of that size, written and deleted. ' +
    'Afterwards, outside of the clock, one file of each server is fetched and its SHA-256 compared.',
  run: bench => withServers(bench, { folders: [folder] }, lanes => measure(bench, lanes)),
}

async function measure(bench: Bench, lanes: Lane[]): Promise<void> {
  const sizeBytes = bench.sizes.bigBytes
  const rate = (seconds: number) => sizeBytes / 1e6 / seconds
  const warmUp = warmUpFor(bench, sizeBytes)
  const seed = `${process.pid} ${Date.now()}`

  const uploading = await interleave(bench, lanes, async ({ running: { wire } }, round) => {
    const path = round === bench.rounds ? kept : `${folder}/${round}`
    const { seconds } = await runJob({ kind: 'upload', wire, paths: [path], sizeBytes, seed, warmUp })
    if (path !== kept) await removeFile(wire, path)
    return { upload: rate(seconds) }
  })
  const downloading = await interleave(bench, uploading, async ({ running: { wire } }) => {
    const { seconds } = await runJob({ kind: 'download', wire, path: kept, sizeBytes, warmUp })
    return { download: rate(seconds) }
  })
  await interleave({ ...bench, rounds: 1 }, downloading, async ({ running: { wire } }) => {
    await runJob({ kind: 'check', wire, path: kept, sizeBytes, seed })
    return {}
  })
}
