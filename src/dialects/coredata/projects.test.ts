import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { createFolder } from '#core/nodes.ts'
import { createSpace } from '#core/spaces.ts'
import { test, type CoredataWorld } from '#test/coredata-world.ts'

const projects = '/api/v2/projects/'
const time = expect.stringMatching(/^2026-01-05T08:0\d:\d\d$/) as string
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/) as string

const full = (contact: string) => ({
  aspects: { billing: { code: 7, note: '\ud800' } },
  contacts: [contact.toUpperCase()],
  description: 'New roof',
  due_date: '2028-02-29',
  fileplan: '1.2',
  connected_users: ['reader'],
  responsible_users: ['editor', 'reader'],
  status: 'project_status:Active:',
  status_message: 'on time',
  tags: [' roof ', 'roof', '', 'a, b'],
  template: 'House',
})

async function titles({ send }: CoredataWorld, query: string, as: 'editor' | 'reader' | 'stranger' = 'editor') {
  const { body } = await send('GET', projects + query, { as })
  return (body as { objects: { title: string }[] }).objects.map(({ title }) => title)
}

describe('createProject', () => {
  test('makes a project with a filespace and shows what was said of it', async ({ coredata }) => {
    const contact = await coredata.make('contacts', { title: 'John Doe' })
    const { space } = coredata
    const id = await coredata.make('projects', { space: space.id, title: 'Roof', more: 1, ...full(contact) })
    const { body } = await coredata.send('GET', `${projects}${id}/`, { as: 'reader' })
    expect(body).toEqual({
      ...full(contact),
      associated_contacts_id: [contact],
      associated_users: ['reader', 'editor'],
      contacts: [contact],
      created: time,
      created_by: 'Eddie Editor',
      dynatype: {},
      fileplan_title: '',
      filespace: uuid,
      id,
      identifier: expect.stringMatching(/^2026-\d+$/) as string,
      modified: time,
      modified_by: 'Eddie Editor',
      path: '/domain/spaces/Spaces/Space/Projects/Roof',
      resource_uri: `${projects}${id}/`,
      responsible_users: [{ username: 'editor' }, { username: 'reader' }],
      snapshot_id: uuid,
      space: { id: space.id, title: 'Space' },
      tags: ['roof', 'a, b'],
      title: 'Roof',
      type: 'Project',
      version: '0.1',
    })
  })

  test('identifiers ascend in the order of making, also of projects made elsewhere', async ({ coredata }) => {
    const { space, world } = coredata
    await coredata.make('projects', { space: space.id, title: 'Project' })
    await createSpace(world.system, {
      name: 'by another API',
      parentSpaceId: space.spaceId,
      policy: { inheritsGrants: true },
    })
    await coredata.make('projects', { space: space.id, title: 'Last' })
    const { body } = await coredata.send('GET', projects, { as: 'editor' })
    const { objects } = body as { objects: { title: string; identifier: string }[] }
    expect(objects.map(({ title }) => title)).toEqual(['Project', 'Project', 'by another API', 'Last'])
    const numbers = objects.map(({ identifier }) => Number(identifier.replace(/^2026-/, '')))
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
  })

  test('is as strict as its space', async ({ coredata }) => {
    const { users, world } = coredata
    const { user } = users.editor
    const policy = { unscreenedDownloads: false, versionRetention: 3, caseRule: 'folded' as const }
    const strict = await createSpace(world.system, { name: 'Strict', managerIds: [user.id], policy })
    await coredata.make('projects', { space: strict.uid, title: 'P' })
    const row = await world.deps.database.read
      .selectFrom('space')
      .select(['unscreenedDownloads', 'versionRetention', 'caseRule', 'inheritsGrants'])
      .where('parentSpaceId', '=', strict.id)
      .executeTakeFirstOrThrow()
    expect(row).toEqual({ ...policy, unscreenedDownloads: 0, inheritsGrants: 1 })
  })

  test.for([
    [{ due_date: '2026-02-30' }, 'due_date'],
    [{ due_date: '2026-1-1' }, 'due_date'],
    [{ due_date: 'tomorrow' }, 'due_date'],
    [{ due_date: 20260101 }, 'due_date'],
    [{ due_date: null }, 'due_date'],
    [{ title: 'a/b' }, 'title'],
    [{ title: '' }, 'title'],
    [{ title: {} }, 'title'],
    [{ aspects: [] }, 'aspects'],
    [{ tags: 'a, b' }, 'tags'],
    [{ tags: [1] }, 'tags'],
    [{ tags: ['x'.repeat(9000)] }, 'tags'],
    [{ contacts: ['e139a8ac-7368-11ee-b992-57663b1559fb'] }, 'contacts'],
    [{ contacts: ['nobody', 'a\0b'] }, 'contacts'],
    [{ contacts: {} }, 'contacts'],
    [{ connected_users: 'reader' }, 'connected_users'],
    [{ responsible_users: [{ username: 'reader' }] }, 'responsible_users'],
    [{ status: 1 }, 'status'],
    [{ template: false }, 'template'],
    [{ space: 'x' }, 'space'],
    [{ space: 7 }, 'space'],
    [{ space: 'e139a8ac-7368-11ee-b992-57663b1559fb' }, 'space'],
  ] as const)('%j is refused in its own field and changes nothing', async ([said, field], { coredata }) => {
    const before = await coredata.world.events()
    const json = { space: coredata.space.id, title: 'Roof', ...said }
    const answer = await coredata.send('POST', projects, { as: 'editor', json })
    expect(answer).toMatchObject({ status: 400, body: { projects: { [field]: [expect.any(String)] } } })
    expect(await coredata.world.events()).toEqual(before)
    expect(await titles(coredata, '')).toEqual(['Project'])
  })

  test('every wrong reference is named', async ({ coredata }) => {
    const json = { title: 'Roof', space: 'x', due_date: 'x', contacts: ['x'] }
    const answer = await coredata.send('POST', projects, { as: 'editor', json })
    expect(answer.body).toEqual({
      projects: {
        contacts: ['Unknown contact.'],
        due_date: ['Enter a date as YYYY-MM-DD.'],
        space: ['Unknown space.'],
      },
    })
    expect((await coredata.send('POST', projects, { as: 'editor', json: {} })).body).toEqual({
      projects: { space: ['This field is required.'], title: ['This field is required.'] },
    })
  })

  test('goes into spaces only: not into projects, filespaces, or spaces that the caller cannot see', async ({
    coredata,
  }) => {
    const { space, project, folder, elsewhere } = coredata
    for (const id of [project.id, project.filespace, space.filespace, folder.id, elsewhere.id]) {
      const answer = await coredata.send('POST', projects, { as: 'editor', json: { space: id, title: 'x' } })
      expect(answer).toMatchObject({ status: 400, body: { projects: { space: ['Unknown space.'] } } })
    }
  })

  test('takes the right to manage the space', async ({ coredata }) => {
    const json = { space: coredata.space.id, title: 'x' }
    expect(await coredata.send('POST', projects, { as: 'reader', json })).toMatchObject({
      status: 400,
      body: { error: 'You may not create this here.' },
    })
    expect(await titles(coredata, '')).toEqual(['Project'])
  })
})

