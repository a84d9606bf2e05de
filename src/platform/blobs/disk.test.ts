import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, test } from 'vitest'
import { blobStoreSuite, listed, readSegment, writeSegment } from '#test/suites/blob-store.ts'
import { diskBlobStore } from './disk.ts'

const root = mkdtempSync(join(tmpdir(), 'blobs-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const key = randomBytes(32)
const objectPath = (dir: string, segmentId: string) =>
  join(dir, 'objects', segmentId.slice(-4, -2), segmentId.slice(-2), segmentId)

blobStoreSuite('disk', async () => {
  const dir = join(root, 'suite')
  const store = await diskBlobStore({ dir })
  return {
    store,
    stored: segmentId => readFile(objectPath(dir, segmentId)),
    overwrite: (segmentId, bytes) => writeFile(objectPath(dir, segmentId), bytes),
    dispose: () => store.close(),
  }
})

async function openStore() {
  const dir = join(root, randomUUID())
  const store = await diskBlobStore({ dir })
  return { dir, store, [Symbol.asyncDispose]: () => store.close() }
}

/** Regular files below `dir`. */
function filesIn(dir: string): string[] {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => entry.name)
}

/** Paths below `dir` that this process holds open. */
function openFiles(dir: string): string[] {
  const links = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // closed while we looked
    }
  })
  return links.filter(link => link.startsWith(dir))
}

describe('disk', () => {
  test('segments of an earlier run are read by a new store', async () => {
    const { dir, store } = await openStore()
    const segment = await writeSegment(store, { key, plain: Buffer.from('lasting') })
    await store.close()
    const again = await diskBlobStore({ dir })
    expect((await readSegment(again, segment, key)).toString()).toBe('lasting')
    await again.close()
  })

  test('a crash leaves a staged file, which is listed and can be removed', async () => {
    await using opened = await openStore()
    const { dir, store } = opened
    const segmentId = randomUUID()
    await (await store.create({ segmentId, key })).write(randomBytes(2_000_000))
    await store.close()

    const again = await diskBlobStore({ dir })
    expect(await listed(again, segmentId)).toMatchObject([{ segmentId, state: 'staged' }])
    await again.remove([segmentId])
    expect(filesIn(dir)).toEqual([])
    await again.close()
  })

  test('a segment that is being written is not disturbed by a second one of its id', async () => {
    await using opened = await openStore()
    const segmentId = randomUUID()
    const writer = await opened.store.create({ segmentId, key })
    await expect(opened.store.create({ segmentId, key })).rejects.toThrow('EEXIST')
    await writer.write(Buffer.from('first'))
    expect((await readSegment(opened.store, await writer.finish(), key)).toString()).toBe('first')
  })

  test('an id that is no UUID is refused, as it would become part of a path', async () => {
    await using opened = await openStore()
    await expect(opened.store.create({ segmentId: '../../etc/passwd', key })).rejects.toThrow('UUID')
    await expect(opened.store.remove(['..'])).rejects.toThrow('UUID')
  })

  test('a producer that is faster than the disk is held back', async () => {
    await using opened = await openStore()
    const writer = await opened.store.create({ segmentId: randomUUID(), key })
    const chunk = randomBytes(65_536)
    const held = Array.from({ length: 12 }, () => writer.write(chunk))
    expect(held.every(promise => promise === undefined)).toBe(true)
    const waiting = writer.write(chunk)
    expect(waiting).toBeInstanceOf(Promise)
    await waiting
    expect((await writer.finish()).sizeBytes).toBe(13 * 65_536)
  })

  test('after a closed store no transfer goes on and no new one starts', async () => {
    const { store } = await openStore()
    const writer = await store.create({ segmentId: randomUUID(), key })
    await store.close()
    await expect(writer.finish()).rejects.toThrow('closed')
    await expect(store.create({ segmentId: randomUUID(), key })).rejects.toThrow('closed')
    await writer.abort()
  })

  test.skipIf(process.platform !== 'linux')('leaving a read early closes its file', async () => {
    await using opened = await openStore()
    const { dir, store } = opened
    const segment = await writeSegment(store, { key, plain: randomBytes(8_000_000) })
    for await (const chunk of store.read({ segment, key, start: 0, end: 8_000_000 })) {
      expect(chunk.length).toBeGreaterThan(0)
      expect(openFiles(dir)).toHaveLength(1)
      break
    }
    expect(openFiles(dir)).toEqual([])
    await readSegment(store, segment, key)
    expect(openFiles(dir)).toEqual([])
  })

  test.skipIf(process.platform !== 'linux')('a store with nothing to do does not keep the process alive', () => {
    const script = `
      import { diskBlobStore } from ${JSON.stringify(import.meta.resolve('./disk.ts'))}
      const store = await diskBlobStore({ dir: ${JSON.stringify(join(root, 'script'))} })
      const key = Buffer.alloc(32)
      const writer = await store.create({ segmentId: '${randomUUID()}', key })
      await writer.write(Buffer.alloc(3_000_000))
      const segment = await writer.finish()
      let bytes = 0
      for await (const chunk of store.read({ segment, key, start: 0, end: 3_000_000 })) bytes += chunk.length
      console.log(bytes)`
    const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 20_000,
      encoding: 'utf8',
    })
    expect(ran).toMatchObject({ status: 0, stdout: '3000000\n', stderr: '' })
  })
})

const fullDisk = mountSmallDisk()

describe.skipIf(!fullDisk)('full disk (needs root on Linux to mount one)', () => {
  afterAll(() => {
    if (fullDisk) execFileSync('umount', [fullDisk])
  })

  test('a write is refused as storage-full and leaves no trace', async () => {
    const dir = join(fullDisk ?? '', 'store')
    const store = await diskBlobStore({ dir })
    const plain = randomBytes(6_000_000)
    const writer = await store.create({ segmentId: randomUUID(), key })
    const writing = (async () => {
      for (let at = 0; at < plain.length; at += 65_536) await writer.write(plain.subarray(at, at + 65_536))
      await writer.finish()
    })()
    await expect(writing).rejects.toMatchObject({ code: 'storage-full' })
    await writer.abort()
    expect(filesIn(dir)).toEqual([])

    const segment = await writeSegment(store, { key, plain: plain.subarray(0, 1_000_000) })
    expect(segment.sizeBytes).toBe(1_000_000)
    await store.close()
  })

  test('the check fails while there is no room', async () => {
    const dir = join(fullDisk ?? '', 'check')
    const store = await diskBlobStore({ dir })
    await writeFile(join(dir, 'filler'), randomBytes(8_000_000)).catch(() => {})
    await expect(store.check()).rejects.toMatchObject({ code: 'storage-full' })
    await store.close()
  })
})

/** A disk of 4 MB, where one can be mounted. */
function mountSmallDisk(): string | undefined {
  const path = join(root, 'small')
  mkdirSync(path)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', path])
  return mounted.status === 0 ? path : undefined
}

describe('a lost worker', () => {
  test('its transfers fail, and the next one gets a new worker', async () => {
    await using opened = await openStore()
    const { dir, store } = opened
    const started: Worker[] = []
    const note = (worker: Worker) => started.push(worker)
    process.on('worker', note)
    const writer = await store.create({ segmentId: randomUUID(), key })
    process.off('worker', note)
    await started[0]?.terminate()
    await expect(writer.finish()).rejects.toThrow('worker')
    await writer.abort()
    expect(filesIn(dir)).toEqual([])
    expect((await writeSegment(store, { key, plain: Buffer.from('on') })).sizeBytes).toBe(2)
  })
})
