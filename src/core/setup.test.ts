import { join } from 'node:path'
import { expect } from 'vitest'
import { openKeyRing } from '#platform/key-ring.ts'
import { test, type World } from '#test/world.ts'
import { anonymousActor, signIn } from './auth.ts'
import { makeCtx, systemActor, type Deps } from './ctx.ts'
import { rightsOf, systemRights } from './roles.ts'
import { initialise, isInitialised } from './setup.ts'
import { findTenantByHost } from './tenants.ts'
import { findUserByLogin } from './users.ts'

/** The fixture has a tenant already; a first start needs a database without. */
async function emptied(world: World): Promise<Deps> {
  await world.deps.database.transaction(async tx => {
    for (const table of ['event', 'node_total', 'node', 'principal', 'tenant'] as const)
      await tx.deleteFrom(table).execute()
  })
  return world.deps
}

test('the first start makes the provider and an administrator with every right, who can sign in', async ({ world }) => {
  const deps = await emptied(world)
  expect(await isInitialised(deps.database)).toBe(false)

  const { created, login, password = '' } = await initialise(deps)

  expect(created).toBe(true)
  expect(password.length).toBeGreaterThanOrEqual(20)
  expect(await isInitialised(deps.database)).toBe(true)
  const tenant = await findTenantByHost(deps, 'any.example')
  expect(tenant.isProvider).toBe(true)
  const ctx = makeCtx(deps, systemActor(tenant.id, 'test'), 'test')
  const admin = await findUserByLogin(ctx, 'admin')
  expect(await rightsOf(ctx, admin?.id ?? '')).toEqual(new Set(systemRights))
  const visitor = makeCtx(deps, anonymousActor(tenant.id, 'test', '127.0.0.1'), 'test')
  const { actor } = await signIn(visitor, { login, password, client: 'test', address: '127.0.0.1' })
  expect(actor).toMatchObject({ kind: 'administrator', capacity: 'administrator' })
  expect(await world.events()).toEqual(['tenant.created', 'user.created', 'right.changed', 'sign-in'])
})

test('processes that start together make one installation', async ({ world }) => {
  const deps = await emptied(world)
  const starts = await Promise.all([initialise(deps), initialise(deps), initialise(deps)])
  expect(starts.filter(start => start.created)).toHaveLength(1)
  expect(starts.filter(start => start.password)).toHaveLength(1)
  expect(await initialise(deps)).toEqual({ created: false, login: 'admin' })
})

test('a given password is used, checked, and not repeated', async ({ world }) => {
  const deps = await emptied(world)
  await expect(initialise(deps, { adminPassword: 'short' })).rejects.toMatchObject({ code: 'password-refused' })
  expect(await initialise(deps, { adminPassword: 'chosen by the administrator' })).toEqual({
    created: true,
    login: 'admin',
  })
})

test('a key ring that the database was not written with is refused at the start', async ({ world }) => {
  const deps = await emptied(world)
  await initialise(deps)
  const keys = await openKeyRing(join(world.folder, 'another.json'), { create: true })
  await expect(initialise({ ...deps, keys })).rejects.toThrow('The key ring does not fit the database')
})
