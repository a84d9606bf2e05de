import { expect } from 'vitest'
import { sendPackage } from '#test/sofie-packages.ts'
import { test } from '#test/sofie-world.ts'

test('two hundred who want one of fifty accesses at once: fifty get one', { timeout: 60_000 }, async ({ sofie }) => {
  const { path } = await sendPackage(sofie, { limitAccessCount: 50 })
  const calls = Array.from({ length: 200 }, (_, at) =>
    sofie.send('POST', `${path}/limit-access-token`, { as: at % 2 ? 'regular' : 'blind' }),
  )
  const outcomes = (await Promise.all(calls)).map(({ status, headers }) =>
    [status, headers['x-sofie-response-reason']].join(' ').trim(),
  )
  const counts = Object.fromEntries(
    Map.groupBy(outcomes, outcome => outcome)
      .entries()
      .map(([key, all]) => [key, all.length]),
  )
  expect(counts).toEqual({ '201': 50, '403 ACCESS_LIMIT_EXCEEDED': 150 })
  expect(await sofie.send('GET', path, { as: 'sender' })).toMatchObject({ body: { accessCount: 50 } })
})
