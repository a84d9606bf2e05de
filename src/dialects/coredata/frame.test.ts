import { describe, expect } from 'vitest'
import { createToken } from '#core/tokens.ts'
import { updateUser } from '#core/users.ts'
import { test } from '#test/coredata-world.ts'

const empty = Buffer.alloc(0)

describe('keys', () => {
  test('both forms work on both versions, the scheme in any case', async ({ coredata }) => {
    const key = coredata.keys.editor
    for (const authorization of [`apikey editor:${key}`, `ApiKey EDITOR:${key}`, `apikey ${key}`, `APIKEY   ${key}`]) {
      const headers = { authorization }
      expect(await coredata.send('GET', '/api/v2/spaces/', { headers }), authorization).toMatchObject({ status: 200 })
      const upload = '/api/v3/blob/presigned-upload-url/?content_length=1'
      expect(await coredata.send('POST', upload, { headers }), authorization).toMatchObject({ status: 200 })
    }
  })

  test('a handle names the user as well', async ({ coredata }) => {
    const { user, ctx } = await coredata.world.user('Jörg: the first', { handle: 'joerg' })
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'a' })
    for (const name of ['joerg', Buffer.from('Jörg: the first').toString('latin1')]) {
      const headers = { authorization: `apikey ${name}:${secret}` }
      expect(await coredata.send('GET', '/api/v2/spaces/', { headers }), name).toMatchObject({ status: 200 })
    }
  })

  test.for([
    ['no header', {}],
    ['another scheme', { authorization: 'Basic ZWRpdG9yOng=' }],
    ['a scheme alone', { authorization: 'apikey' }],
    ['a scheme and a blank', { authorization: 'apikey ' }],
    ['a colon alone', { authorization: 'apikey :' }],
    ['a user alone', { authorization: 'apikey editor:' }],
    ['an unknown key', { authorization: 'apikey editor:ent_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }],
  ] as const)('%s is 401 without a body', async ([, headers], { coredata }) => {
    for (const path of ['/api/v2/spaces/', '/api/v2/files/', '/api/v2/projects/no-uuid/']) {
      expect(await coredata.send('GET', path, { headers })).toMatchObject({ status: 401, raw: empty })
    }
  })

  test("another user's name beside a key is 401", async ({ coredata }) => {
    const { editor, reader } = coredata.keys
    for (const authorization of [`apikey reader:${editor}`, `apikey :${editor}`, `apikey nobody:${reader}`]) {
      expect(await coredata.send('GET', '/api/v2/spaces/', { headers: { authorization } })).toMatchObject({
        status: 401,
        raw: empty,
      })
    }
  })

  test('keys that ended and keys of accounts that are blocked are 401', async ({ coredata }) => {
    const { world } = coredata
    const { user, ctx } = await world.user('late')
    const { secret } = await createToken(ctx, {
      principalId: user.id,
      name: 'a',
      expiresAt: world.deps.clock() + 60_000,
    })
    const headers = { authorization: `apikey late:${secret}` }
    expect(await coredata.send('GET', '/api/v2/spaces/', { headers })).toMatchObject({ status: 200 })
    world.advance(60_000)
    expect(await coredata.send('GET', '/api/v2/spaces/', { headers })).toMatchObject({ status: 401, raw: empty })
    await updateUser(world.system, { userId: coredata.users.reader.user.id, state: 'blocked' })
    expect(await coredata.send('GET', '/api/v2/spaces/', { as: 'reader' })).toMatchObject({ status: 401, raw: empty })
  })

  test('keys of another tenant are unknown', async ({ coredata }) => {
    const tenant = await coredata.world.otherTenant()
    const { user, ctx } = await coredata.world.user('foreign', { tenant })
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'a' })
    const headers = { authorization: `apikey foreign:${secret}` }
    expect(await coredata.send('GET', '/api/v2/spaces/', { headers })).toMatchObject({ status: 401, raw: empty })
  })
})

