import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { lockNode, unlockNode } from '#core/locks.ts'
import { loadMetadata } from '#core/metadata.ts'
import { createFolder, getNodeRow, renameNode, updateNode } from '#core/nodes.ts'
import type { NewContent } from '#core/placement.ts'
import { setSpaceState, updateSpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import { storeVersion } from '#core/uploads.ts'
import { listVersions } from '#core/versions.ts'
import { bin, brokenNodes, makeMember, makeSpace, names, put, read, wrongTotals } from '#test/tree.ts'
import { test } from '#test/world.ts'

describe('a taken name', () => {
  test('is refused, or gets a new version, or a new file, or a free name on either side, as asked', async ({
    world,
  }) => {
    const { id, ctx } = await makeSpace(world)
    const first = await put(ctx, id, 'a.txt', 'first')

    await expect(put(ctx, id, 'a.txt', '', { onConflict: 'fail' })).rejects.toMatchObject({
      code: 'name-taken',
      details: { name: 'a.txt', parentId: id, by: 'file' },
    })
    const beside = await put(ctx, id, 'a.txt', 'beside', { onConflict: 'rename-new' })
    expect(beside.settled).toEqual({ how: 'renamed-new', nodeId: beside.node.id, name: 'a (1).txt' })
    const front = await put(ctx, id, 'a.txt', 'front', { onConflict: 'rename-existing' })
    expect(front.settled).toEqual({ how: 'renamed-existing', nodeId: first.node.id, name: 'a (2).txt' })
    const instead = await put(ctx, id, 'a.txt', 'instead', { onConflict: 'replace' })
    expect(instead.settled).toEqual({ how: 'replaced', nodeId: front.node.id, name: 'a.txt' })
    const next = await put(ctx, id, 'a.txt', 'next', { onConflict: 'new-version' })
    expect(next.settled).toEqual({ how: 'superseded', nodeId: instead.node.id, name: 'a.txt' })

    expect(await names(ctx, id)).toEqual(['a (1).txt', 'a (2).txt', 'a.txt'])
    expect(await read(ctx, first.node.id)).toBe('first')
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('of a folder never gives way to a file', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await createFolder(ctx, { parentId: id, name: 'a' })

    for (const onConflict of ['fail', 'new-version', 'replace'] as const) {
      await expect(put(ctx, id, 'a', 'x', { onConflict })).rejects.toMatchObject({
        code: 'name-taken',
        details: { by: 'folder' },
      })
    }
    await put(ctx, id, 'a', 'x', { onConflict: 'rename-existing' })
    expect(await names(ctx, id)).toEqual(['a', 'a (1)'])
  })

  test('needs the right to what happens to its holder, and nothing is left of a refused body', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const creator = await makeMember(world, id, ['list', 'create'])
    const writer = await makeMember(world, id, ['list', 'write'])
    await put(ctx, id, 'a')
    const big = 'x'.repeat(100_000)

    for (const onConflict of ['new-version', 'replace', 'rename-existing'] as const) {
      await expect(put(creator.ctx, id, 'a', big, { onConflict })).rejects.toMatchObject({ code: 'forbidden' })
    }
    await put(creator.ctx, id, 'a', 'small', { onConflict: 'rename-new' })
    await put(writer.ctx, id, 'a', 'small')
    await expect(put(writer.ctx, id, 'new', big)).rejects.toMatchObject({ code: 'forbidden' })

    expect(await Array.fromAsync(world.deps.blobs.list())).toEqual([])
  })
})

describe('a new version', () => {
  test('replaces the metadata of its own namespace and leaves that of others', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const write = (namespace: string, values: Record<string, string>) =>
      put(ctx, id, 'a', 'text', { metadata: { namespace, values } })
    const { node } = await write('one', { a: '1', b: '2' })
    await write('two', { c: '3' })
    await write('one', { d: '4' })

    expect(await loadMetadata(ctx, { nodeId: node.id, namespace: 'one' })).toEqual({ d: '4' })
    expect(await loadMetadata(ctx, { nodeId: node.id, namespace: 'two' })).toEqual({ c: '3' })
  })

  test('takes over what is said of it, and keeps what is not', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await put(ctx, id, 'a', 'one', { attributes: { notes: 'first', classification: 2, clientModifiedAt: 5 } })
    const { node } = await put(ctx, id, 'a', 'two', { attributes: { clientModifiedAt: 6 } })

    expect(node).toMatchObject({ notes: 'first', classification: 2, clientModifiedAt: 6, revision: 2 })
  })

  test('is refused where an expected revision is not that of the file, or there is no file', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await put(ctx, id, 'a', 'one')
    await put(ctx, id, 'a', 'two', { expectedRevision: 1 })

    const stale = put(ctx, id, 'a', 'three', { expectedRevision: 1 })
    await expect(stale).rejects.toMatchObject({ code: 'revision-conflict', details: { expected: 1, current: 2 } })
    await expect(put(ctx, id, 'b', 'new', { expectedRevision: 1 })).rejects.toMatchObject({ code: 'revision-conflict' })
    expect(await names(ctx, id)).toEqual(['a'])
  })

  test('is stopped by write protection and by the locks of others', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const member = await makeMember(world, id, ['list', 'read', 'write', 'delete', 'change', 'lock'])
    const { node } = await put(ctx, id, 'a')
    await lockNode(member.ctx, { nodeId: node.id })

    await expect(put(ctx, id, 'a')).rejects.toMatchObject({ code: 'locked', details: { by: member.user.name } })
    await expect(put(ctx, id, 'a', '', { onConflict: 'replace' })).rejects.toMatchObject({ code: 'locked' })
    await expect(deleteNode(ctx, { nodeId: node.id })).rejects.toMatchObject({ code: 'locked' })
    await put(member.ctx, id, 'a', 'by the holder')
    await unlockNode(ctx, { nodeId: node.id }) // who manages the space may

    await updateNode(ctx, { nodeId: node.id, attributes: { writeProtected: true } })
    await expect(put(ctx, id, 'a')).rejects.toMatchObject({ code: 'write-protected' })
    await expect(renameNode(ctx, { nodeId: node.id, name: 'b' })).rejects.toMatchObject({ code: 'write-protected' })
    await updateNode(ctx, { nodeId: node.id, attributes: { writeProtected: false } })
    await put(ctx, id, 'a')
  })
})

