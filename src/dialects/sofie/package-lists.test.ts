import { describe, expect } from 'vitest'
import { retireDeliveries } from '#core/delivery-retention.ts'
import { DAY_MS, getDeliverySpace, setTags } from '#core/deliveries.ts'
import { setRightsOf, systemRights } from '#core/roles.ts'
import { addFile, sendPackage } from '#test/sofie-packages.ts'
import { refused, test, type Caller, type SofieWorld } from '#test/sofie-world.ts'

/** Ids of the packages of a list. */
async function idsIn({ send }: SofieWorld, path: string, as: Caller): Promise<string[]> {
  const { body } = await send('GET', path, { as })
  return (body as { data: { id: string }[] }).data.map(({ id }) => id)
}

describe('inbox and outbox', () => {
  test('show what somebody got and what he sent, newest first', async ({ sofie }) => {
    const first = await sendPackage(sofie)
    const second = await sendPackage(sofie, {}, 'regular')
    const third = await sendPackage(sofie)
    expect(await idsIn(sofie, '/packages/inbox', 'blind')).toEqual([third, second, first].map(p => p.packageId))
    expect(await idsIn(sofie, '/packages/outbox', 'sender')).toEqual([third, first].map(p => p.packageId))
    expect(await idsIn(sofie, '/packages/inbox', 'sender')).toEqual([])
    expect(await idsIn(sofie, '/packages/inbox', 'stranger')).toEqual([])
  })

  test('give pages, their size and the number of all', async ({ sofie }) => {
    for (let number = 0; number < 3; number += 1) await sendPackage(sofie, { name: `n${number}` })
    const page = await sofie.send('GET', '/packages/inbox?$top=1&$skip=1', { as: 'regular' })
    expect(page).toMatchObject({ status: 200, body: { count: 1, total: 3, data: [{ name: 'n1' }] } })
    const beyond = await sofie.send('GET', '/packages/outbox?$skip=9', { as: 'sender' })
    expect(beyond).toMatchObject({ status: 200, body: { count: 0, total: 3, data: [] } })
  })

  test.for(['$top=0', '$top=5001', '$top=x', '$skip=-1', '$top=1e3'])('refuse %s', async (query, { sofie }) => {
    for (const box of ['inbox', 'outbox'])
      expect(await sofie.send('GET', `/packages/${box}?${query}`, { as: 'sender' })).toMatchObject(
        refused(400, 'BAD_REQUEST'),
      )
  })

  test.for<[string, string[]]>([
    ['{"==":[{"var":"name"},"Second"]}', ['Second']],
    ['{"icontains":[{"var":"name"},"FIRST"]}', ['First']],
    ['{"in":["urgent",{"var":"tags"}]}', ['First']],
    ['{"!":{"in":["urgent",{"var":"tags"}]}}', ['Second']],
    ['{"contains":[{"var":"workflowState"},"ACT"]}', ['Second', 'First']],
    ['{"==":[{"var":"checkState"},"QUARANTINED"]}', []],
  ])('are filtered by %s', async ([filter, expected], { sofie }) => {
    const { system } = sofie.world
    const { packageId } = await sendPackage(sofie, { name: 'First' })
    await setTags(system, { spaceId: (await getDeliverySpace(system, packageId)).id, tags: ['urgent'] })
    await sendPackage(sofie, { name: 'Second' })
    for (const [box, as] of [
      ['inbox', 'regular'],
      ['outbox', 'sender'],
    ] as const) {
      const { body } = await sofie.send('GET', `/packages/${box}?$filter=${encodeURIComponent(filter)}`, { as })
      expect((body as { data: { name: string }[] }).data.map(({ name }) => name)).toEqual(expected)
    }
  })

  test.for(['{', '{"foo":[]}', '{"==":[{"var":"colour"},"x"]}', '{"==":[{"var":"name"},"\\u0000"]}'])(
    'do not know the filter %s',
    async (filter, { sofie }) => {
      const url = `/packages/inbox?$filter=${encodeURIComponent(filter)}`
      const answer = await sofie.send('GET', url, { as: 'regular' })
      if (filter.includes('u0000')) return expect(answer.status).toBeLessThan(500)
      expect(answer).toMatchObject(refused(400, 'FILTER_NOT_SUPPORTED'))
    },
  )

  test('do not show what has ended, was deleted or waits for consent', async ({ sofie }) => {
    const ended = await sendPackage(sofie, { downloadExpiration: 1 })
    const deleted = await sendPackage(sofie)
    await sofie.send('DELETE', deleted.path, { as: 'sender' })
    const kept = await sendPackage(sofie)
    sofie.world.advance(2 * DAY_MS)
    expect(await idsIn(sofie, '/packages/inbox', 'regular')).toEqual([kept.packageId])
    await retireDeliveries(sofie.world.system)
    expect(await idsIn(sofie, '/packages/outbox', 'sender')).toEqual([kept.packageId])
    expect(await sofie.send('GET', ended.path, { as: 'sender' })).toMatchObject(refused(404, 'NOT_FOUND'))
  })

  test('need the right to receive, for what was received', async ({ sofie }) => {
    await setRightsOf(sofie.world.system, {
      principalId: sofie.groupId,
      rights: ['deliveries.use'],
      among: systemRights,
    })
    expect(await sofie.send('GET', '/packages/inbox', { as: 'regular' })).toMatchObject(
      refused(403, 'PERMISSION_DENIED'),
    )
  })

  test('say of files what they add up to', async ({ sofie }) => {
    const parcel = await sendPackage(sofie)
    await addFile(sofie, parcel, { content: '12345' })
    await addFile(sofie, parcel, { name: 'b', content: '678' })
    const { body } = await sofie.send('GET', '/packages/inbox', { as: 'regular' })
    expect(body).toMatchObject({ data: [{ size: 8, checkState: 'CLEAN', uploaded: expect.any(String) }] })
  })
})
