import { expect } from 'vitest'
import { test } from '#test/world.ts'
import { signedInId } from './access.ts'
import { grantRight } from './roles.ts'
import { createTenant, findTenantByHost, getTenant, listTenants, setTenantHosts, updateTenant } from './tenants.ts'

test('a tenant has a root node with its total and its signed-in subject from the start', async ({ world }) => {
  const tenant = await createTenant(world.system, { name: 'Acme', hosts: ['files.acme.example'], quotaBytes: 5_000 })
  const { read } = world.deps.database

  expect(tenant).toMatchObject({ name: 'Acme', isProvider: false, state: 'active', quotaBytes: 5_000 })
  expect(await read.selectFrom('node').selectAll().where('tenantId', '=', tenant.id).execute()).toMatchObject([
    {
      id: tenant.rootNodeId,
      kind: 'root',
      parentId: null,
      spaceId: null,
      accessId: tenant.rootNodeId,
      nameKey: null,
      state: 'live',
    },
  ])
  expect(
    await read.selectFrom('node_total').selectAll().where('nodeId', '=', tenant.rootNodeId).execute(),
  ).toMatchObject([{ files: 0, folders: 0, bytes: 0, binBytes: 0 }])
  expect(await read.selectFrom('principal').select(['id', 'kind']).where('tenantId', '=', tenant.id).execute()).toEqual(
    [{ id: signedInId(tenant.id), kind: 'signed-in' }],
  )
  expect(await world.events()).toEqual(['tenant.created'])
})

test('the host selects the tenant whatever its case and port; an unknown one selects the provider', async ({
  world,
}) => {
  const acme = await createTenant(world.system, { name: 'Acme', hosts: ['Files.Acme.example'] })
  for (const host of ['files.acme.example', 'FILES.ACME.EXAMPLE:8443', 'files.acme.example.']) {
    expect(await findTenantByHost(world.deps, host)).toEqual(acme)
  }
  for (const host of ['elsewhere.example', '', '[::1]:8080']) {
    expect(await findTenantByHost(world.deps, host)).toEqual(world.tenant)
  }
})

test('a host belongs to one tenant, and a refused change leaves everything as it was', async ({ world }) => {
  const acme = await createTenant(world.system, { name: 'Acme', hosts: ['acme.example'] })
  const other = await createTenant(world.system, { name: 'Other', hosts: ['other.example'] })
  await expect(
    setTenantHosts(world.system, { tenantId: other.id, hosts: ['new.example', 'acme.example'] }),
  ).rejects.toMatchObject({
    code: 'invalid-input',
    details: { field: 'hosts', rule: 'taken' },
  })
  expect(await findTenantByHost(world.deps, 'other.example')).toEqual(other)

  await setTenantHosts(world.system, { tenantId: acme.id, hosts: [] })
  await setTenantHosts(world.system, { tenantId: other.id, hosts: ['acme.example'] })
  expect(await findTenantByHost(world.deps, 'acme.example')).toEqual(other)
  expect(await findTenantByHost(world.deps, 'other.example')).toEqual(world.tenant)
})

test('only the provider manages tenants, and only who holds the right there', async ({ world }) => {
  const acme = await createTenant(world.system, { name: 'Acme' })
  const { ctx } = await world.user('alice')
  const abroad = await world.user('boss', { tenant: acme })
  await grantRight(world.ctx({ ...world.system.actor, tenantId: acme.id }), {
    principalId: abroad.user.id,
    right: 'tenants.manage',
  })

  for (const actor of [ctx, abroad.ctx]) {
    await expect(createTenant(actor, { name: 'Mine' })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(listTenants(actor)).rejects.toMatchObject({ code: 'forbidden' })
  }
  expect(await getTenant(abroad.ctx, { tenantId: acme.id })).toMatchObject({ name: 'Acme' })
  await expect(getTenant(abroad.ctx, { tenantId: world.tenant.id })).rejects.toMatchObject({ code: 'forbidden' })
  expect((await listTenants(world.system)).map(tenant => tenant.name)).toEqual(['Acme', 'Provider'])
})

test('the provider cannot be locked', async ({ world }) => {
  await expect(updateTenant(world.system, { tenantId: world.tenant.id, state: 'locked' })).rejects.toMatchObject({
    code: 'invalid-input',
  })
})
