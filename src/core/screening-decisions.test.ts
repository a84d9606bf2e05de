import { describe, expect } from 'vitest'
import { scanner, test, engage, work, verdicts, reading, delivery, makeDelivery } from '#test/screening-world.ts'
import { makeSpace, put, type TestSpace } from '#test/tree.ts'
import type { World } from '#test/world.ts'
import { copyNode } from './node-move.ts'
import { createFolder } from './nodes.ts'
import type { Verdict } from './ports.ts'
import { grantRight } from './roles.ts'
import { recheck, releaseVersion, withdrawRelease } from './screening-decisions.ts'
import { listQuarantine } from './screening-list.ts'
import { loadDeliveryCheck } from './screening-state.ts'
import { deleteNode } from './trash.ts'
import { getVersionRow, switchVersion } from './versions.ts'

describe('a repeated screening', () => {
  test('leaves what is known until it ends', async ({ looking, world, space }) => {
    let answer: Verdict = { kind: 'clean', quarantines: false }
    let isAway = false
    const examine = async () => {
      if (isAway) throw new Error('away')
      return answer
    }
    engage(looking, scanner('one', { examine }))
    const { node, version } = await put(space.ctx, space.id, 'a')
    await work(world)
    answer = { kind: 'infected', quarantines: true }
    isAway = true
    expect(await recheck(world.system, { nodeId: node.id })).toBe(1)
    await work(world)
    expect(await getVersionRow(world.system, version.id)).toMatchObject({
      screening: 'clean',
      recheckAt: expect.any(Number) as number,
    })
    expect(await reading(space, node.id)).toBe('read')
    isAway = false
    world.advance(3_600_000)
    await work(world)
    expect(await getVersionRow(world.system, version.id)).toMatchObject({ screening: 'quarantined', recheckAt: null })
    expect((await world.events()).filter(type => type.startsWith('screening'))).toEqual(['screening.repeated'])
  })

  test('of a space or folder is one of the current contents of the files below', async ({ world, space, one }) => {
    await put(space.ctx, space.id, 'a', 'old')
    await put(space.ctx, space.id, 'a', 'new')
    await put(space.ctx, space.id, 'b')
    await work(world)
    one.seen.length = 0
    expect(await recheck(world.system, { spaceId: space.id })).toBe(2)
    await work(world)
    expect(one.seen.toSorted()).toEqual(['new', 'text of b'])
  })

  test('of all that is quarantined leaves the rest alone', async ({ world, space, one }) => {
    await put(space.ctx, space.id, 'a', 'virus')
    await put(space.ctx, space.id, 'b')
    await work(world)
    one.seen.length = 0
    expect(await recheck(world.system, 'quarantined')).toBe(1)
    await work(world)
    expect(one.seen).toEqual(['virus'])
  })

  test('is refused for what was never looked into', async ({ world, space }) => {
    const { version } = await put(space.ctx, space.id, 'a')
    await expect(recheck(world.system, { versionId: version.id })).rejects.toMatchObject({
      code: 'wrong-state',
      details: { state: 'pending' },
    })
  })

  test('takes a release away where nothing is found any more', async ({ looking, world, space }) => {
    let kind: 'infected' | 'clean' = 'infected'
    const examine = async (): Promise<Verdict> => ({ kind, quarantines: kind === 'infected' })
    engage(looking, scanner('one', { examine }))
    const { version } = await put(space.ctx, space.id, 'a')
    await work(world)
    await releaseVersion(world.system, { versionId: version.id })
    await recheck(world.system, { versionId: version.id })
    await work(world)
    expect((await getVersionRow(world.system, version.id)).releasedAt).not.toBeNull()
    kind = 'clean'
    await recheck(world.system, { versionId: version.id })
    await work(world)
    expect(await getVersionRow(world.system, version.id)).toMatchObject({ screening: 'clean', releasedAt: null })
  })
})

