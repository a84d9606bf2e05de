import { describe, expect } from 'vitest'
import { formOf, jsonOf, multipart, test, type Part } from '#test/mft-world.ts'

const file = (content: Part['content'] = 'content', more: Partial<Part> = {}): Part => ({
  name: 'file',
  content,
  ...more,
})
const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const failed = (errorType: string, message: string) => ({ result: 'failed', timestamp: time, message, errorType })
const noFilename = failed('request_syntax', 'No filename specified')
const badRequest = failed('request_syntax', 'Missing parameters or syntax error')
const untimed = ({ result, message, errorType }: ReturnType<typeof failed>) => ({ result, message, errorType })

describe('uploadFile', () => {
  test('stores the part as the file of the address', async ({ mft }) => {
    const answer = await mft.send('PUT', '/2.0/files/inbox/a%20b.txt', {
      as: mft.cookies.partner,
      ...multipart([file('Grüße', { filename: 'other.txt', type: 'text/plain' })]),
    })
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      result: 'ok',
      timestamp: time,
      message: 'Upload successful',
      fileset: expect.any(Number),
    })
    expect(Object.keys(answer.body as object)).toEqual(['result', 'timestamp', 'message', 'fileset'])
    const read = await mft.send('GET', '/2.0/files/inbox/a%20b.txt', { as: mft.cookies.partner })
    expect(read.raw.toString()).toBe('Grüße')
    expect(read.headers).toMatchObject({
      'content-type': 'text/plain',
      'content-disposition': 'attachment; filename="a b.txt"',
    })
    expect(await mft.world.events()).toContain('version.created')
  })

  test('stores an empty and a large file just as well', async ({ mft }) => {
    const large = Buffer.alloc(3_000_000, 'entrepot\r\n--entrepot')
    for (const content of [Buffer.alloc(0), large]) {
      const sent = multipart([file(content)])
      expect((await mft.send('PUT', '/2.0/files/inbox/x', { as: mft.cookies.partner, ...sent })).status).toBe(201)
      const { raw, headers } = await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })
      expect(raw.equals(content)).toBe(true)
      expect(headers['content-length']).toBe(String(content.length))
    }
  })

  test('a known name gets a new fileset and loses its metadata; the old number is gone', async ({ mft }) => {
    const first = await mft.put('inbox/x', 'one')
    await mft.send('POST', '/2.0/metadata/inbox/x', { as: mft.cookies.partner, ...jsonOf({ Partner: '5' }) })
    const second = await mft.put('inbox/x', 'two')
    expect(second).toBeGreaterThan(first)
    expect((await mft.send('GET', `/2.0/fileset/${first}`, { as: mft.cookies.partner })).status).toBe(404)
    const { body } = await mft.send('GET', '/2.0/metadata/inbox/x', { as: mft.cookies.partner })
    expect(body).not.toHaveProperty('metadata.Partner')
  })

  test.for([
    ['no file name', '/2.0/files/inbox/', noFilename],
    ['no path', '/2.0/files/', noFilename],
    ['nothing at all', '/2.0/files', noFilename],
    ['a directory', '/2.0/files/inbox', noFilename],
    ['a nested directory', '/2.0/files/outbox/archive', noFilename],
    ['an encoded slash', '/2.0/files/inbox/a%2Fb', badRequest],
    ['NUL', '/2.0/files/inbox/a%00', badRequest],
    ['an empty segment', '/2.0/files/inbox//x', badRequest],
    ['broken encoding', '/2.0/files/inbox/%zz', badRequest],
    ['a name that is too long', `/2.0/files/inbox/${'x'.repeat(256)}`, badRequest],
    ['a line break in the name', '/2.0/files/inbox/a%0Ab', badRequest],
    ['a backslash in the name', '/2.0/files/inbox/a%5Cb', badRequest],
  ] as const)('%s is 400', async ([, path, body], { mft }) => {
    const answer = await mft.send('PUT', path, { as: mft.cookies.partner, ...multipart([file()]) })
    expect(answer.status).toBe(400)
    expect(answer.body).toEqual(body)
  })

  test.for([
    ['no body', {}],
    ['a form', formOf({ file: 'x' })],
    ['no part of that name', multipart([{ name: 'other', content: 'x' }])],
    ['no part', multipart([])],
    ['two of them', multipart([file('a'), file('b')])],
    ['no end', { ...multipart([file()]), payload: multipart([file()]).payload.subarray(0, -6) }],
    [
      'another boundary',
      { ...multipart([file()]), headers: { 'content-type': 'multipart/form-data; boundary=other' } },
    ],
    ['no boundary', { ...multipart([file()]), headers: { 'content-type': 'multipart/form-data' } }],
    ['a broken type', { ...multipart([file()]), headers: { 'content-type': 'multipart' } }],
  ] as const)('a body with %s is 400 and leaves nothing', async ([, sent], { mft }) => {
    const answer = await mft.send('PUT', '/2.0/files/inbox/x', { as: mft.cookies.partner, ...sent })
    expect(answer.status).toBe(400)
    expect(answer.body).toEqual(badRequest)
    expect((await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })).status).toBe(404)
  })

  test('without a right it is 403, whether or not there is such a file or path', async ({ mft }) => {
    await mft.put('inbox/x')
    const noWrite = failed('authorization', 'No write permission')
    for (const path of ['inbox/x', 'inbox/y', 'nowhere/x', 'inbox/x/y', 'inbox']) {
      const answer = await mft.send('PUT', `/2.0/files/${path}`, { as: mft.cookies.reader, ...multipart([file()]) })
      expect(answer, path).toMatchObject({ status: 403, body: noWrite })
    }
    const locked = await mft.send('PUT', '/2.0/files/locked/x', { as: mft.cookies.partner, ...multipart([file()]) })
    expect(locked).toMatchObject({ status: 403, body: noWrite })
    expect((await mft.world.events()).slice(-1)).toEqual(['access.refused refused'])
  })

  test('a missing directory is 404, a file is none', async ({ mft }) => {
    await mft.put('inbox/x')
    for (const [path, missing] of [
      ['nowhere/deep/y', '/nowhere/deep'],
      ['inbox/x/y', '/inbox/x'],
      ['Inbox/y', '/Inbox'],
    ]) {
      const answer = await mft.send('PUT', `/2.0/files/${path}`, { as: mft.cookies.partner, ...multipart([file()]) })
      expect(answer).toMatchObject({ status: 404, body: failed('io', `Path '${missing}' doesn't exist`) })
    }
  })

  test('nothing is stored at the top of a view that shows spaces', async ({ mft }) => {
    const answer = await mft.send('PUT', '/2.0/files/x', { as: mft.cookies.clerk, ...multipart([file()]) })
    expect(answer).toMatchObject({ status: 403, body: failed('authorization', 'No write permission') })
  })
})

