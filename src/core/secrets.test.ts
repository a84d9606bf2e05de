import { expect } from 'vitest'
import { test } from '#test/world.ts'
import { inTx } from './ctx.ts'
import { findSecretByLookup, openSecret, putSecret, removeSecrets } from './secrets.ts'

const place = { purpose: 'otp-seed', ownerId: 'somebody' }

test('a secret is opened again, and the table does not show it', async ({ world }) => {
  await inTx(world.system, ctx => putSecret(ctx, { ...place, plain: 'top secret ✓' }))
  expect(await openSecret(world.system, place)).toBe('top secret ✓')
  const [row] = await world.deps.database.read.selectFrom('secret').selectAll().execute()
  expect(Buffer.from(row?.sealed ?? []).toString('latin1')).not.toContain('top secret')
  expect(row).toMatchObject({ sealedBy: 'master:1', lookup: null })
})

test('a secret put again takes the place of the first', async ({ world }) => {
  await inTx(world.system, ctx => putSecret(ctx, { ...place, plain: 'old' }))
  await inTx(world.system, ctx => putSecret(ctx, { ...place, plain: 'new' }))
  expect(await openSecret(world.system, place)).toBe('new')
  expect(await openSecret(world.system, { ...place, purpose: 'other' })).toBeUndefined()
})

test('a findable secret is found by what it is, within its purpose and tenant', async ({ world }) => {
  const other = await world.otherTenant()
  const abroad = world.ctx({ ...world.system.actor, tenantId: other.id })
  const secretId = await inTx(world.system, ctx => putSecret(ctx, { ...place, plain: 'key', findable: true }))
  await inTx(abroad, ctx => putSecret(ctx, { ...place, ownerId: 'far', plain: 'key', findable: true }))

  expect(await findSecretByLookup(world.system, { purpose: 'otp-seed', plain: 'key' })).toEqual({
    secretId,
    ownerId: 'somebody',
  })
  expect(await findSecretByLookup(abroad, { purpose: 'otp-seed', plain: 'key' })).toMatchObject({ ownerId: 'far' })
  expect(await findSecretByLookup(world.system, { purpose: 'webhook', plain: 'key' })).toBeUndefined()
  expect(await findSecretByLookup(world.system, { purpose: 'otp-seed', plain: 'other' })).toBeUndefined()
})

test('a sealed value that was moved to another row does not open', async ({ world }) => {
  await inTx(world.system, ctx => putSecret(ctx, { ...place, plain: 'mine' }))
  await inTx(world.system, ctx => putSecret(ctx, { ...place, ownerId: 'victim', plain: 'theirs' }))
  await world.deps.database.transaction(tx =>
    tx
      .updateTable('secret')
      .set(eb => ({ sealed: eb.selectFrom('secret').select('sealed').where('ownerId', '=', 'victim') }))
      .where('ownerId', '=', 'somebody')
      .execute(),
  )
  await expect(openSecret(world.system, place)).rejects.toMatchObject({ code: 'content-damaged' })
})

test('secrets go with their owner, or those of one purpose', async ({ world }) => {
  await inTx(world.system, async ctx => {
    await putSecret(ctx, { ...place, plain: 'a' })
    await putSecret(ctx, { ...place, purpose: 'webhook', plain: 'b' })
    await putSecret(ctx, { ...place, ownerId: 'other', plain: 'c' })
    await removeSecrets(ctx, { purpose: 'webhook', ownerId: 'somebody' })
  })
  expect(await openSecret(world.system, place)).toBe('a')
  await inTx(world.system, ctx => removeSecrets(ctx, { ownerId: 'somebody' }))
  expect(await openSecret(world.system, place)).toBeUndefined()
  expect(await openSecret(world.system, { ...place, ownerId: 'other' })).toBe('c')
})
