import { describe, expect } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { authenticateToken, createToken } from '#core/tokens.ts'
import { setGrantRow } from '#core/grants.ts'
import { actionSet } from '#core/permissions.ts'
import { adoptAddress, findOrCreateAddress, findPrincipals } from '#core/principals.ts'
import { addMembers, createGroup } from '#core/groups.ts'
import { grantRight } from '#core/roles.ts'
import { createSpace } from '#core/spaces.ts'
import { test } from '#test/world.ts'
import { findProfiles } from './profiles.ts'
import { createUser, getUser, removeExpiredUsers, removeUser, updateUser } from './users.ts'

describe('profiles', () => {
  test('are written with the account and change by what is named', async ({ world: { system } }) => {
    const { id } = await createUser(system, { login: 'ada', profile: { givenName: 'Ada', company: 'Engines' } })
    await updateUser(system, { userId: id, profile: { familyName: 'Byron', company: '' } })
    expect((await findProfiles(system, [id])).get(id)).toMatchObject({
      givenName: 'Ada',
      familyName: 'Byron',
      company: null,
      language: null,
    })
    expect(await getUser(system, { userId: id })).toMatchObject({ name: 'Ada Byron' })
  })

  test('a name that was given stays when the profile says nothing of names', async ({ world: { system } }) => {
    const { id } = await createUser(system, { login: 'ada', name: 'The Countess' })
    await updateUser(system, { userId: id, profile: { phone: '7' } })
    expect(await getUser(system, { userId: id })).toMatchObject({ name: 'The Countess' })
  })

  test('go with the account', async ({ world: { system } }) => {
    const { id } = await createUser(system, { login: 'ada', profile: { phone: '7' } })
    await removeUser(system, { userId: id })
    expect(await findProfiles(system, [id])).toEqual(new Map())
  })

  test('others are for who may read accounts', async ({ world }) => {
    const [alice, bob] = [await world.user(), await world.user()]
    expect(await findProfiles(alice.ctx, [alice.user.id])).toEqual(new Map())
    await expect(findProfiles(alice.ctx, [bob.user.id])).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('a space that is no delivery cannot be the one for SFTP', async ({ world: { system } }) => {
    const { uid } = await createSpace(system, { name: 'Plain' })
    const profile = { sftpSpaceUid: uid }
    await expect(createUser(system, { login: 'ada', profile })).rejects.toMatchObject({
      details: { field: 'sftpSpaceUid', rule: 'unknown' },
    })
  })
})

describe('addresses', () => {
  test('one principal stands for an address, whoever meets it first', async ({ world: { system } }) => {
    const found = await Promise.all(
      ['out@example.test', 'OUT@example.test'].map(email => inTx(system, ctx => findOrCreateAddress(ctx, email))),
    )
    expect(found[0]).toMatchObject({ kind: 'address' })
    expect(found[1]?.id).toBe(found[0]?.id)
  })

  test('what was sent to an address belongs to the account that gets it', async ({ world }) => {
    const { system } = world
    const space = await createSpace(system, { name: 'For somebody' })
    const { id: addressId } = await inTx(system, ctx => findOrCreateAddress(ctx, 'out@example.test'))
    await inTx(system, ctx =>
      setGrantRow(ctx, { nodeId: space.id, subjectId: addressId, actions: actionSet(['read']), recipient: 'regular' }),
    )
    const { id } = await createUser(system, { login: 'out', email: 'Out@Example.test' })
    const grants = await world.deps.database.read
      .selectFrom('access_grant')
      .select(['subjectId', 'recipient'])
      .where('nodeId', '=', space.id)
      .where('recipient', 'is not', null)
      .execute()
    expect(grants).toEqual([{ subjectId: id, recipient: 'regular' }])
    expect((await findPrincipals(system, [addressId])).get(addressId)).toMatchObject({ state: 'removed' })
    expect((await world.events()).slice(-2)).toEqual(['user.created', 'grant.changed'])
  })

  test('an account that was named beside its address keeps its own grant', async ({ world }) => {
    const { system } = world
    const { user } = await world.user()
    const space = await createSpace(system, { name: 'For somebody' })
    await inTx(system, async ctx => {
      const address = await findOrCreateAddress(ctx, 'out@example.test')
      const grant = { nodeId: space.id, actions: actionSet(['read']) }
      await setGrantRow(ctx, { ...grant, subjectId: address.id, recipient: 'blind' })
      await setGrantRow(ctx, { ...grant, subjectId: user.id, recipient: 'contributor' })
      await adoptAddress(ctx, { principalId: user.id, email: 'out@example.test' })
    })
    const grants = await world.deps.database.read
      .selectFrom('access_grant')
      .select(['subjectId', 'recipient'])
      .where('recipient', 'is not', null)
      .execute()
    expect(grants).toEqual([{ subjectId: user.id, recipient: 'contributor' }])
  })

  test('where addresses must be one’s own, another account or a group has it first', async ({ world: { system } }) => {
    await createUser(system, { login: 'ada', email: 'ada@example.test' })
    const second = { login: 'bob', email: 'Ada@example.test' }
    await expect(createUser(system, { ...second, ownEmail: true })).rejects.toMatchObject({
      details: { field: 'email', rule: 'taken' },
    })
    await expect(createUser(system, second)).resolves.toMatchObject({ login: 'bob' })
  })

  test('a removed account leaves its address free', async ({ world: { system } }) => {
    const { id } = await createUser(system, { login: 'ada', email: 'ada@example.test' })
    await removeUser(system, { userId: id })
    await expect(
      createUser(system, { login: 'ada', email: 'ada@example.test', ownEmail: true }),
    ).resolves.toMatchObject({ login: 'ada' })
  })
})

describe('an account that need not end', () => {
  test('goes on when its time is over, and is not removed', async ({ world }) => {
    const { system, deps, tenant } = world
    const [kept, other] = [await world.user('kept'), await world.user('other')]
    const { id: groupId } = await createGroup(system, { name: 'Kept' })
    await grantRight(system, { principalId: groupId, right: 'account.persistent' })
    await addMembers(system, { groupId, memberIds: [kept.user.id] })
    const from = { client: '', address: '127.0.0.1', tenantId: tenant.id }
    const secrets = await Promise.all(
      [kept, other].map(async ({ user, ctx }) => (await createToken(ctx, { principalId: user.id, name: 'x' })).secret),
    )
    for (const { user } of [kept, other])
      await updateUser(system, { userId: user.id, expiresAt: deps.clock(), onExpiry: 'remove' })
    expect(await authenticateToken(deps, { secret: secrets[0]!, ...from })).toMatchObject({ name: 'kept' })
    await expect(authenticateToken(deps, { secret: secrets[1]!, ...from })).rejects.toMatchObject({
      details: { reason: 'account' },
    })
    expect(await removeExpiredUsers(system, { limit: 10 })).toBe(1)
    expect(await getUser(system, { userId: kept.user.id })).toMatchObject({ state: 'active' })
  })

  test('can be blocked all the same', async ({ world }) => {
    const { user, ctx } = await world.user()
    await grantRight(world.system, { principalId: user.id, right: 'account.persistent' })
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'x' })
    await updateUser(world.system, { userId: user.id, state: 'blocked', expiresAt: world.deps.clock() })
    const from = { client: '', address: '127.0.0.1', tenantId: world.tenant.id }
    await expect(authenticateToken(world.deps, { secret, ...from })).rejects.toMatchObject({
      details: { reason: 'account' },
    })
  })
})

test('a password of an update counts, and one that is refused changes nothing', async ({ world }) => {
  const { user } = await world.user('ada')
  const wrong = { userId: user.id, password: 'x', name: 'Changed' }
  await expect(updateUser(world.system, wrong)).rejects.toMatchObject({ code: 'password-refused' })
  expect(await getUser(world.system, { userId: user.id })).toMatchObject({ name: 'ada' })
  await updateUser(world.system, { userId: user.id, password: 'a password of its own' })
  expect(await world.events()).toEqual(['user.password-changed', 'user.changed'])
})
