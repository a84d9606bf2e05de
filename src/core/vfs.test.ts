import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { setGrant } from '#core/grants.ts'
import { createFolder } from '#core/nodes.ts'
import { actionNames } from '#core/permissions.ts'
import { setSpaceState, updateSpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { findFile, requireAllowed, resolvePath, viewRoot } from '#core/vfs.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

/** What a path leads to, as an id; `top` for the directory of spaces. */
async function at(ctx: Ctx, path: string): Promise<number | 'top' | undefined> {
  const { place } = await resolvePath(
    ctx,
    path.split('/').filter(step => step !== ''),
  )
  return place?.kind === 'node' ? place.node.id : place?.kind
}

/** A member with that home. */
async function withHome(world: World, homeNodeId: number) {
  const user = await world.user(undefined, { homeNodeId })
  await setGrant(world.system, { nodeId: homeNodeId, subjectId: user.user.id, actions: ['list', 'read'] })
  return user
}

describe('the root of a view', () => {
  test('is the home space where there is one, else all spaces that can be listed', async ({ world }) => {
    const one = await makeSpace(world, { name: 'one' })
    const two = await makeSpace(world, { name: 'two', owner: one.owner })
    await makeSpace(world, { name: 'unseen' })
    const { node } = await put(one.ctx, one.id, 'a')
    const resident = await withHome(world, one.id)

    expect(await at(resident.ctx, '/')).toBe(one.id)
    expect(await at(resident.ctx, '/a')).toBe(node.id)
    expect(await at(resident.ctx, '/one/a')).toBeUndefined()
    expect(await at(one.ctx, '/')).toBe('top')
    expect(await at(one.ctx, '/one/a')).toBe(node.id)
    expect(await at(one.ctx, '/two')).toBe(two.id)
    expect(await at(one.ctx, '/unseen')).toBeUndefined()
  })

  test('is missing for who has neither', async ({ world }) => {
    await makeSpace(world)
    const { ctx } = await world.user()
    await expect(viewRoot(ctx)).rejects.toMatchObject({ code: 'no-view' })
  })

  test('falls back to the list of spaces while the home space is out of reach', async ({ world }) => {
    const home = await makeSpace(world, { name: 'home' })
    const other = await makeSpace(world, { name: 'other' })
    const resident = await withHome(world, home.id)
    await setGrant(world.system, { nodeId: other.id, subjectId: resident.user.id, actions: ['list'] })
    await setSpaceState(world.system, { spaceId: home.id, state: 'archived' })

    expect(await at(resident.ctx, '/')).toBe('top')
    expect(await at(resident.ctx, '/other')).toBe(other.id)
    expect(await at(resident.ctx, '/home')).toBeUndefined()
  })

  test('shows a nested space at the top only when what it lies in is not listed there', async ({ world }) => {
    const outer = await makeSpace(world, { name: 'outer' })
    const first = await makeSpace(world, { within: outer, name: 'same' })
    const folder = await createFolder(outer.ctx, { parentId: outer.id, name: 'folder' })
    const second = await makeSpace(world, { within: outer, parentId: folder.id, name: 'same' })
    const guest = await makeMember(world, first.id, ['list'])
    await setGrant(world.system, { nodeId: second.id, subjectId: guest.user.id, actions: ['list'] })

    expect(await at(outer.ctx, '/outer/same')).toBe(first.id)
    expect(await at(outer.ctx, '/same')).toBeUndefined()
    expect(await at(guest.ctx, '/same')).toBe(first.id)
    expect(await at(guest.ctx, '/same (1)')).toBe(second.id)
    expect(await at(guest.ctx, '/outer')).toBeUndefined()
  })

  test('leaves out deliveries that are not to be seen elsewhere', async ({ world }) => {
    const { id, ctx } = await makeSpace(world, { name: 'package' })
    const delivery = { accessType: 'private', accessLimit: null, expiresAt: null, persistent: false } as const
    await updateSpacePolicy(ctx, { spaceId: id, policy: { delivery, visibleElsewhere: false } })
    await expect(viewRoot(ctx)).rejects.toMatchObject({ code: 'no-view' })
    await updateSpacePolicy(ctx, { spaceId: id, policy: { visibleElsewhere: true } })
    expect(await at(ctx, '/package')).toBe(id)
  })
})

describe('a path', () => {
  test('tells where it ends: what is there, what would hold it, and how far it leads', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const { node } = await put(ctx, folder.id, 'file')
    const ends = async (...segments: string[]) => {
      const { place, parent, nearest } = await resolvePath(ctx, segments)
      return [place, parent, nearest].map(found => (found?.kind === 'node' ? found.node.id : found?.kind))
    }

    expect(await ends('space', 'folder')).toEqual([folder.id, id, folder.id])
    expect(await ends('space', 'folder', 'file')).toEqual([node.id, folder.id, node.id])
    expect(await ends('space', 'folder', 'new')).toEqual([undefined, folder.id, folder.id])
    expect(await ends('space', 'new', 'new')).toEqual([undefined, undefined, id])
    expect(await ends('space', 'folder', 'file', 'new')).toEqual([undefined, undefined, node.id])
    expect(await ends('elsewhere')).toEqual([undefined, 'top', 'top'])
    expect(await ends()).toEqual(['top', undefined, 'top'])
  })

  test('compares names as each space says, whatever their composition', async ({ world }) => {
    const exact = await makeSpace(world, { name: 'exact' })
    const folded = await makeSpace(world, { within: exact, name: 'folded', policy: { caseRule: 'folded' } })
    await put(exact.ctx, exact.id, 'É')
    await put(exact.ctx, folded.id, 'É')

    expect(await at(exact.ctx, '/exact/E\u0301')).toBeDefined()
    expect(await at(exact.ctx, '/exact/é')).toBeUndefined()
    expect(await at(exact.ctx, '/exact/folded/e\u0301')).toBeDefined()
    expect(await at(exact.ctx, '/exact/FOLDED')).toBeUndefined()
  })

  test('gives the rights at its nearest existing step, and a refusal there is audited', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'read', 'create'])
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await setGrant(ctx, { nodeId: folder.id, subjectId: member.user.id, actions: ['list'] })

    const target = await resolvePath(member.ctx, ['space', 'folder', 'missing', 'deeper'])
    expect(actionNames(target.allowed)).toEqual(['list'])
    await requireAllowed(member.ctx, target, 'list')
    await expect(requireAllowed(member.ctx, target, 'create')).rejects.toMatchObject({ code: 'forbidden' })
    expect((await world.events()).at(-1)).toBe('access.refused refused')
  })
})