describe('many writers of one name', () => {
  const many = 20
  const all = Array.from({ length: many }, (_, n) => `content ${n}`)

  test('each add a version where that is asked', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)

    const placed = await Promise.all(all.map(text => put(ctx, id, 'a', text)))

    const versions = await listVersions(ctx, { nodeId: placed[0]!.node.id })
    expect(new Set(placed.map(({ node }) => node.id)).size).toBe(1)
    expect(new Set(versions.map(version => version.createdAt)).size).toBe(many)
    expect(await bin(ctx, id)).toHaveLength(many - 1)
    expect(await getNodeRow(ctx, placed[0]!.node.id)).toMatchObject({ revision: many })
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('have one winner where a taken name fails, and a name each where it is numbered', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)

    const strict = await Promise.allSettled(all.map(text => put(ctx, id, 'a', text, { onConflict: 'fail' })))
    const lost = strict.filter(attempt => attempt.status === 'rejected')
    expect(lost).toHaveLength(many - 1)
    for (const { reason } of lost) expect(isDomainError(reason, 'name-taken')).toBe(true)

    const folder = await createFolder(ctx, { parentId: id, name: 'numbered' })
    await Promise.all(all.map(text => put(ctx, folder.id, 'a', text, { onConflict: 'rename-new' })))
    const expected = ['a', ...all.slice(1).map((_, n) => `a (${n + 1})`)]
    expect(await names(ctx, folder.id)).toEqual(expected.toSorted())
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('may rename different files to it, and one succeeds', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const files = await Promise.all(all.slice(0, 8).map((text, n) => put(ctx, id, `file ${n}`, text)))

    const renamed = await Promise.allSettled(files.map(({ node }) => renameNode(ctx, { nodeId: node.id, name: 'a' })))

    const lost = renamed.filter(attempt => attempt.status === 'rejected')
    expect(lost).toHaveLength(7)
    for (const { reason } of lost) expect(isDomainError(reason, 'name-taken')).toBe(true)
  })
})

