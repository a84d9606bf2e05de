import { describe, expect } from 'vitest'
import { purgeVersion } from '#core/purge.ts'
import { actorOfAddress, isSignature, openSignedVersion, signText } from '#core/signed-addresses.ts'
import { deleteNode } from '#core/trash.ts'
import { removeUser, updateUser } from '#core/users.ts'
import { makeMember, makeSpace, put } from '#test/tree.ts'
import { test } from '#test/world.ts'

test('a signature holds for its text alone', ({ world: { deps } }) => {
  const signature = signText(deps, 'text')
  expect(Buffer.from(signature, 'base64')).toHaveLength(20)
  expect(isSignature(deps, 'text', signature)).toBe(true)
  for (const other of ['', signature.slice(1), `${signature}=`, signText(deps, 'texts')])
    expect(isSignature(deps, 'text', other)).toBe(false)
})

describe('the actor of an address', () => {
  const from = { client: 'curl', address: '192.0.2.1' }

  test('is the account it was made for, wherever the address is used', async ({ world }) => {
    const { user } = await world.user('ann', { ipRanges: ['10.0.0.0/8'] })
    expect(
      await actorOfAddress(world.deps, { ...from, principalId: user.id, tenantId: world.tenant.id }),
    ).toMatchObject({ principalId: user.id, name: user.name, client: 'curl', address: '192.0.2.1' })
  })

  test('is nobody once the account is blocked or removed, nor in another tenant', async ({ world }) => {
    const blocked = await world.user()
    const removed = await world.user()
    const other = await world.user('bob', { tenant: await world.otherTenant() })
    await updateUser(world.system, { userId: blocked.user.id, state: 'blocked' })
    await removeUser(world.system, { userId: removed.user.id })

    for (const { user } of [blocked, removed, other]) {
      const actor = actorOfAddress(world.deps, { ...from, principalId: user.id, tenantId: world.tenant.id })
      await expect(actor).rejects.toMatchObject({ code: 'not-signed-in' })
    }
  })
})

describe('the content of a signed address', () => {
  test('stays within reach when it is superseded or deleted, and goes with its purge', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const first = await put(ctx, id, 'a.txt', 'first')
    const address = { versionId: first.version.id, blobId: first.version.blobId }
    const text = async () => Buffer.from((await openSignedVersion(ctx, address)).inline() ?? []).toString()

    await put(ctx, id, 'a.txt', 'second')
    expect(await text()).toBe('first')
    await deleteNode(ctx, { nodeId: first.node.id })
    expect(await text()).toBe('first')

    await purgeVersion(ctx, { versionId: first.version.id })
    await expect(text()).rejects.toMatchObject({ code: 'not-found' })
  })

  test('needs no right any more, but the gates of now', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const reader = await makeMember(world, id, ['list', 'read'])
    const { version } = await put(ctx, id, 'a.txt')
    const open = () => openSignedVersion(reader.ctx, { versionId: version.id, blobId: version.blobId })
    expect((await open()).sizeBytes).toBe(version.sizeBytes)

    await world.deps.database.transaction(tx =>
      tx.updateTable('version').set({ screening: 'quarantined' }).where('id', '=', version.id).execute(),
    )
    await expect(open()).rejects.toMatchObject({ code: 'not-screened' })
  })

  test('is that of the named blob and of no other', async ({ world }) => {
    const { id, ctx } = await makeSpace(world)
    const { version } = await put(ctx, id, 'a.txt')
    const other = await put(ctx, id, 'b.txt')

    const mixed = openSignedVersion(ctx, { versionId: version.id, blobId: other.version.blobId })
    await expect(mixed).rejects.toMatchObject({ code: 'not-found' })
  })
})