describe('a file by the id of its version', () => {
  test('is found by the current one only, with its path in the view', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const old = await put(ctx, folder.id, 'file', 'one')
    const { node, version } = await put(ctx, folder.id, 'file', 'two')
    const resident = await withHome(world, id)

    expect(await findFile(ctx, version.id)).toMatchObject({ node: { id: node.id }, path: ['space', 'folder', 'file'] })
    expect(await findFile(resident.ctx, version.id)).toMatchObject({ path: ['folder', 'file'] })
    await expect(findFile(ctx, old.version.id)).rejects.toMatchObject({ code: 'not-found' })
    await deleteNode(ctx, { nodeId: node.id })
    await expect(findFile(ctx, version.id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(findFile(ctx, 999_999)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('is not found outside the view, even with a right to it', async ({ world }) => {
    const home = await makeSpace(world, { name: 'home' })
    const other = await makeSpace(world, { name: 'other' })
    const resident = await withHome(world, home.id)
    await setGrant(world.system, { nodeId: other.id, subjectId: resident.user.id, actions: ['list', 'read'] })
    const { version } = await put(other.ctx, other.id, 'file')

    await expect(findFile(resident.ctx, version.id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(findFile(home.ctx, version.id)).rejects.toMatchObject({ code: 'not-found' })
  })
})
