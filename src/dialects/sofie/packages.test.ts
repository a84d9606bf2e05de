import { describe, expect } from 'vitest'
import { retireDeliveries } from '#core/delivery-retention.ts'
import { DAY_MS } from '#core/deliveries.ts'
import { setRightsOf, systemRights, type SystemRight } from '#core/roles.ts'
import type { Settings } from '#core/settings.ts'
import { createToken } from '#core/tokens.ts'
import { acts, addressOf, sendPackage, toAll, work } from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

const newPackage = { name: 'Report', accessType: 'PRIVATE', recipients: toAll }

const give = ({ world, users }: SofieWorld, who: Caller, ...rights: SystemRight[]) =>
  setRightsOf(world.system, { principalId: users[who].user.id, rights, among: systemRights })

/** Ids of the packages of a list. */
async function idsIn({ send }: SofieWorld, path: string, as: Caller): Promise<string[]> {
  const { body } = await send('GET', path, { as })
  return (body as { data: { id: string }[] }).data.map(({ id }) => id)
}

const names = (body: unknown) => (body as { recipients: { email: string }[] }).recipients.map(({ email }) => email)

describe('sending', () => {
  test('makes a package that its sender sees with all that he said', async ({ sofie }) => {
    const { send, world } = sofie
    const created = await send('POST', '/packages', {
      as: 'sender',
      json: {
        ...newPackage,
        note: 'Two lines\nof text',
        downloadPassword: 'secret',
        downloadExpiration: 7,
        limitAccessCount: 3,
        sendEmailNotifications: false,
      },
    })
    expect(created).toMatchObject({ status: 201 })
    const { packageId, rootFolderId } = created.body as Record<string, string>
    const detail = await send('GET', `/packages/${packageId}`, { as: 'sender' })
    expect(detail).toMatchObject({
      status: 200,
      body: {
        id: packageId,
        rootFolderId,
        name: 'Report',
        note: 'Two lines\nof text',
        workflowState: 'ACTIVE',
        checkState: 'CLEAN',
        accessType: 'PRIVATE',
        downloadPasswordProtected: true,
        limitAccessCount: 3,
        accessCount: 0,
        persistent: false,
        size: 0,
        approveRequired: false,
        dataIntegrity: 'UNKNOWN',
        flags: [],
        recipients: [
          { class: 'INTERNAL', type: 'CONTRIBUTOR', email: addressOf('contributor') },
          { class: 'INTERNAL', type: 'REGULAR', email: addressOf('regular') },
          { class: 'INTERNAL', type: 'BLIND', email: addressOf('blind') },
        ],
      },
    })
    const { created: at, downloadExpiration } = detail.body as Record<string, string>
    const life = Date.parse(downloadExpiration!) - Date.parse(at!)
    expect(Math.round(life / DAY_MS)).toBe(7)
    expect(detail.body).not.toHaveProperty('uploaded')
    expect(detail.raw.toString()).not.toContain('secret')
    expect((await world.events()).slice(-4)).toEqual([
      'space.created',
      'recipient.added',
      'recipient.added',
      'recipient.added',
    ])
  })

  test('with least: no name, no note, the preset end', async ({ sofie }) => {
    const { path } = await sendPackage(sofie, { name: undefined, accessType: 'PUBLIC', recipients: undefined })
    const { body } = await sofie.send('GET', path, { as: 'stranger' })
    expect(body).toMatchObject({ accessType: 'PUBLIC', limitAccessCount: 0, recipients: [], persistent: false })
    expect(body).not.toHaveProperty('name')
    expect(body).not.toHaveProperty('note')
  })

  test('names an address outside once, whatever its case, with its strongest type', async ({ sofie }) => {
    const recipients = [
      { type: 'BLIND', email: 'who@elsewhere.test' },
      { type: 'REGULAR', email: 'WHO@elsewhere.test' },
      { type: 'REGULAR', email: addressOf('regular') },
      { type: 'BLIND', email: addressOf('regular') },
    ]
    const { path } = await sendPackage(sofie, { recipients })
    const { body } = await sofie.send('GET', path, { as: 'sender' })
    expect(body).toMatchObject({
      recipients: [
        { class: 'EXTERNAL', type: 'REGULAR' },
        { class: 'INTERNAL', type: 'REGULAR', email: addressOf('regular') },
      ],
    })
  })

  test.for<[string, object, string]>([
    ['no access type', { accessType: undefined }, 'accessType'],
    ['another access type', { accessType: 'SECRET' }, 'accessType'],
    ['a long name', { name: 'x'.repeat(101) }, 'name'],
    ['a name with a zero byte', { name: 'a\0b' }, 'name'],
    ['a long note', { note: 'x'.repeat(10_001) }, 'note'],
    ['a long password', { downloadPassword: 'x'.repeat(31) }, 'downloadPassword'],
    ['no day', { downloadExpiration: 0 }, 'downloadExpiration'],
    ['half a day', { downloadExpiration: 1.5 }, 'downloadExpiration'],
    ['more days than the server gives', { downloadExpiration: 361 }, 'downloadExpiration'],
    ['days as a text', { downloadExpiration: '7' }, 'downloadExpiration'],
    ['half an access', { limitAccessCount: 1.5 }, 'limitAccessCount'],
    ['no access', { limitAccessCount: 0 }, 'limitAccessCount'],
    ['nobody', { recipients: [] }, 'recipients'],
    ['no address', { recipients: [{ type: 'REGULAR', email: 'nobody' }] }, 'recipients/0/email'],
    ['an address with a zero byte', { recipients: [{ type: 'REGULAR', email: 'a\0@b.test' }] }, 'recipients/0/email'],
    ['no type', { recipients: [{ email: 'a@b.test' }] }, 'recipients/0/type'],
    ['a contributor outside', { recipients: [{ type: 'CONTRIBUTOR', email: 'a@b.test' }] }, 'recipients'],
    ['encryption without a password', { encryptDataWithPassword: true }, 'downloadPassword'],
  ])('refuses %s and names the attribute', async ([, wrong, field], { sofie }) => {
    const answer = await sofie.send('POST', '/packages', { as: 'sender', json: { ...newPackage, ...wrong } })
    expect(answer).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(answer.body).toMatchObject({ details: [{ field }] })
    expect(await idsIn(sofie, '/packages/outbox', 'sender')).toEqual([])
  })

  test('refuses whom the recipient may not be: without the right to receive', async ({ sofie }) => {
    const { user } = await sofie.world.user('nobody', { email: 'nobody@example.test' })
    const recipients = [{ type: 'REGULAR', email: user.email }]
    const answer = await sofie.send('POST', '/packages', { as: 'sender', json: { ...newPackage, recipients } })
    expect(answer).toMatchObject(refused(400, 'BAD_REQUEST'))
  })

  test.for<[string, SystemRight, Partial<Settings>, object]>([
    ['public packages', 'deliveries.send.public', {}, { accessType: 'PUBLIC' }],
    ['internal packages', 'deliveries.send.internal', {}, { accessType: 'INTERNAL' }],
    ['private packages', 'deliveries.send.private', {}, {}],
    ['packages that do not end', 'deliveries.persistent', {}, { persistent: true }],
    [
      'contributors, where only some may',
      'deliveries.contributors',
      { deliveryContributors: 'selected' },
      { recipients: toAll },
    ],
    [
      'encryption, where only some may',
      'deliveries.encrypt',
      { deliveryEncrypt: 'selected' },
      { encryptDataWithPassword: true, downloadPassword: 'secret' },
    ],
    [
      'themselves among others, where only some may',
      'deliveries.send.self',
      { deliverySendSelf: 'selected' },
      { recipients: [...toAll, { type: 'REGULAR', email: addressOf('sender') }] },
    ],
    [
      'themselves alone, where only some may',
      'deliveries.send.own',
      { deliverySendOwn: 'selected' },
      { recipients: [{ type: 'REGULAR', email: addressOf('sender') }] },
    ],
  ])('needs a right for %s', async ([, right, settings, json], { sofie }) => {
    Object.assign(sofie.world.deps.settings, settings)
    const others: SystemRight[] = ['deliveries.use', 'deliveries.receive', 'deliveries.send.private']
    await setRightsOf(sofie.world.system, { principalId: sofie.groupId, rights: [], among: systemRights })
    const recipients = toAll.slice(1)
    for (const who of ['regular', 'blind', 'contributor', 'sender'] as const) await give(sofie, who, ...others)
    const rights = others.filter(other => other !== right)
    await give(sofie, 'sender', ...rights)
    const call = () => sofie.send('POST', '/packages', { as: 'sender', json: { ...newPackage, recipients, ...json } })
    expect(await call()).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect((await sofie.world.events()).at(-1)).toBe('access.refused refused')
    await give(sofie, 'sender', ...rights, right)
    expect(await call()).toMatchObject({ status: 201 })
  })

  test('tells recipients by mail, unless the sender does not want that', async ({ sofie }) => {
    const { mailer } = sofie.world.deps
    await sendPackage(sofie, { sendEmailNotifications: true })
    await work(sofie.world)
    expect(mailer.sent.map(({ to }) => to.address).toSorted()).toEqual(
      ['blind', 'contributor', 'regular'].map(name => `${name}@example.test`),
    )
    await sendPackage(sofie)
    await work(sofie.world)
    expect(mailer.sent).toHaveLength(3)
  })
})

