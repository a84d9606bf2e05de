import { describe, expect } from 'vitest'
import {
  createContact,
  getContact,
  listContacts,
  requireContacts,
  type ContactQuery,
  type NewContact,
} from '#core/contacts.ts'
import { anonymousId, type Ctx } from '#core/ctx.ts'
import { actions } from '#core/permissions.ts'
import { test, type World } from '#test/world.ts'

const list = async (ctx: Ctx, query: Partial<ContactQuery> = {}) => {
  const { total, rows } = await listContacts(ctx, { offset: 0, limit: 100, ...query })
  if (query.limit === undefined) expect(total).toBe(rows.length)
  return rows.map(contact => contact.title)
}

const stranger = async (world: World) => (await world.user('stranger', { tenant: await world.otherTenant() })).ctx

describe('a contact', () => {
  test('is made by any account and read by any other of the tenant', async ({ world }) => {
    const { user, ctx } = await world.user()
    const attributes = { role: 'customer', status: 'active', description: 'text', tags: ['b', 'a'] }
    const contact = await createContact(ctx, { title: 'Ada', identifier: '1815', attributes })
    expect(contact).toMatchObject({
      title: 'Ada',
      identifier: '1815',
      attributes,
      createdByName: user.name,
      revision: 1,
    })
    expect(await getContact((await world.user()).ctx, { contactId: contact.id })).toEqual(contact)
    expect(await world.events()).toEqual(['contact.created'])
    const bare = await createContact(world.system, { title: 'Bo' })
    expect(bare).toMatchObject({ identifier: '', attributes: {}, createdByName: null })
  })

  test('is refused without a title, and with fields that are too long or no text', async ({ world }) => {
    const { ctx } = await world.user()
    const refused: [NewContact, string][] = [
      [{ title: ' ' }, 'title'],
      [{ title: 'x'.repeat(1001) }, 'title'],
      [{ title: 'a\0' }, 'title'],
      [{ title: 'a', identifier: '\ud800' }, 'identifier'],
      [{ title: 'a', attributes: { role: 'x'.repeat(1001) } }, 'role'],
      [{ title: 'a', attributes: { status: '\0' } }, 'status'],
      [{ title: 'a', attributes: { description: 'x'.repeat(65_537) } }, 'description'],
      [{ title: 'a', attributes: { tags: ['\0'] } }, 'tags'],
      [{ title: 'a', attributes: { tags: Array.from({ length: 201 }, () => 'x') } }, 'tags'],
    ]
    for (const [input, field] of refused) {
      await expect(createContact(ctx, input)).rejects.toMatchObject({ code: 'invalid-input', details: { field } })
    }
    expect(await list(ctx)).toEqual([])
    expect(await world.events()).toEqual([])
  })

  test('is not found by another tenant, nor under what is no id', async ({ world }) => {
    const { ctx } = await world.user()
    const { id } = await createContact(ctx, { title: 'Ada' })
    const missing = { code: 'not-found', details: { what: 'contact' } }
    const other = await stranger(world)
    await expect(getContact(other, { contactId: id })).rejects.toMatchObject(missing)
    await expect(getContact(ctx, { contactId: 'nonsense' })).rejects.toMatchObject(missing)
    await expect(getContact(ctx, { contactId: '\0' })).rejects.toMatchObject(missing)
    await requireContacts(ctx, [id, id])
    await requireContacts(ctx, [])
    await expect(requireContacts(ctx, [id, 'unknown', '\0'])).rejects.toMatchObject({
      ...missing,
      details: { what: 'contact', id: 'unknown' },
    })
    await expect(requireContacts(ctx, ['\0'])).rejects.toMatchObject(missing)
    await expect(requireContacts(other, [id])).rejects.toMatchObject(missing)
    expect(await list(other)).toEqual([])
  })

  test('is nothing for visitors, nor for scopes that name nodes', async ({ world }) => {
    const { ctx } = await world.user()
    const { id } = await createContact(ctx, { title: 'Ada' })
    const refused = [
      world.ctx({ ...ctx.actor, kind: 'share' }),
      world.ctx({ ...ctx.actor, principalId: anonymousId }),
      world.ctx({ ...ctx.actor, scope: [{ actions: actions.list | actions.create, nodeId: 1 }] }),
      world.ctx({ ...ctx.actor, scope: [{ actions: actions.read }] }),
    ]
    for (const narrow of refused) {
      for (const act of [
        () => createContact(narrow, { title: 'Bo' }),
        () => getContact(narrow, { contactId: id }),
        () => listContacts(narrow, { offset: 0, limit: 1 }),
        () => requireContacts(narrow, [id]),
      ]) {
        await expect(act()).rejects.toMatchObject({ code: 'forbidden' })
      }
    }
    const reading = world.ctx({ ...ctx.actor, scope: [{ actions: actions.list }] })
    expect(await list(reading)).toEqual(['Ada'])
    await expect(createContact(reading, { title: 'Bo' })).rejects.toMatchObject({ code: 'forbidden' })
  })
})

test('a list of contacts goes by age, filters by how they are called, and pages', async ({ world }) => {
  const { ctx } = await world.user()
  await createContact(ctx, { title: 'Zoe', identifier: '10' })
  await createContact(ctx, { title: 'Ada', identifier: '20' })
  await createContact(ctx, { title: 'Adam', identifier: '21' })
  expect(await list(ctx)).toEqual(['Zoe', 'Ada', 'Adam'])
  expect(await list(ctx, { title: 'Ada' })).toEqual(['Ada'])
  expect(await list(ctx, { title: 'ada' })).toEqual([])
  expect(await list(ctx, { titlePrefix: 'Ad' })).toEqual(['Ada', 'Adam'])
  expect(await list(ctx, { titlePrefix: 'A%' })).toEqual([])
  expect(await list(ctx, { identifier: '10' })).toEqual(['Zoe'])
  expect(await list(ctx, { identifierPrefix: '2' })).toEqual(['Ada', 'Adam'])
  expect(await list(ctx, { identifierPrefix: '2', title: 'Adam' })).toEqual(['Adam'])
  expect(await list(ctx, { title: '\0' })).toEqual([])
  expect(await list(ctx, { offset: 1, limit: 1 })).toEqual(['Ada'])
  expect(await listContacts(ctx, { offset: 3, limit: 1 })).toEqual({ total: 3, rows: [] })
})
