import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { loadMd5s } from '#core/digests.ts'
import { getVersionRow } from '#core/versions.ts'
import { makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'

const md5 = (text: string) => createHash('md5').update(text).digest('hex')

test('a digest that no upload made is made when it is asked for, and kept', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const large = 'x'.repeat(world.deps.settings.inlineBytes + 1)
  const { version } = await put(ctx, id, 'large.txt', large)
  const small = await put(ctx, id, 'small.txt', 'small')
  expect(version.md5).toBeNull()

  const digests = await loadMd5s(ctx, [version, small.version])

  expect(digests).toEqual(
    new Map([
      [version.id, md5(large)],
      [small.version.id, md5('small')],
    ]),
  )
  expect((await getVersionRow(ctx, version.id)).md5).toBe(md5(large))
})

test('what cannot be read has no digest, and the others have theirs', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const large = 'x'.repeat(world.deps.settings.inlineBytes + 1)
  const damaged = await put(ctx, id, 'damaged.txt', large)
  world.deps.blobs.stored.clear()
  const whole = await put(ctx, id, 'whole.txt', large)

  expect(await loadMd5s(ctx, [damaged.version, whole.version])).toEqual(new Map([[whole.version.id, md5(large)]]))
})
