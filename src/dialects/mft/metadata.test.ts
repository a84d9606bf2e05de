import { describe, expect } from 'vitest'
import { jsonOf, formOf, test } from '#test/mft-world.ts'
import { builtInNames } from './schemas.ts'

const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const failed = (errorType: string, message: string) => ({ result: 'failed', timestamp: time, message, errorType })
const badRequest = failed('request_syntax', 'Missing parameters or syntax error')
const noFilename = failed('request_syntax', 'No filename specified')
const noFileset = failed('request_syntax', 'No fileset specified')

interface Metadata {
  metadata: Record<string, string>
}

describe('by path', () => {
  const address = '/2.0/metadata/inbox/x'

  test('shows what is known of a file, in the order of the document', async ({ mft }) => {
    const fileset = await mft.put('inbox/x', 'four')
    const { body } = await mft.send('GET', address, { as: mft.cookies.partner })
    expect(body).toEqual({
      id: '/inbox/x',
      uri: 'http://localhost:80/2.0/files/inbox/x',
      metaUri: 'http://localhost:80/2.0/metadata/inbox/x',
      filename: 'x',
      fileset,
      metadata: {
        dstFileName: '',
        size: '4',
        correlationId: '',
        putDate: time,
        firstReadDate: '',
        lastModifiedTime: time,
        lastAccessTime: '',
        creationTime: time,
        datatype: 'application/octet-stream',
        description: '',
      },
    })
    expect(Object.keys((body as Metadata).metadata)).toEqual(builtInNames)
  })

  test('sets what is named and keeps the rest', async ({ mft }) => {
    const fileset = await mft.put('inbox/x')
    const set = (value: unknown) => mft.send('POST', address, { as: mft.cookies.partner, ...jsonOf(value) })
    expect(await set({ Partner: 'P5', description: 'first', empty: '' })).toMatchObject({
      status: 200,
      body: { result: 'ok', timestamp: time, message: 'Metadata updated', fileset },
    })
    await set({ metadata: { description: 'second', n: 1.5, yes: true } })
    await set([{ name: 'pair', value: 'listed' }])
    await set({ metadata: [{ name: 'dstFileName', value: 'to.txt' }] })
    await set({ metadata: 'bare' })
    await set({ metadata: 'bare', 'with a blank': 'x' })
    const { body } = await mft.send('GET', address, { as: mft.cookies.partner })
    expect(body).toMatchObject({
      metadata: {
        Partner: 'P5',
        description: 'second',
        empty: '',
        n: '1.5',
        yes: 'true',
        pair: 'listed',
        dstFileName: 'to.txt',
        metadata: 'bare',
        'with a blank': 'x',
      },
    })
    expect(await mft.world.events()).toContain('node.changed')
  })

  test('an answer can be sent back as it came', async ({ mft }) => {
    await mft.put('inbox/x')
    const before = await mft.send('GET', address, { as: mft.cookies.partner })
    const { metadata } = before.body as Metadata
    expect((await mft.send('POST', address, { as: mft.cookies.partner, ...jsonOf({ metadata }) })).status).toBe(200)
    expect((await mft.send('GET', address, { as: mft.cookies.partner })).body).toEqual(before.body)
  })

  test('datatype decides how the file is sent', async ({ mft }) => {
    await mft.put('inbox/x')
    await mft.send('POST', address, { as: mft.cookies.partner, ...jsonOf({ datatype: 'application/pdf' }) })
    const { headers } = await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })
    expect(headers['content-type']).toBe('application/pdf')
  })

  test('names that mean something to a runtime are plain names', async ({ mft }) => {
    await mft.put('inbox/x')
    const content = '{"__proto__":"a","constructor":"b","toString":"c"}'
    expect((await mft.send('POST', address, { as: mft.cookies.partner, ...jsonOf(content) })).status).toBe(200)
    const { raw } = await mft.send('GET', address, { as: mft.cookies.partner })
    expect(raw.toString()).toContain('"__proto__":"a","constructor":"b","toString":"c"')
    const listed = await mft.send('GET', '/2.0/directories/inbox?attributes=constructor,valueOf', {
      as: mft.cookies.partner,
    })
    expect(listed.raw.toString()).toContain('"attributes":{"constructor":"b","valueOf":""}')
  })

  test.for([
    ['broken JSON', jsonOf('{"a"')],
    ['nested values', jsonOf({ a: { b: 'c' } })],
    ['nested values below metadata', jsonOf({ metadata: { a: [1] } })],
    ['null', jsonOf({ a: null })],
    ['a text', jsonOf('"x"')],
    ['an empty name', jsonOf({ '': 'x' })],
    ['a pair without value', jsonOf([{ name: 'x' }])],
    ['NUL', jsonOf({ a: '\0' })],
    ['half a character', jsonOf('{"a":"\\udc00"}')],
    ['a line break in the datatype', jsonOf({ datatype: 'text/plain\r\nX: y' })],
    ['too many names', jsonOf(Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`k${n}`, 'v'])))],
    ['too much of it', jsonOf({ a: 'x'.repeat(300_000) })],
    ['a form', formOf({ a: 'b' })],
    ['no type', { payload: '{"a":"b"}' }],
    ['no body', {}],
    [
      'bytes that are no text',
      { headers: { 'content-type': 'application/json' }, payload: Buffer.from('{"a":"\xff"}', 'latin1') },
    ],
  ] as const)('%s is 400 and changes nothing', async ([, sent], { mft }) => {
    await mft.put('inbox/x')
    expect(await mft.send('POST', address, { as: mft.cookies.partner, ...sent })).toMatchObject({
      status: 400,
      body: badRequest,
    })
    const { body } = await mft.send('GET', address, { as: mft.cookies.partner })
    expect(Object.keys((body as Metadata).metadata)).toEqual(builtInNames)
  })

  test.for([
    ['inbox/none', 404, failed('io', "/inbox/none doesn't exist")],
    ['nowhere/none', 404, failed('io', "Path '/nowhere' doesn't exist")],
    ['inbox', 400, noFilename],
    ['inbox/', 400, noFilename],
    ['', 400, noFilename],
    ['inbox/a%00', 400, badRequest],
  ] as const)('%s is %i', async ([path, status, body], { mft }) => {
    const at = `/2.0/metadata/${path}`
    expect(await mft.send('GET', at, { as: mft.cookies.partner })).toMatchObject({ status, body })
    expect(await mft.send('POST', at, { as: mft.cookies.partner, ...jsonOf({ a: 'b' }) })).toMatchObject({
      status,
      body,
    })
  })

  test('who may change but not write sets metadata, who may only list neither sets nor reads', async ({ mft }) => {
    await mft.put('inbox/x')
    const set = (path: string, as?: string) =>
      mft.send('POST', `/2.0/metadata/${path}`, { ...(as && { as }), ...jsonOf({ a: 'b' }) })
    expect((await set('partner5/inbox/x', mft.cookies.clerk)).status).toBe(200)
    for (const path of ['inbox/x', 'inbox/none', 'nowhere/x']) {
      expect(await set(path, mft.cookies.reader)).toMatchObject({
        status: 403,
        body: failed('authorization', 'No write permission'),
      })
      expect(await mft.send('GET', `/2.0/metadata/${path}`, { as: mft.cookies.reader })).toMatchObject({
        status: 403,
        body: failed('authorization', 'No read permission'),
      })
    }
    expect((await set('inbox/x')).status).toBe(401)
    expect((await mft.send('GET', address)).status).toBe(401)
  })
})

