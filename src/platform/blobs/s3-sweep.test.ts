import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect } from 'vitest'
import { createSpace } from '#core/spaces.ts'
import { ORPHAN_AGE_MS, sweep } from '#core/sweep.ts'
import { storeFile } from '#core/uploads.ts'
import { verifyStore } from '#core/verify.ts'
import { makeBucket, testS3 } from '#test/s3-bucket.ts'
import { test } from '#test/world.ts'
import { s3BlobStore } from './s3.ts'

const MIB = 2 ** 20
const SOON_MS = 60_000

describe.skipIf(!testS3)('the sweep over S3', { timeout: 60_000 }, () => {
  test('removes parts and puts that nobody finished once they are old, and leaves what rows know', async ({
    world,
  }) => {
    await using bucket = await makeBucket()
    const blobs = await s3BlobStore({ ...bucket.place, log: { warn() {}, debug() {} } })
    const at = (ms: number) => ({ ...world.system, blobs, clock: () => Date.now() + ms })
    const space = await createSpace(at(0), { name: 'space' })
    const content = randomBytes(200_000)
    const describedLater = () => ({ mediaType: 'text/plain' })
    await storeFile(at(0), { parentId: space.id, name: 'file', onConflict: 'fail', late: describedLater }, [content])

    const parts = await blobs.create({ segmentId: randomUUID(), key: randomBytes(32) })
    for (let n = 0; n < 10; n += 1) await parts.write(randomBytes(MIB))
    const putId = randomUUID()
    await bucket.write(`direct/${putId}`, randomBytes(10))
    const states = async () => (await Array.fromAsync(blobs.list())).map(({ state }) => state).toSorted()
    await expect.poll(states).toEqual(['staged', 'staged', 'stored'])

    expect(await sweep(at(SOON_MS))).toEqual({ objects: 0, blobs: 0 })
    expect(await verifyStore(at(SOON_MS), { content: true })).toMatchObject({ leftovers: 2, problems: [], objects: 3 })
    expect(await sweep(at(ORPHAN_AGE_MS + SOON_MS))).toEqual({ objects: 2, blobs: 0 })
    expect(await states()).toEqual(['stored'])
    // A transfer that was swept away fails; it is never half there.
    await expect(parts.finish()).rejects.toThrow('S3: ')
    expect(await verifyStore(at(0), { content: true })).toMatchObject({ leftovers: 0, problems: [], objects: 1 })
    await blobs.close()
  })
})
