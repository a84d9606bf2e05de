import { describe, expect } from 'vitest'
import { releaseVersion } from '#core/screening-decisions.ts'
import { setRightsOf, systemRights } from '#core/roles.ts'
import { retireDeliveries } from '#core/delivery-retention.ts'
import { expireTransfers } from '#core/retention.ts'
import {
  acts,
  addFile,
  addFolder,
  announce,
  harmfulText,
  idOf,
  putContent,
  sendPackage,
  sha256,
  work,
  type Parcel,
} from '#test/sofie-packages.ts'
import { refused, test, type SofieWorld } from '#test/sofie-world.ts'

const confirm = ({ send }: SofieWorld, url: string, hash?: string) =>
  send('PUT', `${url}/state`, { as: 'sender', json: { state: 'UPLOADED', hash } })
const cancel = ({ send }: SofieWorld, url: string) =>
  send('PUT', `${url}/state`, { as: 'sender', json: { state: 'CANCELED' } })

const stateOf = async ({ send }: SofieWorld, url: string) => {
  const { body } = await send('GET', url, { as: 'sender' })
  return (body as { state: string }).state
}

const announced = async (sofie: SofieWorld, parcel: Parcel, content = 'content') =>
  `${parcel.path}/files/${await announce(sofie, parcel, { content })}`

