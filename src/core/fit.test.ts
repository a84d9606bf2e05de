/**
 * Proves that the core carries what five APIs ask of one store, without any of them. Uploads have their part in
 * fit-uploads.test.ts.
 */
import { describe, expect } from 'vitest'
import { sealBatches, verifyChain } from '#core/audit.ts'
import { makeCtx } from '#core/ctx.ts'
import { openContent } from '#core/downloads.ts'
import { setGrant } from '#core/grants.ts'
import { addMembers, createGroup } from '#core/groups.ts'
import { changeMessage, writeMessage } from '#core/messages.ts'
import { setMetadata } from '#core/metadata.ts'
import { createFolder, getNode, getNodeRow } from '#core/nodes.ts'
import { actionSet } from '#core/permissions.ts'
import { findPrincipals } from '#core/principals.ts'
import { createSpace } from '#core/spaces.ts'
import { authenticateToken, createToken } from '#core/tokens.ts'
import { restoreVersion, undoDeletion } from '#core/restore.ts'
import { deleteNode } from '#core/trash.ts'
import { createUser, findUserByLogin, removeUser } from '#core/users.ts'
import { getVersionRow, listVersions, switchVersion } from '#core/versions.ts'
import { listPlace } from '#core/node-list.ts'
import { resolvePath } from '#core/vfs.ts'
import { bin, brokenNodes, makeMember, makeSpace, names, put, read, wrongTotals } from '#test/tree.ts'
import { test } from '#test/world.ts'

describe('versions and the bin', () => {
  test('overwriting gives a new version id and puts the old version into the bin of the space', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)

    const first = await put(ctx, id, 'report', 'one')
    const second = await put(ctx, id, 'report', 'two')

    expect(second.node.id).toBe(first.node.id)
    expect(second.version.id).toBeGreaterThan(first.version.id)
    expect(second.settled).toEqual({ how: 'superseded', nodeId: first.node.id, name: 'report' })
    expect(await bin(ctx, id)).toEqual([
      {
        id: first.version.id,
        nodeId: first.node.id,
        deletedCause: 'superseded',
        deletedPath: '/space/report',
        deletedName: 'report',
      },
    ])
    expect(await read(ctx, first.node.id)).toBe('two')
    expect(await read(ctx, first.node.id, first.version.id)).toBe('one')
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('one of three versions comes out of the bin beside its file, under a free name', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const one = await put(ctx, id, 'plan.txt', 'one')
    const two = await put(ctx, id, 'plan.txt', 'two')
    await put(ctx, id, 'plan.txt', 'three')

    const { node, renamed } = await restoreVersion(ctx, { versionId: two.version.id, onConflict: 'rename-new' })

    expect(renamed).toBe(true)
    expect(node).toMatchObject({ name: 'plan (1).txt', currentVersionId: two.version.id })
    expect(await names(ctx, id)).toEqual(['plan (1).txt', 'plan.txt'])
    expect(await read(ctx, node.id)).toBe('two')
    expect(await read(ctx, one.node.id)).toBe('three')
    expect(await getVersionRow(ctx, two.version.id)).toMatchObject({ nodeId: node.id, chainId: one.version.id })
    expect((await bin(ctx, id)).map(row => row.id)).toEqual([one.version.id])
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })

  test('the pointer goes to an older version and back again', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const [one, two, three] = [
      await put(ctx, id, 'a', '1'),
      await put(ctx, id, 'a', '22'),
      await put(ctx, id, 'a', '333'),
    ]
    const nodeId = one.node.id

    const back = await switchVersion(ctx, { nodeId, versionId: one.version.id })
    expect(await read(ctx, nodeId)).toBe('1')
    expect((await bin(ctx, id)).map(row => row.id)).toEqual([two.version.id, three.version.id])

    const forth = await switchVersion(ctx, { nodeId, versionId: three.version.id })
    expect(await read(ctx, nodeId)).toBe('333')
    expect((await bin(ctx, id)).map(row => row.id)).toEqual([one.version.id, two.version.id])
    expect(forth.revision).toBe(back.revision + 1)
    expect(forth.snapshotUid).not.toBe(back.snapshotUid)
    const versions = await listVersions(ctx, { nodeId })
    expect(versions.map(version => [version.id, version.chainId, version.isCurrent])).toEqual([
      [three.version.id, one.version.id, true],
      [two.version.id, one.version.id, false],
      [one.version.id, one.version.id, false],
    ])
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('to replace a file makes a new one with a chain of its own; a new version keeps node and chain', async ({
    world,
  }) => {
    const { id, ctx } = await makeSpace(world)
    const first = await put(ctx, id, 'a', 'one')
    const version = await put(ctx, id, 'a', 'two', { onConflict: 'new-version' })
    const replaced = await put(ctx, id, 'a', 'three', { onConflict: 'replace' })

    expect(version.node.id).toBe(first.node.id)
    expect(version.version.chainId).toBe(first.version.id)
    expect(replaced.node.id).not.toBe(first.node.id)
    expect(replaced.version.chainId).toBe(replaced.version.id)
    expect(replaced.settled).toEqual({ how: 'replaced', nodeId: first.node.id, name: 'a' })
    expect((await bin(ctx, id)).map(row => [row.id, row.deletedCause])).toEqual([
      [first.version.id, 'superseded'],
      [version.version.id, 'deleted'],
    ])
    expect(await getNodeRow(ctx, first.node.id)).toMatchObject({ state: 'deleted' })
    expect(await wrongTotals(ctx)).toEqual([])
  })

  test('a deleted folder comes back without what was restored from it before', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    const kept = await put(ctx, inner.id, 'kept')
    const taken = await put(ctx, inner.id, 'taken')
    const deletion = await deleteNode(ctx, { nodeId: folder.id })
    expect(await names(ctx, id)).toEqual([])

    await restoreVersion(ctx, { versionId: taken.version.id, parentId: id, onConflict: 'fail' })
    await undoDeletion(ctx, { deletionId: deletion.id })

    expect(await names(ctx, id)).toEqual(['folder', 'taken'])
    expect(await names(ctx, inner.id)).toEqual(['kept'])
    expect(await read(ctx, kept.node.id)).toBe('text of kept')
    expect(await bin(ctx, id)).toEqual([])
    await expect(undoDeletion(ctx, { deletionId: deletion.id })).rejects.toMatchObject({ code: 'wrong-state' })
    expect(await wrongTotals(ctx)).toEqual([])
    expect(await brokenNodes(ctx)).toEqual([])
  })
})

