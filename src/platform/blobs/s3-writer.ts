/** Writes segments to S3: encrypts on the way, and puts stored forms as they are. */
import { DeleteObjectCommand } from '@aws-sdk/client-s3'
import type { SegmentWriter } from '#core/ports.ts'
import { damaged, FRAME_BYTES, segmentKey } from './frames.ts'
import { storedAt, type Bucket } from './s3-bucket.ts'
import { startUpload, type ObjectUpload } from './s3-upload.ts'
import { segmentSealer, type SegmentSealer } from './segment-sealer.ts'

/** Plain bytes that are encrypted at a time; whole frames. */
const STEP_BYTES = 4 * FRAME_BYTES

export function openWriter(
  bucket: Bucket,
  { segmentId, key, md5 }: { segmentId: string; key: Uint8Array; md5: boolean },
): SegmentWriter {
  const sealer = segmentSealer({ key: segmentKey(key, segmentId), md5 })
  const objectKey = storedAt(bucket, segmentId)
  const upload = startUpload(bucket, objectKey)
  const feed = feeder(sealer, upload)
  let state: 'writing' | 'finishing' | 'finished' | 'aborted' = 'writing'
  let dropping: Promise<void> | undefined

  const drop = async () => {
    const perhapsThere = state !== 'writing'
    state = 'aborted'
    await upload.abandon()
    if (perhapsThere) await removeQuietly(bucket, objectKey)
  }

  return {
    write(chunk) {
      if (state !== 'writing') return Promise.reject(new Error('The segment was ended'))
      return feed.write(chunk)
    },
    async finish() {
      if (state !== 'writing') throw new Error('The segment was ended')
      state = 'finishing'
      try {
        feed.end()
        await upload.finish()
        state = 'finished'
        return { segmentId, ...sealer.result() }
      } catch (error) {
        await (dropping ??= drop())
        throw error
      }
    },
    async abort() {
      if (state !== 'finished') await (dropping ??= drop())
    },
  }
}

/** Gathers chunks into steps, seals them and hands them on. */
function feeder(sealer: SegmentSealer, upload: ObjectUpload) {
  const step = Buffer.allocUnsafeSlow(STEP_BYTES)
  let filled = 0

  const seal = (last: boolean) => {
    for (const piece of sealer.seal(step.subarray(0, filled), last)) upload.add(piece)
    filled = 0
  }

  /** Takes what fits into the step; answers how far it came. */
  const take = (chunk: Uint8Array, from: number) => {
    const length = Math.min(STEP_BYTES - filled, chunk.length - from)
    step.set(chunk.subarray(from, from + length), filled)
    filled += length
    if (filled === STEP_BYTES) seal(false)
    return from + length
  }

  const takeRest = async (chunk: Uint8Array, from: number, held: Promise<void>) => {
    await held
    for (let at = from; at < chunk.length;) {
      at = take(chunk, at)
      await upload.room()
    }
  }

  return {
    write(chunk: Uint8Array): Promise<void> | undefined {
      try {
        for (let at = 0; at < chunk.length;) {
          at = take(chunk, at)
          const held = upload.room()
          if (held) return takeRest(chunk, at, held)
        }
        return undefined
      } catch (error) {
        return Promise.reject(error)
      }
    },
    end: () => seal(true),
  }
}

export async function writeStored(
  bucket: Bucket,
  segmentId: string,
  stored: AsyncIterable<Uint8Array>,
  storedBytes: number,
): Promise<void> {
  const upload = startUpload(bucket, storedAt(bucket, segmentId))
  try {
    let given = 0
    for await (const chunk of stored) {
      given += chunk.length
      upload.add(chunk)
      await upload.room()
    }
    if (given !== storedBytes) throw damaged()
    await upload.finish()
  } catch (error) {
    await upload.abandon()
    throw error
  }
}

async function removeQuietly({ client, name: Bucket }: Bucket, Key: string): Promise<void> {
  await client.send(new DeleteObjectCommand({ Bucket, Key })).catch(() => {})
}