describe('by fileset', () => {
  test('reads and sets', async ({ mft }) => {
    const fileset = await mft.put('inbox/x')
    const at = `/2.0/metadatabyid/${fileset}`
    const set = await mft.send('POST', at, { as: mft.cookies.partner, ...jsonOf({ Partner: 'P5' }) })
    expect(set).toMatchObject({ status: 200, body: { message: 'Metadata updated', fileset } })
    const read = await mft.send('GET', at, { as: mft.cookies.partner })
    expect(read.body).toMatchObject({ id: '/inbox/x', fileset, metadata: { Partner: 'P5' } })
    const other = await mft.send('GET', at, { as: mft.cookies.clerk })
    expect(other.body).toMatchObject({ id: '/partner5/inbox/x' })
  })

  test.for(['', '0', '-1', 'abc', '1.5', '0x1', '1e3', '99999999999999999999', '1/2', '1/', '%31', '9007199254740993'])(
    '%j is no number',
    async (id, { mft }) => {
      for (const resource of ['metadatabyid', 'fileset']) {
        expect(await mft.send('GET', `/2.0/${resource}/${id}`, { as: mft.cookies.partner })).toMatchObject({
          status: 400,
          body: noFileset,
        })
      }
      expect(
        await mft.send('POST', `/2.0/metadatabyid/${id}`, { as: mft.cookies.partner, ...jsonOf({ a: 'b' }) }),
      ).toMatchObject({ status: 400 })
      expect(await mft.send('DELETE', `/2.0/fileset/${id}`, { as: mft.cookies.partner })).toMatchObject({
        status: 400,
        body: noFileset,
      })
    },
  )

  test('an unknown number, a folder’s and one outside the view are 404', async ({ mft }) => {
    for (const id of [4_000_000_000, 9007199254740991, mft.spaceId]) {
      const missing = failed('io', `${id} doesn't exist`)
      for (const resource of ['metadatabyid', 'fileset']) {
        expect(await mft.send('GET', `/2.0/${resource}/${id}`, { as: mft.cookies.partner })).toMatchObject({
          status: 404,
          body: missing,
        })
      }
      expect(
        await mft.send('POST', `/2.0/metadatabyid/${id}`, { as: mft.cookies.partner, ...jsonOf({ a: 'b' }) }),
      ).toMatchObject({ status: 404, body: missing })
      expect(await mft.send('DELETE', `/2.0/fileset/${id}`, { as: mft.cookies.partner })).toMatchObject({
        status: 404,
        body: missing,
      })
    }
  })

  test('a broken body is 400', async ({ mft }) => {
    const fileset = await mft.put('inbox/x')
    expect(
      await mft.send('POST', `/2.0/metadatabyid/${fileset}`, { as: mft.cookies.partner, ...jsonOf('[1]') }),
    ).toMatchObject({ status: 400, body: badRequest })
  })

  test('without a right 403, without a session 401', async ({ mft }) => {
    const fileset = await mft.put('inbox/x')
    const cases = [
      ['GET', 'metadatabyid', 'No read permission'],
      ['POST', 'metadatabyid', 'No write permission'],
      ['GET', 'fileset', 'No read permission'],
      ['DELETE', 'fileset', 'No delete permission'],
    ] as const
    for (const [method, resource, message] of cases) {
      const sent = method === 'POST' ? jsonOf({ a: 'b' }) : {}
      const at = `/2.0/${resource}/${fileset}`
      expect(await mft.send(method, at, { as: mft.cookies.reader, ...sent })).toMatchObject({
        status: 403,
        body: failed('authorization', message),
      })
      expect((await mft.send(method, at, sent)).status).toBe(401)
    }
    expect((await mft.world.events()).filter(type => type === 'access.refused refused')).toHaveLength(4)
  })
})

describe('filesets', () => {
  test('are downloaded and deleted by number', async ({ mft }) => {
    const fileset = await mft.put('inbox/x', 'by number')
    const read = await mft.send('GET', `/2.0/fileset/${fileset}`, { as: mft.cookies.partner })
    expect(read.raw.toString()).toBe('by number')
    const deleted = await mft.send('DELETE', `/2.0/fileset/${fileset}`, { as: mft.cookies.partner })
    expect(deleted).toMatchObject({
      status: 200,
      body: { result: 'ok', timestamp: time, message: 'File deleted', fileset },
    })
    expect((await mft.send('GET', `/2.0/fileset/${fileset}`, { as: mft.cookies.partner })).status).toBe(404)
    expect((await mft.send('DELETE', `/2.0/fileset/${fileset}`, { as: mft.cookies.partner })).status).toBe(404)
  })
})