describe('who sees a package', () => {
  test.for<[string, Caller[]]>([
    ['PRIVATE', ['sender', 'contributor', 'regular', 'blind', 'admin']],
    ['INTERNAL', ['sender', 'contributor', 'regular', 'blind', 'stranger', 'admin']],
    ['PUBLIC', ['sender', 'contributor', 'regular', 'blind', 'stranger', 'admin']],
  ])('%s', async ([accessType, seers], { sofie }) => {
    const { path } = await sendPackage(sofie, { accessType })
    for (const as of ['sender', 'contributor', 'regular', 'blind', 'stranger', 'admin'] as const) {
      const answer = await sofie.send('GET', path, { as })
      expect(answer).toMatchObject(seers.includes(as) ? { status: 200 } : refused(404, 'NOT_FOUND'))
    }
  })

  test('blind recipients show to the sender, administrators and themselves', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    const seen: [Caller, boolean][] = [
      ['sender', true],
      ['admin', true],
      ['blind', true],
      ['regular', false],
      ['contributor', false],
    ]
    for (const [as, isSeen] of seen) {
      const { body } = await sofie.send('GET', path, { as })
      expect(names(body).includes(addressOf('blind'))).toBe(isSeen)
      if (as === 'admin') continue
      const box = as === 'sender' ? 'outbox' : 'inbox'
      const list = await sofie.send('GET', `/packages/${box}`, { as })
      expect(names((list.body as { data: unknown[] }).data[0]).includes(addressOf('blind'))).toBe(isSeen)
    }
  })

  test('nobody of another tenant, administrators among them', async ({ sofie }) => {
    const { path } = await sendPackage(sofie, { accessType: 'PUBLIC' })
    const tenant = await sofie.world.otherTenant()
    const { user, ctx } = await sofie.world.user('other', { tenant, kind: 'administrator' })
    await sofie.world.deps.database.transaction(db =>
      db
        .insertInto('principal_right')
        .values(systemRights.map(right => ({ principalId: user.id, right })))
        .execute(),
    )
    const { secret } = await createToken(ctx, { principalId: user.id, name: 'x' })
    const headers = { authorization: `Bearer ${secret}` }
    const answer = await sofie.send('GET', path, { headers })
    expect([401, 404]).toContain(answer.status)
  })

  test('ids are known in either case, and unknown ones are not there', async ({ sofie }) => {
    const { packageId } = await sendPackage(sofie)
    expect(await sofie.send('GET', `/packages/${packageId.toUpperCase()}`, { as: 'sender' })).toMatchObject({
      status: 200,
    })
    for (const id of [crypto.randomUUID(), 'x'])
      expect(await sofie.send('GET', `/packages/${id}`, { as: 'admin', beyondContract: true })).toMatchObject(
        refused(404, 'NOT_FOUND'),
      )
  })

  test('a space that is no package is not one, even for administrators', async ({ sofie }) => {
    const { uid } = await sofie.world.deps.database.read
      .selectFrom('node')
      .select('uid')
      .orderBy('id')
      .executeTakeFirstOrThrow()
    expect(await sofie.send('GET', `/packages/${uid}`, { as: 'admin' })).toMatchObject(refused(404, 'NOT_FOUND'))
  })
})

