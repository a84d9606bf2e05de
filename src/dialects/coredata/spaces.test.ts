import { describe, expect } from 'vitest'
import { setSpaceState } from '#core/spaces.ts'
import { test } from '#test/coredata-world.ts'
import { makeSpace } from '#test/tree.ts'

const spaces = '/api/v2/spaces/'
const time = expect.stringMatching(/^2026-01-05T08:0\d:\d\d$/) as string
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/) as string

describe('createSpace', () => {
  test('makes a space that its maker owns and manages, and shows what was said of it', async ({ coredata }) => {
    const id = await coredata.make('spaces', { title: 'Räume & Plätze', description: 'About it', is_hidden: true })
    const { body } = await coredata.send('GET', `${spaces}${id}/`, { as: 'editor' })
    expect(body).toEqual({
      aspects: {},
      created: time,
      created_by: 'Eddie Editor',
      description: 'About it',
      dynatype: {},
      filespace: uuid,
      id,
      is_hidden: true,
      modified: time,
      modified_by: 'Eddie Editor',
      path: '/domain/spaces/Spaces/Räume & Plätze',
      resource_uri: `${spaces}${id}/`,
      snapshot_id: uuid,
      status: 'space_status:active:',
      tags: [],
      template: null,
      title: 'Räume & Plätze',
      type: 'Space',
      version: '0.1',
    })
    expect(await coredata.make('projects', { space: id, title: 'P' })).toMatch(/-/)
    expect(await coredata.send('GET', `${spaces}${id}/`, { as: 'reader' })).toMatchObject({ status: 404 })
  })

  test('a title may come twice', async ({ coredata }) => {
    const id = await coredata.make('spaces', { title: 'Space' })
    expect(id).not.toBe(coredata.space.id)
    expect(await coredata.send('GET', `${spaces}${id}/`, { as: 'editor' })).toMatchObject({ body: { title: 'Space' } })
  })

  test('fields that are not documented are ignored', async ({ coredata }) => {
    const id = await coredata.make('spaces', { title: 'x', id: 'mine', tags: 7, __proto__: null, 'owner.id': {} })
    expect(await coredata.send('GET', `${spaces}${id}/`, { as: 'editor' })).toMatchObject({ body: { id, tags: [] } })
  })

  test.for([
    [{}, 'title', 'This field is required.'],
    [{ title: '' }, 'title', 'This field is required.'],
    [{ title: 7 }, 'title', 'This value must be string.'],
    [{ title: null }, 'title', 'This value must be string.'],
    [{ title: 'x', description: [] }, 'description', 'This value must be string.'],
    [{ title: 'x', description: 'ä'.repeat(5000) }, 'description', 'Ensure this value has at most 8192 bytes.'],
    [{ title: 'x', is_hidden: 'yes' }, 'is_hidden', 'This value must be boolean.'],
    [{ title: '  ' }, 'title', expect.stringContaining('title')],
    [{ title: 'a/b' }, 'title', expect.stringContaining('title')],
    [{ title: 'a\0b' }, 'title', expect.stringContaining('title')],
    [{ title: '\ud800' }, 'title', expect.stringContaining('title')],
    [{ title: 'x'.repeat(256) }, 'title', expect.stringContaining('title')],
  ] as const)('%j is refused in its own field and changes nothing', async ([json, field, message], { coredata }) => {
    const before = await coredata.world.events()
    const answer = await coredata.send('POST', spaces, { as: 'editor', json })
    expect(answer).toMatchObject({ status: 400, body: { spaces: { [field]: [message] } } })
    expect(await coredata.world.events()).toEqual(before)
  })

  test('takes the right to make spaces; the refusal is audited', async ({ coredata }) => {
    const answer = await coredata.send('POST', spaces, { as: 'reader', json: { title: 'x' } })
    expect(answer).toMatchObject({ status: 400, body: { error: 'You may not create this here.' } })
    expect((await coredata.world.events()).at(-1)).toBe('access.refused refused')
  })
})

describe('listSpaces and getSpace', () => {
  test('show the top-level spaces of the caller, oldest first', async ({ coredata }) => {
    const id = await coredata.make('spaces', { title: 'A later one' })
    const titles = async (as: 'editor' | 'reader' | 'stranger') => {
      const { body } = await coredata.send('GET', spaces, { as })
      return (body as { objects: { title: string }[] }).objects.map(({ title }) => title)
    }
    expect(await titles('editor')).toEqual(['Space', 'A later one'])
    expect(await titles('reader')).toEqual(['Space'])
    expect(await titles('stranger')).toEqual(['Elsewhere'])
    expect(await coredata.send('GET', `${spaces}?limit=1`, { as: 'editor' })).toMatchObject({
      body: { meta: { total_count: 2 } },
    })
    const { body } = await coredata.send('GET', `${spaces}${id.toUpperCase()}/`, { as: 'editor' })
    expect(body).toMatchObject({ id, title: 'A later one' })
  })

  test('other ids are 404: unknown ones, those of projects and filespaces, no ids at all', async ({ coredata }) => {
    const { space, project, elsewhere } = coredata
    const others = [
      'e139a8ac-7368-11ee-b992-57663b1559fb',
      project.id,
      space.filespace,
      elsewhere.id,
      'x',
      '1',
      '%2e%2e',
    ]
    for (const id of others) {
      const answer = await coredata.send('GET', `${spaces}${id}/`, { as: 'editor' })
      expect(answer, id).toMatchObject({ status: 404, raw: Buffer.alloc(0) })
    }
  })

  test('what another tenant has, and what is deleted, does not show', async ({ coredata }) => {
    const { world, space } = coredata
    const tenant = await world.otherTenant()
    const owner = await world.user('foreign', { tenant })
    const foreign = await makeSpace({ ...world, system: owner.ctx }, { owner }).catch(() => undefined)
    expect(foreign).toBeUndefined()
    await setSpaceState(world.system, { spaceId: space.spaceId, state: 'deleted' })
    expect(await coredata.send('GET', `${spaces}${space.id}/`, { as: 'editor' })).toMatchObject({ status: 404 })
    expect(await coredata.send('GET', spaces, { as: 'editor' })).toMatchObject({ body: { objects: [] } })
  })
})
