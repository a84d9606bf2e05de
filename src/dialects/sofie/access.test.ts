import { describe, expect } from 'vitest'
import { acts, addFile, sendPackage, work, type Parcel } from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

const PASSWORD = 'geheim ü'
const shown = (password: string) => ({ 'x-sofie-download-password': Buffer.from(password).toString('latin1') })
const byToken = (token: string) => ({ 'x-sofie-password-token': token })
const byAccess = (token: string) => ({ 'x-sofie-limit-access-token': token })

async function passwordToken({ send }: SofieWorld, { path }: Parcel, as: Caller, password = PASSWORD): Promise<string> {
  const answer = await send('POST', `${path}/password-token`, { as, json: { password } })
  expect(answer).toMatchObject({ status: 201 })
  return (answer.body as { passwordToken: string }).passwordToken // held against the contract
}

async function accessToken({ send }: SofieWorld, { path }: Parcel, as: Caller): Promise<string> {
  const answer = await send('POST', `${path}/limit-access-token`, { as })
  expect(answer).toMatchObject({ status: 201 })
  return (answer.body as { limitAccessToken: string }).limitAccessToken // held against the contract
}

describe('the password of a package', () => {
  const send = (sofie: SofieWorld, json: object = {}) => sendPackage(sofie, { downloadPassword: PASSWORD, ...json })

  test('is asked of everybody but its sender and administrators', async ({ sofie }) => {
    const parcel = await send(sofie)
    const file = await addFile(sofie, parcel)
    const root = `${parcel.path}/folders/${parcel.rootFolderId}/content`
    for (const url of [parcel.path, file, `${file}/content`, root]) {
      for (const as of ['sender', 'admin'] as const)
        expect(await sofie.send('GET', url, { as })).toMatchObject({ status: 200 })
      for (const as of ['contributor', 'regular', 'blind'] as const)
        expect(await sofie.send('GET', url, { as })).toMatchObject(refused(403, 'PACKAGE_PASSWORD_REQUIRED'))
      expect(await sofie.send('GET', url, { as: 'stranger' })).toMatchObject(refused(404, 'NOT_FOUND'))
    }
  })

  test('shown to the detail call gives the detail and a token for the other calls', async ({ sofie }) => {
    const parcel = await send(sofie)
    const file = await addFile(sofie, parcel)
    const detail = await sofie.send('GET', parcel.path, { as: 'regular', headers: shown(PASSWORD) })
    expect(detail).toMatchObject({ status: 200, body: { passwordToken: { expiresAt: expect.any(String) } } })
    const { passwordToken: token } = detail.body as { passwordToken: { passwordToken: string } }
    const sent = { as: 'regular', headers: byToken(token.passwordToken) } as const
    expect(await sofie.send('GET', `${file}/content`, sent)).toMatchObject({ status: 200, body: 'content' })
    const again = await sofie.send('GET', parcel.path, sent)
    expect(again).toMatchObject({ status: 200 })
    expect(again.body).not.toHaveProperty('passwordToken')
    expect(await sofie.send('GET', `${file}/content`, { as: 'regular', headers: shown(PASSWORD) })).toMatchObject(
      refused(403, 'PACKAGE_PASSWORD_REQUIRED'),
    )
  })

  test('can be traded for a token, by the sender too', async ({ sofie }) => {
    const parcel = await send(sofie)
    const file = await addFile(sofie, parcel)
    for (const as of ['contributor', 'sender', 'admin', 'blind'] as const) {
      const headers = byToken(await passwordToken(sofie, parcel, as))
      expect(await sofie.send('GET', `${file}/content`, { as, headers })).toMatchObject({ status: 200 })
    }
  })

  test('that is wrong is refused and recorded, after some tries with a wait', async ({ sofie }) => {
    const parcel = await send(sofie)
    const wrong = { as: 'regular', json: { password: 'wrong' } } as const
    for (let time = 0; time < 6; time += 1) {
      expect(await sofie.send('POST', `${parcel.path}/password-token`, wrong)).toMatchObject(
        refused(403, 'PACKAGE_PASSWORD_INVALID'),
      )
    }
    const answer = await sofie.send('GET', parcel.path, { as: 'regular', headers: shown(PASSWORD) })
    expect(answer).toMatchObject(refused(403, 'PACKAGE_PASSWORD_INVALID'))
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    expect(await acts(sofie, 1)).toEqual(['access.refused refused regular'])
  })

  test('must be right where it is shown, needed or not', async ({ sofie }) => {
    const open = await sendPackage(sofie)
    const parcel = await send(sofie)
    const asks: [Parcel, Caller, Record<string, string>][] = [
      [parcel, 'sender', shown('wrong')],
      [parcel, 'admin', shown('x'.repeat(101))],
      [open, 'regular', shown(PASSWORD)],
      [open, 'regular', byToken('x')],
      [parcel, 'sender', byToken('x'.repeat(1_001))],
    ]
    for (const [{ path }, as, headers] of asks)
      expect(await sofie.send('GET', path, { as, headers, beyondContract: true })).toMatchObject(
        refused(403, 'PACKAGE_PASSWORD_INVALID'),
      )
    expect(
      await sofie.send('POST', `${open.path}/password-token`, { as: 'sender', json: { password: 'x' } }),
    ).toMatchObject(refused(403, 'PACKAGE_PASSWORD_INVALID'))
  })

  test.for([{}, { password: 7 }, { password: 'x'.repeat(101) }, []])('is no password: %j', async (json, { sofie }) => {
    const { path } = await send(sofie)
    expect(await sofie.send('POST', `${path}/password-token`, { as: 'regular', json })).toMatchObject(
      refused(400, 'BAD_REQUEST'),
    )
  })

  test('opens this package to this person for a time', async ({ sofie }) => {
    const parcel = await send(sofie)
    const other = await send(sofie)
    const headers = byToken(await passwordToken(sofie, parcel, 'regular'))
    const invalid = refused(403, 'PACKAGE_PASSWORD_INVALID')
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers })).toMatchObject({ status: 200 })
    expect(await sofie.send('GET', other.path, { as: 'regular', headers })).toMatchObject(invalid)
    expect(await sofie.send('GET', parcel.path, { as: 'blind', headers })).toMatchObject(invalid)
    sofie.world.advance(sofie.world.deps.settings.proofLifeMs)
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers })).toMatchObject(invalid)
  })

  test('once changed makes earlier tokens void, and once taken away is asked of nobody', async ({ sofie }) => {
    const parcel = await send(sofie)
    const headers = byToken(await passwordToken(sofie, parcel, 'regular'))
    const change = (downloadPassword: string) =>
      sofie.send('PATCH', parcel.path, { as: 'sender', json: { downloadPassword } })
    expect(await change('another')).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers })).toMatchObject(
      refused(403, 'PACKAGE_PASSWORD_INVALID'),
    )
    await passwordToken(sofie, parcel, 'regular', 'another')
    expect(await change('')).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', parcel.path, { as: 'regular' })).toMatchObject({
      status: 200,
      body: { downloadPasswordProtected: false },
    })
  })

  test('comes before the right to change anything', async ({ sofie }) => {
    const parcel = await send(sofie)
    const change = { as: 'regular', json: { name: 'x' } } as const
    expect(await sofie.send('PATCH', parcel.path, change)).toMatchObject(refused(403, 'PACKAGE_PASSWORD_REQUIRED'))
    const headers = byToken(await passwordToken(sofie, parcel, 'regular'))
    expect(await sofie.send('PATCH', parcel.path, { ...change, headers })).toMatchObject(
      refused(403, 'PERMISSION_DENIED'),
    )
  })
})