describe('listProjects and getProject', () => {
  test('filter by title and by its beginning', async ({ coredata }) => {
    for (const title of ['Roof', 'Roof 2', 'roof']) {
      await coredata.make('projects', { space: coredata.space.id, title })
    }
    expect(await titles(coredata, '?title=Roof')).toEqual(['Roof'])
    expect(await titles(coredata, '?title__startswith=Roof')).toEqual(['Roof', 'Roof 2'])
    expect(await titles(coredata, '?title__startswith=Roof&title=roof')).toEqual([])
    expect(await titles(coredata, '?title__startswith=&limit=2')).toEqual(['Project', 'Roof'])
    expect(await titles(coredata, '?title=%00')).toEqual([])
  })

  test('show what the caller may list', async ({ coredata }) => {
    const { world, space, project, users } = coredata
    const own = await createSpace(world.system, { name: 'Own grants', parentSpaceId: space.spaceId })
    await setGrant(world.system, { nodeId: own.id, subjectId: users.stranger.user.id, actions: ['list'] })
    expect(await titles(coredata, '', 'reader')).toEqual(['Project'])
    expect(await titles(coredata, '', 'stranger')).toEqual(['Own grants'])
    expect(await coredata.send('GET', `${projects}${own.uid}/`, { as: 'stranger' })).toMatchObject({ status: 200 })
    expect(await coredata.send('GET', `${projects}${project.id}/`, { as: 'stranger' })).toMatchObject({ status: 404 })
    expect(await coredata.send('GET', `${projects}${own.uid}/`, { as: 'reader' })).toMatchObject({ status: 404 })
  })

  test('a project in a folder of its space is one too', async ({ coredata }) => {
    const { world, space } = coredata
    const folder = await createFolder(world.system, { parentId: space.spaceId, name: 'Old ones' })
    const old = await createSpace(world.system, {
      name: 'Old',
      parentSpaceId: space.spaceId,
      parentId: folder.id,
      policy: { inheritsGrants: true },
    })
    expect(await coredata.send('GET', `${projects}${old.uid}/`, { as: 'editor' })).toMatchObject({
      body: { path: '/domain/spaces/Spaces/Space/Projects/Old', space: { id: space.id, title: 'Space' } },
    })
  })

  test('other ids are 404', async ({ coredata }) => {
    const { world, space, project, folder } = coredata
    const deep = await createSpace(world.system, {
      name: 'Deep',
      parentSpaceId: project.spaceId,
      policy: { inheritsGrants: true },
    })
    const unknown = 'e139a8ac-7368-11ee-b992-57663b1559fb'
    for (const id of [unknown, space.id, project.filespace, folder.id, deep.uid, 'x', '%20']) {
      const answer = await coredata.send('GET', `${projects}${id}/`, { as: 'editor' })
      expect(answer, id).toMatchObject({ status: 404, raw: Buffer.alloc(0) })
    }
  })
})
