import { describe, expect } from 'vitest'
import { acts, addFile, addFolder, announce, sendPackage, work, type Parcel } from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

const content = ({ send }: SofieWorld, { path, rootFolderId }: Parcel, as: Caller = 'regular', id = rootFolderId) =>
  send('GET', `${path}/folders/${id}/content`, { as })

test('a folder lies where it was made, with what is in it', async ({ sofie }) => {
  const parcel = await sendPackage(sofie)
  const outer = await addFolder(sofie, parcel, 'outer')
  const inner = await addFolder(sofie, parcel, 'inner', outer.toUpperCase())
  await addFile(sofie, parcel, { folderId: inner, content: '12345' })
  await addFile(sofie, parcel, { name: 'b' })
  expect(await content(sofie, parcel)).toMatchObject({
    status: 200,
    body: { folders: [{ id: outer, name: 'outer', path: '/outer', size: 5 }], files: [{ name: 'b', path: '/b' }] },
  })
  expect(await content(sofie, parcel, 'blind', inner)).toMatchObject({
    body: { folders: [], files: [{ path: '/outer/inner/a.txt', size: 5 }] },
  })
  expect(await acts(sofie, 100)).toContain('node.created sender')
})

test.for<[string, (parcel: Parcel) => object, number]>([
  ['no parent', () => ({ name: 'x' }), 400],
  ['a parent that is no id', () => ({ parentId: '7', name: 'x' }), 400],
  ['an unknown parent', () => ({ parentId: crypto.randomUUID(), name: 'x' }), 404],
  ['no name', ({ rootFolderId }) => ({ parentId: rootFolderId }), 400],
  ['a name that is none', ({ rootFolderId }) => ({ parentId: rootFolderId, name: '.' }), 400],
  ['a long name', ({ rootFolderId }) => ({ parentId: rootFolderId, name: 'x'.repeat(256) }), 400],
  ['a long name in bytes', ({ rootFolderId }) => ({ parentId: rootFolderId, name: 'ö'.repeat(200) }), 400],
])('a new folder is refused: %s', async ([, json, status], { sofie }) => {
  const parcel = await sendPackage(sofie)
  const answer = await sofie.send('POST', `${parcel.path}/folders`, { as: 'sender', json: json(parcel) })
  expect(answer).toMatchObject(refused(status, status === 400 ? 'BAD_REQUEST' : 'NOT_FOUND'))
})

test('nobody but sender and contributors makes, renames or deletes one', async ({ sofie }) => {
  const parcel = await sendPackage(sofie, { accessType: 'PUBLIC' })
  const url = `${parcel.path}/folders/${await addFolder(sofie, parcel)}`
  for (const as of ['regular', 'blind', 'stranger'] as const) {
    const json = { parentId: parcel.rootFolderId, name: 'x' }
    const answers = [
      await sofie.send('POST', `${parcel.path}/folders`, { as, json }),
      await sofie.send('PUT', `${url}/name`, { as, json: { name: 'x' } }),
      await sofie.send('DELETE', url, { as }),
    ]
    for (const answer of answers) expect(answer).toMatchObject(refused(403, 'PERMISSION_DENIED'))
  }
  expect(await acts(sofie, 1)).toEqual(['access.refused refused stranger'])
})

test('a folder is renamed, but not to a name that is taken', async ({ sofie }) => {
  const parcel = await sendPackage(sofie)
  const id = await addFolder(sofie, parcel)
  await addFolder(sofie, parcel, 'taken')
  await announce(sofie, parcel, { name: 'open' })
  const rename = (name: string) =>
    sofie.send('PUT', `${parcel.path}/folders/${id}/name`, { as: 'contributor', json: { name } })
  expect(await rename('new')).toMatchObject({ status: 204 })
  expect(await content(sofie, parcel)).toMatchObject({ body: { folders: [{ id, name: 'new' }, { name: 'taken' }] } })
  for (const name of ['taken', 'open']) expect(await rename(name)).toMatchObject(refused(409, 'NAME_CONFLICT'))
  for (const name of ['..', '']) expect(await rename(name)).toMatchObject(refused(400, 'BAD_REQUEST'))
})

