/** The disk fills up: under the blobs, and under the database itself. */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { clientOf, envelopeOf, logIn, signIn, type Client } from './client.ts'
import { openLedger, type Ledger } from './ledger.ts'
import { eventually, openSite, type Site } from './server.ts'

const MIB = 1024 * 1024
const BALLAST_BYTES = 4 * MIB
/** Still kept in the database. */
const SMALL_BYTES = 15_000

const mountable = canMount()
if (!mountable) console.log('SKIPPED: the tests of a full disk, as only root on Linux can mount a small one')

describe.skipIf(!mountable)('a full disk (needs root on Linux to mount one)', () => {
  test(
    'under the blobs: uploads are refused, all else goes on, and purged content makes room',
    {
      timeout: 120_000,
    },
    async () => {
      await using disk = mountDisk(20)
      const env = { ENTREPOT_BLOBS_URL: pathToFileURL(disk.path).href, ENTREPOT_TRASH_RETENTION: '1ms' }
      await using site = await openSite({ env })
      const server = await site.start()
      const cookie = await signIn(server)
      const client = clientOf(server, cookie)
      const ledger = openLedger('inbox')

      await fill(client, ledger, MIB)
      await expectRefusal(client, 'inbox/more', MIB)
      expect(site.objects('staging')).toEqual([])
      // The database lies elsewhere and takes what is small.
      expect(await ledger.put(client, 'small', randomBytes(SMALL_BYTES))).toBe(201)
      await signIn(server)
      await ledger.check(client)

      for (const name of ledger.names().slice(0, 6)) {
        expect((await client.remove(`inbox/${name}`)).status).toBe(200)
        ledger.forget(name)
      }
      client.close()
      expect(await server.stop()).toBe(0)
      await site.makeDue('trash.purge')
      const later = clientOf(await site.start(), cookie)
      await eventually('an upload finds room', async () => (await ledger.put(later, 'after', randomBytes(MIB))) === 201)
      await expectSound(site, later, ledger)
    },
  )

  // PostgreSQL's own disk is not ours to fill.
  test.skipIf(process.env.TEST_DATABASE_URL)(
    'under the database: writes are refused, reads go on, and room makes it whole again',
    { timeout: 120_000 },
    async () => {
      await using disk = mountDisk(16)
      await using site = await openSite({ dataDir: join(disk.path, 'data') })
      const server = await site.start()
      const client = clientOf(server, await signIn(server))
      const ledger = openLedger('inbox')

      await fill(client, ledger, SMALL_BYTES)
      await expectRefusal(client, 'inbox/more', SMALL_BYTES)
      await expectRefusal(client, 'inbox/larger', MIB)
      await ledger.check(client)
      // Each read is noted in the database, which now has no room for that either.
      await ledger.check(client)
      expect([200, 507]).toContain((await logIn(server)).status)
      const removal = await client.remove('inbox/filler-0')
      expect([200, 507]).toContain(removal.status)
      if (removal.status === 200) ledger.forget('filler-0')
      expect(envelopeOf(removal)).toHaveProperty('message')

      disk.makeRoom()
      expect(await ledger.put(client, 'after', randomBytes(SMALL_BYTES))).toBe(201)
      await expectSound(site, client, ledger)
    },
  )
})

/** Uploads until one is refused for lack of room. */
async function fill(client: Client, ledger: Ledger, sizeBytes: number): Promise<void> {
  for (let n = 0; n < 10_000; n += 1) {
    const status = await ledger.put(client, `filler-${n}`, randomBytes(sizeBytes))
    if (status === 507) return
    expect(status).toBe(201)
  }
  throw new Error('The disk did not fill up')
}

async function expectRefusal(client: Client, path: string, sizeBytes: number): Promise<void> {
  const answer = await client.put(path, randomBytes(sizeBytes))
  expect(answer.status).toBe(507)
  expect(envelopeOf(answer)).toMatchObject({ result: 'failed', errorType: 'io', message: 'No space left' })
}

async function expectSound(site: Site, client: Client, ledger: Ledger): Promise<void> {
  await ledger.check(client)
  expect(client.server.isAlive(), client.server.log()).toBe(true)
  client.close()
  expect(await client.server.stop()).toBe(0)
  const { status, output } = await site.entrepot('verify', '--content')
  expect(status, output).toBe(0)
}

interface SmallDisk {
  path: string
  /** Removes something else that lies on the disk. */
  makeRoom(): void
  [Symbol.asyncDispose](): Promise<void>
}

/** A disk in RAM with a ballast on it. */
function mountDisk(sizeMib: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), 'entrepot-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', path])
  const ballast = join(path, 'ballast')
  writeFileSync(ballast, Buffer.alloc(BALLAST_BYTES))
  return {
    path,
    makeRoom: () => rmSync(ballast),
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [path])
      rmSync(path, { recursive: true })
    },
  }
}

function canMount(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'entrepot-disk-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]).status === 0
  if (mounted) execFileSync('umount', [path])
  rmSync(path, { recursive: true })
  return mounted
}