describe('addresses', () => {
  test.for([
    ['GET', '/api/v2/spaces', '/api/v2/spaces/'],
    ['GET', '/api/v2/spaces?limit=1&x=%2F%3F', '/api/v2/spaces/?limit=1&x=%2F%3F'],
    ['POST', '/api/v2/projects', '/api/v2/projects/'],
    ['PUT', '/api/v2/user/files/favourites/e139a8ac', '/api/v2/user/files/favourites/e139a8ac/'],
    ['DELETE', '/api/v2/files/%41', '/api/v2/files/%41/'],
    ['HEAD', '/api/v2/contacts', '/api/v2/contacts/'],
    ['PATCH', '/api/v2/contacts', '/api/v2/contacts/'],
    [
      'POST',
      '/api/v3/blob/presigned-upload-url?content_length=1',
      '/api/v3/blob/presigned-upload-url/?content_length=1',
    ],
  ] as const)('%s %s leads to %s', async ([method, path, location], { coredata }) => {
    const answer = await coredata.send(method, path, { payload: method === 'POST' ? 'x' : undefined } as object)
    expect(answer).toMatchObject({ status: 301, headers: { location } })
  })

  test.for([
    ['DELETE', '/api/v2/spaces/', 'GET, HEAD, POST'],
    ['PUT', '/api/v2/projects/e139a8ac/', 'GET, HEAD'],
    ['POST', '/api/v2/user/files/favourites/', 'GET, HEAD'],
    ['GET', '/api/v2/user/files/favourites/e139a8ac/', 'PUT, DELETE'],
    ['HEAD', '/api/v3/blob/presigned-upload-url/', 'POST'],
    ['OPTIONS', '/api/v2/comments/', 'GET, HEAD, POST'],
    ['POST', '/laika/103d0b48a25b4197bb3b90bc462abc29', 'PUT, GET, HEAD'],
  ] as const)('%s %s is 405, and the answer says what is allowed', async ([method, path, allow], { coredata }) => {
    const answer = await coredata.send(method, path, { payload: '{' })
    expect(answer).toMatchObject({ status: 405, headers: { allow }, raw: empty })
  })

  test.for([
    '/api/v2/',
    '/api/v2/nothing/',
    '/api/v2/nothing',
    '/api/v2/user/projects/recent/',
    '/api/v3/files/',
    '/laika/',
    '/laika/a/b',
    '/api/v2/spaces/%00/',
    '/api/v2/spaces/%FF/',
    '/api/v2/spaces/../files//',
  ])('%s is 404 without a body', async (path, { coredata }) => {
    expect(await coredata.send('GET', path, { as: 'editor' })).toMatchObject({ status: 404, raw: empty })
  })

  test('what lies outside is not answered here', async ({ coredata }) => {
    for (const path of ['/', '/api/v4/nodes', '/api/v20/files/', '/laikax']) {
      const answer = await coredata.send('GET', path, { as: 'editor' })
      expect(answer.raw.toString(), path).toContain('Route GET')
    }
  })

  test('a HEAD answers as its GET', async ({ coredata }) => {
    expect(await coredata.send('HEAD', '/api/v2/spaces/', { as: 'editor' })).toMatchObject({ status: 200, raw: empty })
    expect(await coredata.send('HEAD', '/api/v2/spaces/', {})).toMatchObject({ status: 401, raw: empty })
  })
})

const creating = ['spaces', 'projects', 'folders', 'contacts', 'comments'] as const

describe.for(creating)('a body of POST /api/v2/%s/', resource => {
  const path = `/api/v2/${resource}/`

  test('of another type is refused, also without any type', async ({ coredata }) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', ';;;', '']) {
      const headers = { ...(type && { 'content-type': type }) }
      const answer = await coredata.send('POST', path, { as: 'editor', payload: '{"title":"x"}', headers })
      expect(answer, type).toMatchObject({ status: 400, body: { error: 'Unsupported content type.' } })
    }
  })

  test('that is no JSON object is refused', async ({ coredata }) => {
    for (const payload of ['{', '', '[]', '"text"', 'null', Buffer.from([0x22, 0xff, 0x22])]) {
      const headers = { 'content-type': 'application/json' }
      const answer = await coredata.send('POST', path, { as: 'editor', payload, headers })
      expect(answer, String(payload)).toMatchObject({ status: 400, body: { error: expect.any(String) as string } })
    }
  })

  test('that is too long is refused', async ({ coredata }) => {
    const answer = await coredata.send('POST', path, { as: 'editor', json: { title: 'x'.repeat(70_000) } })
    expect(answer).toMatchObject({ status: 400, body: { error: expect.any(String) as string } })
  })

  test('is not even looked at without a key', async ({ coredata }) => {
    expect(await coredata.send('POST', path, { payload: '{' })).toMatchObject({ status: 401, raw: empty })
  })
})

test('who lacks the right leaves a refusal in the audit log, once', async ({
  coredata: { world, project, space, send },
}) => {
  const before = (await world.events()).length
  await send('POST', '/api/v2/folders/', { as: 'reader', json: { parent: project.id, title: 'x' } })
  await send('POST', '/api/v2/projects/', { as: 'reader', json: { space: space.id, title: 'x' } })

  expect((await world.events()).slice(before)).toEqual(['access.refused refused', 'access.refused refused'])
})
