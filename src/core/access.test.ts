import { describe, expect } from 'vitest'
import { effectiveActions, effectiveActionsOfMany, listableSpaceIds, signedInId } from '#core/access.ts'
import type { Ctx } from '#core/ctx.ts'
import { decideMember, removeGrant, setGrant } from '#core/grants.ts'
import { addMembers, createGroup, removeMembers } from '#core/groups.ts'
import { copyNode, moveNode } from '#core/node-move.ts'
import { createFolder, getNodeRow } from '#core/nodes.ts'
import { actionNames, actionSet, type Action } from '#core/permissions.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test, type World } from '#test/world.ts'

const may = async (ctx: Ctx, nodeId: number) => actionNames(await effectiveActions(ctx, await getNodeRow(ctx, nodeId)))

describe('masks of folders', () => {
  test('narrow from folder to folder and never widen', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'read', 'create', 'delete'])
    const outer = await createFolder(ctx, { parentId: id, name: 'outer' })
    const plain = await createFolder(ctx, { parentId: outer.id, name: 'plain' })
    const inner = await createFolder(ctx, { parentId: plain.id, name: 'inner' })
    const { node } = await put(ctx, inner.id, 'file')
    await setGrant(ctx, { nodeId: outer.id, subjectId: member.user.id, actions: ['list', 'read', 'create'] })
    await setGrant(ctx, { nodeId: inner.id, subjectId: member.user.id, actions: ['list', 'delete', 'create'] })

    expect(await may(member.ctx, id)).toEqual(['list', 'read', 'create', 'delete'])
    expect(await may(member.ctx, outer.id)).toEqual(['list', 'read', 'create'])
    expect(await may(member.ctx, plain.id)).toEqual(['list', 'read', 'create'])
    expect(await may(member.ctx, node.id)).toEqual(['list', 'create'])
    expect(await may(ctx, node.id)).toContain('manage') // who manages the space is not narrowed

    await removeGrant(ctx, { nodeId: outer.id, subjectId: member.user.id })
    expect(await may(member.ctx, plain.id)).toEqual(['list', 'read', 'create', 'delete'])
    expect(await may(member.ctx, node.id)).toEqual(['list', 'create', 'delete'])
  })

  test('shut out whom they do not name', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const named = await makeMember(world, id, ['list', 'read'])
    const other = await makeMember(world, id, ['list', 'read'])
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    await setGrant(ctx, { nodeId: folder.id, subjectId: named.user.id, actions: ['list', 'read', 'write'] })
    const later = await createFolder(ctx, { parentId: folder.id, name: 'later' })

    expect(await may(named.ctx, later.id)).toEqual(['list', 'read'])
    expect(await may(other.ctx, later.id)).toEqual([])
  })

  test('keep a folder above from being deleted, moved away or copied by whom they stop', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'read', 'create', 'change', 'delete'])
    const own = await makeSpace(world, { name: 'own', owner: member })
    const outer = await createFolder(ctx, { parentId: id, name: 'outer' })
    const inner = await createFolder(ctx, { parentId: outer.id, name: 'inner' })
    await put(ctx, inner.id, 'file')
    await setGrant(ctx, { nodeId: inner.id, subjectId: member.user.id, actions: ['list'] })

    const move = moveNode(member.ctx, { nodeId: outer.id, parentId: own.id })
    await expect(move).rejects.toMatchObject({ code: 'forbidden' })
    const copy = copyNode(member.ctx, { nodeId: outer.id, parentId: own.id })
    await expect(copy).rejects.toMatchObject({ code: 'forbidden' })
    await expect(deleteNode(member.ctx, { nodeId: outer.id })).rejects.toMatchObject({ code: 'forbidden' })
    await moveNode(ctx, { nodeId: outer.id, parentId: id, name: 'renamed' })
    await deleteNode(ctx, { nodeId: outer.id })
  })
})

describe('several grants', () => {
  async function userInGroups(world: World, sumRule: 'union' | 'own-first') {
    const { id, ctx } = await makeSpace(world, { policy: { sumRule } })
    const user = await world.user()
    const groups = [await createGroup(world.system, { name: 'one' }), await createGroup(world.system, { name: 'two' })]
    for (const { id: groupId } of groups) await addMembers(world.system, { groupId, memberIds: [user.user.id] })
    const grant = (subjectId: string, actions: readonly Action[]) => setGrant(ctx, { nodeId: id, subjectId, actions })
    await grant(groups[0]!.id, ['list', 'read'])
    await grant(groups[1]!.id, ['list', 'delete'])
    return { id, user, grantOwn: (actions: readonly Action[]) => grant(user.user.id, actions) }
  }

  test('of a user and his groups add up under `union`', async ({ world }) => {
    const { id, user, grantOwn } = await userInGroups(world, 'union')
    await grantOwn(['create'])
    expect(await may(user.ctx, id)).toEqual(['list', 'read', 'create', 'delete'])
  })

  test('count only as far as they are his own under `own-first`, unless his own says nothing', async ({ world }) => {
    const { id, user, grantOwn } = await userInGroups(world, 'own-first')
    expect(await may(user.ctx, id)).toEqual(['list', 'read', 'delete'])
    await grantOwn(['list'])
    expect(await may(user.ctx, id)).toEqual(['list'])
    await grantOwn([])
    expect(await may(user.ctx, id)).toEqual(['list', 'read', 'delete'])
  })

  test('to everybody signed in open a space to who knows it, and list it for nobody', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const stranger = await world.user()
    await setGrant(ctx, { nodeId: id, subjectId: signedInId(world.tenant.id), actions: ['list', 'read'] })

    expect(await may(stranger.ctx, id)).toEqual(['list', 'read'])
    expect(await listableSpaceIds(stranger.ctx)).toEqual([])
    expect(await listableSpaceIds(ctx)).toEqual([id])
  })
})