describe('a release', () => {
  const quarantined = async (world: World, space: TestSpace, name = 'a') => {
    const placed = await put(space.ctx, space.id, name, 'virus')
    await work(world)
    return placed
  }

  test('lets the content go, and can be taken back', async ({ world, space }) => {
    const { node, version } = await quarantined(world, space)
    const clerk = await world.user('clerk')
    await grantRight(world.system, { principalId: clerk.user.id, right: 'quarantine.release' })
    await releaseVersion(clerk.ctx, { versionId: version.id })
    expect(await reading(space, node.id)).toBe('read')
    expect(await getVersionRow(world.system, version.id)).toMatchObject({
      screening: 'quarantined',
      releasedBy: clerk.user.id,
    })
    await withdrawRelease(clerk.ctx, { versionId: version.id })
    expect(await reading(space, node.id)).toBe('not-screened')
    expect((await world.events()).filter(type => type === 'version.released')).toHaveLength(2)
  })

  test('is refused to others, which is audited', async ({ world, space }) => {
    const { version } = await quarantined(world, space)
    for (const act of [releaseVersion, withdrawRelease, recheck]) {
      await expect(act(space.ctx, { versionId: version.id })).rejects.toMatchObject({ code: 'forbidden' })
    }
    await expect(listQuarantine(space.ctx, { offset: 0, limit: 1 })).rejects.toMatchObject({ code: 'forbidden' })
    expect((await world.events()).filter(type => type === 'access.refused refused')).toHaveLength(4)
  })

  test('is for what is held back, in the own tenant', async ({ world, space }) => {
    const { version } = await put(space.ctx, space.id, 'a')
    await expect(releaseVersion(world.system, { versionId: version.id })).rejects.toMatchObject({
      code: 'wrong-state',
      details: { state: 'pending' },
    })
    const tenant = await world.otherTenant()
    const elsewhere = world.ctx({ ...world.system.actor, tenantId: tenant.id })
    await expect(releaseVersion(elsewhere, { versionId: version.id })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('does not travel with a copy, and the verdict does', async ({ world, space, one }) => {
    const { node, version } = await quarantined(world, space)
    await releaseVersion(world.system, { versionId: version.id })
    const other = await makeSpace(world, { name: 'other', owner: space.owner })
    const copy = await copyNode(space.ctx, { nodeId: node.id, parentId: other.id })
    expect(await getVersionRow(world.system, copy.currentVersionId!)).toMatchObject({
      screening: 'quarantined',
      integrity: 'ok',
      releasedAt: null,
    })
    expect(await verdicts(world, copy.currentVersionId!)).toEqual(['one:infected'])
    expect(await reading(other, copy.id)).toBe('not-screened')
    expect(one.seen).toHaveLength(1)
  })

  test('belongs to the version: another one has a state of its own', async ({ world, space }) => {
    const { node, version } = await quarantined(world, space)
    const { version: second } = await put(space.ctx, space.id, 'a', 'harmless')
    await work(world)
    expect(await reading(space, node.id)).toBe('read')
    await switchVersion(space.ctx, { nodeId: node.id, versionId: version.id })
    expect(await reading(space, node.id)).toBe('not-screened')
    expect(await reading(space, node.id, second.id)).toBe('read')
  })

  test('shows in the list of what is held back', async ({ world, space }) => {
    const first = await quarantined(world, space, 'a')
    const second = await quarantined(world, space, 'b')
    await releaseVersion(world.system, { versionId: first.version.id })
    const { versions, total } = await listQuarantine(world.system, { offset: 0, limit: 10 })
    expect([total, versions.map(({ id, label, releasedAt }) => [id, label, releasedAt !== null])]).toEqual([
      2,
      [
        [second.version.id, 'b', false],
        [first.version.id, 'a', true],
      ],
    ])
    expect(await listQuarantine(world.system, { offset: 1, limit: 1 })).toMatchObject({
      versions: [{ id: first.version.id }],
      total: 2,
    })
    expect(await listQuarantine(world.system, { state: 'pending', offset: 0, limit: 10 })).toMatchObject({ total: 0 })
    expect(await listQuarantine(world.system, { state: 'quarantined', offset: 0, limit: 10 })).toMatchObject({
      total: 2,
    })
  })
})

describe('a delivery', () => {
  test('gives nothing while a file of it waits, wherever it lies', async ({ world }) => {
    const space = await makeDelivery(world)
    const { node } = await put(space.ctx, space.id, 'a')
    await work(world)
    expect(await reading(space, node.id)).toBe('read')
    expect(await loadDeliveryCheck(world.system, space.id)).toBe('clean')
    const folder = await createFolder(space.ctx, { parentId: space.id, name: 'folder' })
    await put(space.ctx, folder.id, 'b')
    expect(await loadDeliveryCheck(world.system, space.id)).toBe('pending')
    expect(await reading(space, node.id)).toBe('not-screened')
    await work(world)
    expect(await reading(space, node.id)).toBe('read')
  })

  test('gives what waits where the space says so', async ({ world }) => {
    const space = await makeSpace(world, { name: 'delivery', policy: { delivery, unscreenedDownloads: true } })
    const { node } = await put(space.ctx, space.id, 'a')
    expect(await reading(space, node.id)).toBe('read')
  })

  test('gives nothing once something is found in it, until that is released or gone', async ({ world }) => {
    const space = await makeDelivery(world)
    const good = await put(space.ctx, space.id, 'a')
    const bad = await put(space.ctx, space.id, 'b', 'virus')
    await work(world)
    expect(await loadDeliveryCheck(world.system, space.id)).toBe('quarantined')
    expect(await reading(space, good.node.id)).toBe('delivery-quarantined')
    await releaseVersion(world.system, { versionId: bad.version.id })
    expect([await reading(space, good.node.id), await reading(space, bad.node.id)]).toEqual(['read', 'read'])
    await withdrawRelease(world.system, { versionId: bad.version.id })
    await deleteNode(space.ctx, { nodeId: bad.node.id })
    expect(await reading(space, good.node.id)).toBe('read')
  })

  test('is not held up by what another space holds', async ({ world, space }) => {
    const other = await makeDelivery(world)
    const { node } = await put(other.ctx, other.id, 'a')
    await work(world)
    await put(space.ctx, space.id, 'b', 'virus')
    expect(await reading(other, node.id)).toBe('read')
  })

  describe('of a server that is open about quarantine', () => {
    test.override({ settings: { quarantineOpen: true } })

    test('gives its clean files all the same', async ({ world }) => {
      const space = await makeDelivery(world)
      const good = await put(space.ctx, space.id, 'a')
      const bad = await put(space.ctx, space.id, 'b', 'virus')
      await work(world)
      expect([await reading(space, good.node.id), await reading(space, bad.node.id)]).toEqual([
        'read',
        'delivery-quarantined',
      ])
    })
  })
})
