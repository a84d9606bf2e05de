/** One big file that a client puts into the bucket itself, by a signed address of the server. */
import { request } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { mkdir } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { missingPrograms, startEngine, type S3Engine } from '#test/services/ceph.ts'
import { attempt, MiB, subject, type Bench, type Running, type Scenario } from './bench.ts'
import { memoryOf } from './children.ts'
import { installServer } from './server.ts'

const bucket = 'bench'
const sampleEveryMs = 50

export const direct: Scenario = {
  id: 'direct',
  measures: [
    {
      id: 'direct-rss',
      title: 'peak RSS during a direct upload to S3',
      unit: 'MiB',
      rate: false,
      goal: { must: 200, aim: 150 },
    },
    { id: 'direct-put', title: 'direct upload: into the bucket', unit: 'MB/s', rate: true },
    { id: 'direct-use', title: 'direct upload: adopted, hashed, made a file', unit: 'MB/s', rate: true },
  ],
  about: ({ bigBytes }) =>
    `One file of ${bigBytes / MiB} MiB by the three steps of a direct upload: an address from the server, a PUT to the ` +
    'bucket, and the file made of the blob, whose bytes are read back once for their digests. RSS of the server with all its ' +
    'processes over all three. The bucket is one of Ceph, in memory, on the same two cores. No peer has this.',
  run: async bench => {
    const missing = missingPrograms()
    if (missing.length > 0) throw new Error(`an S3 engine: ${missing.join(', ')} missing`)
    const engine = await startEngine()
    try {
      await attempt(bench, subject, () => measure(bench, engine))
    } finally {
      await engine.remove()
    }
  },
}

async function measure(bench: Bench, engine: S3Engine): Promise<void> {
  await makeBucket(engine)
  const root = join(bench.scratch, subject)
  await mkdir(root)
  const installation = await installServer(root, [], {
    ENTREPOT_BLOBS_URL: `s3://${bucket}`,
    ENTREPOT_S3_ENDPOINT: engine.endpoint,
    ENTREPOT_S3_ACCESS_KEY: engine.accessKey,
    ENTREPOT_S3_SECRET_KEY: engine.secretKey,
  })
  const running = await installation.start()
  try {
    await upload(bench, running)
  } finally {
    await running.stop()
  }
}

async function makeBucket({ endpoint, accessKey, secretKey }: S3Engine): Promise<void> {
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
}

async function upload(bench: Bench, { wire, documents, pid }: Running): Promise<void> {
  const { bigBytes } = bench.sizes
  const headers = headersOf(documents?.headers ?? '')
  const base = `http://127.0.0.1:${wire.port}`
  let peakMiB = 0
  const sampling = setInterval(() => (peakMiB = Math.max(peakMiB, memoryOf(pid).rssMiB)), sampleEveryMs)
  try {
    const announced = await fetch(`${base}/api/v3/blob/presigned-upload-url/?content_length=${bigBytes}`, {
      method: 'POST',
      headers,
    })
    // As the API answers it.
    const { blobName, presignedUrl } = (await announced.json()) as { blobName: string; presignedUrl: string }
    const startedAt = performance.now()
    await putBytes(presignedUrl, bigBytes)
    const putAt = performance.now()
    await makeFile(base, headers, blobName)
    const usedAt = performance.now()
    const rate = (ms: number) => bigBytes / 1e6 / (ms / 1000)
    bench.record('direct-put', subject, rate(putAt - startedAt))
    bench.record('direct-use', subject, rate(usedAt - putAt))
  } finally {
    clearInterval(sampling)
  }
  bench.record('direct-rss', subject, peakMiB)
}

const headersOf = (lines: string): Record<string, string> =>
  Object.fromEntries(
    lines
      .split('\r\n')
      .filter(line => line !== '')
      .map(line => line.split(/: (.*)/, 2)),
  )

async function putBytes(address: string, sizeBytes: number): Promise<void> {
  const part = Buffer.alloc(MiB, 7)
  const bytes = function* () {
    for (let left = sizeBytes; left > 0; left -= part.length) yield part.subarray(0, left)
  }
  const sending = request(address, { method: 'PUT', headers: { 'content-length': sizeBytes } })
  const answered = once(sending, 'response')
  await pipeline(Readable.from(bytes()), sending)
  const [response] = await answered
  const said = await buffer(response)
  if (response.statusCode !== 200) throw new Error(`the bucket answered ${response.statusCode}: ${said.toString()}`)
}

/** In a space that the account owns already: its home. */
async function makeFile(base: string, headers: Record<string, string>, blobName: string): Promise<void> {
  const spaces = await fetch(`${base}/api/v2/spaces/`, { headers })
  const { objects } = (await spaces.json()) as { objects: { filespace: string }[] } // as the API answers it
  const form = new FormData()
  const fields = { blob_name: blobName, filename: 'big.bin', title: 'big', parent: objects[0]?.filespace ?? '' }
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  const made = await fetch(`${base}/api/v2/files/`, { method: 'POST', headers, body: form })
  if (made.status !== 201) throw new Error(`making the file answered ${made.status}: ${await made.text()}`)
}
