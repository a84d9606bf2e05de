import { createHash } from 'node:crypto'
import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { lockNode } from '#core/locks.ts'
import { findNodeByUid } from '#core/space-list.ts'
import { updateSpacePolicy } from '#core/spaces.ts'
import type { Answer } from '#test/answer.ts'
import { announce, contentOf, fillBlob, test, type CoredataWorld, type Sent } from '#test/coredata-world.ts'
import { brokenNodes, names, put, read, wrongTotals } from '#test/tree.ts'

const unknownId = 'e139a8ac-7368-11ee-b992-57663b1559fb'
const empty = Buffer.alloc(0)
const large = Buffer.alloc(40_000, 'entrepot')
const md5 = (content: string | Buffer) => createHash('md5').update(content).digest('hex')
const octets = { 'content-type': 'application/octet-stream' }

interface Shown {
  version: string
  snapshot_id: string
  digest: string
  blob_name: string
  filename: string
  title: string
  mime_type: string
  size: number
}

async function show({ send }: CoredataWorld, id: string): Promise<Shown> {
  return (await send('GET', `/api/v2/files/${id}/`, { as: 'editor' })).body as Shown
}

/** Of a file in the folder, unless told otherwise. */
const addressOf = (id: string, query: Record<string, string> = {}) => {
  const search = new URLSearchParams(query).toString()
  return `/api/v2/files/${id}/content/${search && `?${search}`}`
}

const openAddress = (coredata: CoredataWorld, location: unknown, sent: Sent = {}): Promise<Answer> => {
  const { pathname, search } = new URL(String(location))
  return coredata.send('GET', pathname + search, sent)
}