describe('an upload', () => {
  test('goes from record to content to confirmation, and shows at each step', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const { send, world } = sofie
    const before = (await world.events()).length
    const created = await send('POST', `${parcel.path}/folders/${parcel.rootFolderId}/files`, {
      as: 'sender',
      json: { name: 'a.txt', size: 7, mimeType: 'text/plain' },
    })
    expect(created.body).toMatchObject({ name: 'a.txt', renamedFiles: [], replacedFiles: [] })
    const url = `${parcel.path}/files/${idOf(created)}`
    const open = await send('GET', url, { as: 'regular' })
    expect(open.body).toMatchObject({ state: 'UPLOADING', size: 7, path: '/a.txt', checks: [], flags: [] })
    expect(open.body).not.toHaveProperty('hash')
    expect(open.body).not.toHaveProperty('uploaded')
    expect(await putContent(sofie, url)).toMatchObject({ status: 204 })
    expect(await stateOf(sofie, url)).toBe('UPLOADING')
    expect(await confirm(sofie, url, sha256('content').toUpperCase())).toMatchObject({ status: 204 })
    expect(await send('GET', url, { as: 'regular' })).toMatchObject({
      body: { state: 'UPLOADED', hash: sha256('content'), uploaded: expect.any(String), mimeType: 'text/plain' },
    })
    await work(world)
    expect(await stateOf(sofie, url)).toBe('CLEAN')
    expect(await send('GET', `${url}/content`, { as: 'regular' })).toMatchObject({
      status: 200,
      body: 'content',
      headers: {
        'content-type': 'text/plain',
        'content-length': '7',
        'content-disposition': expect.stringContaining('attachment'),
      },
    })
    const steps = ['upload.opened sender', 'version.created sender', 'version.screened system']
    expect((await acts(sofie, (await world.events()).length - before)).filter(act => steps.includes(act))).toEqual(
      steps,
    )
  })

  test('of nothing needs no content', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const withContent = await announced(sofie, parcel, '')
    expect(await putContent(sofie, withContent, { content: '' })).toMatchObject({ status: 204 })
    for (const url of [withContent, await announced(sofie, parcel, '')]) {
      expect(await confirm(sofie, url, sha256(''))).toMatchObject({ status: 204 })
      await work(sofie.world)
      expect(await sofie.send('GET', `${url}/content`, { as: 'regular' })).toMatchObject({ status: 200, body: '' })
    }
  })

  test('may send its content again, and the last one counts', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await announced(sofie, parcel)
    for (const content of ['CONTENT', 'content']) await putContent(sofie, url, { content })
    expect(await confirm(sofie, url, sha256('CONTENT'))).toMatchObject(refused(412, 'HASH_MISMATCH'))
    expect(await confirm(sofie, url, sha256('content'))).toMatchObject({ status: 204 })
  })

  test('of another length than announced is refused, and changes nothing', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await announced(sofie, parcel)
    expect(await putContent(sofie, url, { content: 'contents' })).toMatchObject(refused(413, 'SIZE_LIMIT'))
    expect(await putContent(sofie, url, { content: 'conten' })).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(await confirm(sofie, url)).toMatchObject(refused(409, 'FILE_STATE'))
    expect(await putContent(sofie, url)).toMatchObject({ status: 204 })
    expect(await putContent(sofie, url, { content: 'contents' })).toMatchObject(refused(413, 'SIZE_LIMIT'))
    expect(await confirm(sofie, url, sha256('content'))).toMatchObject({ status: 204 })
  })

  test('whose hash is wrong stays as it is, again and again', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await announced(sofie, parcel)
    await putContent(sofie, url)
    for (let time = 0; time < 2; time += 1) {
      expect(await confirm(sofie, url, sha256('other'))).toMatchObject(refused(412, 'HASH_MISMATCH'))
      expect(await stateOf(sofie, url)).toBe('UPLOADING')
    }
    expect(await confirm(sofie, url)).toMatchObject({ status: 204 })
  })

  test('must have the hash that was announced', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const json = { name: 'a', size: 7, hash: sha256('content') }
    const create = await sofie.send('POST', `${parcel.path}/folders/${parcel.rootFolderId}/files`, {
      as: 'sender',
      json,
    })
    const url = `${parcel.path}/files/${idOf(create)}`
    await putContent(sofie, url, { content: 'CONTENT' })
    expect(await confirm(sofie, url)).toMatchObject(refused(412, 'HASH_MISMATCH'))
    await putContent(sofie, url)
    expect(await confirm(sofie, url)).toMatchObject({ status: 204 })
  })

  test('that is given up shows no more in lists, and its name is free', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await announced(sofie, parcel)
    await putContent(sofie, url)
    expect(await cancel(sofie, url)).toMatchObject({ status: 204 })
    expect(await stateOf(sofie, url)).toBe('CANCELED')
    const list = await sofie.send('GET', `${parcel.path}/folders/${parcel.rootFolderId}/content`, { as: 'sender' })
    expect(list.body).toEqual({ folders: [], files: [] })
    expect(await announced(sofie, parcel)).not.toBe(url)
  })

  test.for(['UPLOADED', 'CLEAN', 'UNCLEAN', 'CANCELED'] as const)(
    'is over for one that is %s: no content, no confirmation, no giving up',
    async (state, { sofie }) => {
      const parcel = await sendPackage(sofie)
      await setRightsOf(sofie.world.system, {
        principalId: sofie.users.sender.user.id,
        rights: ['quarantine.add'],
        among: systemRights,
      })
      const url = await fileIn(state, sofie, parcel)
      expect(await stateOf(sofie, url)).toBe(state)
      for (const act of [putContent, confirm, cancel])
        expect(await act(sofie, url)).toMatchObject(refused(409, 'FILE_STATE'))
      expect(await stateOf(sofie, url)).toBe(state)
    },
  )

  test('may be gone on with by whoever may put files there', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = `${parcel.path}/files/${await announce(sofie, parcel, { as: 'contributor' })}`
    expect(await putContent(sofie, url, { as: 'sender' })).toMatchObject({ status: 204 })
    const json = { state: 'UPLOADED' }
    expect(await sofie.send('PUT', `${url}/state`, { as: 'regular', json })).toMatchObject(
      refused(403, 'PERMISSION_DENIED'),
    )
    expect(await putContent(sofie, url, { as: 'blind' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await sofie.send('PATCH', `${url}/state`, { as: 'contributor', json })).toMatchObject({ status: 204 })
  })

  test('takes any media type, and none', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    for (const type of [
      'image/png',
      'application/json',
      'text/plain; charset=utf-8',
      'multipart/form-data; boundary=x',
    ]) {
      const url = await announced(sofie, parcel)
      expect(await putContent(sofie, url, { headers: { 'content-type': type } })).toMatchObject({ status: 204 })
    }
    const url = await announced(sofie, parcel)
    const without = { as: 'sender', payload: Buffer.from('content'), headers: {}, beyondContract: true } as const
    expect(await sofie.send('PUT', `${url}/content`, without)).toMatchObject({ status: 204 })
  })

  test('that nobody confirms in time is given up', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await announced(sofie, parcel)
    const { world } = sofie
    world.advance(world.deps.settings.uploadLifeMs + 60_000)
    await expireTransfers(world.system)
    const list = await sofie.send('GET', `${parcel.path}/folders/${parcel.rootFolderId}/content`, { as: 'sender' })
    expect(list.body).toEqual({ folders: [], files: [] })
    expect(await confirm(sofie, url)).toMatchObject(refused(409, 'FILE_STATE'))
  })

  test('beyond what the server takes is refused when it is announced', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    sofie.world.deps.settings.maxFileBytes = 10
    const json = { name: 'a', size: 11 }
    expect(
      await sofie.send('POST', `${parcel.path}/folders/${parcel.rootFolderId}/files`, { as: 'sender', json }),
    ).toMatchObject(refused(413, 'SIZE_LIMIT'))
  })
})

