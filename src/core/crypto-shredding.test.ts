/** What lies on the disk, byte by byte: content is never there in plain, and what was destroyed or sealed left nothing behind. */
import { createDecipheriv } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { jobHandlers } from '#jobs/handlers.ts'
import { diskBlobStore } from '#platform/blobs/disk.ts'
import { makeSealed } from '#test/sealed-space.ts'
import { makeSpace, put, read, type TestSpace } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'
import { keyContext } from './content.ts'
import { inTx, makeCtx, type Ctx } from './ctx.ts'
import type { JobKind, JobPayloads } from './jobs.ts'
import type { ScreeningEngine } from './ports.ts'
import type { Placed } from './placement.ts'
import { purgeVersion } from './purge.ts'
import { openSpaceKey } from './space-keys.ts'
import { getSpaceRow } from './space-rows.ts'
import { deleteNode } from './trash.ts'

const MARKER = 'what nobody else may ever read'
const SMALL = `${MARKER}, in short`
const LARGE = `${MARKER}; `.repeat(4_000)

/** Every byte that a thief of the disk has, the master key apart. */
function onDisk(world: World): Buffer {
  const files = readdirSync(world.folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return Buffer.concat(
    files
      .map(file => join(file.parentPath, file.name))
      .filter(file => file !== world.keyFile)
      .map(file => readFileSync(file)),
  )
}

/** A server's database is out of a test's reach: there, only the store is looked at. */
const seesDatabase = (world: World) => existsSync(join(world.folder, 'entrepot.db'))

/** Does the work that waits, once each, as workers would. */
async function runJobs(ctx: Ctx): Promise<void> {
  const jobs = await ctx.db
    .selectFrom('job')
    .select(['id', 'kind', 'payload'])
    .where('state', '=', 'ready')
    .orderBy('id')
    .execute()
  for (const { kind, payload } of jobs) await runJob(ctx, kind as JobKind, payload) // the table's own kinds
  const ids = jobs.map(({ id }) => id)
  await inTx(ctx, ctx => ctx.db.deleteFrom('job').where('id', 'in', ids).execute())
}

async function runJob<K extends JobKind>(ctx: Ctx, kind: K, payload: string): Promise<void> {
  await jobHandlers[kind](ctx, JSON.parse(payload) as JobPayloads[K], new AbortController().signal)
}

interface Trace {
  wrappedKey: Buffer
  /** As it lies in the store, or in the database where it is small. */
  stored: Buffer
}

/** What a version has on the disk. */
async function traceOf(ctx: Ctx, { version }: Placed): Promise<Trace> {
  const row = await ctx.db
    .selectFrom('version')
    .select('wrappedKey')
    .where('id', '=', version.id)
    .executeTakeFirstOrThrow()
  const segment = await ctx.db
    .selectFrom('segment')
    .select(['id', 'inlineBytes'])
    .where('blobId', '=', version.blobId)
    .executeTakeFirstOrThrow()
  const chunks = segment.inlineBytes ? [segment.inlineBytes] : await Array.fromAsync(ctx.blobs.readStored(segment.id))
  return { wrappedKey: Buffer.from(row.wrappedKey!), stored: Buffer.concat(chunks) }
}

/** With a store on disk in place of the one in memory. */
async function withDisk(world: World, act: (on: (ctx: Ctx) => Ctx) => Promise<void>): Promise<void> {
  const blobs = await diskBlobStore({ dir: join(world.folder, 'blobs') })
  try {
    await act(({ actor, engines }) => makeCtx({ ...world.deps, engines, blobs }, actor, 'test'))
  } finally {
    await blobs.close()
  }
}

/** Any 64 bytes of the middle: of a large content no part may stay, wherever its pieces lie. */
const pieceOf = (stored: Buffer) => stored.subarray(stored.length >> 1, (stored.length >> 1) + 64)

async function putBoth(ctx: Ctx, { id }: TestSpace): Promise<Placed[]> {
  return [await put(ctx, id, 'small', SMALL), await put(ctx, id, 'large', LARGE)]
}

test(
  'content is never on the disk in plain, and purged it is not there at all',
  { timeout: 60_000 },
  async ({ world }) => {
    await withDisk(world, async on => {
      const space = await makeSpace(world)
      const [ctx, system] = [on(space.ctx), on(world.system)]
      const placed = await putBoth(ctx, space)
      for (const { node } of placed) expect(await read(ctx, node.id)).toContain(MARKER)
      const traces = await Promise.all(placed.map(each => traceOf(ctx, each)))
      const before = onDisk(world)
      expect(before.includes(MARKER)).toBe(false)
      expect(before.includes(pieceOf(traces[1]!.stored))).toBe(true)
      if (seesDatabase(world)) for (const { wrappedKey } of traces) expect(before.includes(wrappedKey)).toBe(true)

      for (const { node, version } of placed) {
        await deleteNode(ctx, { nodeId: node.id })
        await purgeVersion(ctx, { versionId: version.id })
      }
      await runJobs(system)

      const after = onDisk(world)
      expect(after.includes(MARKER)).toBe(false)
      for (const { wrappedKey, stored } of traces) {
        expect(after.includes(wrappedKey)).toBe(false)
        expect(after.includes(pieceOf(stored))).toBe(false)
      }
    })
  },
)

const looker: ScreeningEngine = {
  name: 'looker',
  mandatory: true,
  timeoutMs: 10_000,
  examine: async () => ({ kind: 'clean', quarantines: false }),
}

test(
  'once sealed, the wrap that the master key opened is gone, and with it all that a thief of both could read',
  { timeout: 60_000 },
  async ({ world }) => {
    await withDisk(world, async on => {
      const space = await makeSealed(world)
      const looking = { ...world.system, engines: [looker] }
      const [ctx, system] = [on({ ...space.ctx, engines: [looker] }), on(looking)]
      const placed = await putBoth(ctx, space)
      const before = await Promise.all(placed.map(each => traceOf(ctx, each)))
      if (seesDatabase(world)) expect(openedByThief(world, placed)).toBe(2)

      await runJobs(system) // screening
      await runJobs(system) // what it left to do

      const disk = onDisk(world)
      expect(disk.includes(MARKER)).toBe(false)
      for (const { wrappedKey } of before) expect(disk.includes(wrappedKey)).toBe(false)
      if (seesDatabase(world)) {
        for (const each of placed) expect(disk.includes((await traceOf(ctx, each)).wrappedKey)).toBe(true)
        expect(openedByThief(world, placed)).toBe(0)
      }
      const opened = on({ ...space.opened, engines: [looker] })
      for (const { node } of placed) expect(await read(opened, node.id)).toContain(MARKER)
      await expect(
        openSpaceKey(ctx, { space: await getSpaceRow(ctx, space.id), password: 'guess' }),
      ).rejects.toMatchObject({ code: 'wrong-proof' })
    })
  },
)

const WRAP_BYTES = 12 + 32 + 16
/** A row has its wrap right beside the id of its blob. */
const NEAR_BYTES = 256

/** How many of the contents somebody can open who tries the master keys on everything near their ids. */
function openedByThief(world: World, placed: readonly Placed[]): number {
  const ring = JSON.parse(readFileSync(world.keyFile, 'utf8')) as { keys: { key: string }[] } // the file's own form
  const keys = ring.keys.map(({ key }) => Buffer.from(key, 'base64'))
  const disk = onDisk(world)
  return placed.filter(({ version: { blobId } }) => keys.some(key => holdsWrap(disk, key, blobId))).length
}

function holdsWrap(disk: Buffer, key: Buffer, blobId: string): boolean {
  for (let found = disk.indexOf(blobId); found >= 0; found = disk.indexOf(blobId, found + 1)) {
    for (let at = Math.max(0, found - NEAR_BYTES); at < found + NEAR_BYTES; at += 1)
      if (opens(disk.subarray(at, at + WRAP_BYTES), key, keyContext(blobId))) return true
  }
  return false
}

function opens(wrap: Buffer, key: Buffer, context: string): boolean {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, wrap.subarray(0, 12), { authTagLength: 16 })
    decipher.setAAD(Buffer.from(context)).setAuthTag(wrap.subarray(-16)).update(wrap.subarray(12, -16))
    decipher.final()
    return true
  } catch {
    return false
  }
}
