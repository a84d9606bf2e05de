import { describe, expect } from 'vitest'
import { createFolder } from '#core/nodes.ts'
import { createSpace } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { test, type CoredataWorld } from '#test/coredata-world.ts'

const folders = '/api/v2/folders/'
const time = expect.stringMatching(/^2026-01-05T08:0\d:\d\d$/) as string
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/) as string

async function get({ send }: CoredataWorld, id: string): Promise<Record<string, unknown>> {
  const answer = await send('GET', `${folders}${id}/`, { as: 'editor' })
  expect(answer.status).toBe(200)
  return answer.body as Record<string, unknown>
}

async function identifierOf({ send, project }: CoredataWorld): Promise<string> {
  const { body } = await send('GET', `/api/v2/projects/${project.id}/`, { as: 'editor' })
  return (body as { identifier: string }).identifier
}

describe('createFolder', () => {
  test('makes a folder in a folder, and shows what was said of it', async ({ coredata }) => {
    const { folder, project, space } = coredata
    const identifier = await identifierOf(coredata)
    const said = { title: 'Möbel', description: 'Chairs', tags: ['a', ' a', 'b '], more: {} }
    const id = await coredata.make('folders', { parent: folder.id, ...said })
    expect(await get(coredata, id)).toEqual({
      aspects: {},
      created: time,
      created_by: 'Eddie Editor',
      description: 'Chairs',
      dynatype: {},
      id,
      modified: time,
      modified_by: 'Eddie Editor',
      parent: folder.id,
      path: `/domain/spaces/Spaces/Space/Projects/Project/${identifier}/Drawings/Möbel`,
      project: { id: project.id, identifier, title: 'Project' },
      resource_uri: `${folders}${id}/`,
      snapshot_id: uuid,
      space: { id: space.id, title: 'Space' },
      tags: ['a', 'b'],
      template: null,
      title: 'Möbel',
      type: 'Folder',
      version: '0.1',
    })
  })

  test('a project stands for its filespace; a space has a workspace', async ({ coredata }) => {
    const { project, space } = coredata
    const identifier = await identifierOf(coredata)
    for (const parent of [project.id, project.filespace, project.id.toUpperCase()]) {
      expect(await get(coredata, await coredata.make('folders', { parent, title: 'x' }))).toMatchObject({
        parent: project.filespace,
        path: `/domain/spaces/Spaces/Space/Projects/Project/${identifier}/x`,
      })
    }
    expect(await get(coredata, await coredata.make('folders', { parent: space.filespace, title: 'x' }))).toMatchObject({
      parent: space.filespace,
      path: '/domain/spaces/Spaces/Space/Workspace/x',
      project: {},
      space: { id: space.id, title: 'Space' },
    })
  })

  test('a title may come twice', async ({ coredata }) => {
    const id = await coredata.make('folders', { parent: coredata.project.id, title: 'Drawings' })
    expect(id).not.toBe(coredata.folder.id)
    expect(await get(coredata, id)).toMatchObject({ title: 'Drawings' })
  })

  test.for([
    [{ title: '' }, 'title'],
    [{ title: '..' }, 'title'],
    [{ title: 'a\\b' }, 'title'],
    [{ title: ['x'] }, 'title'],
    [{ description: 7 }, 'description'],
    [{ description: 'x'.repeat(9000) }, 'description'],
    [{ tags: 'a' }, 'tags'],
    [{ tags: [null] }, 'tags'],
    [{ parent: 'x' }, 'parent'],
    [{ parent: '' }, 'parent'],
    [{ parent: null }, 'parent'],
    [{ parent: 'e139a8ac-7368-11ee-b992-57663b1559fb' }, 'parent'],
  ] as const)('%j is refused in its own field and changes nothing', async ([said, field], { coredata }) => {
    const before = await coredata.world.events()
    const json = { parent: coredata.project.id, title: 'x', ...said }
    const answer = await coredata.send('POST', folders, { as: 'editor', json })
    expect(answer).toMatchObject({ status: 400, body: { folders: { [field]: [expect.any(String)] } } })
    expect(await coredata.world.events()).toEqual(before)
  })

  test('lies in no file, in no space by its own id, and nowhere that the caller cannot see', async ({ coredata }) => {
    const { space, elsewhere, folder } = coredata
    for (const parent of [space.id, elsewhere.filespace, await coredata.file(folder.nodeId)]) {
      const answer = await coredata.send('POST', folders, { as: 'editor', json: { parent, title: 'x' } })
      expect(answer).toMatchObject({ status: 400, body: { folders: { parent: [expect.any(String)] } } })
    }
    const json = { title: 'x' }
    expect((await coredata.send('POST', folders, { as: 'editor', json })).body).toEqual({
      folders: { parent: ['This field is required.'] },
    })
  })

  test('takes the right to create', async ({ coredata }) => {
    const json = { parent: coredata.project.id, title: 'x' }
    expect(await coredata.send('POST', folders, { as: 'reader', json })).toMatchObject({
      status: 400,
      body: { error: 'You may not create this here.' },
    })
  })
})

describe('listFolders and getFolder', () => {
  const titles = async ({ send }: CoredataWorld, as: 'editor' | 'reader' | 'stranger') => {
    const { body } = await send('GET', folders, { as })
    return (body as { objects: { title: string }[] }).objects.map(({ title }) => title)
  }

  test('show folders and what is nested below projects, oldest first', async ({ coredata }) => {
    const { world, project, folder } = coredata
    const identifier = await identifierOf(coredata)
    const deep = await createSpace(world.system, {
      name: 'Deep',
      parentSpaceId: project.spaceId,
      parentId: folder.nodeId,
      policy: { inheritsGrants: true },
    })
    await createFolder(world.system, { parentId: deep.id, name: 'Within' })
    expect(await titles(coredata, 'editor')).toEqual(['Drawings', 'Deep', 'Within'])
    expect(await titles(coredata, 'reader')).toEqual(['Drawings', 'Deep', 'Within'])
    expect(await titles(coredata, 'stranger')).toEqual([])
    expect(await get(coredata, deep.node.uid)).toMatchObject({
      id: deep.node.uid,
      parent: folder.id,
      path: `/domain/spaces/Spaces/Space/Projects/Project/${identifier}/Drawings/Deep`,
      project: { id: project.id },
      title: 'Deep',
    })
    const id = await coredata.make('folders', { parent: deep.node.uid, title: 'New' })
    expect(await get(coredata, id)).toMatchObject({ parent: deep.node.uid })
  })

  test('a deleted folder is gone', async ({ coredata }) => {
    await deleteNode(coredata.world.system, { nodeId: coredata.folder.nodeId })
    expect(await coredata.send('GET', `${folders}${coredata.folder.id}/`, { as: 'editor' })).toMatchObject({
      status: 404,
    })
    expect(await titles(coredata, 'editor')).toEqual([])
  })

  test('other ids are 404', async ({ coredata }) => {
    const { space, project, folder } = coredata
    const file = await coredata.file(folder.nodeId)
    const ids = [
      'e139a8ac-7368-11ee-b992-57663b1559fb',
      space.id,
      project.id,
      project.filespace,
      space.filespace,
      file,
      'x',
    ]
    for (const id of ids) {
      const answer = await coredata.send('GET', `${folders}${id}/`, { as: 'editor' })
      expect(answer, id).toMatchObject({ status: 404, raw: Buffer.alloc(0) })
    }
    const unseen = await coredata.send('GET', `${folders}${folder.id}/`, { as: 'stranger' })
    expect(unseen).toMatchObject({ status: 404, raw: Buffer.alloc(0) })
  })
})
