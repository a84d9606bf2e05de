import { expect } from 'vitest'
import fc from 'fast-check'
import { test, type World } from '#test/world.ts'
import { signedInId } from './access.ts'
import { inTx, type Ctx } from './ctx.ts'
import {
  addMembers,
  createGroup,
  findGroupByName,
  getGroup,
  leaveAllGroups,
  listGroups,
  listMembers,
  removeGroup,
  removeMembers,
  renameGroup,
  setMembers,
  subjectsOf,
} from './groups.ts'
import { grantRight, rightsOf } from './roles.ts'

async function groupsNamed<N extends string>(world: World, ...names: N[]): Promise<Record<N, string>> {
  const made: Partial<Record<N, string>> = {}
  for (const name of names) made[name] = (await createGroup(world.system, { name })).id
  return made as Record<N, string> // every name has been made
}

const contain = (ctx: Ctx, groupId: string, ...memberIds: string[]) => addMembers(ctx, { groupId, memberIds })

test('a member of a nested group is in every group above it', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const { company, sales, north, other } = await groupsNamed(world, 'company', 'sales', 'north', 'other')
  await contain(world.system, company, sales)
  await contain(world.system, north, user.id)
  await contain(world.system, sales, north)

  expect(new Set(await subjectsOf(ctx, user.id))).toEqual(
    new Set([user.id, north, sales, company, signedInId(world.tenant.id)]),
  )
  expect(await subjectsOf(ctx, other)).toEqual([other])
})

test('who leaves by one way stays in where another way leads', async ({ world }) => {
  const { user } = await world.user('alice')
  const { top, left, right } = await groupsNamed(world, 'top', 'left', 'right')
  await contain(world.system, top, left, right)
  await contain(world.system, left, user.id)
  await contain(world.system, right, user.id)

  await removeMembers(world.system, { groupId: left, memberIds: [user.id] })
  expect(await subjectsOf(world.system, user.id)).toEqual(expect.arrayContaining([top, right]))
  await removeMembers(world.system, { groupId: top, memberIds: [right] })
  expect(await subjectsOf(world.system, user.id)).not.toContain(top)
})

test('a group cannot be within itself, by however many steps', async ({ world }) => {
  const { a, b, c } = await groupsNamed(world, 'a', 'b', 'c')
  await contain(world.system, a, b)
  await contain(world.system, b, c)

  await expect(contain(world.system, c, a)).rejects.toMatchObject({
    code: 'group-cycle',
    details: { groupId: c, memberId: a },
  })
  await expect(contain(world.system, a, a)).rejects.toMatchObject({ code: 'group-cycle' })
  await expect(setMembers(world.system, { groupId: c, memberIds: [b] })).rejects.toMatchObject({ code: 'group-cycle' })
})

test('two changes at once cannot close a circle together', async ({ world }) => {
  const { a, b } = await groupsNamed(world, 'a', 'b')
  const outcomes = await Promise.allSettled([contain(world.system, a, b), contain(world.system, b, a)])
  expect(outcomes.map(outcome => outcome.status).sort()).toEqual(['fulfilled', 'rejected'])
})

test('a cycle is never made and the closure is what walking the members gives, whatever is added, removed and left', async ({
  world,
}) => {
  const { user } = await world.user('u')
  const groups = Object.values(await groupsNamed(world, 'a', 'b', 'c', 'd', 'e'))
  const all = [...groups, user.id]
  const step = fc.record({
    act: fc.constantFrom('add', 'add', 'add', 'remove', 'leave'),
    group: fc.constantFrom(...groups),
    member: fc.constantFrom(...all),
  })
  const run = async (steps: { act: string; group: string; member: string }[]) => {
    for (const groupId of groups) await setMembers(world.system, { groupId, memberIds: [] })
    for (const { act, group, member } of steps) {
      const change = { groupId: group, memberIds: [member] }
      if (act === 'add') await addMembers(world.system, change).catch(() => {})
      else if (act === 'remove') await removeMembers(world.system, change)
      else if (member === user.id) await inTx(world.system, ctx => leaveAllGroups(ctx, member))
    }
    expect(await storedClosure(world)).toEqual(await walkedClosure(world))
  }
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), run), {
    numRuns: 12,
    endOnFailure: true,
  })
})

async function storedClosure(world: World): Promise<string[]> {
  const rows = await world.deps.database.read.selectFrom('group_closure').selectAll().execute()
  return rows.map(row => `${row.groupId} > ${row.principalId}`).sort()
}

async function walkedClosure(world: World): Promise<string[]> {
  const edges = await world.deps.database.read.selectFrom('group_member').selectAll().execute()
  const pairs = new Set<string>()
  const walk = (top: string, groupId: string) => {
    for (const { memberId } of edges.filter(edge => edge.groupId === groupId)) {
      expect(memberId).not.toBe(top)
      pairs.add(`${top} > ${memberId}`)
      walk(top, memberId)
    }
  }
  for (const { groupId } of edges) walk(groupId, groupId)
  return [...pairs].sort()
}