// Four passwords take their time.
describe('content that is encrypted with the password', { timeout: 30_000 }, () => {
  const sendSealed = (sofie: SofieWorld) =>
    sendPackage(sofie, { downloadPassword: PASSWORD, encryptDataWithPassword: true })

  test.for(['sender', 'admin', 'regular', 'contributor'] as const)(
    'opens to nobody without it: %s',
    async (as, { sofie }) => {
      const parcel = await sendSealed(sofie)
      const file = await addFile(sofie, parcel)
      expect(await sofie.send('GET', parcel.path, { as: 'sender' })).toMatchObject({
        body: { encryptionType: 'PASSWORD', encryptionStatus: 'ENCRYPTED', checkState: 'CLEAN' },
      })
      expect(await sofie.send('GET', `${file}/content`, { as })).toMatchObject(
        refused(403, 'PACKAGE_PASSWORD_REQUIRED'),
      )
      const headers = byToken(await passwordToken(sofie, parcel, as))
      expect(await sofie.send('GET', `${file}/content`, { as, headers })).toMatchObject({
        status: 200,
        body: 'content',
      })
    },
  )

  test('waits in the clear for its checks, and is not given out before', async ({ sofie }) => {
    const parcel = await sendSealed(sofie)
    const file = await addFile(sofie, parcel, { unchecked: true })
    expect(await sofie.send('GET', parcel.path, { as: 'sender' })).toMatchObject({
      body: { encryptionStatus: 'ENCRYPTING', checkState: 'UNKNOWN' },
    })
    const headers = byToken(await passwordToken(sofie, parcel, 'regular'))
    expect(await sofie.send('GET', `${file}/content`, { as: 'regular', headers })).toMatchObject(
      refused(409, 'FILE_STATE'),
    )
    await work(sofie.world)
    expect(await sofie.send('GET', `${file}/content`, { as: 'regular', headers })).toMatchObject({ status: 200 })
  })

  test('keeps its password', async ({ sofie }) => {
    const { path } = await sendSealed(sofie)
    for (const as of ['sender', 'admin'] as const)
      for (const downloadPassword of ['another', ''])
        expect(await sofie.send('PATCH', path, { as, json: { downloadPassword } })).toMatchObject(
          refused(409, 'PASSWORD_ENCRYPTED'),
        )
  })

  test('can be shredded without it', async ({ sofie }) => {
    const parcel = await sendSealed(sofie)
    const file = await addFile(sofie, parcel)
    expect(await sofie.send('POST', `${file}/shred`, { as: 'admin' })).toMatchObject({ status: 204 })
    expect(await sofie.send('POST', `${parcel.path}/shred`, { as: 'admin' })).toMatchObject({ status: 204 })
  })
})

