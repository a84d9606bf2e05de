import { describe, expect } from 'vitest'
import { actionSet } from '#core/permissions.ts'
import { createContact } from '#core/contacts.ts'
import { createToken } from '#core/tokens.ts'
import { test } from '#test/coredata-world.ts'

const contacts = '/api/v2/contacts/'
const time = expect.stringMatching(/^2026-01-05T08:0\d:\d\d$/) as string
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/) as string

describe('createContact and getContact', () => {
  test('a contact is made by anybody of the tenant, and seen by all', async ({ coredata }) => {
    const json = { title: 'John/Doe', identifier: '010101-2989', role: 'ignored' }
    const made = await coredata.send('POST', contacts, { as: 'stranger', json })
    expect(made).toMatchObject({ status: 201, raw: Buffer.alloc(0) })
    const path = String(made.headers.location)
    expect(await coredata.send('GET', path, { as: 'reader' })).toMatchObject({ status: 200 })
    const { body } = await coredata.send('GET', path, { as: 'editor' })
    const id = path.slice(contacts.length, -1)
    expect(body).toEqual({
      aspects: {},
      created: time,
      created_by: coredata.users.stranger.user.name,
      description: '',
      dynatype: {},
      id,
      identifier: '010101-2989',
      modified: time,
      modified_by: coredata.users.stranger.user.name,
      path: '/domain/spaces/system/global/Contacts/John/Doe',
      resource_uri: path,
      role: '',
      snapshot_id: uuid,
      status: 'contact_status:Active:',
      tags: [],
      template: null,
      title: 'John/Doe',
      type: 'Contact',
      version: '0.1',
    })
    expect(await coredata.send('GET', `${contacts}${id.toUpperCase()}/`, { as: 'editor' })).toMatchObject({
      body: { id },
    })
  })

  test.for([
    [{}, 'title'],
    [{ title: '' }, 'title'],
    [{ title: '  ' }, 'title'],
    [{ title: 7 }, 'title'],
    [{ title: 'a\0b' }, 'title'],
    [{ title: 'x'.repeat(1001) }, 'title'],
    [{ title: 'x', identifier: 7 }, 'identifier'],
    [{ title: 'x', identifier: '\ud800' }, 'identifier'],
  ] as const)('%j is refused in its own field and changes nothing', async ([json, field], { coredata }) => {
    const before = await coredata.world.events()
    const answer = await coredata.send('POST', contacts, { as: 'editor', json })
    expect(answer).toMatchObject({ status: 400, body: { contacts: { [field]: [expect.any(String)] } } })
    expect(await coredata.world.events()).toEqual(before)
  })

  test('a key that is narrowed to a place reaches no contacts', async ({ coredata }) => {
    const { user, ctx } = coredata.users.editor
    const id = await coredata.make('contacts', { title: 'x' })
    const scope = [{ actions: actionSet(['list', 'read', 'create']), nodeId: coredata.space.spaceId }]
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'narrow', scope })
    const headers = { authorization: `apikey ${secret}` }
    for (const path of [contacts, `${contacts}${id}/`]) {
      const answer = await coredata.send('GET', path, { headers, beyondContract: true })
      expect(answer).toMatchObject({ status: 403, raw: Buffer.alloc(0) })
    }
    expect(await coredata.send('POST', contacts, { headers, json: { title: 'y' } })).toMatchObject({
      status: 400,
      body: { error: 'You may not create this here.' },
    })
  })

  test('other ids, and contacts of another tenant, are 404', async ({ coredata }) => {
    const tenant = await coredata.world.otherTenant()
    const { ctx } = await coredata.world.user('foreign', { tenant })
    const foreign = await createContact(ctx, { title: 'x' })
    for (const id of [
      foreign.id,
      'e139a8ac-7368-11ee-b992-57663b1559fb',
      coredata.space.id,
      'x',
      '%00',
      '%F0%9F%98%80',
    ]) {
      const answer = await coredata.send('GET', `${contacts}${id}/`, { as: 'editor' })
      expect(answer, id).toMatchObject({ status: 404, raw: Buffer.alloc(0) })
    }
    expect(await coredata.send('GET', contacts, { as: 'editor' })).toMatchObject({ body: { objects: [] } })
  })
})

describe('listContacts', () => {
  test('filters by title and identifier, in any combination', async ({ coredata }) => {
    const made = [
      ['Ann', 'a-1'],
      ['Anna', 'a-2'],
      ['Bob', 'a-1'],
      ['ann', ''],
    ] as const
    for (const [title, identifier] of made) await coredata.make('contacts', { title, identifier })
    const titles = async (query: string) => {
      const { body } = await coredata.send('GET', contacts + query, { as: 'reader' })
      return (body as { objects: { title: string }[] }).objects.map(({ title }) => title)
    }
    expect(await titles('')).toEqual(['Ann', 'Anna', 'Bob', 'ann'])
    expect(await titles('?title=Ann')).toEqual(['Ann'])
    expect(await titles('?title__startswith=Ann')).toEqual(['Ann', 'Anna'])
    expect(await titles('?identifier=a-1')).toEqual(['Ann', 'Bob'])
    expect(await titles('?identifier__startswith=a-')).toEqual(['Ann', 'Anna', 'Bob'])
    expect(await titles('?identifier=a-1&title__startswith=B')).toEqual(['Bob'])
    expect(await titles('?identifier=')).toEqual(['ann'])
    expect(await titles('?title=%00&identifier=%F0')).toEqual([])
  })
})