describe('uploadFileWithMetadata', () => {
  const post = '/2.0/files/inbox/x'

  test.for([
    ['before', (metadata: Part) => [metadata, file()]],
    ['after', (metadata: Part) => [file(), metadata]],
  ] as const)('takes metadata %s the file', async ([, order], { mft }) => {
    const metadata = {
      name: 'metadata',
      content: '{"metadata":{"Partner":"P5","n":7,"datatype":"text/csv"}}',
      type: 'application/json',
    }
    const answer = await mft.send('POST', post, { as: mft.cookies.partner, ...multipart(order(metadata)) })
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({ result: 'ok', message: 'Upload successful', fileset: expect.any(Number) })
    const read = await mft.send('GET', '/2.0/metadata/inbox/x', { as: mft.cookies.partner })
    expect(read.body).toMatchObject({ metadata: { Partner: 'P5', n: '7', datatype: 'text/csv' } })
    expect((await mft.send('GET', post, { as: mft.cookies.partner })).headers['content-type']).toBe('text/csv')
  })

  test('takes the name of the part where the address is a directory', async ({ mft }) => {
    const sent = (filename: string) => multipart([file('in', { filename })])
    for (const [path, filename, stored] of [
      ['inbox', 'a.txt', 'inbox/a.txt'],
      ['inbox/', 'C:\\temp\\b.txt', 'inbox/b.txt'],
      ['', '../../c.txt', 'c.txt'],
      ['outbox/archive', 'd', 'outbox/archive/d'],
    ] as const) {
      expect(
        (await mft.send('POST', `/2.0/files/${path}`, { as: mft.cookies.partner, ...sent(filename) })).status,
      ).toBe(201)
      expect((await mft.send('GET', `/2.0/files/${stored}`, { as: mft.cookies.partner })).raw.toString()).toBe('in')
    }
  })

  test.for([
    ['', 'No filename specified'],
    ['..', 'No filename specified'],
    ['a/', 'No filename specified'],
    ['x'.repeat(300), 'Missing parameters or syntax error'],
  ] as const)('refuses the part name %j for a directory', async ([filename, message], { mft }) => {
    const answer = await mft.send('POST', '/2.0/files/inbox', {
      as: mft.cookies.partner,
      ...multipart([file('x', { filename })]),
    })
    expect(answer.status).toBe(400)
    expect(answer.body).toEqual(untimed(failed('request_syntax', message)))
  })

  test.for([
    ['broken', '{"a":'],
    ['null', 'null'],
    ['a number', '7'],
    ['nested', '{"a":{"b":"c"}}'],
    ['with null', '{"a":null}'],
    ['without a name', '{"":"x"}'],
    ['with NUL', '{"a":"\\u0000"}'],
    ['with half a character', '{"a":"\\ud800"}'],
    ['too large', JSON.stringify({ a: 'x'.repeat(300_000) })],
    ['with too long a value', JSON.stringify({ a: 'x'.repeat(9_000) })],
  ] as const)('metadata that is %s is 400 and stores nothing', async ([, content], { mft }) => {
    for (const parts of [
      [file(), { name: 'metadata', content }],
      [{ name: 'metadata', content }, file()],
    ]) {
      const answer = await mft.send('POST', post, { as: mft.cookies.partner, ...multipart(parts) })
      expect(answer).toMatchObject({ status: 400 })
      expect(answer.body).toEqual(untimed(badRequest))
    }
    expect((await mft.send('GET', post, { as: mft.cookies.partner })).status).toBe(404)
  })

  test('without a right, without a path: 403, then 404', async ({ mft }) => {
    for (const path of ['inbox', 'inbox/x', 'nowhere/x', 'nowhere/']) {
      const refused = await mft.send('POST', `/2.0/files/${path}`, { as: mft.cookies.reader, ...multipart([file()]) })
      expect(refused.status).toBe(403)
      expect(refused.body).toEqual(untimed(failed('authorization', 'No write permission')))
    }
    for (const path of ['nowhere/x', 'nowhere/']) {
      const answer = await mft.send('POST', `/2.0/files/${path}`, { as: mft.cookies.partner, ...multipart([file()]) })
      expect(answer.body).toEqual(untimed(failed('io', "Path '/nowhere' doesn't exist")))
    }
  })

  test('without a session: 401 without a time', async ({ mft }) => {
    const answer = await mft.send('POST', post, multipart([file()]))
    expect(answer.body).toEqual(untimed(failed('authentication', 'Invalid username or password')))
  })
})

