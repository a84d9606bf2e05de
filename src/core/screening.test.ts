import { describe, expect } from 'vitest'
import { makePeople, send } from '#test/deliveries.ts'
import { scanner, looker, test, engage, work, screenings, stateOf, verdicts, reading } from '#test/screening-world.ts'
import { makeSpace, put, type TestSpace } from '#test/tree.ts'
import type { World } from '#test/world.ts'
import { setContentRules } from './content-rules.ts'
import { inTx } from './ctx.ts'
import type { Verdict } from './ports.ts'
import { purgeVersion } from './purge.ts'
import { resumeScreening, screenVersion } from './screening.ts'
import { recheck, releaseVersion } from './screening-decisions.ts'
import { completeUpload } from './transfer-completion.ts'
import { appendUpload, openUpload } from './transfers.ts'
import { deleteNode } from './trash.ts'
import { storeFile } from './uploads.ts'
import { getVersionRow } from './versions.ts'

describe('a content', () => {
  test.for([8, 100, 600, 40_000])(
    'of %d bytes is born clean, without a job, where its head says so',
    async (size, { looking, world, space }) => {
      engage(looking, looker())
      const { version } = await put(space.ctx, space.id, 'a', 'safe'.padEnd(size, '.'))
      expect(version).toMatchObject({ screening: 'clean', screenedAt: version.createdAt })
      expect(await getVersionRow(world.system, version.id)).toMatchObject({ screening: 'clean' })
      expect(await screenings(world)).toEqual([])
    },
  )

  test('is shown with its first 512 bytes, however it is cut', async ({ looking, space }) => {
    const heads: Buffer[] = []
    engage(looking, scanner('looker', { isHarmless: head => heads.push(Buffer.from(head)) > 0 }))
    const bytes = Buffer.from(Array.from({ length: 700 }, (_, at) => at % 251))
    const late = () => ({ mediaType: 'text/plain' })
    const body = [bytes.subarray(0, 1), bytes.subarray(1, 511), bytes.subarray(511, 600), bytes.subarray(600)]
    await storeFile(space.ctx, { parentId: space.id, name: 'a', onConflict: 'fail', late }, body)
    expect(heads).toEqual([bytes.subarray(0, 512)])
  })

  test('waits where one engine of several has no such look, or the tenant has rules', async ({
    looking,
    world,
    space,
    one,
  }) => {
    engage(looking, looker(), one)
    expect((await put(space.ctx, space.id, 'a', 'safe')).version.screening).toBe('pending')
    engage(looking, looker())
    const rule = { name: 'r', kind: 'keywords', terms: ['x'], minMatches: 1, effect: 'flag' } as const
    await setContentRules(world.system, [rule])
    expect((await put(space.ctx, space.id, 'b', 'safe')).version.screening).toBe('pending')
  })

  test('is clean where nothing looks', async ({ looking, world, space }) => {
    engage(looking)
    expect((await put(space.ctx, space.id, 'a')).version.screening).toBe('clean')
    expect((await transfer(space, 'b')).version.screening).toBe('clean')
    expect(await screenings(world)).toEqual([])
  })

  test('that came by several requests waits', async ({ looking, space }) => {
    engage(looking, looker())
    expect((await transfer(space, 'safe')).version.screening).toBe('pending')
  })

  test('waits and is then clean, with what each engine said', async ({ world, space, one }) => {
    const { version } = await put(space.ctx, space.id, 'a', 'harmless')
    expect(version).toMatchObject({ screening: 'pending', screenedAt: null })
    await work(world)
    expect(one.seen).toEqual(['harmless'])
    const row = await getVersionRow(world.system, version.id)
    expect(row).toMatchObject({ screening: 'clean', integrity: 'ok' })
    expect(row.screenedAt).toBeGreaterThan(version.createdAt)
    expect(row.integrityAt).toBe(row.screenedAt)
    expect(await verdicts(world, version.id)).toEqual(['one:clean'])
    expect(await world.events()).toContain('version.screened')
  })

  test('in which something is found is quarantined, and every engine was asked', async ({
    looking,
    world,
    space,
    one,
  }) => {
    const two = scanner('two')
    engage(looking, one, two)
    const { node, version } = await put(space.ctx, space.id, 'a', 'a virus')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('quarantined')
    expect(await verdicts(world, version.id)).toEqual(['one:infected', 'two:infected'])
    expect(await reading(space, node.id)).toBe('not-screened')
  })

  test('whose finding does not quarantine is clean and keeps the mark', async ({ looking, world, space }) => {
    const locked = async (): Promise<Verdict> => ({ kind: 'encrypted', quarantines: false })
    engage(looking, scanner('one', { examine: locked }))
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('clean')
    expect(await verdicts(world, version.id)).toEqual(['one:encrypted'])
    // The engine read nothing of it, so it was read for its own sake.
    expect(await getVersionRow(world.system, version.id)).toMatchObject({ integrity: 'ok' })
  })

  test('of a delivery is told to its sender when it is held back, once', async ({ looking, world }) => {
    engage(looking, scanner('one'))
    const { alice } = await makePeople(world, 'alice', 'bob')
    const sent = await send(alice.ctx, {
      recipients: [{ address: 'bob@example.test', type: 'regular' }],
      notify: false,
    })
    const { version } = await put(alice.ctx, sent.id, 'a', 'a virus')
    await work(world)
    await recheck(world.system, { versionId: version.id })
    await work(world)
    const mails = await world.system.db.selectFrom('mail').select(['kind', 'recipientId', 'subjectId']).execute()
    expect(mails).toEqual([{ kind: 'delivery-quarantined', recipientId: alice.user.id, subjectId: sent.uid }])
  })

  test('that is too large for a mandatory engine is held back until it fits or somebody lets it go', async ({
    looking,
    world,
    space,
  }) => {
    const big = { examine: async (): Promise<Verdict> => ({ kind: 'too-large', quarantines: false }) }
    engage(looking, scanner('one', big))
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('not-examinable')
    await releaseVersion(world.system, { versionId: version.id })
    engage(looking, scanner('one', { examine: async () => ({ kind: 'clean', quarantines: false }) }))
    expect(await recheck(world.system, { versionId: version.id })).toBe(1)
    await work(world)
    expect(await stateOf(world, version.id)).toBe('clean')
    engage(looking, scanner('one', { ...big, mandatory: false }))
    const other = await put(space.ctx, space.id, 'b')
    await work(world)
    expect(await stateOf(world, other.version.id)).toBe('clean')
  })

  test('that clients encrypt is nothing to look into', async ({ world, one }) => {
    const space = await makeSpace(world, { name: 'sealed', policy: { clientEncryption: true } })
    const { actor } = space.ctx
    const ctx = world.ctx({ ...actor, proofs: { ...actor.proofs, holdsKey: true } })
    const { version } = await put(ctx, space.id, 'a', 'virus')
    expect(version.screening).toBe('not-examinable')
    await work(world)
    expect(one.seen).toEqual([])
  })

  test.for([true, false])(
    'that is damaged has failed, and nobody is asked again: engine reads it: %s',
    async (reads, { looking, world, space }) => {
      if (!reads) engage(looking, scanner('one', { examine: async () => ({ kind: 'clean', quarantines: false }) }))
      const { version } = await put(space.ctx, space.id, 'a', 'x'.repeat(40_000))
      const { id } = await world.system.db
        .selectFrom('segment')
        .select('id')
        .where('blobId', '=', version.blobId)
        .executeTakeFirstOrThrow()
      await world.deps.blobs.remove([id])
      await work(world)
      expect(await getVersionRow(world.system, version.id)).toMatchObject({
        screening: 'failed',
        integrity: 'corrupted',
      })
      expect((await screenings(world)).map(job => job.state)).toEqual(['done'])
    },
  )

  test('that was purged meanwhile is no error', async ({ world, space }) => {
    const { node, version } = await put(space.ctx, space.id, 'a')
    await deleteNode(space.ctx, { nodeId: node.id })
    await purgeVersion(space.ctx, { versionId: version.id })
    await work(world)
    expect((await screenings(world)).map(job => job.state)).toEqual(['done'])
    expect(await verdicts(world, version.id)).toEqual([])
  })

  test('purged while an engine looks keeps neither verdict nor event', async ({ looking, world, space }) => {
    const { node, version } = await put(space.ctx, space.id, 'a')
    const examine = async (): Promise<Verdict> => {
      await deleteNode(space.ctx, { nodeId: node.id })
      await purgeVersion(space.ctx, { versionId: version.id })
      return { kind: 'clean', quarantines: false }
    }
    engage(looking, scanner('one', { examine }))
    await work(world)
    expect(await verdicts(world, version.id)).toEqual([])
    expect(await world.events()).not.toContain('version.screened')
  })

  test('looked into twice at once has one verdict of each engine', async ({ world, space }) => {
    const { version } = await put(space.ctx, space.id, 'a', 'virus')
    const { signal } = new AbortController()
    await Promise.all([1, 2, 3].map(() => screenVersion(world.system, { versionId: version.id }, signal)))
    expect(await verdicts(world, version.id)).toEqual(['one:infected'])
  })
})

