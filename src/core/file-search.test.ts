import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { addFavourite } from '#core/favourites.ts'
import { searchFiles, searchFolders, type FileQuery } from '#core/file-search.ts'
import { setGrant } from '#core/grants.ts'
import { createFolder, updateNode } from '#core/nodes.ts'
import { actions } from '#core/permissions.ts'
import { setSpaceState, updateSpacePolicy } from '#core/spaces.ts'
import { titleOf } from '#core/titles.ts'
import { deleteNode } from '#core/trash.ts'
import { fc } from '#test/acts.ts'
import { makeMember, makeSpace, put, type TestSpace } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

const everything = { offset: 0, limit: 100 }

/** Labels of what is found, with the total, which must be their number where the page holds all. */
async function labels(ctx: Ctx, query: Partial<FileQuery> = {}): Promise<string[]> {
  const { total, rows } = await searchFiles(ctx, { ...everything, ...query })
  if (query.limit === undefined) expect(total).toBe(rows.length)
  return rows.map(({ node }) => node.label)
}

async function folderLabels(ctx: Ctx): Promise<string[]> {
  const { total, rows } = await searchFolders(ctx, everything)
  expect(total).toBe(rows.length)
  return rows.map(node => node.label)
}

const scoped = (world: World, { actor }: Ctx, nodeId: number) =>
  world.ctx({ ...actor, scope: [{ actions: actions.list, nodeId }] })

/** Two spaces of one owner, one nested in the first, and one of somebody else, with files made in turn. */
async function makeTree(world: World) {
  const one = await makeSpace(world, { name: 'one' })
  const two = await makeSpace(world, { name: 'two', owner: one.owner })
  const nested = await makeSpace(world, { name: 'nested', within: one })
  const foreign = await makeSpace(world, { name: 'foreign' })
  const folder = await createFolder(one.ctx, { parentId: one.id, name: 'folder' })
  await put(one.ctx, one.id, 'a')
  await put(two.ctx, two.id, 'b')
  await put(one.ctx, folder.id, 'c')
  await put(nested.ctx, nested.id, 'd')
  await put(foreign.ctx, foreign.id, 'e')
  await put(one.ctx, one.id, 'f')
  return { one, two, nested, foreign, folder }
}