describe('names', () => {
  test('a label may repeat; the name behind it is then a free one', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)

    await put(ctx, id, 'invoice.pdf', 'one')
    const second = await put(ctx, id, 'invoice.pdf', 'two', { onConflict: 'rename-new' })

    expect(second.node).toMatchObject({ label: 'invoice.pdf', name: 'invoice (1).pdf' })
    expect(second.settled).toEqual({ how: 'renamed-new', nodeId: second.node.id, name: 'invoice (1).pdf' })
    expect(await names(ctx, id)).toEqual(['invoice (1).pdf', 'invoice.pdf'])
  })

  test('`A` and `a` are two names in one space and the same in another, as each policy says', async ({ world }) => {
    const exact = await makeSpace(world, { name: 'exact' })
    const folded = await makeSpace(world, { name: 'folded', policy: { caseRule: 'folded' } })

    for (const { id, ctx } of [exact, folded]) await put(ctx, id, 'A')
    await put(exact.ctx, exact.id, 'a', 'small', { onConflict: 'fail' })

    expect(await names(exact.ctx, exact.id)).toEqual(['A', 'a'])
    const clash = put(folded.ctx, folded.id, 'a', 'small', { onConflict: 'fail' })
    await expect(clash).rejects.toMatchObject({ code: 'name-taken', details: { name: 'A', by: 'file' } })
    const version = await put(folded.ctx, folded.id, 'a', 'small')
    expect(version.node.name).toBe('A')
  })

  test('two top-level spaces of one name are refused', async ({ world }) => {
    await makeSpace(world, { name: 'sales' })

    await expect(makeSpace(world, { name: 'sales' })).rejects.toMatchObject({
      code: 'name-taken',
      details: { name: 'sales', by: 'space' },
    })
    const other = await createSpace(world.system, { name: 'sales', onConflict: 'rename-new' })
    expect(other.node).toMatchObject({ name: 'sales (1)', label: 'sales' })
  })
})

