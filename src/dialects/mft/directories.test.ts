import { describe, expect } from 'vitest'
import { createFolder, getNode } from '#core/nodes.ts'
import { setGrant } from '#core/grants.ts'
import { createSpace } from '#core/spaces.ts'
import { jsonOf, test, type MftWorld } from '#test/mft-world.ts'
import { builtInNames } from './schemas.ts'

const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const failed = (errorType: string, message: string) => ({ result: 'failed', timestamp: time, message, errorType })
const badRequest = failed('request_syntax', 'Missing parameters or syntax error')

interface Listing {
  uri: string
  totalCount: string
  files: { filename: string; attributes: Record<string, string> }[]
}

async function list(mft: MftWorld, path: string, as = mft.cookies.partner) {
  const answer = await mft.send('GET', `/2.0/directories${path}`, { as })
  expect(answer.status).toBe(200)
  return answer.body as Listing
}
const names = async (...given: Parameters<typeof list>) => (await list(...given)).files.map(({ filename }) => filename)

describe('listDirectory', () => {
  test('shows folders and files, last name first', async ({ mft }) => {
    const fileset = await mft.put('inbox/b ü.txt', 'four')
    await createFolder(mft.world.system, { parentId: await inboxId(mft), name: 'a' })
    expect(await list(mft, '/inbox')).toEqual({
      uri: 'http://localhost:80/2.0/directories/inbox',
      totalCount: '2',
      files: [
        {
          id: '/inbox/b ü.txt',
          uri: 'http://localhost:80/2.0/files/inbox/b%20%C3%BC.txt',
          metaUri: 'http://localhost:80/2.0/metadata/inbox/b%20%C3%BC.txt',
          filename: 'b ü.txt',
          fileset,
          owner: '',
          directory: false,
          attributes: {
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
        },
        {
          id: '/inbox/a',
          uri: 'http://localhost:80/2.0/directories/inbox/a',
          filename: 'a',
          owner: '',
          directory: true,
          attributes: Object.fromEntries(builtInNames.map(name => [name, ''])),
        },
      ],
    })
  })

  test('the root is the home space, or the spaces that may be listed', async ({ mft }) => {
    for (const path of ['', '/']) {
      expect(await names(mft, path)).toEqual(['outbox', 'locked', 'inbox'])
      expect(await names(mft, path, mft.cookies.clerk)).toEqual(['partner5'])
    }
    expect((await list(mft, '')).uri).toBe('http://localhost:80/2.0/directories')
    expect(await names(mft, '/partner5/outbox/', mft.cookies.clerk)).toEqual(['archive'])
  })

  test('filters the whole name; both wildcards stand for any run', async ({ mft }) => {
    for (const name of ['file1.txt', 'file2.csv', 'a_b.txt', 'aXb.txt', 'a.b', '[x]', 'a%25'])
      await mft.put(`inbox/${name}`)
    const found = (filter: string) => names(mft, `/inbox?direction=ASC&filter=${encodeURIComponent(filter)}`)
    expect(await found('_.txt')).toEqual(['aXb.txt', 'a_b.txt', 'file1.txt'])
    expect(await found('*.txt')).toEqual(['aXb.txt', 'a_b.txt', 'file1.txt'])
    expect(await found('file*')).toEqual(['file1.txt', 'file2.csv'])
    expect(await found('file1')).toEqual([])
    expect(await found('a_b.txt')).toEqual(['aXb.txt', 'a_b.txt'])
    expect(await found('FILE*')).toEqual([])
    expect(await found('a?b')).toEqual([])
    expect(await found('a.b')).toEqual(['a.b'])
    expect(await found('[x]')).toEqual(['[x]'])
    expect(await found('a%')).toEqual(['a%'])
    expect(await found('')).toHaveLength(7)
    expect(await found('*'.repeat(2_000))).toHaveLength(7)
    expect(await found(`${'*a'.repeat(30)}b`)).toEqual([])
  })

  test('counts before paging, and pages as asked', async ({ mft }) => {
    for (const name of ['a', 'b', 'c', 'd']) await mft.put(`inbox/${name}`)
    expect(await names(mft, '/inbox?start=1&limit=2')).toEqual(['c', 'b'])
    expect(await names(mft, '/inbox?direction=ASC&start=3')).toEqual(['d'])
    expect(await list(mft, '/inbox?limit=0')).toMatchObject({ totalCount: '4', files: [] })
    expect(await list(mft, '/inbox?start=99&filter=*')).toMatchObject({ totalCount: '4', files: [] })
    expect(await list(mft, '/inbox?limit=999999999999999&start=1')).toMatchObject({ totalCount: '4' })
  })

  test('takes kinds and orders', async ({ mft }) => {
    await mft.put('big', 'x'.repeat(50))
    await mft.put('small', 'x')
    expect(await names(mft, '?type=files&direction=ASC')).toEqual(['big', 'small'])
    expect(await names(mft, '?type=folders&direction=ASC')).toEqual(['inbox', 'locked', 'outbox'])
    expect(await names(mft, '?sort=size')).toEqual(['big', 'small', 'outbox', 'locked', 'inbox'])
    expect(await names(mft, '?sort=size&direction=ASC')).toEqual(['inbox', 'locked', 'outbox', 'small', 'big'])
    expect(await names(mft, '?sort=put_date&type=files')).toEqual(['small', 'big'])
    await mft.send('GET', '/2.0/files/big', { as: mft.cookies.partner })
    await mft.world.deps.reads.flush()
    expect((await names(mft, '?sort=read_date'))[0]).toBe('big')
    expect((await names(mft, '?sort=expiry_date')).length).toBe(5)
  })

  test('shows the asked attributes only, in the asked order, with custom ones', async ({ mft }) => {
    await mft.put('inbox/x', 'abc')
    await mft.send('POST', '/2.0/metadata/inbox/x', {
      as: mft.cookies.partner,
      ...jsonOf({ Partner: 'P5', 7: 'seven' }),
    })
    const answer = await mft.send('GET', '/2.0/directories/inbox?attributes=size,%20Partner%20,none,7,size', {
      as: mft.cookies.partner,
    })
    expect(answer.raw.toString()).toContain('"attributes":{"size":"3","Partner":"P5","none":"","7":"seven"}')
    const [file] = (await list(mft, '/inbox?attributes=')).files
    expect(Object.keys(file?.attributes ?? {})).toEqual(builtInNames)
  })

  test.for([
    'limit=-1',
    'start=-1',
    'limit=x',
    'limit=',
    'limit=1.5',
    'limit=0x10',
    'sort=date',
    'direction=asc',
    'type=file',
    'type=all&type=all',
    'filter=%00',
    'limit=9999999999999999999',
  ])('%s is 400', async (query, { mft }) => {
    expect(await mft.send('GET', `/2.0/directories/inbox?${query}`, { as: mft.cookies.partner })).toMatchObject({
      status: 400,
      body: badRequest,
    })
  })

  test('unknown parameters are nobody’s business', async ({ mft }) => {
    expect(await names(mft, '/outbox?foo=bar&_=1')).toEqual(['archive'])
  })

  test('a missing path and a file are 404, in the words of the document', async ({ mft }) => {
    await mft.put('inbox/x')
    for (const path of ['nowhere', 'inbox/x', 'inbox/x/y', 'INBOX']) {
      const answer = await mft.send('GET', `/2.0/directories/${path}`, { as: mft.cookies.partner })
      expect(answer).toMatchObject({ status: 404, body: failed('io', "Path doesn't exist") })
    }
  })

  test('a folder that may not be listed is shown, and refused when it is opened', async ({ mft }) => {
    expect(await names(mft, '?filter=locked')).toEqual(['locked'])
    for (const path of ['locked', 'locked/x']) {
      const answer = await mft.send('GET', `/2.0/directories/${path}`, { as: mft.cookies.partner })
      expect(answer).toMatchObject({ status: 403, body: failed('authorization', 'No list permission') })
    }
  })

  test('without a session it is 401', async ({ mft }) => {
    expect((await mft.send('GET', '/2.0/directories')).status).toBe(401)
  })

  test('a space of others is neither shown nor found', async ({ mft }) => {
    const owner = await mft.world.user('stranger')
    const other = await createSpace(mft.world.system, { name: 'other', ownerId: owner.user.id })
    await setGrant(mft.world.system, { nodeId: other.id, subjectId: owner.user.id, actions: ['list'] })
    expect(await names(mft, '', mft.cookies.clerk)).toEqual(['partner5'])
    const answer = await mft.send('GET', '/2.0/directories/other', { as: mft.cookies.clerk })
    expect(answer).toMatchObject({ status: 404, body: failed('io', "Path doesn't exist") })
  })
})

const inboxId = async (mft: MftWorld) => {
  const space = await getNode(mft.world.system, { nodeId: mft.spaceId })
  const { id } = await mft.world.deps.database.read
    .selectFrom('node')
    .select('id')
    .where('parentId', '=', space.id)
    .where('name', '=', 'inbox')
    .executeTakeFirstOrThrow()
  return id
}

describe('countElements', () => {
  const count = (mft: MftWorld, path: string, headers: Record<string, string> = {}) =>
    mft.send('GET', `/2.0/countelements${path}`, { as: mft.cookies.partner, headers })

  test('answers a bare number', async ({ mft }) => {
    await mft.put('a.txt')
    for (const [path, number] of [
      ['', '4'],
      ['/', '4'],
      ['/?type=files', '1'],
      ['?filter=_box', '2'],
      ['/inbox', '0'],
    ] as const) {
      const answer = await count(mft, path)
      expect([answer.status, answer.raw.toString(), answer.headers['content-type']]).toEqual([
        200,
        number,
        expect.stringContaining('application/json'),
      ])
    }
  })

  test('as text for who wants text only', async ({ mft }) => {
    expect((await count(mft, '', { accept: 'text/plain' })).headers['content-type']).toMatch(/^text\/plain/)
    expect((await count(mft, '', { accept: 'text/plain, */*' })).headers['content-type']).toMatch(/^application\/json/)
  })

  test('refuses as listing does', async ({ mft }) => {
    expect(await count(mft, '?type=x')).toMatchObject({ status: 400, body: badRequest })
    expect(await count(mft, '/a%2Fb')).toMatchObject({ status: 400, body: badRequest })
    expect(await count(mft, '/locked')).toMatchObject({
      status: 403,
      body: failed('authorization', 'No list permission'),
    })
    expect(await count(mft, '/nowhere')).toMatchObject({ status: 404, body: failed('io', "Path doesn't exist") })
    expect((await mft.send('GET', '/2.0/countelements')).status).toBe(401)
  })
})