describe('downloadFileContent', () => {
  test('leads to a signed address with the disposition and the media type', async ({ coredata }) => {
    const { send, folder, users } = coredata
    const id = await coredata.file(folder.nodeId, 'sample.txt', 'content')
    const { blob_name } = await show(coredata, id)
    const headers = { host: 'files.example:8443' }
    const answer = await send('GET', addressOf(id), { as: 'reader', headers })
    expect(answer).toMatchObject({ status: 302, raw: empty })
    const location = String(answer.headers.location)
    const { origin, pathname, searchParams } = new URL(location)
    expect(origin + pathname).toBe(`http://files.example:8443/laika/${blob_name}`)
    expect(location).toContain('response-content-disposition=%20attachment%3B%20filename')
    expect(Object.fromEntries(searchParams)).toEqual({
      'response-content-disposition': " attachment; filename*=utf-8''sample.txt",
      'response-content-type': 'text/plain',
      versionId: expect.stringMatching(/^\d+$/),
      AWSAccessKeyId: `s3f:${users.reader.user.id}`,
      Expires: expect.stringMatching(/^\d{10}$/),
      Signature: expect.stringMatching(/^[\w+/]+=*$/),
    })
    expect(Number(searchParams.get('Expires')) * 1000 - coredata.world.deps.clock()).toBeGreaterThan(3_590_000)
  })

  test.for([
    ['small', 'text', Buffer.from('Grüße')],
    ['large', 'text', large],
    ['empty', 'text', empty],
  ] as const)(
    'the address gives a content that is %s without a key, whole or in part',
    async ([, , content], { coredata }) => {
      const id = await coredata.file(coredata.folder.nodeId, 'sample.txt', content.toString())
      const { headers } = await coredata.send('GET', addressOf(id), { as: 'reader' })
      for (const sent of [{}, { headers: { authorization: 'apikey nobody:nothing' } }]) {
        const whole = await openAddress(coredata, headers.location, sent)
        expect(whole).toMatchObject({
          status: 200,
          headers: {
            'content-type': 'text/plain',
            'content-length': String(content.length),
            'content-disposition': "attachment; filename*=utf-8''sample.txt",
            'accept-ranges': 'bytes',
            'last-modified': expect.stringMatching(/GMT$/),
          },
        })
        expect(whole.raw.equals(content)).toBe(true)
      }
      const part = await openAddress(coredata, headers.location, { headers: { range: 'bytes=1-3' } })
      expect(part.status).toBe(content.length > 0 ? 206 : 416)
      if (content.length > 0) expect(part.raw.equals(content.subarray(1, 4))).toBe(true)
    },
  )

  test('names of any kind come through', async ({ coredata }) => {
    for (const [name, encoded] of [
      ['Grüße (1).txt', 'Gr%C3%BC%C3%9Fe%20%281%29.txt'],
      [`it's "50%"; a*b.txt`, 'it%27s%20%2250%25%22%3B%20a%2Ab.txt'],
      ['日本語 & +.txt', '%E6%97%A5%E6%9C%AC%E8%AA%9E%20%26%20%2B.txt'],
    ] as const) {
      const id = await coredata.file(coredata.folder.nodeId, name)
      const { headers } = await coredata.send('GET', addressOf(id), { as: 'editor' })
      const answer = await openAddress(coredata, headers.location)
      expect(answer.headers['content-disposition']).toBe(`attachment; filename*=utf-8''${encoded}`)
    }
  })

  test('an address gives what it was made for, whatever came after', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId, 'sample.txt', 'first')
    const { headers } = await coredata.send('GET', addressOf(id), { as: 'editor' })
    await coredata.send('PUT', addressOf(id), { as: 'editor', payload: 'second', headers: octets })
    expect((await openAddress(coredata, headers.location)).raw.toString()).toBe('first')
    expect((await contentOf(coredata, id)).toString()).toBe('second')
  })

  test('is refused without the right, without sight, without a key', async ({ coredata }) => {
    const { world, send, folder, project, users } = coredata
    const id = await coredata.file(folder.nodeId)
    for (const other of [unknownId, folder.id, project.id, 'x']) {
      expect(await send('GET', addressOf(other), { as: 'editor' }), other).toMatchObject({ status: 404, raw: empty })
    }
    expect(await send('GET', addressOf(id), { as: 'stranger' })).toMatchObject({ status: 404, raw: empty })
    expect(await send('GET', addressOf(id))).toMatchObject({ status: 401, raw: empty })
    await setGrant(world.system, { nodeId: folder.nodeId, subjectId: users.reader.user.id, actions: ['list'] })
    expect(await send('GET', addressOf(id), { as: 'reader' })).toMatchObject({ status: 403, raw: empty })
  })

  test('what is not screened yet where that matters is 403', async ({ coredata }) => {
    const { world, project } = coredata
    const id = await coredata.file(coredata.folder.nodeId)
    await world.deps.database.transaction(tx => tx.updateTable('version').set({ screening: 'pending' }).execute())
    expect(await coredata.send('GET', addressOf(id), { as: 'editor' })).toMatchObject({ status: 302 })
    await updateSpacePolicy(world.system, { spaceId: project.spaceId, policy: { unscreenedDownloads: false } })
    expect(await coredata.send('GET', addressOf(id), { as: 'editor' })).toMatchObject({ status: 403, raw: empty })
  })
})