test('setting the members adds and removes the difference and keeps level and time of who stays', async ({ world }) => {
  const [a, b, c] = [await world.user('a'), await world.user('b'), await world.user('c')]
  const { id: groupId } = await createGroup(world.system, { name: 'team' })
  await addMembers(world.system, { groupId, memberIds: [a.user.id, b.user.id], level: 'manager' })
  const before = await listMembers(world.system, { groupId })

  await setMembers(world.system, { groupId, memberIds: [b.user.id, c.user.id] })

  const after = await listMembers(world.system, { groupId })
  expect(after.map(member => [member.login, member.level])).toEqual([
    ['b', 'manager'],
    ['c', 'member'],
  ])
  expect(after[0]?.joinedAt).toBe(before[1]?.joinedAt)
})

test('thousands of members are added and removed at once', async ({ world }) => {
  const { top, team } = await groupsNamed(world, 'top', 'team')
  await contain(world.system, top, team)
  const ids = Array.from({ length: 2_500 }, (_, n) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`)
  await world.deps.database.transaction(async tx => {
    for (let start = 0; start < ids.length; start += 500) {
      const common = {
        tenantId: world.tenant.id,
        kind: 'user' as const,
        state: 'active' as const,
        onExpiry: 'block' as const,
      }
      const rows = ids
        .slice(start, start + 500)
        .map(id => ({ ...common, id, name: id, nameFold: id, createdAt: 1, createdBy: 'x', changedAt: 1 }))
      await tx.insertInto('principal').values(rows).execute()
    }
  })
  await addMembers(world.system, { groupId: team, memberIds: ids })
  expect(await subjectsOf(world.system, ids[2_400] ?? '')).toEqual(expect.arrayContaining([team, top]))
  await setMembers(world.system, { groupId: team, memberIds: [] })
  expect(await subjectsOf(world.system, ids[2_400] ?? '')).not.toContain(top)
})

test('what is of another tenant, removed or no account cannot become a member', async ({ world }) => {
  const other = await world.otherTenant()
  const stranger = await world.user('stranger', { tenant: other })
  const { id: groupId } = await createGroup(world.system, { name: 'team' })

  for (const memberId of [stranger.user.id, signedInId(world.tenant.id), 'nobody']) {
    await expect(contain(world.system, groupId, memberId)).rejects.toMatchObject({
      code: 'not-found',
      details: { id: memberId },
    })
  }
  await expect(getGroup(stranger.ctx, { groupId })).rejects.toMatchObject({ code: 'not-found' })
  await expect(contain(stranger.ctx, groupId, stranger.user.id)).rejects.toMatchObject({ code: 'not-found' })
})

test('names of groups are unique without case, and free again once removed', async ({ world }) => {
  const { id: groupId } = await createGroup(world.system, { name: 'Team' })
  await expect(createGroup(world.system, { name: 'TEAM' })).rejects.toMatchObject({ code: 'group-name-taken' })
  await renameGroup(world.system, { groupId, name: 'team' })
  expect(await findGroupByName(world.system, 'TeAm')).toMatchObject({ id: groupId, name: 'team' })

  await removeGroup(world.system, { groupId })
  expect(await findGroupByName(world.system, 'team')).toBeUndefined()
  await createGroup(world.system, { name: 'team' })
  expect((await listGroups(world.system, { limit: 10 })).total).toBe(1)
})

test('groups are searched without case and without patterns', async ({ world }) => {
  await groupsNamed(world, 'North_1', 'north-2', 'South')
  const found = async (search: string) => {
    const { rows } = await listGroups(world.system, { search, limit: 10 })
    return rows.map(row => row.name)
  }
  expect(await found('NORTH')).toEqual(['north-2', 'North_1'])
  expect(await found('h_')).toEqual(['North_1'])
})

test('a removed group gives nobody anything any more, nor do the groups above it through it', async ({ world }) => {
  const { user } = await world.user('alice')
  const { top, team } = await groupsNamed(world, 'top', 'team')
  await contain(world.system, top, team)
  await contain(world.system, team, user.id)
  await grantRight(world.system, { principalId: top, right: 'audit.read' })
  expect(await rightsOf(world.system, user.id)).toEqual(new Set(['audit.read']))

  await removeGroup(world.system, { groupId: team })

  expect(await rightsOf(world.system, user.id)).toEqual(new Set())
  expect(await storedClosure(world)).toEqual([])
})

test('a manager of a group changes its members; a member and a stranger do not', async ({ world }) => {
  const [boss, member, stranger] = [await world.user('boss'), await world.user('member'), await world.user('stranger')]
  const { id: groupId } = await createGroup(world.system, { name: 'team' })
  await addMembers(world.system, { groupId, memberIds: [boss.user.id], level: 'manager' })
  await contain(boss.ctx, groupId, member.user.id)

  expect(await listMembers(member.ctx, { groupId })).toHaveLength(2)
  await expect(contain(member.ctx, groupId, stranger.user.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(listMembers(stranger.ctx, { groupId })).rejects.toMatchObject({ code: 'forbidden' })
  await expect(removeGroup(boss.ctx, { groupId })).rejects.toMatchObject({ code: 'forbidden' })
})

test('who manages groups cannot put himself into one that holds more rights', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const { admins, inner } = await groupsNamed(world, 'admins', 'inner')
  await grantRight(world.system, { principalId: user.id, right: 'groups.manage' })
  await grantRight(world.system, { principalId: admins, right: 'config.manage' })
  await contain(world.system, admins, inner)

  await expect(contain(ctx, admins, user.id)).rejects.toMatchObject({ code: 'forbidden' })
  await expect(contain(ctx, inner, user.id)).rejects.toMatchObject({ code: 'forbidden' })
})
