import { describe, expect } from 'vitest'
import { addFile, addFolder, announce, idOf, sendPackage, sha256, type Parcel } from '#test/sofie-packages.ts'
import type { Answer } from '#test/answer.ts'
import { refused, test, type SofieWorld } from '#test/sofie-world.ts'

describe('announcing', () => {
  test.for<[string, object, string]>([
    ['no name', { name: undefined }, 'name'],
    ['an empty name', { name: '' }, 'name'],
    ['a slash', { name: 'a/b' }, 'name'],
    ['dots', { name: '..' }, 'name'],
    ['a zero byte', { name: 'a\0' }, 'name'],
    ['half a character', { name: 'a\ud800' }, 'name'],
    ['a long name', { name: 'x'.repeat(256) }, 'name'],
    ['no size', { size: undefined }, 'size'],
    ['half a byte', { size: 0.5 }, 'size'],
    ['less than nothing', { size: -1 }, 'size'],
    ['a size as a text', { size: '7' }, 'size'],
    ['more than numbers hold', { size: 1e300 }, 'size'],
    ['a long media type', { mimeType: 'x'.repeat(101) }, 'mimeType'],
    ['a media type with a zero byte', { mimeType: 'a/b\0' }, 'mimeType'],
    ['no hash', { hash: 'abc' }, 'hash'],
    ['another way out', { conflictResolution: 'MERGE' }, 'conflictResolution'],
  ])('refuses %s', async ([, wrong, field], { sofie }) => {
    const { path, rootFolderId } = await sendPackage(sofie)
    const json = { name: 'a', size: 1, ...wrong }
    expect(await sofie.send('POST', `${path}/folders/${rootFolderId}/files`, { as: 'sender', json })).toMatchObject({
      ...refused(400, 'BAD_REQUEST'),
      body: { details: [{ field }] },
    })
  })

  test('an identical file answers that one instead, wherever it lies', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const folderId = await addFolder(sofie, parcel)
    const url = await addFile(sofie, parcel, { folderId })
    const ask = (json: object) =>
      sofie.send('POST', `${parcel.path}/folders/${parcel.rootFolderId}/files`, {
        as: 'contributor',
        json: { name: 'a.txt', size: 7, hash: sha256('content').toUpperCase(), ...json },
      })
    expect(await ask({})).toMatchObject({
      status: 200,
      body: { existingFiles: [{ id: url.split('/').at(-1), path: '/folder/a.txt', state: 'CLEAN' }] },
    })
    for (const other of [{ name: 'b.txt' }, { hash: sha256('other') }, { hash: undefined }])
      expect(await ask(other)).toMatchObject({ status: 201 })
    await sofie.send('DELETE', url, { as: 'sender' })
    expect(await ask({})).toMatchObject({ status: 201 })
  })

  test('in a folder that is not there is refused', async ({ sofie }) => {
    const mine = await sendPackage(sofie)
    const other = await sendPackage(sofie)
    const folderId = await addFolder(sofie, mine)
    await sofie.send('DELETE', `${mine.path}/folders/${folderId}`, { as: 'sender' })
    for (const id of [other.rootFolderId, folderId, crypto.randomUUID()])
      expect(
        await sofie.send('POST', `${mine.path}/folders/${id}/files`, { as: 'sender', json: { name: 'a', size: 0 } }),
      ).toMatchObject(refused(404, 'NOT_FOUND'))
  })
})

type Existing = 'file' | 'folder' | 'unfinished file'

/** Something of the name `x.txt`; its id. */
async function make(existing: Existing, sofie: SofieWorld, parcel: Parcel): Promise<string> {
  if (existing === 'folder') return addFolder(sofie, parcel, 'x.txt')
  if (existing === 'unfinished file') return announce(sofie, parcel, { name: 'x.txt' })
  return (await addFile(sofie, parcel, { name: 'x.txt' })).split('/').at(-1) ?? ''
}

const list = async ({ send }: SofieWorld, { path, rootFolderId }: Parcel) => {
  const { body } = await send('GET', `${path}/folders/${rootFolderId}/content`, { as: 'sender' })
  const { folders, files } = body as Record<'folders' | 'files', { id: string; name: string }[]>
  return Object.fromEntries([...folders, ...files].map(({ id, name }) => [id, name]))
}

describe.for(['file', 'folder'] as const)('a new %s whose name is taken', kind => {
  const create = (
    { send }: SofieWorld,
    { path, rootFolderId }: Parcel,
    conflictResolution?: string,
  ): Promise<Answer> =>
    kind === 'folder'
      ? send('POST', `${path}/folders`, {
          as: 'contributor',
          json: { parentId: rootFolderId, name: 'x.txt', conflictResolution },
        })
      : send('POST', `${path}/folders/${rootFolderId}/files`, {
          as: 'contributor',
          json: { name: 'x.txt', size: 0, conflictResolution },
        })
  const nothing = { renamedFolders: [], renamedFiles: [], replacedFolders: [], replacedFiles: [] }

  for (const existing of ['file', 'folder', 'unfinished file'] as const) {
    const [renamed, replaced] =
      existing === 'folder' ? ['renamedFolders', 'replacedFolders'] : ['renamedFiles', 'replacedFiles']

    test.for(['RENAME', 'RENAME_NEW', undefined])(`by a ${existing} gets a free one: %s`, async (word, { sofie }) => {
      const parcel = await sendPackage(sofie)
      const id = await make(existing, sofie, parcel)
      const answer = await create(sofie, parcel, word)
      expect(answer.body).toEqual({ id: idOf(answer), name: 'x (1).txt', ...nothing })
      expect(await list(sofie, parcel)).toEqual({ [id]: 'x.txt', [idOf(answer)]: 'x (1).txt' })
    })

    test(`by a ${existing} has that renamed`, async ({ sofie }) => {
      const parcel = await sendPackage(sofie)
      const id = await make(existing, sofie, parcel)
      const answer = await create(sofie, parcel, 'RENAME_EXISTING')
      expect(answer.body).toEqual({ id: idOf(answer), name: 'x.txt', ...nothing, [renamed!]: [{ id }] })
      expect(await list(sofie, parcel)).toEqual({ [id]: 'x (1).txt', [idOf(answer)]: 'x.txt' })
    })

    test(`by a ${existing} takes its place`, async ({ sofie }) => {
      const parcel = await sendPackage(sofie)
      const id = await make(existing, sofie, parcel)
      if (existing === 'unfinished file') {
        expect(await create(sofie, parcel, 'REPLACE')).toMatchObject(refused(403, 'PERMISSION_DENIED'))
        await sofie.send('PUT', `${parcel.path}/files/${id}/state`, { as: 'sender', json: { state: 'CANCELED' } })
        await announce(sofie, parcel, { name: 'x.txt', as: 'contributor' })
        expect(await create(sofie, parcel, 'REPLACE')).toMatchObject({ status: 201 })
        return
      }
      const answer = await create(sofie, parcel, 'REPLACE')
      expect(answer.body).toEqual({ id: idOf(answer), name: 'x.txt', ...nothing, [replaced!]: [{ id }] })
      expect(await list(sofie, parcel)).toEqual({ [idOf(answer)]: 'x.txt' })
    })

    test(`by a ${existing} is refused`, async ({ sofie }) => {
      const parcel = await sendPackage(sofie)
      const id = await make(existing, sofie, parcel)
      expect(await create(sofie, parcel, 'DENY')).toMatchObject(refused(409, 'NAME_CONFLICT'))
      expect(await list(sofie, parcel)).toEqual({ [id]: 'x.txt' })
    })
  }
})
