import { describe, expect } from 'vitest'
import { addMembers, createGroup, removeMembers } from '#core/groups.ts'
import { effectiveActions } from '#core/access.ts'
import { decideMember, removeGrant, setGrant } from '#core/grants.ts'
import { getLiveNode } from '#core/nodes.ts'
import { createSpace, findSpaceByName, getSpace, setSpaceState } from '#core/spaces.ts'
import { hasAction } from '#core/permissions.ts'
import type { DeliveryPolicy } from '#core/space-rows.ts'
import { resolvePath } from '#core/vfs.ts'
import { test, type World } from '#test/world.ts'

describe('a space that is out of reach', () => {
  test('frees its name, and comes back under a numbered one where that was taken', async ({ world }) => {
    const first = await createSpace(world.system, { name: 'sales' })
    await setSpaceState(world.system, { spaceId: first.id, state: 'deleted' })
    expect(await findSpaceByName(world.system, { name: 'sales' })).toBeUndefined()
    const second = await createSpace(world.system, { name: 'sales' })
    await setSpaceState(world.system, { spaceId: first.id, state: 'active' })
    expect((await findSpaceByName(world.system, { name: 'sales' }))?.id).toBe(second.id)
    expect((await findSpaceByName(world.system, { name: 'sales (1)' }))?.id).toBe(first.id)
  })

  test('does not go from active to active', async ({ world }) => {
    const { id } = await createSpace(world.system, { name: 'sales' })
    await expect(setSpaceState(world.system, { spaceId: id, state: 'active' })).rejects.toMatchObject({
      code: 'wrong-state',
    })
  })
})

describe('when the last member leaves', () => {
  const leave = async (world: World, policy: 'keep' | 'delete' | 'refuse') => {
    const { user } = await world.user()
    const { id } = await createSpace(world.system, { name: 'team', policy: { lastMemberLeaves: policy } })
    await setGrant(world.system, { nodeId: id, subjectId: user.id, actions: ['list'] })
    await removeGrant(world.system, { nodeId: id, subjectId: user.id })
    return (await getSpace(world.system, { spaceId: id })).state
  }

  test('the space stays, goes, or refuses, as its policy says', async ({ world }) => {
    expect(await leave(world, 'keep')).toBe('active')
    await setSpaceState(world.system, {
      spaceId: (await findSpaceByName(world.system, { name: 'team' }))!.id,
      state: 'deleted',
    })
    expect(await leave(world, 'delete')).toBe('deleted')
    await expect(leave(world, 'refuse')).rejects.toMatchObject({ code: 'last-manager' })
  })
})

describe('a grant that holds back later members', () => {
  test('lets them in when they are accepted, and forgets that when they leave the group', async ({ world }) => {
    const { user, ctx } = await world.user()
    const group = await createGroup(world.system, { name: 'desk' })
    const { id } = await createSpace(world.system, { name: 'team' })
    await setGrant(world.system, { nodeId: id, subjectId: group.id, actions: ['list'], holdLaterMembers: true })
    const mayList = async () => hasAction(await effectiveActions(ctx, await getLiveNode(world.system, id)), 'list')

    await addMembers(world.system, { groupId: group.id, memberIds: [user.id] })
    expect(await mayList()).toBe(false)
    await decideMember(world.system, { nodeId: id, groupId: group.id, principalId: user.id, state: 'accepted' })
    expect(await mayList()).toBe(true)
    await removeMembers(world.system, { groupId: group.id, memberIds: [user.id] })
    await addMembers(world.system, { groupId: group.id, memberIds: [user.id] })
    expect(await mayList()).toBe(false)
  })
})

describe('a delivery', () => {
  const policyOf = (delivery: Partial<DeliveryPolicy>) => ({
    delivery: { accessType: 'private' as const, accessLimit: null, expiresAt: null, persistent: false, ...delivery },
  })

  test('is out of reach after its time, unless it is persistent, and with a limit until an access is spent', async ({
    world,
  }) => {
    const { user, ctx } = await world.user()
    const past = world.deps.clock() - 1
    const cases = [
      { name: 'open', delivery: {}, seen: true },
      { name: 'expired', delivery: { expiresAt: past }, seen: false },
      { name: 'persistent', delivery: { expiresAt: past, persistent: true }, seen: true },
      { name: 'limited', delivery: { accessLimit: 3 }, seen: false },
    ]
    for (const { name, delivery } of cases) {
      const { id } = await createSpace(world.system, { name, policy: policyOf(delivery) })
      await setGrant(world.system, { nodeId: id, subjectId: user.id, actions: ['list', 'read'] })
    }
    for (const { name, seen } of cases)
      expect([name, (await resolvePath(ctx, [name])).place !== undefined]).toEqual([name, seen])
    const limited = (await findSpaceByName(world.system, { name: 'limited' }))!.id
    const spent = { ...ctx, actor: { ...ctx.actor, proofs: { ...ctx.actor.proofs, accessSpaceIds: [limited] } } }
    expect((await resolvePath(spent, ['limited'])).place).toBeDefined()
  })
})