describe('updateFileContent', () => {
  const replace = ({ send }: CoredataWorld, id: string, query: Record<string, string> = {}, sent: Sent = {}) =>
    send('PUT', addressOf(id, query), { as: 'editor', payload: 'new', headers: octets, ...sent })

  const withoutBody = { payload: undefined, headers: {} } as unknown as Sent // `undefined` takes the default away

  test.for([
    ['small', Buffer.from('Grüße')],
    ['large', large],
    ['empty', empty],
  ] as const)('takes a body that is %s', async ([, payload], { coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId, 'sample.txt', 'old')
    const before = await show(coredata, id)
    const answer = await replace(coredata, id, {}, { payload })
    expect(answer).toMatchObject({ status: 201, raw: empty })
    const after = await show(coredata, id)
    expect(answer.headers).toMatchObject({
      'x-coredata-fields-filedigest': md5(payload),
      'x-coredata-fields-snapshot-id': after.snapshot_id,
    })
    expect(after).toMatchObject({
      digest: md5(payload),
      size: payload.length,
      version: '0.2',
      filename: 'sample.txt',
      title: 'sample',
      mime_type: 'text/plain',
    })
    expect(after.snapshot_id).not.toBe(before.snapshot_id)
    expect(after.blob_name).not.toBe(before.blob_name)
    expect((await contentOf(coredata, id)).equals(payload)).toBe(true)
    expect(await wrongTotals(coredata.world.system)).toEqual([])
    expect(await brokenNodes(coredata.world.system)).toEqual([])
  })

  test('a request without a body empties the file', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    for (const sent of [{}, { headers: octets }, { headers: { 'content-length': '0' } }]) {
      const answer = await coredata.send('PUT', addressOf(id), { as: 'editor', ...sent })
      expect(answer).toMatchObject({
        status: 201,
        headers: { 'x-coredata-fields-filedigest': 'd41d8cd98f00b204e9800998ecf8427e' },
      })
    }
    expect(await show(coredata, id)).toMatchObject({ size: 0, version: '0.4' })
  })

  test('a body of any type is bytes, and its type says nothing of the file', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    for (const type of ['application/json', 'multipart/form-data', 'application/pdf']) {
      const sent = { payload: '{"not json', headers: { 'content-type': type } }
      expect(await replace(coredata, id, {}, sent), type).toMatchObject({ status: 201 })
      expect(await show(coredata, id)).toMatchObject({ mime_type: 'text/plain', digest: md5('{"not json') })
    }
  })

  test('a content type that is none is 400', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const sent = { payload: 'x', headers: { 'content-type': 'nonsense' } }
    expect(await replace(coredata, id, {}, sent)).toMatchObject({ status: 400, body: { error: expect.any(String) } })
    expect(await show(coredata, id)).toMatchObject({ version: '0.1' })
  })

  test('of a file name only the extension is taken over, and the media type follows', async ({ coredata }) => {
    const { node } = await put(coredata.users.editor.ctx, coredata.folder.nodeId, 'sample.txt')
    for (const [filename, shown] of [
      ['other.pdf', { filename: 'sample.pdf', mime_type: 'application/pdf' }],
      ['C:\\x.y\\z.PNG', { filename: 'sample.PNG', mime_type: 'image/png' }],
      ['none', { filename: 'sample.PNG', mime_type: 'image/png' }],
      ['dot.', { filename: 'sample.PNG', mime_type: 'image/png' }],
      ['.hidden', { filename: 'sample.PNG', mime_type: 'image/png' }],
      ['', { filename: 'sample.PNG', mime_type: 'image/png' }],
      ['a.tar.gz', { filename: 'sample.gz', mime_type: 'application/gzip' }],
      ['x.unheard-of', { filename: 'sample.unheard-of', mime_type: 'application/octet-stream' }],
    ] as const) {
      expect(await replace(coredata, node.uid, { filename }), filename).toMatchObject({ status: 201 })
      expect(await show(coredata, node.uid), filename).toMatchObject({ ...shown, title: 'sample' })
    }
    expect(await names(coredata.users.editor.ctx, coredata.folder.nodeId)).toEqual(['sample.unheard-of'])
  })

  test('the name that follows from an extension may be taken', async ({ coredata }) => {
    await coredata.file(coredata.folder.nodeId, 'sample.pdf')
    const id = await coredata.file(coredata.folder.nodeId, 'sample.txt')
    expect(await replace(coredata, id, { filename: 'x.pdf' })).toMatchObject({ status: 201 })
    expect(await show(coredata, id)).toMatchObject({ filename: 'sample.pdf' })
    expect(await names(coredata.users.editor.ctx, coredata.folder.nodeId)).toEqual(['sample (1).pdf', 'sample.pdf'])
  })

  test('an extension that no name may have is 400 and changes nothing', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const before = await show(coredata, id)
    for (const filename of ['x.\0', 'x.a\nb', `x.${'y'.repeat(2000)}`]) {
      for (const payload of ['new', large]) {
        expect(await replace(coredata, id, { filename }, { payload })).toMatchObject({ status: 400 })
      }
    }
    expect(await show(coredata, id)).toEqual(before)
  })

  test('with the current snapshot_id it goes through, with another it is 409 and changes nothing', async ({
    coredata,
  }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const first = await show(coredata, id)
    const answer = await replace(coredata, id, { snapshot_id: first.snapshot_id.toUpperCase() })
    expect(answer).toMatchObject({ status: 201 })
    const second = await show(coredata, id)
    const blob_name = await fillBlob(coredata, 'blob')
    for (const snapshot_id of [first.snapshot_id, unknownId, 'x', '\0']) {
      for (const [query, sent] of [
        [{}, {}],
        [{ filename: 'x.pdf' }, { payload: large }],
        [{ blob_name, digest: md5('blob') }, withoutBody],
      ] as const) {
        const refused = await replace(coredata, id, { snapshot_id, ...query }, sent)
        expect(refused).toMatchObject({ status: 409, body: { error: expect.any(String) } })
      }
    }
    expect(await show(coredata, id)).toEqual(second)
    expect(await contentOf(coredata, id)).toEqual(Buffer.from('new'))
  })

  test('a change of metadata makes a snapshot_id outdated too', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const { snapshot_id } = await show(coredata, id)
    const json = { filename: 'b.txt', title: 'B', parent: coredata.folder.id }
    await coredata.send('PUT', `/api/v2/files/${id}/`, { as: 'editor', json })
    expect(await replace(coredata, id, { snapshot_id })).toMatchObject({ status: 409 })
  })

  test('of many at once with one snapshot_id exactly one goes through', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const { snapshot_id } = await show(coredata, id)
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => replace(coredata, id, { snapshot_id }, { payload: `content ${n}` })),
    )
    const through = answers.flatMap(({ status }, n) => (status === 201 ? [n] : []))
    expect(through).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(49)
    const winner = answers[through[0]!]!
    expect(await show(coredata, id)).toMatchObject({
      version: '0.2',
      snapshot_id: winner.headers['x-coredata-fields-snapshot-id'],
      digest: winner.headers['x-coredata-fields-filedigest'],
    })
    expect((await contentOf(coredata, id)).toString()).toBe(`content ${through[0]}`)
  })

  test('without a snapshot_id all of many at once go through, each as a version', async ({ coredata }) => {
    const { users, folder } = coredata
    const { node, version } = await put(users.editor.ctx, folder.nodeId, 'sample.txt', 'first')
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => replace(coredata, node.uid, {}, { payload: `content ${n}` })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201))
    expect(await show(coredata, node.uid)).toMatchObject({ version: '0.11' })
    expect(await read(users.editor.ctx, node.id, version.id)).toBe('first')
    expect(await wrongTotals(coredata.world.system)).toEqual([])
  })

  test('takes a blob with its digest, whose case does not matter', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    for (const [content, type, upper, mime_type] of [
      ['one', 'text/csv', false, 'text/csv'],
      [large.toString(), 'application/pdf', true, 'application/pdf'],
      ['', 'text/html', true, 'text/html'],
    ] as const) {
      const blob_name = await fillBlob(coredata, content, { type })
      const digest = upper ? md5(content).toUpperCase() : md5(content)
      const answer = await replace(coredata, id, { blob_name, digest }, withoutBody)
      expect(answer).toMatchObject({ status: 201, headers: { 'x-coredata-fields-filedigest': md5(content) } })
      expect(await show(coredata, id)).toMatchObject({ blob_name, digest: md5(content), mime_type })
      expect((await contentOf(coredata, id)).toString()).toBe(content)
    }
    const blob_name = await fillBlob(coredata, 'last', { type: 'text/csv' })
    await replace(coredata, id, { blob_name, digest: md5('last'), filename: 'x.pdf' }, withoutBody)
    expect(await show(coredata, id)).toMatchObject({ filename: 'sample.pdf', mime_type: 'application/pdf' })
  })

  test('a blob that cannot be taken is 400 and changes nothing; a filled one can be taken afterwards', async ({
    coredata,
  }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    const before = await show(coredata, id)
    const blob_name = await fillBlob(coredata, 'blob')
    const digest = md5('blob')
    const { blobName: unfilled } = await announce(coredata, 0)
    const foreign = await fillBlob(coredata, 'blob', { as: 'stranger' })
    for (const [query, sent] of [
      [{ blob_name }, withoutBody],
      [{ digest }, withoutBody],
      [{ digest }, {}],
      [{ blob_name, digest: md5('other') }, withoutBody],
      [{ blob_name, digest: 'x' }, withoutBody],
      [{ blob_name: 'x', digest }, withoutBody],
      [{ blob_name: blob_name.toUpperCase().replace(/^./, 'F'), digest }, withoutBody],
      [{ blob_name: '0'.repeat(32), digest }, withoutBody],
      [{ blob_name: unfilled, digest: md5('') }, withoutBody],
      [{ blob_name: foreign, digest }, withoutBody],
      [{ blob_name: before.blob_name, digest: before.digest }, withoutBody],
      [{ blob_name, digest }, {}],
      [{ blob_name, digest, filename: 'x.\0' }, withoutBody],
    ] as const) {
      const answer = await replace(coredata, id, query, sent)
      expect(answer, JSON.stringify(query)).toMatchObject({ status: 400, body: { error: expect.any(String) } })
    }
    expect(await show(coredata, id)).toEqual(before)
    expect(await replace(coredata, id, { blob_name, digest }, withoutBody)).toMatchObject({ status: 201 })
    expect(await replace(coredata, id, { blob_name, digest }, withoutBody)).toMatchObject({ status: 400 })
    expect(await show(coredata, id)).toMatchObject({ version: '0.2', digest })
  })

  test('is refused without the right, without sight, without a key', async ({ coredata }) => {
    const { folder, project } = coredata
    const id = await coredata.file(folder.nodeId)
    const before = await show(coredata, id)
    for (const payload of ['new', large]) {
      expect(await replace(coredata, id, {}, { as: 'reader', payload })).toMatchObject({ status: 403, raw: empty })
      expect(await replace(coredata, id, {}, { as: 'stranger', payload })).toMatchObject({ status: 404, raw: empty })
    }
    const nobody = await coredata.send('PUT', addressOf(id), { payload: 'x', headers: octets })
    expect(nobody).toMatchObject({ status: 401, raw: empty })
    for (const other of [unknownId, folder.id, project.id, project.filespace, 'x']) {
      expect(await replace(coredata, other), other).toMatchObject({ status: 404, raw: empty })
    }
    const blob_name = await fillBlob(coredata, 'blob', { as: 'reader' })
    const byBlob = await replace(coredata, id, { blob_name, digest: md5('blob') }, { ...withoutBody, as: 'reader' })
    expect(byBlob).toMatchObject({ status: 403, raw: empty })
    expect(await show(coredata, id)).toEqual(before)
  })

  test('a file that another one holds locked is 403', async ({ coredata }) => {
    const { world, folder, space, users } = coredata
    await setGrant(world.system, { nodeId: space.spaceId, subjectId: users.reader.user.id, actions: ['list', 'lock'] })
    const id = await coredata.file(folder.nodeId)
    const before = await show(coredata, id)
    await lockNode(users.reader.ctx, { nodeId: (await findNodeByUid(users.editor.ctx, id)).id })
    for (const payload of ['new', large]) {
      expect(await replace(coredata, id, {}, { payload })).toMatchObject({ status: 403, raw: empty })
    }
    expect(await show(coredata, id)).toEqual(before)
  })
})
