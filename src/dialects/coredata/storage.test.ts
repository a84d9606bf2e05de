import { describe, expect } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { getLiveNode } from '#core/nodes.ts'
import { purgeVersion } from '#core/purge.ts'
import { findNodeByUid } from '#core/space-list.ts'
import { setTenantHosts } from '#core/tenants.ts'
import { revokeTokensOf } from '#core/tokens.ts'
import { deleteNode } from '#core/trash.ts'
import { removeUser, updateUser } from '#core/users.ts'
import {
  altered,
  announce,
  contentPath,
  flipped,
  later,
  notAsSigned,
  refused,
  storedObjects,
  textOf,
  textOfBlob,
  useBlob,
} from '#test/coredata-blobs.ts'
import { idIn, test } from '#test/coredata-world.ts'
import { multipart } from '#test/mft-world.ts'

const empty = Buffer.alloc(0)
const HOUR_MS = 3_600_000

describe('putBlob', () => {
  test('takes the announced bytes without a key; their name is of no matter', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 7, 'text/plain')
    const { payload, headers } = textOf('Grüße')
    const sent = { payload: payload!, headers: { ...headers, slug: 'b\xe4r.txt', authorization: 'apikey wrong' } }
    expect(await coredata.send('PUT', path, sent)).toMatchObject({ status: 201, raw: empty })
    expect(await textOfBlob(coredata, blob)).toBe('Grüße')
  })

  test('takes no bytes, where none were announced', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 0)
    expect(await coredata.send('PUT', path, { headers: { slug: '' } })).toMatchObject({ status: 201 })
    expect(await textOfBlob(coredata, blob)).toBe('')
  })

  test('takes any media type where none was announced', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 3)
    for (const type of ['application/pdf', 'multipart/form-data', 'application/json', 'text/csv; charset=utf-8']) {
      expect(await coredata.send('PUT', path, textOf('{"a', type)), type).toMatchObject({ status: 201 })
    }
    expect(await coredata.send('PUT', path, { payload: 'abc' })).toMatchObject({ status: 201 })
    expect(await textOfBlob(coredata, blob)).toBe('abc')
  })

  test.for(['text/html', 'text/plain; charset=utf-8', undefined])(
    'of the media type %s instead of the announced one is 403',
    async (type, { coredata }) => {
      const { blob, path } = await announce(coredata, 3, 'text/plain')
      expect(await coredata.send('PUT', path, textOf('one'))).toMatchObject({ status: 201 })
      const sent = { payload: 'two', ...(type && { headers: { 'content-type': type } }) }
      expect(await coredata.send('PUT', path, sent)).toMatchObject(notAsSigned)
      expect(await textOfBlob(coredata, blob)).toBe('one')
    },
  )

  test('of what is no media type is refused', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 3)
    expect(await coredata.send('PUT', path, textOf('one', 'odd'))).toMatchObject({ status: 400 })
    expect(await useBlob(coredata, blob)).toMatchObject({ status: 400 })
  })

  test('of another length is 400, and what was there stays', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 3)
    await coredata.send('PUT', path, textOf('one'))
    for (const text of ['', 'tw', 'more', 'x'.repeat(100_000)]) {
      expect(await coredata.send('PUT', path, textOf(text)), text).toMatchObject(refused(400, 'BadRequest'))
    }
    expect(await textOfBlob(coredata, blob)).toBe('one')
    expect(await storedObjects(coredata)).toEqual([])
  })

  test('overwrites until the blob is used, and never after', async ({ coredata }) => {
    const { blob, path } = await announce(coredata, 3)
    for (const text of ['one', 'two']) await coredata.send('PUT', path, textOf(text))
    const made = await useBlob(coredata, blob)
    expect(await coredata.send('PUT', path, textOf('six'))).toMatchObject(refused(403, 'AccessDenied'))
    const id = idIn(made)
    const content = await coredata.send('GET', await contentPath(coredata, id))
    expect(content.raw.toString()).toBe('two')
  })

  test('is over when the address runs out', async ({ coredata }) => {
    const { path } = await announce(coredata, 3)
    coredata.world.advance(HOUR_MS - 60_000)
    expect(await coredata.send('PUT', path, textOf('one'))).toMatchObject({ status: 201 })
    coredata.world.advance(60_000)
    expect(await coredata.send('PUT', path, textOf('two'))).toMatchObject(refused(403, 'AccessDenied'))
    expect(
      await coredata.send(
        'PUT',
        altered(path, 'Expires', v => String(Number(v) + 3600)),
        textOf('two'),
      ),
    ).toMatchObject(notAsSigned)
  })

  test.for([
    ['another signature', 'Signature', flipped],
    ['no signature', 'Signature', () => undefined],
    ['an empty signature', 'Signature', () => ''],
    ['half a signature', 'Signature', (value: string) => value.slice(0, 14)],
    ['a later end', 'Expires', later],
    ['an end that is no number', 'Expires', (value: string) => `${value}.0`],
    ['no end', 'Expires', () => undefined],
    ['another signer', 'AWSAccessKeyId', (value: string) => `${value}0`],
    ['no signer', 'AWSAccessKeyId', () => undefined],
    ['a parameter more', 'partNumber', () => '1'],
  ] as const)('with %s is 403', async ([, name, change], { coredata }) => {
    const { blob, path } = await announce(coredata, 3)
    expect(await coredata.send('PUT', altered(path, name, change), textOf('one'))).toMatchObject(notAsSigned)
    expect(await useBlob(coredata, blob)).toMatchObject({ status: 400 })
  })

  test('with a parameter twice, or to another blob, is 403', async ({ coredata }) => {
    const [one, other] = [await announce(coredata, 3), await announce(coredata, 3)]
    for (const name of ['Signature', 'Expires', 'AWSAccessKeyId']) {
      const value = encodeURIComponent(new URL(one.path, 'http://x').searchParams.get(name) ?? '')
      expect(await coredata.send('PUT', `${one.path}&${name}=${value}`, textOf('one')), name).toMatchObject(notAsSigned)
    }
    const mixed = one.path.replace(one.blob, other.blob)
    expect(await coredata.send('PUT', mixed, textOf('one'))).toMatchObject(notAsSigned)
  })

  test('is for whoever holds the address, whatever becomes of the key', async ({ coredata }) => {
    const { world, users } = coredata
    const { path } = await announce(coredata, 3)
    await inTx(world.system, ctx => revokeTokensOf(ctx, users.editor.user.id))
    for (const headers of [{}, { authorization: `apikey ${coredata.keys.editor}` }, { authorization: 'Basic eDp5' }]) {
      expect(await coredata.send('PUT', path, { payload: 'one', headers })).toMatchObject({ status: 201 })
    }
  })

  test('a blob that nobody knows any more is 404', async ({ coredata }) => {
    const { world } = coredata
    const { path } = await announce(coredata, 3)
    await world.deps.database.transaction(tx => tx.deleteFrom('upload').execute())
    expect(await coredata.send('PUT', path, textOf('one'))).toMatchObject(refused(404, 'NoSuchKey'))
  })

  test('what is no name of a blob is 404', async ({ coredata }) => {
    const { path, blob } = await announce(coredata, 3)
    const wrong = path.replace(blob, 'x')
    expect(await coredata.send('PUT', wrong, textOf('one'))).toMatchObject({ status: 404 })
  })

  test('an address to put does not get, and the other way round', async ({ coredata }) => {
    const { path } = await announce(coredata, 3)
    await coredata.send('PUT', path, textOf('one'))
    for (const method of ['GET', 'HEAD'])
      expect(await coredata.send(method, path), method).toMatchObject({ status: 403 })
    const id = await coredata.file(coredata.folder.nodeId)
    const got = await contentPath(coredata, id)
    expect(await coredata.send('PUT', got, textOf('changed'))).toMatchObject(notAsSigned)
    expect((await coredata.send('GET', got)).raw.toString()).toBe('content')
  })

  test('other methods are 405', async ({ coredata }) => {
    const { path } = await announce(coredata, 3)
    for (const method of ['POST', 'DELETE', 'PATCH']) {
      const answer = await coredata.send(method, path, { beyondContract: true })
      expect(answer, method).toMatchObject({ status: 405, headers: { allow: 'PUT, GET, HEAD' } })
    }
  })
})

