import { describe, expect } from 'vitest'
import { findNodeByUid } from '#core/space-list.ts'
import { deleteNode } from '#core/trash.ts'
import { test, type Caller, type CoredataWorld } from '#test/coredata-world.ts'

const favourites = '/api/v2/user/files/favourites/'
const empty = Buffer.alloc(0)

async function filenames({ send }: CoredataWorld, as: Caller, query = ''): Promise<string[]> {
  const { body } = await send('GET', favourites + query, { as })
  return (body as { objects: { filename: string }[] }).objects.map(({ filename }) => filename)
}

describe('favourites', () => {
  test("are everybody's own, marked and unmarked as often as one likes", async ({ coredata }) => {
    const { send, folder } = coredata
    const [a, b] = [await coredata.file(folder.nodeId, 'a.txt'), await coredata.file(folder.nodeId, 'b.txt')]
    for (const id of [b, a, a]) {
      expect(await send('PUT', `${favourites}${id}/`, { as: 'reader' })).toMatchObject({ status: 204, raw: empty })
    }
    expect(await filenames(coredata, 'reader')).toEqual(['a.txt', 'b.txt'])
    expect(await filenames(coredata, 'reader', '?limit=1&offset=1')).toEqual(['b.txt'])
    expect(await filenames(coredata, 'editor')).toEqual([])
    for (const id of [a, a]) {
      expect(await send('DELETE', `${favourites}${id}/`, { as: 'reader' })).toMatchObject({ status: 204, raw: empty })
    }
    expect(await filenames(coredata, 'reader')).toEqual(['b.txt'])
  })

  test('marking changes nothing of the file; a body is not looked at', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const before = await coredata.send('GET', `/api/v2/files/${id}/`, { as: 'editor' })
    await coredata.send('PUT', `${favourites}${id}/`, {
      as: 'editor',
      payload: '{',
      headers: { 'content-type': 'x/y' },
    })
    expect((await coredata.send('GET', `/api/v2/files/${id}/`, { as: 'editor' })).body).toEqual(before.body)
    expect((await coredata.send('GET', favourites, { as: 'editor' })).body).toMatchObject({ objects: [before.body] })
  })

  test('a deleted file drops out', async ({ coredata }) => {
    const { editor } = coredata.users
    const id = await coredata.file(coredata.folder.nodeId)
    await coredata.send('PUT', `${favourites}${id}/`, { as: 'editor' })
    await deleteNode(editor.ctx, { nodeId: (await findNodeByUid(editor.ctx, id)).id })
    expect(await filenames(coredata, 'editor')).toEqual([])
    expect(await coredata.send('DELETE', `${favourites}${id}/`, { as: 'editor' })).toMatchObject({ status: 404 })
  })

  test('what is no file, and what the caller cannot see, is 404', async ({ coredata }) => {
    const { folder, project, space } = coredata
    const file = await coredata.file(folder.nodeId)
    const calls: [Caller, string][] = [
      ['stranger', file],
      ['editor', folder.id],
      ['editor', project.id],
      ['editor', space.filespace],
      ['editor', 'e139a8ac-7368-11ee-b992-57663b1559fb'],
      ['editor', 'x'],
    ]
    for (const method of ['PUT', 'DELETE']) {
      for (const [as, id] of calls) {
        const answer = await coredata.send(method, `${favourites}${id}/`, { as })
        expect(answer, `${method} ${id}`).toMatchObject({ status: 404, raw: empty })
      }
    }
    expect(await coredata.send('PUT', `${favourites}${file}/`, {})).toMatchObject({ status: 401, raw: empty })
  })
})