test('the case rule of a space can change as long as no two names become one', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  const { node } = await put(ctx, id, 'A')
  await put(ctx, id, 'a', 'small')

  const fold = () => updateSpacePolicy(ctx, { spaceId: id, policy: { caseRule: 'folded' } })
  await expect(fold()).rejects.toMatchObject({ code: 'name-taken' })
  await renameNode(ctx, { nodeId: node.id, name: 'B' })
  await fold()
  await expect(put(ctx, id, 'b', '', { onConflict: 'fail' })).rejects.toMatchObject({ code: 'name-taken' })
})

test('nothing enters a space that is not active', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  await setSpaceState(ctx, { spaceId: id, state: 'archived' })

  await expect(put(ctx, id, 'a')).rejects.toMatchObject({ code: 'space-inactive', details: { state: 'archived' } })
  await expect(createFolder(ctx, { parentId: id, name: 'a' })).rejects.toMatchObject({ code: 'space-inactive' })
})

describe('the content of a file that is known by its id', () => {
  const replace = (ctx: Ctx, nodeId: number, text: string, more: Partial<NewContent> = {}) =>
    storeVersion(ctx, { nodeId, mediaType: 'text/plain', ...more }, [Buffer.from(text)])

  test('changes wherever the file is and whatever it is called by now', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a.txt', 'old')
    await renameNode(ctx, { nodeId: node.id, name: 'b.txt' })

    const placed = await replace(ctx, node.id, 'new')

    expect(placed.settled).toEqual({ how: 'superseded', nodeId: node.id, name: 'b.txt' })
    expect(await read(ctx, node.id)).toBe('new')
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('and its name change in one step', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    await put(ctx, id, 'a.pdf')
    const { node } = await put(ctx, id, 'a.txt', 'old')

    const placed = await replace(ctx, node.id, 'new', { name: 'a.pdf' })

    expect(placed.node).toMatchObject({ name: 'a (1).pdf', label: 'a.pdf', revision: node.revision + 1 })
    const again = await replace(ctx, node.id, 'newer', { name: 'a.pdf' })
    expect(again.node.name).toBe('a (1).pdf')
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('changes only from the expected snapshot: of 50 writers one wins', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a.txt', 'old')
    const expected = { expectedSnapshot: node.snapshotUid }

    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, n) => replace(ctx, node.id, `by ${n}`, expected)),
    )

    const won = outcomes.flatMap((outcome, n) => (outcome.status === 'fulfilled' ? [n] : []))
    expect(won).toHaveLength(1)
    expect(await read(ctx, node.id)).toBe(`by ${won[0]}`)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'revision-conflict' })
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('stays as it was for who may not write, also where the body is large', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a.txt', 'old')
    const reader = await makeMember(world, id, ['list', 'read'])
    const stranger = await world.user()
    const large = 'x'.repeat(world.deps.settings.inlineBytes + 1)

    for (const text of ['new', large]) {
      await expect(replace(reader.ctx, node.id, text)).rejects.toMatchObject({ code: 'forbidden' })
      await expect(replace(stranger.ctx, node.id, text)).rejects.toMatchObject({ code: 'not-found' })
      const outdated = { expectedSnapshot: world.deps.newId() }
      await expect(replace(ctx, node.id, text, outdated)).rejects.toMatchObject({ code: 'revision-conflict' })
    }
    await expect(replace(ctx, id, 'x')).rejects.toMatchObject({ code: 'not-a-file' })
    expect(await read(ctx, node.id)).toBe('old')
    expect(world.deps.blobs.stored.size).toBe(0)
  })
})

test('a label that was asked for twice keeps its number when it is asked for again', async ({ world }) => {
  const { id, ctx } = await makeSpace(world)
  await put(ctx, id, 'a.txt')
  const { node } = await put(ctx, id, 'a.txt', 'x', { onConflict: 'rename-new' })

  const attributes = { title: 'The second' }
  const changed = await renameNode(ctx, { nodeId: node.id, name: 'a.txt', onConflict: 'rename-new', attributes })

  expect(changed).toMatchObject({ name: 'a (1).txt', label: 'a.txt', title: 'The second', revision: node.revision + 1 })
})