describe('getBlob', () => {
  test('gives the content without a key, as the address says', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId, "Bär's (1).txt", 'Grüße')
    const answer = await coredata.send('GET', await contentPath(coredata, id), {
      headers: { authorization: 'apikey wrong' },
    })
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'text/plain',
        'content-length': '7',
        'content-disposition': "attachment; filename*=utf-8''B%C3%A4r%27s%20%281%29.txt",
        'last-modified': expect.stringMatching(/^Mon, 05 Jan 2026 08:0\d:\d\d GMT$/) as string,
        'accept-ranges': 'bytes',
      },
    })
    expect(answer.raw.toString()).toBe('Grüße')
  })

  test.for(['text/€', 'text/plain\x01', 'odd', 'text/pl ain'])(
    'gives a file of the media type %o as bytes',
    async (type, { coredata }) => {
      const fields = { filename: 'a.txt', title: 'a', parent: coredata.folder.id }
      const parts = Object.entries(fields).map(([name, content]) => ({ name, content }))
      const body = multipart([...parts, { name: 'content', content: 'content', filename: 'x', type }])
      const made = await coredata.send('POST', '/api/v2/files/', { as: 'editor', ...body })
      expect(made.status).toBe(201)
      const path = await contentPath(coredata, idIn(made))
      expect(await coredata.send('GET', path)).toMatchObject({
        status: 200,
        headers: { 'content-type': 'application/octet-stream' },
        raw: Buffer.from('content'),
      })
    },
  )

  test('gives ranges, and to HEAD the headers alone', async ({ coredata }) => {
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId, 'a.txt', '0123456789'))
    const range = (text: string) => coredata.send('GET', path, { headers: { range: text } })
    expect(await range('bytes=2-4')).toMatchObject({
      status: 206,
      headers: { 'content-range': 'bytes 2-4/10', 'content-length': '3' },
      raw: Buffer.from('234'),
    })
    expect(await range('bytes=-3')).toMatchObject({ status: 206, raw: Buffer.from('789') })
    expect(await range('bytes=10-')).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */10' } })
    expect(await coredata.send('HEAD', path)).toMatchObject({
      status: 200,
      headers: { 'content-length': '10', 'content-type': 'text/plain', 'accept-ranges': 'bytes' },
      raw: empty,
    })
  })

  test('answers conditions', async ({ coredata }) => {
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    const first = await coredata.send('GET', path)
    const ask = (headers: Record<string, string>) => coredata.send('GET', path, { headers, beyondContract: true })
    const etag = String(first.headers.etag)
    expect(await ask({ 'if-none-match': etag })).toMatchObject({ status: 304, raw: empty })
    expect(await ask({ 'if-none-match': '"other"' })).toMatchObject({ status: 200 })
    expect(await ask({ 'if-modified-since': String(first.headers['last-modified']) })).toMatchObject({ status: 304 })
    expect(await ask({ 'if-match': '"other"' })).toMatchObject({ status: 412 })
    expect(await ask({ range: 'bytes=0-0', 'if-range': etag })).toMatchObject({ status: 206 })
    expect(await ask({ range: 'bytes=0-0', 'if-range': '"other"' })).toMatchObject({ status: 200 })
  })

  test.for([
    ['Signature', flipped],
    ['Signature', () => undefined],
    ['Expires', later],
    ['Expires', () => undefined],
    ['AWSAccessKeyId', flipped],
    ['AWSAccessKeyId', () => undefined],
    ['response-content-disposition', () => ' inline'],
    ['response-content-disposition', () => undefined],
    ['response-content-type', () => 'text/html'],
    ['response-content-type', () => undefined],
    ['versionId', later],
    ['versionId', () => undefined],
    ['response-cache-control', () => 'public'],
  ] as const)('with another, or without, %s is 403', async ([name, change], { coredata }) => {
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    expect(await coredata.send('GET', altered(path, name, change))).toMatchObject(notAsSigned)
  })

  test('of another signer who exists, and of another blob, is 403', async ({ coredata }) => {
    const [one, other] = [
      await coredata.file(coredata.folder.nodeId, 'a'),
      await coredata.file(coredata.folder.nodeId, 'b'),
    ]
    const path = await contentPath(coredata, one)
    const signer = altered(path, 'AWSAccessKeyId', () => `s3f:${coredata.users.reader.user.id}`)
    expect(await coredata.send('GET', signer)).toMatchObject(notAsSigned)
    const { pathname } = new URL(await contentPath(coredata, other), 'http://x')
    const { search } = new URL(path, 'http://x')
    expect(await coredata.send('GET', pathname + search)).toMatchObject(notAsSigned)
  })

  test('is over after an hour', async ({ coredata }) => {
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    coredata.world.advance(HOUR_MS)
    expect(await coredata.send('GET', path)).toMatchObject(refused(403, 'AccessDenied'))
  })

  test('gives the old content after a change, until it runs out or is purged', async ({ coredata }) => {
    const { send, world } = coredata
    const id = await coredata.file(coredata.folder.nodeId, 'a.txt', 'old')
    const before = await contentPath(coredata, id)
    const { currentVersionId } = await findNodeByUid(world.system, id)
    const headers = { 'content-type': 'application/octet-stream' }
    expect(await send('PUT', `/api/v2/files/${id}/content/`, { as: 'editor', payload: 'new', headers })).toMatchObject({
      status: 201,
    })

    expect((await send('GET', before)).raw.toString()).toBe('old')
    expect((await send('GET', await contentPath(coredata, id))).raw.toString()).toBe('new')
    await purgeVersion(world.system, { versionId: currentVersionId! })
    expect(await send('GET', before)).toMatchObject(refused(404, 'NoSuchKey'))
  })

  test('of a deleted file lives on until it is purged', async ({ coredata }) => {
    const { send, world } = coredata
    const id = await coredata.file(coredata.folder.nodeId)
    const path = await contentPath(coredata, id)
    const node = await getLiveNode(world.system, (await findNodeByUid(world.system, id)).id)
    await deleteNode(world.system, { nodeId: node.id })
    expect(await send('GET', path)).toMatchObject({ status: 200 })
    await purgeVersion(world.system, { versionId: node.currentVersionId! })
    expect(await send('GET', path)).toMatchObject(refused(404, 'NoSuchKey'))
  })

  test('gives nothing that is held back', async ({ coredata }) => {
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    await coredata.world.deps.database.transaction(tx =>
      tx.updateTable('version').set({ screening: 'quarantined' }).execute(),
    )
    expect(await coredata.send('GET', path)).toMatchObject(refused(403, 'AccessDenied'))
    expect(await coredata.send('HEAD', path)).toMatchObject({ status: 403, raw: empty })
  })

  test('is a read in the audit log, by whom the address was made for', async ({ coredata }) => {
    const { world, users } = coredata
    const path = await contentPath(coredata, await coredata.file(coredata.folder.nodeId), 'reader')
    const reads = async () => {
      await world.deps.reads.flush()
      const rows = world.system.db.selectFrom('event').select(['actorId', 'client']).where('type', '=', 'version.read')
      return rows.execute()
    }
    await coredata.send('HEAD', path)
    expect(await reads()).toEqual([])
    await coredata.send('GET', path, { headers: { 'user-agent': 'fetcher/1' } })
    expect(await reads()).toEqual([{ actorId: users.reader.user.id, client: 'fetcher/1' }])
  })
})

