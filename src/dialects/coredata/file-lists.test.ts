import { describe, expect } from 'vitest'
import { createFolder } from '#core/nodes.ts'
import { createTenant } from '#core/tenants.ts'
import { createToken } from '#core/tokens.ts'
import {
  contentPart,
  createdId,
  fieldParts,
  createFile,
  formOf,
  showFile,
  test,
  type Caller,
  type CoredataWorld,
  type ShownFile,
} from '#test/coredata-world.ts'
import { makeSpace, put } from '#test/tree.ts'

const files = '/api/v2/files/'
const unknownId = 'e139a8ac-7368-11ee-b992-57663b1559fb'
const empty = Buffer.alloc(0)

interface Listed {
  meta: { limit: number; offset: number; total_count: number; next: string | null; previous: string | null }
  objects: ShownFile[]
}

async function list({ send }: CoredataWorld, path: string, as: Caller = 'editor'): Promise<Listed> {
  const answer = await send('GET', path, { as })
  expect(answer, path).toMatchObject({ status: 200 })
  return answer.body as Listed
}

const filenames = ({ objects }: Listed) => objects.map(({ filename }) => filename)

/** A file in each place: `workspace`, `filespace`, `folder`, and `deeper` in a folder of the folder. */
async function populate(coredata: CoredataWorld): Promise<void> {
  const { space, project, folder, users } = coredata
  const { uid: deeper } = await createFolder(users.editor.ctx, { parentId: folder.nodeId, name: 'Deeper' })
  for (const [filename, parent] of [
    ['workspace.txt', space.filespace],
    ['folder.txt', folder.id],
    ['filespace.txt', project.id],
    ['deeper.txt', deeper],
  ] as const) {
    await createdId(createFile(coredata, { filename, parent, title: `Title of ${filename}` }))
  }
}

describe('listFiles', () => {
  test('lists all that the caller may see, oldest first, as getFile shows it', async ({ coredata }) => {
    await populate(coredata)
    const all = await list(coredata, files)
    expect(filenames(all)).toEqual(['workspace.txt', 'folder.txt', 'filespace.txt', 'deeper.txt'])
    expect(all.meta).toEqual({ limit: 20, next: null, offset: 0, previous: null, total_count: 4 })
    expect(all.objects[1]).toEqual(await showFile(coredata, all.objects[1]!.id))
    expect(await list(coredata, files, 'reader')).toEqual(all)
    expect(await list(coredata, files, 'stranger')).toMatchObject({ meta: { total_count: 0 }, objects: [] })
    expect(await coredata.send('GET', files)).toMatchObject({ status: 401, raw: empty })
  })

  test('filters by parent, title and its beginning, in any combination', async ({ coredata }) => {
    await populate(coredata)
    const { space, project, folder, elsewhere } = coredata
    await put(coredata.users.editor.ctx, folder.nodeId, 'untitled.txt')
    for (const [query, expected] of [
      [`parent=${space.filespace}`, ['workspace.txt']],
      [`parent=${project.filespace}`, ['filespace.txt']],
      [`parent=${project.id}`, ['filespace.txt']],
      [`parent=${folder.id}`, ['folder.txt', 'untitled.txt']],
      [`parent=${folder.id.toUpperCase()}`, ['folder.txt', 'untitled.txt']],
      [`parent=${folder.id}&title__startswith=Title`, ['folder.txt']],
      [`parent=${folder.id}&title=untitled`, ['untitled.txt']],
      ['title=Title%20of%20deeper.txt', ['deeper.txt']],
      ['title=title%20of%20deeper.txt', []],
      ['title__startswith=Title+of+f', ['folder.txt', 'filespace.txt']],
      ['title__startswith=%25', []],
      ['title=%00', []],
      [`parent=${space.id}`, []],
      [`parent=${elsewhere.filespace}`, []],
      [`parent=${unknownId}`, []],
      ['parent=x', []],
      ['parent=%00', []],
      [`unheard=of&parent=${project.id}`, ['filespace.txt']],
    ] as const) {
      const page = await list(coredata, `${files}?${query}`)
      expect(filenames(page), query).toEqual(expected)
      expect(page.meta.total_count, query).toBe(expected.length)
    }
  })

  test('gives pages whose links lead through all of them and keep the filters', async ({ coredata }) => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await coredata.file(coredata.folder.nodeId, `${name}.txt`)
    const first = await list(coredata, `${files}?parent=${coredata.folder.id}&limit=2&title__startswith=`)
    const filters = `parent=${coredata.folder.id}&title__startswith=`
    expect(first.meta).toEqual({
      limit: 2,
      offset: 0,
      total_count: 5,
      previous: null,
      next: `${files}?limit=2&offset=2&${filters}`,
    })
    const second = await list(coredata, first.meta.next!)
    const third = await list(coredata, second.meta.next!)
    expect([first, second, third].flatMap(filenames)).toEqual(['a.txt', 'b.txt', 'c.txt', 'd.txt', 'e.txt'])
    expect(third.meta).toEqual({
      limit: 2,
      offset: 4,
      total_count: 5,
      previous: `${files}?limit=2&offset=2&${filters}`,
      next: null,
    })
    expect(await list(coredata, second.meta.previous!)).toEqual(first)
    expect(await list(coredata, `${files}?offset=7`)).toMatchObject({
      meta: { next: null, total_count: 5 },
      objects: [],
    })
  })

  test('a limit of 0, and one that is too large, is the maximum; what is no number is 400', async ({ coredata }) => {
    await coredata.file(coredata.folder.nodeId)
    for (const limit of ['0', '1000']) {
      expect((await list(coredata, `${files}?limit=${limit}`)).meta.limit).toBe(1000)
    }
    const beyond = await coredata.send('GET', `${files}?limit=1001`, { as: 'editor' })
    expect(beyond).toMatchObject({ status: 200, body: { meta: { limit: 1000 } } })
    for (const query of ['limit=-1', 'limit=x', 'offset=-1', 'offset=1.5', 'limit=1e3']) {
      const answer = await coredata.send('GET', `${files}?${query}`, { as: 'editor' })
      expect(answer, query).toMatchObject({ status: 400, body: { error: expect.any(String) } })
    }
  })

  test("shows nothing of another tenant's, nor to its users", async ({ coredata }) => {
    const { world, folder } = coredata
    const id = await coredata.file(folder.nodeId)
    const tenant = await createTenant(world.system, { name: 'Other', hosts: ['other.example'] })
    const { user, ctx } = await world.user('foreign', { tenant })
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'a' })
    const headers = { host: 'other.example', authorization: `apikey foreign:${secret}` }
    expect(await coredata.send('GET', files, { headers })).toMatchObject({ status: 200, body: { objects: [] } })
    expect(await coredata.send('GET', `${files}?parent=${folder.id}`, { headers })).toMatchObject({
      body: { objects: [] },
    })
    expect(await coredata.send('GET', `${files}${id}/`, { headers })).toMatchObject({ status: 404 })
    expect(await coredata.send('DELETE', `${files}${id}/`, { headers })).toMatchObject({ status: 404 })
    const form = formOf([...fieldParts({ filename: 'a', title: 'A', parent: folder.id }), contentPart()])
    const sent = { ...form, headers: { ...headers, ...form.headers } }
    expect(await coredata.send('POST', files, sent)).toMatchObject({ status: 400 })
  })
})