describe('downloadFile', () => {
  test('notes the reading', async ({ mft }) => {
    await mft.put('inbox/x')
    await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })
    await mft.world.deps.reads.flush()
    const { body } = await mft.send('GET', '/2.0/metadata/inbox/x', { as: mft.cookies.partner })
    expect(body).toMatchObject({ metadata: { firstReadDate: time, lastAccessTime: time } })
    expect(await mft.world.events()).toContain('version.read')
  })

  test('a HEAD tells the same without the content', async ({ mft }) => {
    await mft.put('inbox/x')
    const headers = { cookie: mft.cookies.partner }
    const answer = await mft.app.inject({ method: 'HEAD', url: '/2.0/files/inbox/x', headers })
    expect(answer).toMatchObject({ statusCode: 200, payload: '' })
    expect(answer.headers['content-length']).toBe('7')
  })

  test('a range is answered in part', async ({ mft }) => {
    await mft.put('inbox/x', '0123456789')
    const headers = { cookie: mft.cookies.partner, range: 'bytes=2-4' }
    const answer = await mft.app.inject({ method: 'GET', url: '/2.0/files/inbox/x', headers })
    expect(answer).toMatchObject({ statusCode: 206, payload: '234' })
  })

  test('a datatype that is no media type does not become a header', async ({ mft }) => {
    await mft.put('inbox/x')
    await mft.send('POST', '/2.0/metadata/inbox/x', { as: mft.cookies.partner, ...jsonOf({ datatype: 'my invoices' }) })
    const { headers } = await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })
    expect(headers['content-type']).toBe('application/octet-stream')
  })

  test.for([
    ['inbox/none', 404, failed('io', "File '/inbox/none' doesn't exist")],
    ['nowhere/none', 404, failed('io', "Path '/nowhere' doesn't exist")],
    ['inbox', 400, noFilename],
    ['inbox/', 400, noFilename],
    ['', 400, noFilename],
    ['inbox/a%2Fb', 400, badRequest],
    ['locked/none', 403, failed('authorization', 'No read permission')],
  ] as const)('of %s is %i', async ([path, status, body], { mft }) => {
    const answer = await mft.send('GET', `/2.0/files/${path}`, { as: mft.cookies.partner })
    expect(answer).toMatchObject({ status, body })
  })

  test('without a right it is 403, without a session 401', async ({ mft }) => {
    await mft.put('inbox/x')
    const refused = await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.reader })
    expect(refused).toMatchObject({ status: 403, body: failed('authorization', 'No read permission') })
    const stranger = await mft.send('GET', '/2.0/files/inbox/x')
    expect(stranger).toMatchObject({ status: 401, body: failed('authentication', 'Invalid username or password') })
  })

  test('another user reads through his own view', async ({ mft }) => {
    await mft.put('inbox/x', 'for the clerk')
    const answer = await mft.send('GET', '/2.0/files/partner5/inbox/x', { as: mft.cookies.clerk })
    expect(answer.raw.toString()).toBe('for the clerk')
  })
})

