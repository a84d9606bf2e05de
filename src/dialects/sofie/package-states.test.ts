import { describe, expect } from 'vitest'
import { decideApproval } from '#core/approvals.ts'
import { retireDeliveries, reviveDelivery } from '#core/delivery-retention.ts'
import { DAY_MS, getDeliverySpace } from '#core/deliveries.ts'
import { setRightsOf, systemRights, type SystemRight } from '#core/roles.ts'
import {
  acts,
  addFile,
  addFolder,
  addressOf,
  announce,
  harmfulText,
  sendPackage,
  toAll,
  work,
} from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

const give = ({ world, users }: SofieWorld, who: Caller, ...rights: SystemRight[]) =>
  setRightsOf(world.system, { principalId: users[who].user.id, rights, among: systemRights })

/** Ids of the packages of a list. */
async function idsIn({ send }: SofieWorld, path: string, as: Caller): Promise<string[]> {
  const { body } = await send('GET', path, { as })
  return (body as { data: { id: string }[] }).data.map(({ id }) => id)
}

describe('the end of a package', () => {
  test('deleted by its sender it is gone for users, and administrators still see it', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const file = await addFile(sofie, parcel)
    const { path } = parcel
    expect(await sofie.send('DELETE', path, { as: 'regular' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await sofie.send('DELETE', path, { as: 'sender' })).toMatchObject({ status: 204 })
    expect(await sofie.send('DELETE', path, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('GET', file, { as: 'regular' })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('GET', path, { as: 'admin' })).toMatchObject({ body: { workflowState: 'DELETED' } })
    expect(await sofie.send('GET', file, { as: 'admin' })).toMatchObject({ status: 200 })
    for (const [method, below, json] of [
      ['DELETE', '', undefined],
      ['PATCH', '', { name: 'x' }],
      ['POST', '/recipients', toAll],
      ['POST', '/password-token', { password: 'x' }],
      ['DELETE', `/folders/${parcel.rootFolderId}`, undefined],
      ['PUT', `/folders/${parcel.rootFolderId}/name`, { name: 'x' }],
      ['DELETE', file.slice(path.length), undefined],
      ['PUT', `${file.slice(path.length)}/name`, { name: 'x' }],
      ['GET', `${file.slice(path.length)}/content`, undefined],
      ['DELETE', `/recipients/${parcel.rootFolderId}`, undefined],
    ] as const)
      expect(await sofie.send(method, path + below, { as: 'admin', json })).toMatchObject(
        refused(409, 'PACKAGE_NOT_ACTIVE'),
      )
  })

  test('brought back it is as it was', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const file = await addFile(sofie, parcel)
    await sofie.send('DELETE', parcel.path, { as: 'sender' })
    const { system } = sofie.world
    await reviveDelivery(system, { spaceId: (await getDeliverySpace(system, parcel.packageId)).id })
    expect(await sofie.send('GET', `${file}/content`, { as: 'regular' })).toMatchObject({
      status: 200,
      body: 'content',
    })
  })

  test('comes by itself when its time is over, and later its content goes', async ({ sofie }) => {
    const parcel = await sendPackage(sofie, { downloadExpiration: 1 })
    const file = await addFile(sofie, parcel)
    sofie.world.advance(DAY_MS)
    expect(await sofie.send('GET', parcel.path, { as: 'regular' })).toMatchObject(refused(404, 'NOT_FOUND'))
    await retireDeliveries(sofie.world.system)
    expect(await sofie.send('GET', parcel.path, { as: 'admin' })).toMatchObject({ body: { workflowState: 'DELETED' } })
    sofie.world.advance(31 * DAY_MS)
    await retireDeliveries(sofie.world.system)
    expect(await sofie.send('GET', parcel.path, { as: 'admin' })).toMatchObject({ body: { workflowState: 'SHREDDED' } })
    expect(await sofie.send('GET', file, { as: 'admin' })).toMatchObject({
      status: 200,
      body: { contentDeleted: expect.any(String) },
    })
  })

  test('shredded by an administrator its record stays and its content is destroyed', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const file = await addFile(sofie, parcel, { content: Buffer.alloc(100_000, 'x') })
    await addFolder(sofie, parcel)
    await announce(sofie, parcel, { name: 'open' })
    expect(await sofie.send('POST', `${parcel.path}/shred`, { as: 'sender' })).toMatchObject(refused(403, 'ADMIN_ONLY'))
    expect(await sofie.send('POST', `${parcel.path}/shred`, { as: 'admin' })).toMatchObject({ status: 204 })
    expect(await sofie.send('POST', `${parcel.path}/shred`, { as: 'admin' })).toMatchObject(
      refused(409, 'PACKAGE_NOT_ACTIVE'),
    )
    expect(await sofie.send('GET', parcel.path, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
    expect(await sofie.send('GET', parcel.path, { as: 'admin' })).toMatchObject({
      body: { workflowState: 'SHREDDED', name: 'Report' },
    })
    expect(await sofie.send('GET', file, { as: 'admin' })).toMatchObject({
      body: { deleted: expect.any(String), contentDeleted: expect.any(String) },
    })
    expect((await acts(sofie, 1))[0]).toBe('space.purged admin')
    await work(sofie.world)
    expect((await Array.fromAsync(sofie.world.deps.blobs.list())).length).toBe(0)
  })
})

describe('quarantine', () => {
  test('keeps users out of changes, but not administrators and not who holds the rights', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const { path, rootFolderId } = parcel
    const good = await addFile(sofie, parcel)
    const bad = await addFile(sofie, parcel, { name: 'bad', content: harmfulText, unchecked: true })
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject({ body: { checkState: 'UNKNOWN' } })
    await work(sofie.world)
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject({ body: { checkState: 'QUARANTINED' } })
    const newFile = { name: 'x', size: 0 }
    const acting: [string, string, object | undefined, number][] = [
      ['PATCH', path, { name: 'x' }, 403],
      ['DELETE', path, undefined, 403],
      ['POST', `${path}/recipients`, toAll, 409],
      ['POST', `${path}/folders`, { parentId: rootFolderId, name: 'x' }, 403],
      ['POST', `${path}/folders/${rootFolderId}/files`, newFile, 403],
      ['PUT', `${good}/name`, { name: 'x' }, 403],
      ['DELETE', good, undefined, 403],
      ['GET', `${good}/content`, undefined, 403],
    ]
    for (const [method, url, json, status] of acting)
      expect(await sofie.send(method, url, { as: 'sender', json })).toMatchObject(
        refused(status, 'PACKAGE_QUARANTINED'),
      )
    await give(sofie, 'sender', 'quarantine.add', 'quarantine.delete')
    expect(
      await sofie.send('POST', `${path}/folders/${rootFolderId}/files`, { as: 'sender', json: newFile }),
    ).toMatchObject({
      status: 201,
    })
    expect(await sofie.send('DELETE', bad, { as: 'sender' })).toMatchObject({ status: 204 })
    expect(await sofie.send('GET', path, { as: 'sender' })).toMatchObject({ body: { checkState: 'CLEAN' } })
    expect(await sofie.send('GET', `${good}/content`, { as: 'regular' })).toMatchObject({ status: 200 })
  })

  test('lets clean files out where the server says so', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const good = await addFile(sofie, parcel)
    const bad = await addFile(sofie, parcel, { name: 'bad', content: harmfulText })
    await work(sofie.world)
    sofie.world.deps.settings.quarantineOpen = true
    expect(await sofie.send('GET', `${good}/content`, { as: 'regular' })).toMatchObject({ status: 200 })
    expect(await sofie.send('GET', `${bad}/content`, { as: 'regular' })).toMatchObject(refused(409, 'FILE_STATE'))
  })
})