/** A file in the state. */
async function fileIn(
  state: 'UPLOADING' | 'UPLOADED' | 'CLEAN' | 'UNCLEAN' | 'CANCELED',
  sofie: SofieWorld,
  parcel: Parcel,
): Promise<string> {
  if (state === 'UPLOADED') return addFile(sofie, parcel, { unchecked: true })
  if (state === 'CLEAN') return addFile(sofie, parcel)
  if (state === 'UNCLEAN') return addFile(sofie, parcel, { content: harmfulText })
  const url = await announced(sofie, parcel)
  if (state === 'CANCELED') await cancel(sofie, url)
  return url
}

describe('a file', () => {
  test.for(['UPLOADING', 'UPLOADED', 'CANCELED'] as const)(
    'that is %s is neither deleted nor fetched',
    async (state, { sofie }) => {
      const parcel = await sendPackage(sofie)
      const url = await fileIn(state, sofie, parcel)
      expect(await sofie.send('DELETE', url, { as: 'sender' })).toMatchObject(refused(409, 'FILE_STATE'))
      expect(await sofie.send('GET', `${url}/content`, { as: 'sender' })).toMatchObject(refused(409, 'FILE_STATE'))
    },
  )

  test('is renamed, but not to a name that is taken', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await addFile(sofie, parcel)
    await addFile(sofie, parcel, { name: 'taken' })
    await addFolder(sofie, parcel, 'folder')
    const rename = (name: string) => sofie.send('PUT', `${url}/name`, { as: 'contributor', json: { name } })
    expect(await rename('new.txt')).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject({
      body: { name: 'new.txt', path: '/new.txt' },
    })
    for (const name of ['taken', 'folder']) expect(await rename(name)).toMatchObject(refused(409, 'NAME_CONFLICT'))
    for (const name of ['..', 'a/b', 'x\0', '']) expect(await rename(name)).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(await acts(sofie, 1)).toEqual(['node.renamed contributor'])
    const other = `${parcel.path}/files/${await announce(sofie, parcel)}`
    expect(await sofie.send('PUT', `${other}/name`, { as: 'sender', json: { name: 'y' } })).toMatchObject(
      refused(409, 'FILE_STATE'),
    )
  })

  test('once deleted is gone for users, its sender among them, and shows to administrators', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await addFile(sofie, parcel)
    expect(await sofie.send('DELETE', url, { as: 'contributor' })).toMatchObject({ status: 204 })
    for (const as of ['sender', 'contributor', 'regular'] as const) {
      expect(await sofie.send('GET', url, { as })).toMatchObject(refused(404, 'NOT_FOUND'))
      expect(await sofie.send('GET', `${url}/content`, { as })).toMatchObject(refused(404, 'NOT_FOUND'))
    }
    expect(await sofie.send('GET', url, { as: 'admin' })).toMatchObject({ body: { deleted: expect.any(String) } })
    const root = `${parcel.path}/folders/${parcel.rootFolderId}/content`
    expect(await sofie.send('GET', root, { as: 'admin' })).toMatchObject({
      body: { files: [{ name: 'a.txt', deleted: expect.any(String) }] },
    })
    expect((await sofie.send('GET', root, { as: 'sender' })).body).toEqual({ folders: [], files: [] })
    for (const [method, path, json] of [
      ['DELETE', url, undefined],
      ['PUT', `${url}/name`, { name: 'x' }],
      ['GET', `${url}/content`, undefined],
    ] as const)
      expect(await sofie.send(method, path, { as: 'admin', json })).toMatchObject(refused(409, 'FILE_STATE'))
  })

  test('shredded is destroyed, live or deleted, and administrators see that', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const live = await addFile(sofie, parcel)
    const deleted = await addFile(sofie, parcel, { name: 'deleted' })
    await sofie.send('DELETE', deleted, { as: 'sender' })
    for (const url of [live, deleted]) {
      expect(await sofie.send('POST', `${url}/shred`, { as: 'sender' })).toMatchObject(refused(403, 'ADMIN_ONLY'))
      expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject({ status: 204 })
      expect(await sofie.send('POST', `${url}/shred`, { as: 'admin' })).toMatchObject(refused(409, 'FILE_STATE'))
      expect(await sofie.send('GET', url, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
      expect(await sofie.send('GET', url, { as: 'admin' })).toMatchObject({
        body: { deleted: expect.any(String), contentDeleted: expect.any(String) },
      })
    }
    const open = await announced(sofie, parcel)
    expect(await sofie.send('POST', `${open}/shred`, { as: 'admin' })).toMatchObject(refused(409, 'FILE_STATE'))
    expect((await acts(sofie, 20)).filter(act => act === 'version.purged admin')).toHaveLength(2)
  })

  test('is not in another package', async ({ sofie }) => {
    const mine = await sendPackage(sofie)
    const url = await addFile(sofie, mine)
    const other = await sendPackage(sofie)
    const wrong = url.replace(mine.packageId, other.packageId)
    for (const [method, path, json] of [
      ['GET', wrong, undefined],
      ['DELETE', wrong, undefined],
      ['GET', `${wrong}/content`, undefined],
      ['PUT', `${wrong}/name`, { name: 'x' }],
      ['PUT', `${wrong}/state`, { state: 'CANCELED' }],
    ] as const)
      expect(await sofie.send(method, path, { as: 'sender', json })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('POST', `${wrong}/shred`, { as: 'admin' })).toMatchObject(refused(404, 'NOT_FOUND'))
  })
})

