import { describe, expect } from 'vitest'
import { isDomainError } from '#core/errors.ts'
import { createFolder, getTenantRoot } from '#core/nodes.ts'
import { purgeVersion } from '#core/purge.ts'
import { getTotals } from '#core/totals.ts'
import { deleteNode } from '#core/trash.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import { applyActs, fc, someActs } from '#test/acts.ts'
import { brokenNodes, makeSpace, put, wrongTotals } from '#test/tree.ts'
import { test } from '#test/world.ts'

test('totals count what is live below a container, and what of it lies in the bin', async ({ world }) => {
  const outer = await makeSpace(world)
  const { ctx } = outer
  const nested = await makeSpace(world, { within: outer, name: 'nested' })
  const folder = await createFolder(ctx, { parentId: nested.id, name: 'folder' })
  await put(ctx, folder.id, 'a', '12345')
  await put(ctx, folder.id, 'a', '123')
  const b = await put(ctx, nested.id, 'b', '1234567')
  await deleteNode(ctx, { nodeId: b.node.id })

  expect(await getTotals(ctx, folder.id)).toEqual({ files: 1, folders: 0, bytes: 3, binBytes: 5 })
  expect(await getTotals(ctx, nested.id)).toEqual({ files: 1, folders: 1, bytes: 3, binBytes: 12 })
  expect(await getTotals(ctx, outer.id)).toEqual({ files: 1, folders: 2, bytes: 3, binBytes: 12 })
  const root = await getTenantRoot(ctx)
  expect(await getTotals(ctx, root.id)).toEqual({ files: 1, folders: 3, bytes: 3, binBytes: 12 })

  await purgeVersion(ctx, { versionId: b.version.id })
  expect(await getTotals(ctx, outer.id)).toMatchObject({ binBytes: 5 })
})

describe('a quota', () => {
  test('is exact to the byte while 20 write at once, and counts the bin', async ({ world }) => {
    const { id, ctx } = await makeSpace(world, { policy: { quotaBytes: 100 } })

    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => put(ctx, id, `file ${n}`, '0123456789')),
    )

    const refused = attempts.filter(attempt => attempt.status === 'rejected')
    expect(refused).toHaveLength(10)
    for (const { reason } of refused) expect(isDomainError(reason, 'quota-exceeded')).toBe(true)
    expect(await getTotals(ctx, id)).toMatchObject({ files: 10, bytes: 100 })
    const stored = attempts.find(attempt => attempt.status === 'fulfilled')!.value
    await deleteNode(ctx, { nodeId: stored.node.id })
    await expect(put(ctx, id, 'one more', 'x')).rejects.toMatchObject({
      code: 'quota-exceeded',
      details: { scope: 'space', limitBytes: 100, neededBytes: 101 },
    })
    await purgeVersion(ctx, { versionId: stored.version.id })
    await put(ctx, id, 'one more', '0123456789')
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('of a space above and of the tenant holds as well, and one that was lowered stops only growth', async ({
    world,
  }) => {
    const outer = await makeSpace(world, { policy: { quotaBytes: 10 } })
    const nested = await makeSpace(world, { within: outer, name: 'nested' })
    const { ctx } = outer
    const { node } = await put(ctx, nested.id, 'a', '0123456789')
    await expect(put(ctx, nested.id, 'b', 'x')).rejects.toMatchObject({ code: 'quota-exceeded' })

    await updateSpacePolicy(ctx, { spaceId: outer.id, policy: { quotaBytes: 5 } })
    await put(ctx, nested.id, 'empty', '')
    await deleteNode(ctx, { nodeId: node.id })

    await world.deps.database.transaction(tx => tx.updateTable('tenant').set({ quotaBytes: 12 }).execute())
    const other = await makeSpace(world, { name: 'other' })
    await expect(put(other.ctx, other.id, 'c', '123')).rejects.toMatchObject({
      code: 'quota-exceeded',
      details: { scope: 'tenant', limitBytes: 12, neededBytes: 13 },
    })
  })
})

test('totals hold while several act at once', { timeout: 60_000 }, async ({ world }) => {
  const owner = await world.user()
  const outer = await makeSpace(world, { owner })
  const nested = await makeSpace(world, { within: outer, name: 'nested', policy: { caseRule: 'folded' } })
  const lists = fc.sample(someActs, { seed: 7, numRuns: 4 })

  await Promise.all(lists.map(acts => applyActs(owner.ctx, [outer.id, nested.id], acts)))

  expect(await wrongTotals(owner.ctx)).toEqual([])
  expect(await brokenNodes(owner.ctx)).toEqual([])
})
