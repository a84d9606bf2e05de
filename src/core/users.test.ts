import { expect } from 'vitest'
import { test } from '#test/world.ts'
import { signIn, anonymousActor } from './auth.ts'
import { createUser, findUserByLogin } from './users.ts'

test('a created account can sign in', async ({ world }) => {
  const user = await createUser(world.system, { login: 'Alice', password: 'a good password' })
  expect(user).toMatchObject({ login: 'Alice', name: 'Alice', kind: 'user', state: 'active', ipRanges: [] })
  const ctx = world.ctx(anonymousActor(world.tenant.id, 'test', '127.0.0.1'))
  const { actor } = await signIn(ctx, {
    login: 'ALICE',
    password: 'a good password',
    client: 'test',
    address: '127.0.0.1',
  })
  expect(actor.principalId).toBe(user.id)
  expect(await findUserByLogin(world.system, 'aLICE')).toMatchObject({ id: user.id })
  expect(await world.events()).toEqual(['user.created', 'sign-in'])
})