describe('rights', () => {
  test('an explicit low grant of the user beats a high one of his group where the space says so', async ({ world }) => {
    const user = await world.user()
    const group = await createGroup(world.system, { name: 'group' })
    await addMembers(world.system, { groupId: group.id, memberIds: [user.user.id] })
    const mayWrite = async (sumRule: 'union' | 'own-first') => {
      const { id } = await makeSpace(world, { name: sumRule, policy: { sumRule } })
      await setGrant(world.system, { nodeId: id, subjectId: user.user.id, actions: ['list', 'read'] })
      await setGrant(world.system, { nodeId: id, subjectId: group.id, actions: ['list', 'read', 'create', 'write'] })
      return put(user.ctx, id, 'a').then(
        () => true,
        () => false,
      )
    }

    expect(await mayWrite('own-first')).toBe(false)
    expect(await mayWrite('union')).toBe(true)
  })

  test('a token for one folder opens that folder and what lies in it, no more than it says, and nothing else', async ({
    world,
  }) => {
    const { id, ctx, owner } = await makeSpace(world)
    const folder = await createFolder(ctx, { parentId: id, name: 'folder' })
    const inner = await createFolder(ctx, { parentId: folder.id, name: 'inner' })
    const inside = await put(ctx, inner.id, 'inside')
    const outside = await put(ctx, id, 'outside')
    const scope = [{ nodeId: folder.id, actions: actionSet(['list', 'read']) }]
    const { secret } = await createToken(ctx, { principalId: owner.user.id, name: 'token', scope })

    const actor = await authenticateToken(world.deps, {
      secret,
      tenantId: world.tenant.id,
      client: 'test',
      address: '',
    })
    const token = makeCtx(world.deps, actor, 'test')

    expect(await read(token, inside.node.id)).toBe('text of inside')
    await expect(read(token, outside.node.id)).rejects.toMatchObject({ code: 'not-found' })
    await expect(put(token, inner.id, 'new')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(deleteNode(token, { nodeId: inside.node.id })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(getNode(token, { nodeId: id })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('a space with a password is not there for a path view and opens to who has shown the password', async ({
    world,
  }) => {
    const locked = await makeSpace(world, { name: 'locked', policy: { deliveryPasswordHash: '$argon2id$stand-in' } })
    const open = await makeSpace(world, { name: 'open' })
    const { node } = await put(locked.ctx, locked.id, 'secret')
    const reader = await makeMember(world, locked.id, ['list', 'read'])
    await setGrant(world.system, { nodeId: open.id, subjectId: reader.user.id, actions: ['list'] })

    const { place: top } = await resolvePath(reader.ctx, [])
    const query = { kinds: 'all', sort: 'name', direction: 'asc', offset: 0, limit: 10 } as const
    expect((await listPlace(reader.ctx, top!, query)).rows.map(row => row.name)).toEqual(['open'])
    expect((await resolvePath(reader.ctx, ['locked', 'secret'])).place).toBeUndefined()
    await expect(openContent(reader.ctx, { nodeId: node.id })).rejects.toMatchObject({
      code: 'proof-required',
      details: { proof: 'password' },
    })

    const { actor } = reader.ctx
    const proven = world.ctx({ ...actor, proofs: { ...actor.proofs, passwordSpaceIds: [locked.id] } })
    expect((await resolvePath(proven, ['locked', 'secret'])).place).toBeDefined()
    expect(await read(proven, node.id)).toBe('text of secret')
  })

  test('a space under client-side encryption refuses plain content and takes it from who holds a key', async ({
    world,
  }) => {
    const { id, ctx } = await makeSpace(world, { policy: { clientEncryption: true } })

    await expect(put(ctx, id, 'plain')).rejects.toMatchObject({ code: 'encryption-required', details: { spaceId: id } })

    const holder = world.ctx({ ...ctx.actor, proofs: { ...ctx.actor.proofs, holdsKey: true } })
    const { node } = await put(holder, id, 'cipher')
    expect(await read(holder, node.id)).toBe('text of cipher')
    await expect(read(ctx, node.id)).rejects.toMatchObject({ code: 'proof-required', details: { proof: 'key' } })
  })
})

describe('many at once', () => {
  test('of 50 writers who expect the same revision one wins, and only metadata changes', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { node } = await put(ctx, id, 'a', 'content')

    const attempts = await Promise.allSettled(
      Array.from({ length: 50 }, (_, n) =>
        setMetadata(ctx, {
          nodeId: node.id,
          namespace: 'test',
          values: { winner: String(n) },
          expectedRevision: node.revision,
        }),
      ),
    )

    const lost = attempts.filter(attempt => attempt.status === 'rejected')
    expect(lost).toHaveLength(49)
    for (const { reason } of lost) {
      expect(reason).toMatchObject({
        code: 'revision-conflict',
        details: { expected: node.revision, current: node.revision + 1 },
      })
    }
    expect(await getNodeRow(ctx, node.id)).toMatchObject({
      revision: node.revision + 1,
      currentVersionId: node.currentVersionId,
    })
    expect(await listVersions(ctx, { nodeId: node.id })).toHaveLength(1)
  })

  test('the log of a space gives every entry a time of its own, whoever writes at the same moment', async ({
    world,
  }) => {
    const { id, owner } = await makeSpace(world)
    const frozen = makeCtx({ ...world.deps, clock: () => Date.UTC(2030, 0, 1) }, owner.ctx.actor, 'test')

    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        n % 2 === 0 ? put(frozen, id, `file ${n}`) : writeMessage(frozen, { spaceId: id, text: `text ${n}` }),
      ),
    )

    const events = await frozen.db.selectFrom('event').select('spaceTime').where('spaceId', '=', id).execute()
    const messages = await frozen.db.selectFrom('message').select('spaceTime').where('spaceId', '=', id).execute()
    const times = [...events, ...messages].map(row => row.spaceTime)
    expect(times.length).toBeGreaterThanOrEqual(30)
    expect(times).not.toContain(null)
    expect(new Set(times).size).toBe(times.length)
  })
})

describe('the log', () => {
  test('a message can be edited while the audit chain verifies and holds nothing of its text', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const message = await writeMessage(ctx, { spaceId: id, text: 'first wording' })
    await sealBatches(world.system)

    const [changed, report] = await Promise.all([
      changeMessage(ctx, { messageId: message.id, text: 'second wording' }),
      verifyChain(world.system),
    ])
    await sealBatches(world.system)
    const after = await verifyChain(world.system)

    expect(changed).toMatchObject({ text: 'second wording', spaceTime: message.spaceTime })
    expect(report.problems).toEqual([])
    expect(after).toMatchObject({ problems: [], unsealedEvents: 0, batches: 2 })
    const events = await ctx.db.selectFrom('event').selectAll().execute()
    expect(JSON.stringify(events)).not.toContain('wording')
  })

  test('a removed user is still shown by name with what he left, and his login is free', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const former = await world.user('alice', { name: 'Alice Former' })
    await setGrant(ctx, { nodeId: id, subjectId: former.user.id, actions: ['list', 'read', 'create'] })
    const { node, version } = await put(former.ctx, id, 'hers')

    await removeUser(world.system, { userId: former.user.id })
    const next = await createUser(world.system, { login: 'Alice', name: 'Alice Next' })

    expect((await findUserByLogin(world.system, 'alice'))?.id).toBe(next.id)
    const { createdBy } = await getVersionRow(ctx, version.id)
    const author = (await findPrincipals(ctx, [createdBy])).get(createdBy)
    expect(author).toMatchObject({ id: former.user.id, name: 'Alice Former', login: null, state: 'removed' })
    const event = await ctx.db
      .selectFrom('event')
      .select('actorName')
      .where('subject1', '=', `node:${node.id}`)
      .executeTakeFirstOrThrow()
    expect(event.actorName).toBe('Alice Former')
    expect(await read(ctx, node.id)).toBe('text of hers')
  })
})