describe('an address', () => {
  test.for(['blocked', 'removed'] as const)('of a %s account opens nothing', async (what, { coredata }) => {
    const { world, users, send } = coredata
    const get = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    const { path: put } = await announce(coredata, 3)
    const userId = users.editor.user.id
    if (what === 'blocked') await updateUser(world.system, { userId, state: 'blocked' })
    else await removeUser(world.system, { userId })
    expect(await send('GET', get)).toMatchObject(refused(403, 'InvalidAccessKeyId'))
    expect(await send('PUT', put, textOf('one'))).toMatchObject(refused(403, 'InvalidAccessKeyId'))
  })

  test("opens nothing at another tenant's host", async ({ coredata }) => {
    const { world, send } = coredata
    const other = await world.otherTenant()
    await setTenantHosts(world.system, { tenantId: other.id, hosts: ['other.example'] })
    const get = await contentPath(coredata, await coredata.file(coredata.folder.nodeId))
    const { path: put } = await announce(coredata, 3)
    const headers = { host: 'other.example' }
    expect(await send('GET', get, { headers })).toMatchObject(refused(403, 'InvalidAccessKeyId'))
    expect(await send('PUT', put, { payload: 'one', headers })).toMatchObject(refused(403, 'InvalidAccessKeyId'))
  })
})