describe('a list of files', () => {
  test('holds the live files of all spaces that the actor may list, oldest first, each with its version', async ({
    world,
  }) => {
    const { one, two, foreign } = await makeTree(world)
    const reader = await makeMember(world, two.id, ['list'])
    const { node } = await put(one.ctx, one.id, 'gone')
    await deleteNode(one.ctx, { nodeId: node.id })

    expect(await labels(one.ctx)).toEqual(['a', 'b', 'c', 'd', 'f'])
    expect(await labels(reader.ctx)).toEqual(['b'])
    expect(await labels(foreign.ctx)).toEqual(['e'])
    expect(await labels(world.system)).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
    expect(await labels((await world.user()).ctx)).toEqual([])
    const { rows } = await searchFiles(one.ctx, everything)
    expect(rows.every(row => row.version.id === row.node.currentVersionId)).toBe(true)
  })

  test('is cut into pages from either end', async ({ world }) => {
    const { one } = await makeTree(world)
    for (const ctx of [one.ctx, world.system]) {
      const all = await labels(ctx)
      for (let offset = 0; offset <= all.length; offset += 1) {
        expect(await labels(ctx, { offset, limit: 2 })).toEqual(all.slice(offset, offset + 2))
      }
      expect(await searchFiles(ctx, { offset: 0, limit: 0 })).toEqual({ total: all.length, rows: [] })
    }
  })

  test('finds a few files among many of others as it finds many', async ({ world }) => {
    const { one, two, foreign } = await makeTree(world)
    for (let n = 0; n < 30; n += 1) await put(foreign.ctx, foreign.id, `other${n}`)
    await setGrant(world.system, { nodeId: one.id, subjectId: foreign.owner.user.id, actions: ['list'] })
    const few = await makeMember(world, two.id, ['list'])
    await setGrant(world.system, { nodeId: one.id, subjectId: few.user.id, actions: ['list'] })
    expect(await labels(few.ctx)).toEqual(['a', 'b', 'c', 'f'])
    expect(await labels(few.ctx, { offset: 3, limit: 5 })).toEqual(['f'])
    expect((await labels(foreign.ctx)).slice(0, 5)).toEqual(['a', 'c', 'e', 'f', 'other0'])
    expect(await labels(foreign.ctx, { offset: 2, limit: 2 })).toEqual(['e', 'f'])
  })

  test('keeps to a parent, or to a space and what is nested in it', async ({ world }) => {
    const { one, two, nested, folder } = await makeTree(world)
    expect(await labels(one.ctx, { parentId: one.id })).toEqual(['a', 'f'])
    expect(await labels(one.ctx, { parentId: folder.id })).toEqual(['c'])
    expect(await labels(one.ctx, { withinSpaceId: one.id })).toEqual(['a', 'c', 'd', 'f'])
    expect(await labels(one.ctx, { withinSpaceId: nested.id })).toEqual(['d'])
    expect(await labels(one.ctx, { withinSpaceId: one.id, parentId: nested.id })).toEqual(['d'])
    expect(await labels(one.ctx, { withinSpaceId: two.id, parentId: nested.id })).toEqual([])
  })

  test('refuses a place that is unknown, not to be listed, of another tenant, or a file', async ({ world }) => {
    const { one, foreign } = await makeTree(world)
    const stranger = await world.user('stranger', { tenant: await world.otherTenant() })
    const { node } = await put(one.ctx, one.id, 'file')
    for (const [ctx, id] of [
      [one.ctx, foreign.id],
      [one.ctx, 987_654],
      [stranger.ctx, one.id],
    ] as const) {
      await expect(searchFiles(ctx, { ...everything, parentId: id })).rejects.toMatchObject({ code: 'not-found' })
      await expect(searchFiles(ctx, { ...everything, withinSpaceId: id })).rejects.toMatchObject({ code: 'not-found' })
    }
    await expect(searchFiles(one.ctx, { ...everything, parentId: node.id })).rejects.toMatchObject({
      code: 'not-a-folder',
    })
    expect(await labels(stranger.ctx)).toEqual([])
    expect(await labels(stranger.ctx, { title: 'a' })).toEqual([])
    expect(await labels(stranger.ctx, { nodeIds: [node.id] })).toEqual([])
  })

  test('leaves out what a mask hides, also from what is nested below it', async ({ world }) => {
    const { one, folder } = await makeTree(world)
    const inner = await makeSpace(world, {
      name: 'inner',
      within: one,
      parentId: folder.id,
      policy: { inheritsGrants: true },
    })
    await put(one.ctx, inner.id, 'g')
    const reader = await makeMember(world, one.id, ['list'])
    expect(await labels(reader.ctx)).toEqual(['a', 'c', 'f', 'g'])
    await setGrant(one.ctx, { nodeId: folder.id, subjectId: one.owner.user.id, actions: ['list'] })
    expect(await labels(reader.ctx)).toEqual(['a', 'f'])
    expect(await labels(reader.ctx, { title: 'c' })).toEqual([])
    expect(await folderLabels(reader.ctx)).toEqual([])
    expect(await labels(one.ctx)).toEqual(['a', 'b', 'c', 'd', 'f', 'g'])
  })

  test('is narrowed by a scope to what lies below its nodes', async ({ world }) => {
    const { one, folder, foreign } = await makeTree(world)
    const file = (await searchFiles(one.ctx, { ...everything, title: 'a' })).rows[0]!.node
    expect(await labels(scoped(world, one.ctx, folder.id))).toEqual(['c'])
    expect(await labels(scoped(world, one.ctx, one.id))).toEqual(['a', 'c', 'd', 'f'])
    expect(await labels(scoped(world, one.ctx, file.id))).toEqual(['a'])
    expect(await labels(scoped(world, one.ctx, file.id), { title: 'a' })).toEqual(['a'])
    expect(await labels(scoped(world, one.ctx, folder.id), { titlePrefix: 'a' })).toEqual([])
    expect(await labels(scoped(world, one.ctx, foreign.id))).toEqual([])
    const inside = (await searchFiles(one.ctx, { ...everything, title: 'c' })).rows[0]!.node
    const scope = [folder, inside, file].map(({ id }) => ({ actions: actions.list, nodeId: id }))
    expect(await labels(world.ctx({ ...one.ctx.actor, scope }))).toEqual(['a', 'c'])
    expect(await folderLabels(scoped(world, one.ctx, one.id))).toEqual(['folder'])
    const everywhere = world.ctx({ ...one.ctx.actor, scope: [{ actions: actions.list }] })
    expect(await labels(everywhere)).toEqual(['a', 'b', 'c', 'd', 'f'])
    const blind = world.ctx({ ...one.ctx.actor, scope: [{ actions: actions.read }] })
    expect(await labels(blind)).toEqual([])
  })
})

