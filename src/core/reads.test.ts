import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { openContent } from '#core/downloads.ts'
import { makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'
import { loadReadTimes } from './reads.ts'

const readTimes = async (ctx: Ctx, nodeId: number, times: number) => {
  const opened = await openContent(ctx, { nodeId })
  for (let count = 0; count < times; count += 1) opened.noteRead()
  return opened.version.id
}

const readEvents = (ctx: Ctx) =>
  ctx.db.selectFrom('event').selectAll().where('type', '=', 'version.read').orderBy('id').execute()

describe('reads are written together', () => {
  test('the first one of a version stays, the last one follows', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node, version } = await put(ctx, id, 'a', '1')
    expect(await loadReadTimes(ctx, version.id)).toEqual({ firstReadAt: null, lastReadAt: null })
    await readTimes(ctx, node.id, 3)
    await world.deps.reads.flush()
    const early = await loadReadTimes(ctx, version.id)
    expect(early.lastReadAt).toBe((early.firstReadAt ?? 0) + 2) // the world's clock goes on with every look
    world.advance(60_000)
    await readTimes(ctx, node.id, 1)
    await world.deps.reads.flush()
    const late = await loadReadTimes(ctx, version.id)
    expect(late.firstReadAt).toBe(early.firstReadAt)
    expect(late.lastReadAt).toBeGreaterThanOrEqual((early.lastReadAt ?? 0) + 60_000)
  })

  test('each is an event of its own, at a time that its space has only once, however many there are', async ({
    world,
  }) => {
    const spaces = [await makeSpace(world, { name: 'one' }), await makeSpace(world, { name: 'two' })]
    const expected = new Map<string, number>()
    for (const [at, { id, ctx }] of spaces.entries()) {
      const { node } = await put(ctx, id, 'a', '1')
      const count = at === 0 ? 450 : 3
      expected.set(`version:${await readTimes(ctx, node.id, count)} ${id} ${ctx.actor.principalId}`, count)
    }
    await world.deps.reads.flush()
    const events = await readEvents(world.system)
    const found = Map.groupBy(events, event => `${event.subject2} ${event.spaceId} ${event.actorId}`)
    expect(new Map([...found].map(([key, rows]) => [key, rows.length]))).toEqual(expected)
    for (const rows of found.values()) {
      const times = rows.map(row => row.spaceTime)
      expect(times).toEqual([...new Set(times)].toSorted((one, other) => Number(one) - Number(other)))
    }
    const logged = await world.system.db
      .selectFrom('event')
      .select(['spaceId', 'spaceTime'])
      .where('spaceTime', 'is not', null)
      .execute()
    expect(new Set(logged.map(row => `${row.spaceId} ${row.spaceTime}`)).size).toBe(logged.length)
  })
})