describe('a limit of accesses', () => {
  const sendLimited = (sofie: SofieWorld, limitAccessCount = 2, json: object = {}) =>
    sendPackage(sofie, { limitAccessCount, ...json })

  test('asks recipients for a token; sender, contributors and administrators need none', async ({ sofie }) => {
    const parcel = await sendLimited(sofie)
    const file = await addFile(sofie, parcel)
    for (const url of [parcel.path, file, `${file}/content`]) {
      for (const as of ['sender', 'contributor', 'admin'] as const)
        expect(await sofie.send('GET', url, { as })).toMatchObject({ status: 200 })
      expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject(refused(403, 'LIMIT_ACCESS_TOKEN_REQUIRED'))
    }
    const headers = byAccess(await accessToken(sofie, parcel, 'regular'))
    for (const url of [parcel.path, file, `${file}/content`])
      expect(await sofie.send('GET', url, { as: 'regular', headers })).toMatchObject({ status: 200 })
    expect(await sofie.send('GET', parcel.path, { as: 'sender' })).toMatchObject({ body: { accessCount: 1 } })
    const upload = { as: 'contributor', name: 'b' } as const
    await addFile(sofie, parcel, upload)
  })

  test('is used up, and recorded', async ({ sofie }) => {
    const parcel = await sendLimited(sofie)
    await accessToken(sofie, parcel, 'regular')
    const last = byAccess(await accessToken(sofie, parcel, 'blind'))
    expect(await sofie.send('POST', `${parcel.path}/limit-access-token`, { as: 'regular' })).toMatchObject(
      refused(403, 'ACCESS_LIMIT_EXCEEDED'),
    )
    expect((await acts(sofie, 3)).map(act => act.split(' ')[0])).toEqual([
      'delivery.accessed',
      'delivery.accessed',
      'access.refused',
    ])
    expect(await sofie.send('GET', parcel.path, { as: 'blind', headers: last })).toMatchObject({
      body: { accessCount: 2, limitAccessCount: 2 },
    })
  })

  test('is spent for this package, this person, and a time', async ({ sofie }) => {
    const parcel = await sendLimited(sofie)
    const other = await sendLimited(sofie)
    const headers = byAccess(await accessToken(sofie, parcel, 'regular'))
    const invalid = refused(403, 'LIMIT_ACCESS_TOKEN_INVALID')
    expect(await sofie.send('GET', other.path, { as: 'regular', headers })).toMatchObject(invalid)
    expect(await sofie.send('GET', parcel.path, { as: 'blind', headers })).toMatchObject(invalid)
    for (const wrong of ['x', 'x'.repeat(1_001)])
      expect(
        await sofie.send('GET', parcel.path, { as: 'sender', headers: byAccess(wrong), beyondContract: true }),
      ).toMatchObject(invalid)
    sofie.world.advance(sofie.world.deps.settings.proofLifeMs)
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers })).toMatchObject(invalid)
  })

  test('is not spent before the password is shown', async ({ sofie }) => {
    const parcel = await sendLimited(sofie, 1, { downloadPassword: PASSWORD })
    const spend = (headers: Record<string, string> = {}) =>
      sofie.send('POST', `${parcel.path}/limit-access-token`, { as: 'regular', headers })
    expect(await spend()).toMatchObject(refused(403, 'PACKAGE_PASSWORD_REQUIRED'))
    const password = byToken(await passwordToken(sofie, parcel, 'regular'))
    const { body } = await spend(password)
    const { limitAccessToken } = body as { limitAccessToken: string }
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers: byAccess(limitAccessToken) })).toMatchObject(
      refused(403, 'PACKAGE_PASSWORD_REQUIRED'),
    )
    const both = { ...byAccess(limitAccessToken), ...shown(PASSWORD) }
    expect(await sofie.send('GET', parcel.path, { as: 'regular', headers: both })).toMatchObject({ status: 200 })
  })

  test('that is none has no accesses to spend', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    expect(await sofie.send('POST', `${path}/limit-access-token`, { as: 'regular' })).toMatchObject(
      refused(409, 'FILE_STATE'),
    )
    expect(await sofie.send('POST', `${path}/limit-access-token`, { as: 'admin' })).toMatchObject(
      refused(403, 'USER_ONLY'),
    )
    expect(await sofie.send('POST', `${path}/limit-access-token`, { as: 'stranger' })).toMatchObject(
      refused(404, 'NOT_FOUND'),
    )
  })
})