async function transfer(space: TestSpace, text: string) {
  const { id: uploadId } = await openUpload(space.ctx, {
    parentId: space.id,
    name: 'by parts',
    onConflict: 'rename-new',
    mediaType: 'text/plain',
  })
  await appendUpload(space.ctx, { uploadId }, [Buffer.from(text)])
  return completeUpload(space.ctx, { uploadId, onRefusal: 'fail' })
}

describe('an engine', () => {
  test('that must be there keeps contents waiting while it is away, and says so; its return ends that', async ({
    world,
    space,
    one,
  }) => {
    one.isAway = true
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('pending')
    expect(await verdicts(world, version.id)).toEqual(['one:unavailable'])
    expect(await screenings(world)).toMatchObject([
      { state: 'ready', lastError: expect.stringContaining('one is away') as string },
    ])

    one.isAway = false
    world.advance(3_600_000)
    await work(world)
    expect(await stateOf(world, version.id)).toBe('clean')
    expect(await verdicts(world, version.id)).toEqual(['one:clean'])
  })

  test('that need not be there is left out while it is away', async ({ looking, world, space, one }) => {
    const extra = scanner('extra', { mandatory: false })
    extra.isAway = true
    engage(looking, extra, one)
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('clean')
    expect(await verdicts(world, version.id)).toEqual(['extra:unavailable', 'one:clean'])
  })

  test('that gives no answer in time counts as away', async ({ looking, world, space, one }) => {
    const slow = scanner('slow', { mandatory: false, timeoutMs: 5 })
    slow.hangs = true
    engage(looking, slow, one)
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await verdicts(world, version.id)).toEqual(['one:clean', 'slow:unavailable'])
  })

  test('that has found something is believed while another is away', async ({ looking, world, space, one }) => {
    const two = scanner('two')
    two.isAway = true
    engage(looking, two, one)
    const { version } = await put(space.ctx, space.id, 'a', 'virus')
    await work(world)
    expect(await stateOf(world, version.id)).toBe('quarantined')
    expect((await screenings(world)).map(job => job.state)).toEqual(['done'])
  })

  test('that hangs does not keep the worker from stopping, and the content waits on', async ({ world, space, one }) => {
    one.hangs = true
    const { version } = await put(space.ctx, space.id, 'a')
    const stop = new AbortController()
    const looking = screenVersion(world.system, { versionId: version.id }, stop.signal)
    setImmediate(() => stop.abort(new Error('stopping')))
    await expect(looking).rejects.toThrow('stopping')
    expect(await verdicts(world, version.id)).toEqual([])
  })
})

