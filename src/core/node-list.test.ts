import fc from 'fast-check'
import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { openContent } from '#core/downloads.ts'
import { countPlace, listPlace, matchesPieces, type ListQuery } from '#core/node-list.ts'
import { createFolder } from '#core/nodes.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import { openUpload } from '#core/transfers.ts'
import { deleteNode } from '#core/trash.ts'
import { resolvePath } from '#core/vfs.ts'
import { makeMember, makeSpace, put, type TestSpace } from '#test/tree.ts'
import { test } from '#test/world.ts'

const byName: ListQuery = { kinds: 'all', sort: 'name', direction: 'asc', offset: 0, limit: 100 }

async function placeOf(ctx: Ctx, segments: readonly string[]) {
  const { place } = await resolvePath(ctx, segments)
  return place!
}

async function list(
  { ctx }: Pick<TestSpace, 'ctx'>,
  query: Partial<ListQuery> = {},
  path: readonly string[] = ['space'],
) {
  return listPlace(ctx, await placeOf(ctx, path), { ...byName, ...query })
}

const namesOf = (page: { rows: { name: string }[] }) => page.rows.map(row => row.name)

describe('a page of a folder', () => {
  test('is the same part of the whole from whichever end it is found', async ({ world }) => {
    const space = await makeSpace(world)
    const letters = ['a', 'b', 'c', 'd', 'e']
    for (const name of letters) await put(space.ctx, space.id, name)
    for (const direction of ['asc', 'desc'] as const) {
      const whole = direction === 'asc' ? letters : letters.toReversed()
      for (let offset = 0; offset <= 6; offset += 1)
        for (const limit of [1, 2, 4, 9])
          expect(namesOf(await list(space, { direction, offset, limit }))).toEqual(whole.slice(offset, offset + limit))
    }
  })

  test('has what is live, of the asked kinds, with the total of all', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    await createFolder(ctx, { parentId: id, name: 'folder' })
    await makeSpace(world, { within: space, name: 'nested' })
    for (const name of ['a', 'b', 'c', 'gone']) await put(ctx, id, name)
    await deleteNode(ctx, { nodeId: (await put(ctx, id, 'gone')).node.id })
    const reserve = { parentId: id, name: 'reserved', onConflict: 'fail', mediaType: '', reserve: true } as const
    await openUpload(ctx, reserve)

    expect(namesOf(await list(space))).toEqual(['a', 'b', 'c', 'folder', 'nested'])
    expect(namesOf(await list(space, { kinds: 'files' }))).toEqual(['a', 'b', 'c'])
    expect(namesOf(await list(space, { kinds: 'folders' }))).toEqual(['folder', 'nested'])
    const page = await list(space, { offset: 1, limit: 2 })
    expect(page.total).toBe(5)
    expect(namesOf(page)).toEqual(['b', 'c'])
    expect(await list(space, { offset: 5 })).toEqual({ total: 5, rows: [] })
    expect(await list(space, { limit: 0 })).toEqual({ total: 5, rows: [] })
    const place = await placeOf(ctx, ['space'])
    expect(await countPlace(ctx, place, { kinds: 'files', namePieces: ['', ''] })).toBe(3)
  })

  test('sorts names by code point, and other fields with folders lowest and the name as tie-break', async ({
    world,
  }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    for (const name of ['z', 'x']) await createFolder(ctx, { parentId: id, name })
    await makeSpace(world, { within: space, name: 'y' })
    for (const [name, text] of [
      ['b', '1'],
      ['B', '333'],
      ['ä', '22'],
      ['a', '22'],
    ] as const)
      await put(ctx, id, name, text)

    expect(namesOf(await list(space))).toEqual(['B', 'a', 'b', 'x', 'y', 'z', 'ä'])
    expect(namesOf(await list(space, { direction: 'desc' }))).toEqual(['ä', 'z', 'y', 'x', 'b', 'a', 'B'])
    expect(namesOf(await list(space, { sort: 'size' }))).toEqual(['x', 'y', 'z', 'b', 'a', 'ä', 'B'])
    const descending = await list(space, { sort: 'size', direction: 'desc' })
    expect(namesOf(descending)).toEqual(['B', 'ä', 'a', 'b', 'z', 'y', 'x'])
    expect(namesOf(await list(space, { sort: 'stored', kinds: 'files' }))).toEqual(['b', 'B', 'ä', 'a'])

    const opened = await openContent(ctx, { nodeId: (await put(ctx, id, 'b', '1')).node.id })
    opened.noteRead()
    await world.deps.reads.flush()
    expect(namesOf(await list(space, { sort: 'read' }))).toEqual(['x', 'y', 'z', 'B', 'a', 'ä', 'b'])
  })

  test('brings metadata along for the whole page', async ({ world }) => {
    const space = await makeSpace(world)
    const { id, ctx } = space
    await createFolder(ctx, { parentId: id, name: 'folder' })
    const metadata = { namespace: 'test', values: { key: 'value' } }
    await put(ctx, id, 'with', 'x', { metadata })
    await put(ctx, id, 'without')

    const { rows } = await list(space, { metadataNamespace: 'test' })
    expect(rows.map(row => [row.name, row.kind, row.metadata ?? {}])).toEqual([
      ['folder', 'folder', {}],
      ['with', 'file', { key: 'value' }],
      ['without', 'file', {}],
    ])
  })

  test('leaves out what asks for a proof that is not there', async ({ world }) => {
    const space = await makeSpace(world)
    const { ctx } = space
    await makeSpace(world, { within: space, name: 'open' })
    const locked = await makeSpace(world, { within: space, name: 'locked' })
    const member = await makeMember(world, space.id, ['list'])
    await updateSpacePolicy(ctx, { spaceId: locked.id, policy: { deliveryPasswordHash: '$argon2id$stand-in' } })
    expect(namesOf(await list(member))).toEqual(['open'])
    expect(namesOf(await list(space))).toEqual(['locked', 'open']) // its owner needs none

    await put(ctx, space.id, 'cipher')
    await updateSpacePolicy(ctx, { spaceId: space.id, policy: { clientEncryption: true } })
    expect(namesOf(await list(member))).toEqual(['open'])
    expect((await list(member, { kinds: 'files' })).total).toBe(0)
    const { actor } = member.ctx
    const holder = { ctx: world.ctx({ ...actor, proofs: { ...actor.proofs, holdsKey: true } }) }
    expect(namesOf(await list(holder))).toEqual(['cipher', 'open'])
  })
})

