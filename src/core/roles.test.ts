import { expect } from 'vitest'
import { test } from '#test/world.ts'
import { inTx } from './ctx.ts'
import { addMembers, createGroup } from './groups.ts'
import {
  assignRole,
  createRole,
  grantRight,
  listRoles,
  requireRight,
  rightsOf,
  setRightsOf,
  setRoleRights,
  withdrawRight,
  withdrawRole,
} from './roles.ts'

test('rights come directly, through roles and through groups, and go again', async ({ world }) => {
  const { user } = await world.user('alice')
  const group = await createGroup(world.system, { name: 'auditors' })
  const role = await createRole(world.system, { name: 'auditor', rights: ['audit.read'] })
  await addMembers(world.system, { groupId: group.id, memberIds: [user.id] })
  await assignRole(world.system, { roleId: role.id, principalId: group.id })
  await grantRight(world.system, { principalId: user.id, right: 'spaces.create' })
  expect(await rightsOf(world.system, user.id)).toEqual(new Set(['audit.read', 'spaces.create']))

  await setRoleRights(world.system, { roleId: role.id, rights: ['users.read'] })
  await withdrawRight(world.system, { principalId: user.id, right: 'spaces.create' })
  expect(await rightsOf(world.system, user.id)).toEqual(new Set(['users.read']))
  expect(await listRoles(world.system)).toEqual([{ id: role.id, name: 'auditor', rights: ['users.read'] }])

  await withdrawRole(world.system, { roleId: role.id, principalId: group.id })
  expect(await rightsOf(world.system, user.id)).toEqual(new Set())
})

test('nobody hands out or takes away a right that he does not hold', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  const role = await createRole(world.system, { name: 'chief', rights: ['config.manage'] })
  await grantRight(world.system, { principalId: user.id, right: 'users.manage' })

  for (const act of [
    () => grantRight(ctx, { principalId: user.id, right: 'config.manage' }),
    () => withdrawRight(ctx, { principalId: user.id, right: 'config.manage' }),
    () => assignRole(ctx, { roleId: role.id, principalId: user.id }),
    () => createRole(ctx, { name: 'mine', rights: ['audit.read'] }),
    () => setRoleRights(ctx, { roleId: role.id, rights: [] }),
  ]) {
    await expect(act()).rejects.toMatchObject({ code: 'forbidden' })
  }
  await grantRight(ctx, { principalId: user.id, right: 'users.manage' })
})

test('an administrator’s rights count only in that capacity', async ({ world }) => {
  const { user, ctx } = await world.user('root', { kind: 'administrator' })
  await grantRight(world.system, { principalId: user.id, right: 'audit.read' })
  await expect(requireRight(ctx, 'audit.read')).resolves.toBeUndefined()
  await expect(requireRight(world.ctx({ ...ctx.actor, capacity: 'user' }), 'audit.read')).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('who acts under a scope or a share has no system rights', async ({ world }) => {
  const { user, ctx } = await world.user('alice')
  await grantRight(world.system, { principalId: user.id, right: 'audit.read' })
  const scoped = world.ctx({ ...ctx.actor, scope: [{ actions: 1 }] })
  const shared = world.ctx({ ...ctx.actor, kind: 'share' })
  for (const narrowed of [scoped, shared]) {
    await expect(requireRight(narrowed, 'audit.read')).rejects.toMatchObject({
      code: 'forbidden',
      details: { action: 'audit.read' },
    })
  }
})

test('a refusal is audited with the right that was lacking', async ({ world }) => {
  const { ctx, user } = await world.user('alice')
  await expect(requireRight(ctx, 'audit.read')).rejects.toThrow()
  const event = await world.deps.database.read
    .selectFrom('event')
    .selectAll()
    .where('type', '=', 'access.refused')
    .executeTakeFirstOrThrow()
  expect(event).toMatchObject({ outcome: 'refused', actorId: user.id, facts: '{"right":"audit.read"}' })
})

test('inside a transaction a refusal is thrown without waiting for another transaction', async ({ world }) => {
  const { ctx } = await world.user('alice')
  await expect(inTx(ctx, tx => requireRight(tx, 'audit.read'))).rejects.toMatchObject({ code: 'forbidden' })
})

test('roles are of one tenant, and their names are unique there', async ({ world }) => {
  const other = await world.otherTenant()
  const { user: stranger } = await world.user('bob', { tenant: other })
  const { user } = await world.user('alice')
  const role = await createRole(world.system, { name: 'auditor', rights: ['audit.read'] })
  const abroad = world.ctx({ ...world.system.actor, tenantId: other.id })

  await expect(createRole(world.system, { name: 'auditor', rights: [] })).rejects.toMatchObject({
    code: 'invalid-input',
  })
  await expect(assignRole(abroad, { roleId: role.id, principalId: stranger.id })).rejects.toMatchObject({
    code: 'not-found',
  })
  await expect(grantRight(abroad, { principalId: user.id, right: 'audit.read' })).rejects.toMatchObject({
    code: 'not-found',
  })
  expect(await listRoles(abroad)).toEqual([])
})

test('setting rights among some leaves the others, and gives none beyond them', async ({ world }) => {
  const { system } = world
  const { user } = await world.user()
  const principalId = user.id
  await grantRight(system, { principalId, right: 'spaces.create' })
  const among = ['users.read', 'groups.manage'] as const
  await setRightsOf(system, { principalId, rights: ['users.read', 'audit.read'], among })
  expect([...(await rightsOf(system, principalId))].sort()).toEqual(['spaces.create', 'users.read'])
  await setRightsOf(system, { principalId, rights: ['groups.manage'], among })
  expect([...(await rightsOf(system, principalId))].sort()).toEqual(['groups.manage', 'spaces.create'])
  await setRightsOf(system, { principalId, rights: ['groups.manage'], among })
  expect(await world.events()).toEqual(['right.changed', 'right.changed', 'right.changed'])
})
