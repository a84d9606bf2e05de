/** Whole servers that keep contents in S3. */
import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { S3Place } from '#platform/blobs/location.ts'
import { clientOf, signIn } from './faults/client.ts'
import { openSite } from './faults/server.ts'
import { makeBucket, testS3 } from './s3-bucket.ts'
import { startProxy } from './tcp-proxy.ts'

const MIB = 2 ** 20

const environment = ({ bucket, prefix, endpoint, accessKey, secretKey }: S3Place) => ({
  ENTREPOT_BLOBS_URL: `s3://${bucket}/${prefix}`,
  ENTREPOT_S3_ENDPOINT: endpoint,
  ENTREPOT_S3_ACCESS_KEY: accessKey,
  ENTREPOT_S3_SECRET_KEY: secretKey,
})

describe.skipIf(!testS3)('a site with its contents in S3', { timeout: 120_000 }, () => {
  test('stores, gives, verifies, and its backup is a whole data directory', async () => {
    await using bucket = await makeBucket('files/')
    await using site = await openSite({ env: environment(bucket.place) })
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const contents = [randomBytes(20 * MIB + 7), randomBytes(100_000), Buffer.from('small')]
    for (const [n, content] of contents.entries()) expect((await client.put(`inbox/${n}`, content)).status).toBe(201)
    expect(await bucket.keys()).toHaveLength(2)
    expect(await site.entrepot('verify', '--content')).toMatchObject({ status: 0 })

    const folder = mkdtempSync(join(tmpdir(), 'entrepot-s3-'))
    const made = await site.entrepot('backup', join(folder, 'backup'), '--with-key')
    expect(made).toMatchObject({ status: 0, output: expect.stringContaining('2 objects') })
    client.close()

    cpSync(join(folder, 'backup'), join(folder, 'restored'), { recursive: true })
    await using restored = await openSite({ dataDir: join(folder, 'restored') })
    expect(await restored.entrepot('verify', '--content')).toMatchObject({ status: 0 })
    const again = await restored.start()
    const reader = clientOf(again, await signIn(again))
    for (const [n, content] of contents.entries()) {
      expect((await reader.get(`inbox/${n}`)).body.equals(content)).toBe(true)
    }
    reader.close()
    rmSync(folder, { recursive: true })
  })

  test('a backup fails where a content is missing', async () => {
    await using bucket = await makeBucket('files/')
    await using site = await openSite({ env: environment(bucket.place) })
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    await client.put('inbox/lost', randomBytes(100_000))
    client.close()
    const [key = ''] = await bucket.keys()
    await bucket.write(key, Buffer.from('another'))
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-s3-'))
    const made = await site.entrepot('backup', join(folder, 'backup'))
    expect(made).toMatchObject({ status: 1, output: expect.stringContaining('missing or damaged') })
    rmSync(folder, { recursive: true })
  })

  test('while the service is away nothing is acknowledged; once it is back everything acknowledged is there', async () => {
    await using bucket = await makeBucket()
    await using proxy = await startProxy(bucket.place.endpoint)
    await using site = await openSite({ env: environment({ ...bucket.place, endpoint: proxy.url }) })
    const server = await site.start()
    const client = clientOf(server, await signIn(server))
    const content = randomBytes(9 * MIB)
    expect((await client.put('inbox/before', content)).status).toBe(201)
    await proxy.down()
    expect((await client.put('inbox/during', content)).status).toBeGreaterThanOrEqual(500)
    await proxy.up()
    expect((await client.put('inbox/after', content)).status).toBe(201)
    expect((await client.list('inbox')).map(({ name }) => name).toSorted()).toEqual(['after', 'before'])
    expect((await client.get('inbox/before')).body.equals(content)).toBe(true)
    expect(await site.entrepot('verify', '--content')).toMatchObject({ status: 0 })
    client.close()
  })

  test('a server that cannot use its bucket says which variable is wrong', async () => {
    await using bucket = await makeBucket()
    const site = openSite({ env: { ...environment(bucket.place), ENTREPOT_S3_SECRET_KEY: 'wrong' } })
    await expect(site).rejects.toThrow('ENTREPOT_S3_SECRET_KEY does not fit ENTREPOT_S3_ACCESS_KEY')
  })
})
