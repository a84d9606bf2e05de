/** Whole moves of contents alone, by the command as people run it. */
import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openSite, type Site } from '#test/faults/server.ts'
import { databaseOf, expectAlive, filesOf, newPlace, runAndKill, sqliteSource } from '#test/moves.ts'
import { makeBucket, testS3 } from '#test/s3-bucket.ts'

const { TEST_DATABASE_URL: postgres } = process.env

describe.skipIf(postgres)('a move of contents alone', { timeout: 120_000 }, () => {
  test('fills another directory, and the server goes on with the same database', async () => {
    await using site = await sqliteSource()
    const blobs = newPlace()
    addAbandoned(site)
    const before = filesOf(site.dataDir)
    const moved = await site.entrepot('migrate', '--to-disk', blobs, '--content')
    expect(moved).toMatchObject({ status: 0, output: expect.stringContaining('OK') })
    expect(moved.output).not.toContain('ENTREPOT_DATABASE_URL')
    expect(filesOf(site.dataDir)).toEqual(before)
    const url = pathToFileURL(blobs).href
    expect(filesOf(blobs)).toEqual(filesOf(join(site.dataDir, 'blobs')))

    const repeated = await site.entrepot('migrate', '--to-disk', blobs)
    expect(repeated).toMatchObject({ status: 0, output: expect.stringContaining('0 objects copied') })
    rmSync(join(site.dataDir, 'blobs'), { recursive: true })
    await expectAlive(site, { ENTREPOT_BLOBS_URL: url })
  })

  test('replaces what is not whole in the target, and names what the source itself lacks', async () => {
    await using site = await sqliteSource()
    const blobs = newPlace()
    expect(await site.entrepot('migrate', '--to-disk', blobs)).toMatchObject({ status: 0 })
    const [first, second] = Object.keys(filesOf(blobs))
    writeFileSync(join(blobs, first!), 'short')
    const repaired = await site.entrepot('migrate', '--to-disk', blobs)
    expect(repaired).toMatchObject({ status: 0, output: expect.stringContaining('1 objects copied') })
    expect(filesOf(blobs)).toEqual(filesOf(join(site.dataDir, 'blobs')))

    for (const store of [blobs, join(site.dataDir, 'blobs')]) rmSync(join(store, second!))
    const { status, output } = await site.entrepot('migrate', '--to-disk', blobs)
    expect({ status, output }).toMatchObject({
      status: 1,
      output: expect.stringContaining(`missing: ${second!.slice(-36)}`),
    })
  })

  test('wrong targets are refused in one line, and nothing is made', async () => {
    await using site = await sqliteSource()
    const cases: [string[], string][] = [
      [[], 'Name a target'],
      [['--to-postgres', 'mysql://x/y'], 'must be postgres://'],
      [['--to-s3', 'file:/tmp/x'], 'must be s3://'],
      [['--to-s3', 's3://bucket', '--to-disk', 'x'], 'one place'],
      [['--to-disk', join(site.dataDir, 'blobs')], 'in that place already'],
      [['--to-disk', site.dataDir], 'is not empty'],
    ]
    const before = filesOf(dirname(site.dataDir))
    for (const [args, text] of cases) {
      const { status, output } = await site.entrepot('migrate', ...args)
      expect({ status, output }).toMatchObject({ status: 1, output: expect.stringContaining(text) })
    }
    expect(filesOf(dirname(site.dataDir))).toEqual(before)
  })
})

describe.skipIf(!testS3 || postgres)('a move of contents to S3', { timeout: 120_000 }, () => {
  test('goes on after kills, serves from there, and comes back to a disk byte for byte', async () => {
    const access = {
      ENTREPOT_S3_ENDPOINT: testS3!.endpoint,
      ENTREPOT_S3_REGION: testS3!.region,
      ENTREPOT_S3_ACCESS_KEY: testS3!.accessKey,
      ENTREPOT_S3_SECRET_KEY: testS3!.secretKey,
    }
    await using site = await sqliteSource(access)
    await using bucket = await makeBucket()
    const url = `s3://${bucket.place.bucket}/moved`
    const stored = filesOf(join(site.dataDir, 'blobs'))
    const args = ['migrate', '--to-s3', url]
    for (let kill = 0; kill < 3; kill += 1) await runAndKill(site, args, /./, access)
    const there = await site.entrepot(...args, '--content')
    expect(there.status, there.output).toBe(0)
    expect(there.output).toContain(`ENTREPOT_BLOBS_URL=${url}`)
    expect(filesOf(join(site.dataDir, 'blobs'))).toEqual(stored)

    rmSync(join(site.dataDir, 'blobs'), { recursive: true })
    const home = join(site.dataDir, 'blobs-again')
    const moved = await openSite({ ...site, env: { ...access, ENTREPOT_BLOBS_URL: url } })
    const back = await moved.entrepot('migrate', '--to-disk', home)
    expect(back.status, back.output).toBe(0)
    expect(filesOf(home)).toEqual(stored)
    await expectAlive(moved, { ENTREPOT_BLOBS_URL: url })
  })
})

/** A piece of an upload that was given up: its object is gone, its row not yet. */
function addAbandoned(site: Site): void {
  const database = databaseOf(site)
  const id = randomUUID()
  database.exec(`
    insert into blob (id, "tenantId", encryption, "sizeBytes", "createdAt") select '${id}', id, 'frames-1', 9, 1 from tenant;
    insert into segment (id, "blobId", "startByte", "sizeBytes", "usedBytes", sha256, "createdAt")
      values ('${id}', '${id}', 0, 9, 9, 'x', 1)`)
  database.close()
}