test('a deleted folder is gone for users with all in it, and shows to administrators', async ({ sofie }) => {
  const parcel = await sendPackage(sofie)
  const id = await addFolder(sofie, parcel)
  const file = await addFile(sofie, parcel, { folderId: id })
  const open = await announce(sofie, parcel, { folderId: id, name: 'open' })
  const url = `${parcel.path}/folders/${id}`
  expect(await sofie.send('DELETE', url, { as: 'contributor' })).toMatchObject({ status: 204 })
  for (const as of ['sender', 'regular'] as const) {
    expect(await content(sofie, parcel, as, id)).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('GET', file, { as })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect((await content(sofie, parcel, as)).body).toEqual({ folders: [], files: [] })
  }
  const state = { as: 'sender', json: { state: 'UPLOADED' } } as const
  const { status } = await sofie.send('PUT', `${parcel.path}/files/${open}/state`, state)
  expect([404, 409]).toContain(status)
  expect(await sofie.send('DELETE', url, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
  expect(await content(sofie, parcel, 'admin')).toMatchObject({ body: { folders: [{ deleted: expect.any(String) }] } })
  expect(await content(sofie, parcel, 'admin', id)).toMatchObject({
    body: {
      files: [
        { name: 'a.txt', deleted: expect.any(String) },
        { name: 'open', state: 'UPLOADING' },
      ],
    },
  })
  for (const [method, path, json] of [
    ['DELETE', url, undefined],
    ['PUT', `${url}/name`, { name: 'x' }],
  ] as const)
    expect(await sofie.send(method, path, { as: 'admin', json })).toMatchObject(refused(409, 'FILE_STATE'))
})

describe('shredding', () => {
  test('destroys a folder with all in it, live or deleted', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const id = await addFolder(sofie, parcel)
    const inner = await addFolder(sofie, parcel, 'inner', id)
    const file = await addFile(sofie, parcel, { folderId: inner, content: Buffer.alloc(50_000) })
    const url = `${parcel.path}/folders/${id}`
    expect(await sofie.send('POST', `${url}/shred`, { as: 'sender' })).toMatchObject(refused(403, 'ADMIN_ONLY'))
    expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject({ status: 204 })
    expect(await content(sofie, parcel, 'sender', id)).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await content(sofie, parcel, 'admin')).toMatchObject({
      body: { folders: [{ id, deleted: expect.any(String), contentDeleted: expect.any(String) }] },
    })
    expect(await sofie.send('GET', file, { as: 'admin' })).toMatchObject({
      body: { contentDeleted: expect.any(String) },
    })
    expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject(refused(409, 'FILE_STATE'))
    await work(sofie.world)
    expect(await Array.fromAsync(sofie.world.deps.blobs.list())).toEqual([])
  })

  test('is possible for one that was deleted', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const id = await addFolder(sofie, parcel)
    await addFile(sofie, parcel, { folderId: id })
    await sofie.send('DELETE', `${parcel.path}/folders/${id}`, { as: 'sender' })
    expect(await sofie.send('POST', `${parcel.path}/folders/${id}/shred`, { as: 'admin' })).toMatchObject({
      status: 204,
    })
  })
})

test('the root stays as it is, for administrators too', async ({ sofie }) => {
  const { path, rootFolderId } = await sendPackage(sofie)
  const url = `${path}/folders/${rootFolderId}`
  for (const as of ['sender', 'admin'] as const) {
    expect(await sofie.send('DELETE', url, { as })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await sofie.send('PUT', `${url}/name`, { as, json: { name: 'x' } })).toMatchObject(
      refused(403, 'PERMISSION_DENIED'),
    )
  }
  expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
})

test('a folder is not in another package, and a file is none', async ({ sofie }) => {
  const mine = await sendPackage(sofie)
  const other = await sendPackage(sofie)
  const folderId = await addFolder(sofie, mine)
  const fileId = (await addFile(sofie, mine)).split('/').at(-1)
  for (const url of [`${other.path}/folders/${folderId}`, `${mine.path}/folders/${fileId}`]) {
    expect(await sofie.send('GET', `${url}/content`, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('DELETE', url, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('PUT', `${url}/name`, { as: 'sender', json: { name: 'x' } })).toMatchObject(
      refused(404, 'NOT_FOUND'),
    )
    expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject(refused(404, 'NOT_FOUND'))
  }
})