describe('consent', () => {
  test.override({ settings: { deliveryApproval: 'yes' } })

  async function decide({ world }: SofieWorld, packageId: string, decision: 'approved' | 'refused') {
    const { id: spaceId } = await getDeliverySpace(world.system, packageId)
    await decideApproval(world.system, { spaceId, decision })
  }

  test('is waited for by recipients; the sender goes on', async ({ sofie }) => {
    const parcel = await sendPackage(sofie, { sendEmailNotifications: true })
    const { path, packageId } = parcel
    const file = await addFile(sofie, parcel)
    await work(sofie.world)
    expect(await sofie.send('GET', path, { as: 'sender' })).toMatchObject({ body: { approveRequired: true } })
    expect(await idsIn(sofie, '/packages/inbox', 'regular')).toEqual([])
    for (const url of [path, file, `${file}/content`])
      expect(await sofie.send('GET', url, { as: 'regular' })).toMatchObject(refused(403, 'PACKAGE_NOT_APPROVED'))
    expect(await sofie.send('GET', path, { as: 'stranger' })).toMatchObject(refused(404, 'NOT_FOUND'))
    const told = () => sofie.world.deps.mailer.sent.filter(({ to }) => to.address === addressOf('regular')).length
    expect(told()).toBe(0)
    await decide(sofie, packageId, 'approved')
    await work(sofie.world)
    expect(told()).toBe(1)
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject({
      body: { approveRequired: true, approved: expect.any(String) },
    })
    expect(await sofie.send('GET', `${file}/content`, { as: 'regular' })).toMatchObject({ status: 200 })
    expect(await idsIn(sofie, '/packages/inbox', 'regular')).toEqual([packageId])
  })

  test('once refused is refused for good', async ({ sofie }) => {
    const { path, packageId } = await sendPackage(sofie)
    await decide(sofie, packageId, 'refused')
    expect(await sofie.send('GET', path, { as: 'regular' })).toMatchObject(refused(403, 'PACKAGE_NOT_APPROVED'))
    const { body } = await sofie.send('GET', path, { as: 'sender' })
    expect(body).toMatchObject({ disapproved: expect.any(String) })
    expect(body).not.toHaveProperty('approved')
    await expect(decide(sofie, packageId, 'approved')).rejects.toMatchObject({ code: 'wrong-state' })
  })

  test('is given by who may look into everything of it, but not change it', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    const file = await addFile(sofie, parcel)
    await give(sofie, 'stranger', 'approvals.decide', 'approvals.all')
    for (const url of [parcel.path, file, `${file}/content`])
      expect(await sofie.send('GET', url, { as: 'stranger' })).toMatchObject({ status: 200 })
    expect(await sofie.send('DELETE', file, { as: 'stranger' })).toMatchObject(refused(403, 'PERMISSION_DENIED'))
    expect(await sofie.send('PATCH', parcel.path, { as: 'stranger', json: { name: 'x' } })).toMatchObject(
      refused(403, 'PERMISSION_DENIED'),
    )
  })
})