describe('spaces that hide their files', () => {
  /** What a member sees when the space has this policy. */
  async function seen(world: World, change: (space: TestSpace) => Promise<unknown>) {
    const { one } = await makeTree(world)
    const reader = await makeMember(world, one.id, ['list'])
    expect(await labels(reader.ctx)).toEqual(['a', 'c', 'f'])
    await change(one)
    return { reader, one, files: await labels(reader.ctx), folders: await folderLabels(reader.ctx) }
  }

  test('are those that are out of reach, with what is nested in them', async ({ world }) => {
    const { one, files, folders } = await seen(world, ({ id }) =>
      setSpaceState(world.system, { spaceId: id, state: 'archived' }),
    )
    expect([files, folders]).toEqual([[], []])
    expect(await labels(one.ctx)).toEqual(['b'])
    expect(await labels(world.system)).toEqual(['b', 'e'])
  })

  test('are those with a password, but for who has shown it', async ({ world }) => {
    const { reader, one, files } = await seen(world, ({ ctx, id }) =>
      updateSpacePolicy(ctx, { spaceId: id, policy: { deliveryPasswordHash: '$argon2id$x' } }),
    )
    expect(files).toEqual([])
    await expect(searchFiles(reader.ctx, { ...everything, parentId: one.id })).rejects.toMatchObject({
      code: 'not-found',
    })
    const { actor } = reader.ctx
    const opened = world.ctx({ ...actor, proofs: { ...actor.proofs, passwordSpaceIds: [one.id] } })
    expect(await labels(opened)).toEqual(['a', 'c', 'f'])
  })

  test('are deliveries that are not to be seen elsewhere', async ({ world }) => {
    const delivery = { accessType: 'internal', accessLimit: null, expiresAt: null, persistent: true } as const
    const { one, files } = await seen(world, ({ ctx, id }) =>
      updateSpacePolicy(ctx, { spaceId: id, policy: { delivery, visibleElsewhere: false } }),
    )
    expect(files).toEqual([])
    await updateSpacePolicy(one.ctx, { spaceId: one.id, policy: { visibleElsewhere: true } })
    expect(await labels(one.ctx)).toEqual(['a', 'b', 'c', 'd', 'f'])
  })

  test('are encrypted ones, whose folders show, but for who holds a key', async ({ world }) => {
    const { reader, one, files, folders } = await seen(world, ({ ctx, id }) =>
      updateSpacePolicy(ctx, { spaceId: id, policy: { clientEncryption: true } }),
    )
    expect([files, folders]).toEqual([[], ['folder']])
    expect(await labels(reader.ctx, { parentId: one.id })).toEqual([])
    const { actor } = reader.ctx
    expect(await labels(world.ctx({ ...actor, proofs: { ...actor.proofs, holdsKey: true } }))).toEqual(['a', 'c', 'f'])
  })

  test('are not those whose files wait for screening', async ({ world }) => {
    const { files } = await seen(world, ({ ctx, id }) =>
      updateSpacePolicy(ctx, { spaceId: id, policy: { unscreenedDownloads: false } }),
    )
    expect(files).toEqual(['a', 'c', 'f'])
  })

  test('are open ones that the actor has not named', async ({ world }) => {
    const { one } = await makeTree(world)
    const { ctx } = await world.user()
    await setGrant(world.system, { nodeId: one.id, subjectId: `signed-in:${world.tenant.id}`, actions: ['list'] })
    expect(await labels(ctx)).toEqual([])
    expect(await labels(ctx, { withinSpaceId: one.id })).toEqual(['a', 'c', 'f'])
  })
})