describe('deleteFile', () => {
  const syntax = failed('syntax_error', 'missing param or syntax error')

  test('takes the file away and repeats its number', async ({ mft }) => {
    const fileset = await mft.put('inbox/x')
    const answer = await mft.send('DELETE', '/2.0/files/inbox/x', { as: mft.cookies.partner })
    expect(answer).toMatchObject({
      status: 200,
      body: { result: 'ok', timestamp: time, message: 'File deleted', fileset },
    })
    expect((await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })).status).toBe(404)
    expect(await mft.world.events()).toContain('node.deleted')
  })

  test.for([
    ['inbox', 400, syntax],
    ['inbox/', 400, syntax],
    ['', 400, syntax],
    ['inbox/%2F', 400, syntax],
    ['inbox/none', 404, failed('io', "File '/inbox/none' doesn't exist")],
    ['nowhere/none', 404, failed('io', "Path '/nowhere' doesn't exist")],
    ['locked/none', 403, failed('authorization', 'No delete permission')],
  ] as const)('of %s is %i', async ([path, status, body], { mft }) => {
    const answer = await mft.send('DELETE', `/2.0/files/${path}`, { as: mft.cookies.partner })
    expect(answer).toMatchObject({ status, body })
  })

  test('without a right it is 403 and the file stays', async ({ mft }) => {
    await mft.put('inbox/x')
    const answer = await mft.send('DELETE', '/2.0/files/inbox/x', { as: mft.cookies.reader })
    expect(answer).toMatchObject({ status: 403, body: failed('authorization', 'No delete permission') })
    expect((await mft.send('DELETE', '/2.0/files/partner5/inbox/x', { as: mft.cookies.clerk })).status).toBe(403)
    expect((await mft.send('DELETE', '/2.0/files/inbox/x')).status).toBe(401)
    expect((await mft.send('GET', '/2.0/files/inbox/x', { as: mft.cookies.partner })).status).toBe(200)
  })
})