describe('changing', () => {
  test('name and note, taken away too', async ({ sofie }) => {
    const { path } = await sendPackage(sofie, { note: 'old' })
    const change = (json: object) => sofie.send('PATCH', path, { as: 'sender', json })
    expect(await change({ name: 'New', note: 'other' })).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject({ body: { name: 'New', note: 'other' } })
    expect(await change({ name: '', note: '' })).toMatchObject({ status: 204 })
    const { body } = await sofie.send('GET', path, { as: 'regular' })
    expect(body).not.toHaveProperty('name')
    expect(body).not.toHaveProperty('note')
  })

  test('the end, within what the server gives; administrators beyond it', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    const at = (days: number) => new Date(sofie.world.deps.clock() + days * DAY_MS).toISOString()
    const end = at(100)
    const change = (as: Caller, downloadExpiration: string) =>
      sofie.send('PATCH', path, { as, json: { downloadExpiration }, beyondContract: true })
    expect(await change('sender', end)).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'sender' })).toMatchObject({ body: { downloadExpiration: end } })
    for (const wrong of [at(-1), at(361), 'tomorrow', '2030-01-01'])
      expect(await change('sender', wrong)).toMatchObject({
        ...refused(400, 'BAD_REQUEST'),
        body: { details: [{ field: 'downloadExpiration' }] },
      })
    expect(await change('admin', at(1_000))).toMatchObject({ status: 204 })
    expect(await sofie.send('PATCH', path, { as: 'sender', json: { name: 'x', persistent: false } })).toMatchObject({
      status: 204,
    })
  })

  test('whether it ends: with the right, and with the preset end when it ends again', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    const change = (json: object, as: Caller = 'sender') => sofie.send('PATCH', path, { as, json })
    expect(await change({ persistent: true })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await change({ persistent: true }, 'admin')).toMatchObject({ status: 204 })
    const { body } = await sofie.send('GET', path, { as: 'sender' })
    expect(body).toMatchObject({ persistent: true })
    expect(body).not.toHaveProperty('downloadExpiration')
    sofie.world.advance(500 * DAY_MS)
    await retireDeliveries(sofie.world.system)
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject({ status: 200 })
    const end = new Date(sofie.world.deps.clock() + DAY_MS).toISOString()
    expect(await change({ downloadExpiration: end })).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(await change({ persistent: false })).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'sender' })).toMatchObject({
      body: { persistent: false, downloadExpiration: expect.any(String) },
    })
  })

  test('the access type: administrators only, and private needs a recipient', async ({ sofie }) => {
    const { path } = await sendPackage(sofie, { accessType: 'PUBLIC', recipients: [] })
    const change = (as: Caller, accessType: string) => sofie.send('PATCH', path, { as, json: { accessType } })
    expect(await change('sender', 'INTERNAL')).toMatchObject(refused(403, 'ADMIN_ONLY'))
    expect(await change('admin', 'PRIVATE')).toMatchObject(refused(400, 'BAD_REQUEST'))
    expect(await change('admin', 'INTERNAL')).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'stranger' })).toMatchObject({ body: { accessType: 'INTERNAL' } })
    const json = [{ type: 'REGULAR', email: addressOf('regular') }]
    expect(await sofie.send('POST', `${path}/recipients`, { as: 'sender', json })).toMatchObject({ status: 201 })
    expect(await change('admin', 'PRIVATE')).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'stranger' })).toMatchObject(refused(404, 'NOT_FOUND'))
  })

  test('by others is refused and recorded', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    for (const as of ['contributor', 'regular', 'blind'] as const)
      expect(await sofie.send('PATCH', path, { as, json: { name: 'x' } })).toMatchObject(
        refused(403, 'PERMISSION_DENIED'),
      )
    expect(await acts(sofie, 1)).toEqual(['access.refused refused blind'])
    expect(await sofie.send('PATCH', path, { as: 'stranger', json: { name: 'x' } })).toMatchObject(
      refused(404, 'NOT_FOUND'),
    )
  })

  test.for([{ name: 7 }, { name: 'x'.repeat(101) }, { persistent: 'yes' }, { accessType: null }, { name: '\ud800' }])(
    'to %j is refused',
    async (json, { sofie }) => {
      const { path } = await sendPackage(sofie)
      expect(await sofie.send('PATCH', path, { as: 'admin', json })).toMatchObject(refused(400, 'BAD_REQUEST'))
    },
  )

  test('an administrator who acts as the sender is recorded beside him', async ({ sofie }) => {
    const { path } = await sendPackage(sofie)
    const json = { name: 'New' }
    expect(await sofie.send('PATCH', path, { as: 'admin', impersonate: 'sender', json })).toMatchObject({ status: 204 })
    expect(await acts(sofie, 1)).toEqual(['node.changed sender by admin'])
    expect(await sofie.send('PATCH', path, { as: 'admin', json })).toMatchObject({ status: 204 })
    expect(await acts(sofie, 1)).toEqual(['node.changed admin'])
  })
})