test('the directory of spaces is listed, sorted and paged like a folder of folders', async ({ world }) => {
  const owner = await world.user()
  for (const name of ['b', 'a', 'C']) await makeSpace(world, { name, owner })

  expect(namesOf(await list(owner, {}, []))).toEqual(['C', 'a', 'b'])
  expect(namesOf(await list(owner, { direction: 'desc', offset: 1, limit: 1 }, []))).toEqual(['a'])
  expect(namesOf(await list(owner, { namePieces: ['', 'b'] }, []))).toEqual(['b'])
  expect(await list(owner, { kinds: 'files' }, [])).toEqual({ total: 0, rows: [] })
})

test('a pattern means the same in the database as in memory, whatever characters it has', async ({ world }) => {
  const space = await makeSpace(world)
  const piece = fc.string({
    unit: fc.constantFrom('a', 'b', '%', '_', '[', ']', '?', '*', '^', '-', 'É'),
    maxLength: 3,
  })
  const wanted = fc.array(piece, { minLength: 1, maxLength: 4 })
  const all = ['a', 'ab', 'a%b', 'a_b', '[a]', 'a?', 'a*b', '^a-b', 'É', 'aÉb', 'bab', '%', '_', '[', ']', 'aab', 'A']
  for (const name of all) await put(space.ctx, space.id, name, '')
  const place = await placeOf(space.ctx, ['space'])

  await fc.assert(
    fc.asyncProperty(wanted, async namePieces => {
      const page = await listPlace(space.ctx, place, { ...byName, namePieces })
      expect(namesOf(page).toSorted()).toEqual(all.filter(name => matchesPieces(name, namePieces)).toSorted())
    }),
    { numRuns: 80, examples: [[['a', 'b']], [['%']], [['[a]']], [['', '?']], [['É']], [['', '']]] },
  )
})