describe('fetching', () => {
  test('gives parts, and nothing to who has it already', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = `${await addFile(sofie, parcel)}/content`
    const part = await sofie.send('GET', url, { as: 'regular', headers: { range: 'bytes=3-' }, beyondContract: true })
    expect(part).toMatchObject({ status: 206, headers: { 'content-range': 'bytes 3-6/7' }, raw: Buffer.from('tent') })
    const beyond = { as: 'regular', headers: { range: 'bytes=7-' }, beyondContract: true } as const
    expect(await sofie.send('GET', url, beyond)).toMatchObject({ status: 416 })
    const { headers } = await sofie.send('HEAD', url, { as: 'regular', beyondContract: true })
    expect(headers).toMatchObject({ 'content-length': '7', etag: `"${sha256('content')}"` })
    const known = {
      as: 'regular',
      headers: { 'if-none-match': String(headers['etag']) },
      beyondContract: true,
    } as const
    expect(await sofie.send('GET', url, known)).toMatchObject({ status: 304 })
  })

  test('is audited', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await addFile(sofie, parcel)
    await sofie.send('GET', `${url}/content`, { as: 'admin', impersonate: 'regular' })
    await sofie.world.deps.reads.flush()
    expect(await acts(sofie, 1)).toEqual(['version.read regular by admin'])
  })

  test('what one sent is as the server says', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = `${await addFile(sofie, parcel)}/content`
    const { settings } = sofie.world.deps
    expect(await sofie.send('GET', url, { as: 'sender' })).toMatchObject({ status: 200 })
    settings.deliveryReadSent = 'no'
    expect(await sofie.send('GET', url, { as: 'sender' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await sofie.send('GET', url, { as: 'contributor' })).toMatchObject({ status: 200 })
    settings.deliveryReadSent = 'selected'
    expect(await sofie.send('GET', url, { as: 'sender' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    await setRightsOf(sofie.world.system, {
      principalId: sofie.users.sender.user.id,
      rights: ['deliveries.read-sent'],
      among: systemRights,
    })
    expect(await sofie.send('GET', url, { as: 'sender' })).toMatchObject({ status: 200 })
  })

  test('waits for the checks of all files', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = `${await addFile(sofie, parcel)}/content`
    await addFile(sofie, parcel, { name: 'new', unchecked: true })
    expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject(refused(409, 'FILE_STATE'))
    await work(sofie.world)
    expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject({ status: 200 })
  })
})

describe('checks', () => {
  test('show what was found: verdicts to all, details with the right', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await addFile(sofie, parcel, { content: harmfulText })
    const { body } = await sofie.send('GET', url, { as: 'regular' })
    expect(body).toMatchObject({ state: 'UNCLEAN', checks: [{ detectionEngine: 'test-signature', result: 'VIRUS' }] })
    expect((body as { checks: object[] }).checks[0]).not.toHaveProperty('detectionName')
    expect(await sofie.send('GET', url, { as: 'admin' })).toMatchObject({
      body: {
        checks: [
          { detectionName: 'EICAR-Test-File', checkStarted: expect.any(String), checkFinished: expect.any(String) },
        ],
      },
    })
  })

  test('end with a release: the file is clean, and says why', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const url = await addFile(sofie, parcel, { content: harmfulText })
    const { system, deps } = sofie.world
    const { id } = await deps.database.read
      .selectFrom('version')
      .select('id')
      .where('screening', '=', 'quarantined')
      .executeTakeFirstOrThrow()
    await releaseVersion(system, { versionId: id })
    expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject({
      body: { state: 'CLEAN', flags: ['RELEASED_FROM_QUARANTINE'] },
    })
    expect(await sofie.send('GET', parcel.path, { as: 'regular' })).toMatchObject({
      body: { checkState: 'CLEAN', flags: ['RELEASED_FROM_QUARANTINE'] },
    })
    expect(await sofie.send('GET', `${url}/content`, { as: 'regular' })).toMatchObject({ status: 200 })
  })

  test('that find something end with the package all the same', async ({ sofie }) => {
    const parcel = await sendPackage(sofie, { downloadExpiration: 1 })
    await addFile(sofie, parcel, { content: harmfulText })
    sofie.world.advance(2 * 86_400_000)
    expect(await retireDeliveries(sofie.world.system)).toMatchObject({ ended: 1 })
  })
})