describe('listProjectFiles', () => {
  const ofProject = (id: string) => `/api/v2/projects/${id}/files/`

  test('lists what lies in the project at any depth, with the filters of all files', async ({ coredata }) => {
    await populate(coredata)
    const { world, users, project, folder, space } = coredata
    const within = { id: project.spaceId, owner: users.editor, ctx: users.editor.ctx }
    const nested = await makeSpace(world, { name: 'Nested', within, policy: { inheritsGrants: true } })
    await put(users.editor.ctx, nested.id, 'nested.txt')
    const path = ofProject(project.id)
    for (const [query, expected] of [
      ['', ['folder.txt', 'filespace.txt', 'deeper.txt', 'nested.txt']],
      ['?title=nested', ['nested.txt']],
      ['?title__startswith=Title', ['folder.txt', 'filespace.txt', 'deeper.txt']],
      [`?parent=${folder.id}`, ['folder.txt']],
      [`?parent=${project.id}`, ['filespace.txt']],
      [`?parent=${space.filespace}`, []],
      ['?limit=1&offset=1', ['filespace.txt']],
    ] as const) {
      expect(filenames(await list(coredata, path + query)), query).toEqual(expected)
      expect(filenames(await list(coredata, path + query, 'reader')), query).toEqual(expected)
    }
    expect((await list(coredata, `${path}?limit=1&title__startswith=Title`)).meta).toMatchObject({
      total_count: 3,
      next: `${path}?limit=1&offset=1&title__startswith=Title`,
    })
  })

  test('what is no project, and what the caller cannot see, is 404', async ({ coredata }) => {
    const { project, space, folder } = coredata
    for (const id of [space.id, folder.id, project.filespace, unknownId, 'x']) {
      const answer = await coredata.send('GET', ofProject(id), { as: 'editor' })
      expect(answer, id).toMatchObject({ status: 404, raw: empty })
    }
    for (const [sent, status] of [
      [{ as: 'stranger' }, 404],
      [{}, 401],
    ] as const) {
      expect(await coredata.send('GET', ofProject(project.id), sent)).toMatchObject({ status, raw: empty })
    }
    const answer = await coredata.send('GET', `${ofProject(project.id)}?limit=x`, { as: 'editor' })
    expect(answer).toMatchObject({ status: 400, body: { error: expect.any(String) } })
  })
})