describe('what got lost', () => {
  const dropJobs = (world: World) =>
    inTx(world.system, ctx => ctx.db.deleteFrom('job').where('kind', '=', 'version.screen').execute())

  test('is taken up again, once, in the tenant that it belongs to', async ({ world, space }) => {
    const tenant = await world.otherTenant()
    const stranger = await world.user('stranger', { tenant })
    const theirs = await makeSpace(
      { ...world, system: world.ctx({ ...world.system.actor, tenantId: tenant.id }) },
      {
        owner: stranger,
      },
    )
    const versions = [await put(space.ctx, space.id, 'a', 'virus'), await put(theirs.ctx, theirs.id, 'b', 'virus')]
    await dropJobs(world)
    expect(await resumeScreening(world.system)).toBe(2)
    expect(await resumeScreening(world.system)).toBe(0)
    await work(world)
    const rows = await world.system.db.selectFrom('version').select(['id', 'screening']).orderBy('id').execute()
    expect(rows).toEqual(versions.map(({ version }) => ({ id: version.id, screening: 'quarantined' })))
  })

  test('is not what waits for another attempt, or is being looked into', async ({ world, space, one }) => {
    one.isAway = true
    await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await screenings(world)).toMatchObject([{ state: 'ready', attempts: 1 }])
    expect(await resumeScreening(world.system)).toBe(0)
    await inTx(world.system, ctx => ctx.db.updateTable('job').set({ state: 'running' }).execute())
    expect(await resumeScreening(world.system)).toBe(0)
  })

  test('is also what was given up, and the same job begins anew', async ({ world, space, one }) => {
    one.isAway = true
    const { version } = await put(space.ctx, space.id, 'a')
    await inTx(world.system, ctx => ctx.db.updateTable('job').set({ maxAttempts: 1 }).execute())
    await work(world)
    expect(await screenings(world)).toMatchObject([{ state: 'dead' }])
    expect(await resumeScreening(world.system)).toBe(1)
    one.isAway = false
    await work(world)
    expect(await stateOf(world, version.id)).toBe('clean')
    expect(await screenings(world)).toHaveLength(1)
  })

  test('may be a repeated screening', async ({ world, space, one }) => {
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    await recheck(world.system, { versionId: version.id })
    await dropJobs(world)
    expect(await resumeScreening(world.system)).toBe(1)
    await work(world)
    expect(one.seen).toHaveLength(2)
  })
})
