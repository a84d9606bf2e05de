import { describe, expect } from 'vitest'
import { cookieHeader, formOf, jsonOf, multipart, test } from '#test/mft-world.ts'

const missing = { result: 'failed', message: 'No username or password', errorType: 'request_syntax' }
const wrong = { result: 'failed', message: 'Invalid username or password', errorType: 'authentication' }
const login = '/2.0/login/basic'

describe('loginBasic', () => {
  test('answers with the two cookies, to the letter', async ({ mft }) => {
    const answer = await mft.send('POST', login, formOf({ username: 'partner', password: 'correct horse battery' }))
    expect(answer).toMatchObject({ status: 200, body: { result: 'ok' } })
    const [user, session, ...more] = answer.headers['set-cookie'] as string[]
    expect(user).toBe('sp-http-usr=partner;Version=1;Path=/;HttpOnly')
    expect(session).toMatch(/^sp-http-ses=[A-Za-z0-9+/]{22}==;Version=1;Path=\/;HttpOnly$/)
    expect(more).toEqual([])
  })

  test.for([
    ['no password', formOf({ username: 'partner' })],
    ['an empty user name', formOf({ username: '', password: 'x' })],
    ['no body', {}],
    ['JSON', jsonOf({ username: 'partner', password: 'correct horse battery' })],
    [
      'a multipart form',
      multipart([
        { name: 'username', content: 'partner' },
        { name: 'password', content: 'x' },
      ]),
    ],
    ['a body without end', formOf({ username: 'x'.repeat(100_000), password: 'x' })],
  ] as const)('%s is 404 without a time', async ([, sent], { mft }) => {
    expect(await mft.send('POST', login, sent)).toMatchObject({ status: 404, body: missing })
  })

  test.for([
    ['a wrong password', { username: 'partner', password: 'wrong' }],
    ['an unknown user', { username: 'stranger', password: 'correct horse battery' }],
    ['a user name with NUL', { username: 'partner\0', password: 'correct horse battery' }],
    ['a user name that is no text', { username: '\ufffe\u{10ffff}', password: 'x' }],
  ] as const)('%s is 401 without a time', async ([, fields], { mft }) => {
    const answer = await mft.send('POST', login, formOf(fields))
    expect(answer.status).toBe(401)
    expect(answer.body).toEqual(wrong)
  })

  test('held back after many failures, also with the right password', async ({ mft }) => {
    for (let count = 0; count < 6; count += 1)
      await mft.send('POST', login, formOf({ username: 'partner', password: 'wrong' }))
    const answer = await mft.send('POST', login, formOf({ username: 'partner', password: 'correct horse battery' }))
    expect(answer).toMatchObject({ status: 401, body: wrong })
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
  })

  test('a login that no cookie can carry still makes a session', async ({ mft }) => {
    await mft.world.user('Jörg=a; "the" 100%')
    const cookie = await mft.signIn('Jörg=a; "the" 100%', 'correct horse battery')
    expect(cookie).toMatch(/^sp-http-usr=[!-~]+; sp-http-ses=/)
    expect(await mft.send('GET', '/2.0/directories', { as: cookie })).toMatchObject({
      body: { errorType: 'configuration' },
    })
  })
})

describe('a session', () => {
  const list = '/2.0/directories'

  test('needs both cookies, and they must belong together', async ({ mft }) => {
    const [user = '', session = ''] = mft.cookies.partner.split('; ')
    const [otherUser = '', otherSession = ''] = mft.cookies.clerk.split('; ')
    const refused = [
      '',
      user,
      session,
      `${user}; ${otherSession}`,
      `${otherUser}; ${session}`,
      `${user}; ${user}; ${session}`,
    ]
    for (const cookie of refused) {
      expect(await mft.send('GET', list, { as: cookie })).toMatchObject({
        status: 401,
        body: { ...wrong, timestamp: expect.any(String) },
      })
    }
    for (const cookie of [
      `${session};${user}`,
      `a=b=c; ${user} ; ${session}; d`,
      `$Version=1; ${user}; $Path=/; ${session}`,
    ]) {
      expect((await mft.send('GET', list, { as: cookie })).status).toBe(200)
    }
  })

  test('a guessed or cut secret is refused', async ({ mft }) => {
    const secrets = ['', '=', 'AAAAAAAAAAAAAAAAAAAAAA==', 'A'.repeat(5000), '%00', mft.cookies.partner.slice(-24, -2)]
    for (const secret of secrets.slice(0, 5)) {
      expect((await mft.send('GET', list, { as: `sp-http-usr=partner; sp-http-ses=${secret}` })).status).toBe(401)
    }
  })

  test('ends when it is not used, and at the latest after its life', async ({ mft }) => {
    mft.world.advance(3 * 3_600_000)
    expect((await mft.send('GET', list, { as: mft.cookies.partner })).status).toBe(401)
  })

  test('is written in the log, the failures too', async ({ mft }) => {
    await mft.send('POST', login, formOf({ username: 'partner', password: 'wrong' }))
    expect((await mft.world.events()).slice(-1)).toEqual(['sign-in refused'])
  })

  test('cookies of one login work beside those of another', async ({ mft }) => {
    const second = await mft.signIn('partner', 'correct horse battery')
    expect(second).not.toBe(mft.cookies.partner)
    for (const cookie of [second, mft.cookies.partner])
      expect((await mft.send('GET', list, { as: cookie })).status).toBe(200)
  })
})

test('a user without home space and without any space has no contract, whatever he asks for', async ({ mft }) => {
  const calls = [
    ['GET', '/2.0/directories/inbox'],
    ['GET', '/2.0/countelements'],
    ['GET', '/2.0/files/inbox/x'],
    ['GET', '/2.0/files/inbox/..%2f'],
    ['PUT', '/2.0/files/inbox/x'],
    ['POST', '/2.0/files/inbox'],
    ['DELETE', '/2.0/files/inbox/x'],
    ['GET', '/2.0/fileset/nonsense'],
    ['GET', '/2.0/fileset/17'],
    ['DELETE', '/2.0/fileset/17'],
    ['GET', '/2.0/metadata/inbox/x'],
    ['POST', '/2.0/metadata/inbox/x'],
    ['GET', '/2.0/metadatabyid/17'],
    ['POST', '/2.0/metadatabyid/17'],
    ['GET', '/2.0/directories?limit=-1'],
  ] as const
  const contract = { result: 'failed', message: 'Connection contract not configured', errorType: 'configuration' }
  for (const [method, path] of calls) {
    expect(await mft.send(method, path, { as: mft.cookies.nobody }), path).toMatchObject({
      status: 401,
      body: contract,
    })
  }
})

test('the header Cookie that a login makes is what later calls need', async ({ mft }) => {
  const answer = await mft.send('POST', login, formOf({ username: 'clerk', password: 'correct horse battery' }))
  expect((await mft.send('GET', '/2.0/directories', { as: cookieHeader(answer) })).status).toBe(200)
})
