import { describe, expect } from 'vitest'
import { DAY_MS } from '#core/deliveries.ts'
import { acts, addFile, addressOf, harmfulText, sendPackage, work, type Parcel } from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

describe('recipients', () => {
  const add = ({ send }: SofieWorld, { path }: Parcel, recipients: object[], as: Caller = 'sender') =>
    send('POST', `${path}/recipients`, { as, json: recipients })

  test('are added, see the package from then on, and are told', async ({ sofie }) => {
    const parcel = await sendPackage(sofie, { sendEmailNotifications: true })
    await work(sofie.world)
    const answer = await add(sofie, parcel, [
      { type: 'BLIND', email: addressOf('stranger') },
      { type: 'REGULAR', email: 'who@elsewhere.test' },
    ])
    expect(answer).toMatchObject({
      status: 201,
      body: [
        { class: 'INTERNAL', type: 'BLIND', email: addressOf('stranger') },
        { class: 'EXTERNAL', type: 'REGULAR', email: 'who@elsewhere.test' },
      ],
    })
    expect(await sofie.send('GET', parcel.path, { as: 'stranger' })).toMatchObject({ status: 200 })
    await work(sofie.world)
    const told = sofie.world.deps.mailer.sent.map(({ to }) => to.address)
    expect(told.slice(3).toSorted()).toEqual([addressOf('stranger'), 'who@elsewhere.test'].toSorted())
    expect(await acts(sofie, 30)).toContain('recipient.added sender')
  })

  test('who are there already keep the stronger type', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const answer = await add(sofie, parcel, [
      { type: 'BLIND', email: addressOf('regular') },
      { type: 'CONTRIBUTOR', email: addressOf('blind') },
    ])
    expect(answer.body).toMatchObject([{ type: 'REGULAR' }, { type: 'CONTRIBUTOR', email: addressOf('blind') }])
    const { body } = await sofie.send('GET', parcel.path, { as: 'sender' })
    expect((body as { recipients: unknown[] }).recipients).toHaveLength(3)
    await addFile(sofie, parcel, { as: 'blind' })
  })

  test.for([
    [[]],
    [[{ type: 'REGULAR' }]],
    [{ type: 'REGULAR', email: 'a@b.test' }],
    [[{ type: 'CONTRIBUTOR', email: 'a@b.test' }]],
  ])('are refused: %j', async ([json], { sofie }) => {
    const { path } = await sendPackage(sofie)
    expect(await sofie.send('POST', `${path}/recipients`, { as: 'sender', json })).toMatchObject(
      refused(400, 'BAD_REQUEST'),
    )
  })

  test('are added and taken out by the sender and administrators alone', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const one = [{ type: 'REGULAR', email: addressOf('stranger') }]
    for (const as of ['contributor', 'regular', 'blind'] as const)
      expect(await add(sofie, parcel, one, as)).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await add(sofie, parcel, one, 'admin')).toMatchObject({ status: 201 })
    expect(await acts(sofie, 1)).toEqual(['recipient.added admin'])
  })

  test('with an account can be taken out, and see nothing any more', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const { body } = await sofie.send('GET', parcel.path, { as: 'sender' })
    const { recipients } = body as { recipients: { id: string; email: string }[] }
    for (const name of ['regular', 'contributor'] as const) {
      const { id } = recipients.find(({ email }) => email === addressOf(name))!
      const url = `${parcel.path}/recipients/${id}`
      expect(await sofie.send('DELETE', url, { as: 'blind' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
      expect(
        await sofie.send('DELETE', url.toUpperCase().replace(/.*RECIPIENTS/, `${parcel.path}/recipients`), {
          as: 'sender',
        }),
      ).toMatchObject({ status: 204 })
      expect(await sofie.send('GET', parcel.path, { as: name })).toMatchObject(refused(404, 'NOT_FOUND'))
      expect(await sofie.send('DELETE', url, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
    }
    expect(await acts(sofie, 1)).toEqual(['recipient.removed sender'])
  })

  test('outside cannot be taken out', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const { body } = await add(sofie, parcel, [{ type: 'REGULAR', email: 'who@elsewhere.test' }])
    const [{ id }] = body as [{ id: string }]
    for (const as of ['sender', 'admin'] as const)
      expect(await sofie.send('DELETE', `${parcel.path}/recipients/${id}`, { as })).toMatchObject({ status: 409 })
  })

  test('stay as they are in quarantine', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    await addFile(sofie, parcel, { content: harmfulText })
    const { body } = await sofie.send('GET', parcel.path, { as: 'sender' })
    const [{ id }] = (body as { recipients: [{ id: string }] }).recipients
    expect(await sofie.send('DELETE', `${parcel.path}/recipients/${id}`, { as: 'sender' })).toMatchObject(
      refused(409, 'PACKAGE_QUARANTINED'),
    )
  })

  test('may be the members of a group, by its address', async ({ sofie }) => {
    const { send } = sofie
    const group = { name: 'Team', email: 'team@example.test', distribution: true, accessibility: 'INTERNAL' }
    const created = await send('POST', '/user-groups', { as: 'admin', json: group })
    const { id } = created.body as { id: string }
    const members = [sofie.users.stranger.user.id, sofie.users.regular.user.id]
    await send('POST', `/user-groups/${id}/users`, { as: 'admin', json: members })
    const parcel = await sendPackage(sofie, { recipients: [{ type: 'REGULAR', email: 'TEAM@example.test' }] })
    expect(await send('GET', parcel.path, { as: 'stranger' })).toMatchObject({ status: 200 })
    const { body } = await send('GET', parcel.path, { as: 'sender' })
    expect((body as { recipients: { email: string }[] }).recipients.map(({ email }) => email).toSorted()).toEqual(
      [addressOf('regular'), addressOf('stranger')].toSorted(),
    )
  })

  test('cannot be added to what has ended', async ({ sofie }) => {
    const parcel = await sendPackage(sofie, { downloadExpiration: 1 })
    sofie.world.advance(DAY_MS)
    const one = [{ type: 'REGULAR', email: addressOf('stranger') }]
    expect(await add(sofie, parcel, one)).toMatchObject(refused(404, 'NOT_FOUND'))
  })
})