describe('titles', () => {
  const names = [
    'a',
    'a.txt',
    'a.b',
    'a.b.txt',
    'ab.txt',
    '.a',
    '.a.txt',
    'A.txt',
    'a.',
    '..a',
    'é.txt',
    'a\u{10ffff}b',
  ]
  const given = ['a', 'a.b', 'other', '']

  async function titled(world: World): Promise<{ ctx: Ctx; titles: string[]; parentId: number }> {
    const space = await makeSpace(world)
    for (const name of names) await put(space.ctx, space.id, name)
    for (const [n, title] of given.entries()) {
      const { node } = await put(space.ctx, space.id, `given${n}`)
      await updateNode(space.ctx, { nodeId: node.id, attributes: { title } })
    }
    const { rows } = await searchFiles(space.ctx, everything)
    return { ctx: space.ctx, titles: rows.map(({ node }) => titleOf(node)), parentId: space.id }
  }

  const found = async (ctx: Ctx, query: Partial<FileQuery>) => {
    const { total, rows } = await searchFiles(ctx, { ...everything, ...query })
    expect(total).toBe(rows.length)
    return rows.map(({ node }) => titleOf(node))
  }

  test('are what a file was given, else its label without the extension, and compare exactly', async ({ world }) => {
    const { ctx, titles, parentId } = await titled(world)
    expect(titles.slice(0, 9)).toEqual(['a', 'a', 'a', 'a.b', 'ab', '.a', '.a', 'A', 'a'])
    const asked = [...titles, ...names, 'b', 'given0', 'A.', '%', 'a%', '_']
    for (const title of new Set(asked)) {
      const wanted = titles.filter(own => own === title)
      expect(await found(ctx, { title }), title).toEqual(wanted)
      expect(await found(ctx, { title, parentId }), title).toEqual(wanted)
    }
  })

  test('are found by how they begin', async ({ world }) => {
    const { ctx, titles, parentId } = await titled(world)
    const text = fc.string({
      unit: fc.constantFrom('a', 'A', 'b', '.', 'é', '%', '\u{10ffff}', '\ud7ff'),
      maxLength: 4,
    })
    const property = fc.asyncProperty(text, async titlePrefix => {
      const wanted = titles.filter(own => own.startsWith(titlePrefix))
      expect(await found(ctx, { titlePrefix })).toEqual(wanted)
      expect(await found(ctx, { titlePrefix, parentId })).toEqual(wanted)
    })
    await fc.assert(property, { numRuns: 60, examples: [['a'], ['a.'], ['.a'], ['a.b'], ['given'], ['\u{10ffff}']] })
  })

  test('that no text can be are found nowhere', async ({ world }) => {
    const { ctx } = await titled(world)
    for (const odd of ['a\0', '\ud800']) {
      expect(await found(ctx, { title: odd })).toEqual([])
      expect(await found(ctx, { titlePrefix: odd })).toEqual([])
    }
    expect(await found(ctx, { title: 'a', titlePrefix: 'b' })).toEqual([])
  })
})

test('files are found by ids and among the favourites of the actor', async ({ world }) => {
  const { one, foreign } = await makeTree(world)
  const all = (await searchFiles(world.system, everything)).rows.map(({ node }) => node)
  const idOf = (label: string) => all.find(node => node.label === label)!.id
  expect(await labels(one.ctx, { nodeIds: all.map(node => node.id) })).toEqual(['a', 'b', 'c', 'd', 'f'])
  expect(await labels(one.ctx, { nodeIds: [idOf('c')] })).toEqual(['c'])
  expect(await labels(one.ctx, { nodeIds: [] })).toEqual([])
  await addFavourite(one.ctx, { nodeId: idOf('d') })
  await addFavourite(one.ctx, { nodeId: idOf('a') })
  await addFavourite(foreign.ctx, { nodeId: idOf('e') })
  expect(await labels(one.ctx, { favourites: true })).toEqual(['a', 'd'])
  expect(await labels(one.ctx, { favourites: true, nodeIds: [idOf('d'), idOf('b')] })).toEqual(['d'])
  expect(await labels(one.ctx, { favourites: true, title: 'a' })).toEqual(['a'])
  expect(await labels(one.ctx, { favourites: true, parentId: one.id })).toEqual(['a'])
})

test('a list of folders holds them and the spaces that lie three levels deep or more', async ({ world }) => {
  const { one, nested, folder } = await makeTree(world)
  const deep = await makeSpace(world, { name: 'deep', within: nested })
  const below = await createFolder(deep.ctx, { parentId: deep.id, name: 'below' })
  const deeper = await makeSpace(world, { name: 'deeper', within: deep })
  const expected = [folder, { id: deep.id }, below, { id: deeper.id }].map(({ id }) => id)
  for (const ctx of [one.ctx, world.system]) {
    const ids = async (offset: number, limit: number) =>
      (await searchFolders(ctx, { offset, limit })).rows.map(node => node.id)
    expect(await ids(0, 10)).toEqual(expected)
    expect(await ids(1, 2)).toEqual(expected.slice(1, 3))
    expect((await searchFolders(ctx, { offset: 3, limit: 5 })).total).toBe(4)
    expect(await ids(3, 5)).toEqual(expected.slice(3))
  }
  expect(await folderLabels(scoped(world, one.ctx, deep.id))).toEqual(['deep', 'below', 'deeper'])
  expect(await folderLabels((await makeMember(world, deep.id, ['list'])).ctx)).toEqual(['deep', 'below'])
  expect(await folderLabels((await world.user()).ctx)).toEqual([])
})