test('who joins a group later waits where its grant says so, until a manager admits him', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const group = await createGroup(world.system, { name: 'group' })
  const [early, late] = [await world.user(), await world.user()]
  await addMembers(world.system, { groupId: group.id, memberIds: [early.user.id] })
  await setGrant(ctx, { nodeId: id, subjectId: group.id, actions: ['list'], holdLaterMembers: true })
  await addMembers(world.system, { groupId: group.id, memberIds: [late.user.id] })

  expect(await may(early.ctx, id)).toEqual(['list'])
  expect(await may(late.ctx, id)).toEqual([])
  const decision = { nodeId: id, groupId: group.id, principalId: late.user.id } as const
  await decideMember(ctx, { ...decision, state: 'accepted' })
  expect(await may(late.ctx, id)).toEqual(['list'])
  await decideMember(ctx, { ...decision, state: 'denied' })
  expect(await may(late.ctx, id)).toEqual([])

  await removeMembers(world.system, { groupId: group.id, memberIds: [late.user.id] })
  await addMembers(world.system, { groupId: group.id, memberIds: [late.user.id] })
  await decideMember(ctx, { ...decision, state: 'accepted' })
  expect(await may(late.ctx, id)).toEqual(['list'])
})

describe('nested spaces', () => {
  test('have grants of their own, or those of the space above when their policy says so', async ({ world }) => {
    const outer = await makeSpace(world)
    const member = await makeMember(world, outer.id, ['list', 'read'])
    const own = await makeSpace(world, { within: outer, name: 'own' })
    const inheriting = await makeSpace(world, { within: outer, name: 'inheriting', policy: { inheritsGrants: true } })
    const folder = await createFolder(outer.ctx, { parentId: inheriting.id, name: 'folder' })

    expect(await may(member.ctx, own.id)).toEqual([])
    expect(await may(member.ctx, folder.id)).toEqual(['list', 'read'])
    expect(await listableSpaceIds(member.ctx)).toEqual([outer.id, inheriting.id])

    await updateSpacePolicy(outer.ctx, { spaceId: inheriting.id, policy: { inheritsGrants: false } })
    expect(await may(member.ctx, folder.id)).toEqual([])
    await updateSpacePolicy(world.system, { spaceId: inheriting.id, policy: { inheritsGrants: true } })
    expect(await may(member.ctx, folder.id)).toEqual(['list', 'read'])
  })
})

test('a scope covers a node, what lies below it, or everything, and never adds a right', async ({ world }) => {
  const { id } = await makeSpace(world)
  const member = await makeMember(world, id, ['list', 'read', 'create'])
  const folder = await createFolder(world.system, { parentId: id, name: 'folder' })
  const { node: inside } = await put(world.system, folder.id, 'inside')
  const { node: outside } = await put(world.system, id, 'outside')
  const scope = [
    { actions: actionSet(['list']) },
    { nodeId: folder.id, actions: actionSet(['read', 'delete']) },
    { nodeId: inside.id, actions: actionSet(['create']) },
  ]
  const ctx = world.ctx({ ...member.ctx.actor, scope })

  expect(await may(ctx, outside.id)).toEqual(['list'])
  expect(await may(ctx, folder.id)).toEqual(['list', 'read'])
  expect(await may(ctx, inside.id)).toEqual(['list', 'read', 'create'])
  const page = await effectiveActionsOfMany(ctx, [inside, outside, await getNodeRow(ctx, folder.id)])
  expect([...page].map(([nodeId, allowed]) => [nodeId, actionNames(allowed)])).toEqual([
    [inside.id, ['list', 'read', 'create']],
    [outside.id, ['list']],
    [folder.id, ['list', 'read']],
  ])
})

test('nothing of another tenant is there, not even for the server itself', async ({ world }) => {
  const { id } = await makeSpace(world)
  const stranger = await world.user('stranger', { tenant: await world.otherTenant() })

  const node = await getNodeRow(world.system, id)
  expect(await effectiveActions(stranger.ctx, node)).toBe(0)
  await expect(getNodeRow(stranger.ctx, id)).rejects.toMatchObject({ code: 'not-found' })
  await expect(put(stranger.ctx, id, 'a')).rejects.toMatchObject({ code: 'not-found' })
})
