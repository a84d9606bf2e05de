import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { coredataDescription } from '#dialects/coredata/index.ts'
import { mftDescription } from '#dialects/mft/index.ts'
import { sofieDescription } from '#dialects/sofie/index.ts'

const dialects = [mftDescription, coredataDescription, sofieDescription]

/** `contracts/<dialect>.json`: everything a dialect must answer. */
const inventoryOf = (name: string) =>
  JSON.parse(readFileSync(new URL(`../contracts/${name}.json`, import.meta.url), 'utf8')) as [string, string, string][]

describe.each(dialects)('$name', ({ name, prefix, operations, tags }) => {
  const rows = operations.map(({ id, method, path }) => [id, method, prefix + path])

  test('serves every operation of its inventory, and none beyond it', () => {
    const inventory = inventoryOf(name)
    expect(inventory.length).toBeGreaterThan(10) // an empty inventory must not pass
    expect(rows.map(String).sort()).toEqual(inventory.map(String).sort())
  })

  test('every operation is documented: tag, summary, refusals', () => {
    for (const { tag, summary, refusals, access } of operations) {
      expect(tags).toHaveProperty([tag])
      expect(summary).not.toBe('')
      if (access !== 'public') expect(refusals).toHaveProperty('401')
    }
  })
})

test('only signing in, and contents under signed addresses, ask for no account', () => {
  const open = dialects.flatMap(({ operations }) => operations.filter(({ access }) => access === 'public'))
  expect(open.map(({ id }) => id)).toEqual(['loginBasic', 'putBlob', 'getBlob'])
})
