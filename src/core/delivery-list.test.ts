import fc from 'fast-check'
import { CompiledQuery, type KyselyPlugin, type Updateable } from 'kysely'
import { describe, expect } from 'vitest'
import type { Comparison, Condition } from '#core/conditions.ts'
import { inTx, type Ctx } from '#core/ctx.ts'
import { listInbox, listOutbox, loadDeliveries, type DeliveryEntry, type DeliveryQuery } from '#core/delivery-list.ts'
import { setGrantRow } from '#core/grants.ts'
import { addMembers, createGroup } from '#core/groups.ts'
import { fold } from '#core/names.ts'
import { createFolder, renameNode, updateNode } from '#core/nodes.ts'
import { actions, allActions } from '#core/permissions.ts'
import type { DeliveryPolicy } from '#core/space-rows.ts'
import { createSpace, setSpaceState, type SpacePolicy } from '#core/spaces.ts'
import { deleteNode } from '#core/trash.ts'
import type { SpaceTable, VersionTable } from '#db/schema.ts'
import { makeSpace, put } from '#test/tree.ts'
import { test, type World, type WorldUser } from '#test/world.ts'

interface Sending {
  from: WorldUser
  to: readonly WorldUser[]
  policy?: Partial<SpacePolicy>
  delivery?: Partial<DeliveryPolicy>
}

/** A delivery, without the rules of sending. */
async function send(world: World, name: string, { from, to, policy, delivery }: Sending): Promise<number> {
  const access = { accessType: 'private', accessLimit: null, expiresAt: null, persistent: false } as const
  const space = await createSpace(world.system, {
    name,
    ownerId: from.user.id,
    managerIds: [from.user.id],
    policy: { delivery: { ...access, ...delivery }, ...policy },
    onConflict: 'rename-new',
  })
  for (const { user } of to) await address(world, space.id, user.id)
  return space.id
}

const address = (world: World, nodeId: number, subjectId: string): Promise<void> =>
  inTx(world.system, ctx =>
    setGrantRow(ctx, { nodeId, subjectId, actions: actions.list | actions.read, recipient: 'regular' }),
  )

const page = { offset: 0, limit: 100 }

/** Labels of the page; the total must be their number where the page holds all. */
async function inbox({ ctx }: { ctx: Ctx }, query: Partial<DeliveryQuery> = {}): Promise<string[]> {
  const { total, rows } = await listInbox(ctx, { ...page, ...query })
  if (query.limit === undefined) expect(total).toBe(rows.length)
  return rows.map(({ node }) => node.label)
}

async function outbox({ ctx }: { ctx: Ctx }): Promise<string[]> {
  const { total, rows } = await listOutbox(ctx, page)
  expect(total).toBe(rows.length)
  return rows.map(({ node }) => node.label)
}

const change = (world: World, id: number, columns: Updateable<SpaceTable>) =>
  world.deps.database.transaction(tx => tx.updateTable('space').set(columns).where('id', '=', id).execute())

/** Stores a file and says of its content what screening and verifying would say. */
async function attach(
  world: World,
  spaceId: number,
  name: string,
  columns: Updateable<VersionTable> = {},
  verdicts: readonly ('matched' | 'encrypted' | 'too-large' | 'clean')[] = [],
): Promise<number> {
  const { node, version } = await put(world.system, spaceId, name)
  await world.deps.database.transaction(async tx => {
    await tx
      .updateTable('version')
      .set({ screening: 'clean', ...columns })
      .where('id', '=', version.id)
      .execute()
    for (const [n, verdict] of verdicts.entries())
      await tx
        .insertInto('screening_check')
        .values({ versionId: version.id, engine: `engine ${n}`, verdict, startedAt: 1, finishedAt: 2 })
        .execute()
  })
  return node.id
}

const tag = (world: World, nodeId: number, tags: readonly string[]) =>
  world.deps.database.transaction(tx =>
    tx
      .insertInto('node_tag')
      .values(tags.map(tag => ({ nodeId, tag })))
      .execute(),
  )

async function entryOf(world: World, id: number): Promise<DeliveryEntry> {
  return (await loadDeliveries(world.system, [id])).get(id)!
}

describe('an inbox', () => {
  test('holds what names the actor, newest first, page by page', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    for (const name of ['a', 'b', 'c', 'd']) await send(world, name, { from, to: [to] })
    await send(world, 'for another', { from, to: [await world.user()] })

    expect(await inbox(to)).toEqual(['d', 'c', 'b', 'a'])
    expect(await inbox(from)).toEqual([])
    for (let offset = 0; offset <= 5; offset += 1)
      for (const limit of [1, 2, 4, 9]) {
        const { total, rows } = await listInbox(to.ctx, { offset, limit })
        expect(total).toBe(4)
        expect(rows.map(({ node }) => node.label)).toEqual(['d', 'c', 'b', 'a'].slice(offset, offset + limit))
      }
  })

  test('leaves out what waits, was refused, has ended, is gone, or names him otherwise', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    const now = world.deps.clock()
    const past = { expiresAt: now - 1 }
    await send(world, 'approved', { from, to: [to], policy: { approval: 'approved' } })
    await send(world, 'waiting', { from, to: [to], policy: { approval: 'waiting' } })
    await send(world, 'refused', { from, to: [to], policy: { approval: 'refused' } })
    await send(world, 'ended', { from, to: [to], delivery: past })
    await send(world, 'lasting', { from, to: [to], delivery: { ...past, persistent: true } })
    await send(world, 'running', { from, to: [to], delivery: { expiresAt: now + 1_000_000 } })
    const gone = await send(world, 'gone', { from, to: [to] })
    await setSpaceState(world.system, { spaceId: gone, state: 'deleted' })
    const plain = await makeSpace(world, { name: 'no delivery', owner: from })
    await address(world, plain.id, to.user.id)
    const member = await send(world, 'by a plain grant', { from, to: [] })
    await inTx(world.system, ctx => setGrantRow(ctx, { nodeId: member, subjectId: to.user.id, actions: allActions }))
    const group = await createGroup(world.system, { name: 'group' })
    await addMembers(world.system, { groupId: group.id, memberIds: [to.user.id] })
    await address(world, await send(world, 'by a group', { from, to: [] }), group.id)

    expect(await inbox(to)).toEqual(['running', 'lasting', 'approved'])
  })

  test('shows no more than the scope of a token leaves', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    const one = await send(world, 'one', { from, to: [to] })
    await send(world, 'two', { from, to: [to] })

    const scope = [{ actions: actions.list, nodeId: one }]
    expect(await inbox({ ctx: world.ctx({ ...to.ctx.actor, scope }) })).toEqual(['one'])
    expect(await outbox({ ctx: world.ctx({ ...from.ctx.actor, scope }) })).toEqual(['one'])
  })
})

test('an outbox holds what the actor sent and is active, also while it waits or after it was refused', async ({
  world,
}) => {
  const [from, to] = [await world.user(), await world.user()]
  await send(world, 'sent', { from, to: [to] })
  await send(world, 'waiting', { from, to: [to], policy: { approval: 'waiting' } })
  await send(world, 'refused', { from, to: [to], policy: { approval: 'refused' } })
  const gone = await send(world, 'gone', { from, to: [to] })
  await setSpaceState(world.system, { spaceId: gone, state: 'deleted' })
  await makeSpace(world, { name: 'no delivery', owner: from })

  expect(await outbox(from)).toEqual(['refused', 'waiting', 'sent'])
  expect(await outbox(to)).toEqual([])
})

describe('what is known of a delivery', () => {
  test('is what its live files add up to', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    const id = await send(world, 'package', { from, to: [to] })
    expect(await entryOf(world, id)).toMatchObject({
      sizeBytes: 0,
      check: 'clean',
      isRechecked: false,
      uploadedAt: null,
      flags: [],
      integrity: 'unknown',
      encryption: 'server',
      tags: [],
    })

    const folder = await createFolder(world.system, { parentId: id, name: 'folder' })
    await attach(world, folder.id, 'clean', { createdAt: 5_000, integrity: 'ok' }, ['matched', 'clean'])
    await tag(world, id, ['urgent', 'done'])
    expect(await entryOf(world, id)).toMatchObject({
      sizeBytes: 'text of clean'.length,
      check: 'clean',
      uploadedAt: 5_000,
      flags: ['matched'],
      integrity: 'ok',
      tags: ['done', 'urgent'],
    })

    await attach(world, id, 'pending', { screening: 'pending', createdAt: 9_000 }, ['too-large', 'matched'])
    expect(await entryOf(world, id)).toMatchObject({
      check: 'pending',
      uploadedAt: 9_000,
      flags: ['matched', 'too-large'],
      integrity: 'unknown',
    })

    const bad = await attach(world, id, 'bad', { screening: 'quarantined', recheckAt: 7, integrity: 'corrupted' })
    expect(await entryOf(world, id)).toMatchObject({ check: 'quarantined', isRechecked: true, integrity: 'corrupted' })
    await deleteNode(world.system, { nodeId: bad })
    expect(await entryOf(world, id)).toMatchObject({ check: 'pending', isRechecked: false, integrity: 'unknown' })
  })

  test.for([
    ['quarantined', 'quarantined'],
    ['failed', 'quarantined'],
    ['pending', 'pending'],
    ['not-examinable', 'quarantined'],
  ] as const)('a file that is %s makes it %s until somebody releases it', async ([screening, check], { world }) => {
    const id = await send(world, 'package', { from: await world.user(), to: [] })
    await attach(world, id, 'file', { screening })
    expect(await entryOf(world, id)).toMatchObject({ check, flags: [] })

    await attach(world, id, 'file', { screening, releasedAt: 5 })
    expect(await entryOf(world, id)).toMatchObject({ check: 'clean', flags: ['released'] })
  })

  test('is asked for deliveries of the own tenant only', async ({ world }) => {
    const id = await send(world, 'package', { from: await world.user(), to: [] })
    const plain = await makeSpace(world)
    const { ctx: foreigner } = await world.user('foreigner', { tenant: await world.otherTenant() })

    expect([...(await loadDeliveries(world.system, [id, plain.id, 0])).keys()]).toEqual([id])
    expect(await loadDeliveries(foreigner, [id])).toEqual(new Map())
  })
})

/** What the fields of a condition stand for in an entry. */
const shown: Record<string, (entry: DeliveryEntry) => string | number | boolean | null | readonly string[]> = {
  id: ({ space }) => space.uid,
  name: ({ node }) => node.label || null,
  note: ({ node }) => node.notes,
  state: ({ space }) => space.state,
  check: ({ check }) => check,
  access: ({ space }) => space.deliveryAccess,
  rechecked: ({ isRechecked }) => isRechecked,
  passwordProtected: ({ space }) => space.deliveryPasswordHash !== null,
  approvalRequired: ({ space }) => space.approval !== 'none',
  encryption: ({ encryption }) => encryption,
  integrity: ({ integrity }) => integrity,
  size: ({ sizeBytes }) => sizeBytes,
  accessLimit: ({ space }) => space.accessLimit,
  accessCount: ({ space }) => space.accessCount,
  createdAt: ({ node }) => node.createdAt,
  uploadedAt: ({ uploadedAt }) => uploadedAt,
  approvedAt: ({ space }) => (space.approval === 'approved' ? space.approvalDecidedAt : null),
  refusedAt: ({ space }) => (space.approval === 'refused' ? space.approvalDecidedAt : null),
  tags: ({ tags }) => tags,
  flags: ({ flags }) => flags,
}

function isMet(entry: DeliveryEntry, condition: Condition): boolean {
  if ('all' in condition) return condition.all.every(inner => isMet(entry, inner))
  if ('any' in condition) return condition.any.some(inner => isMet(entry, inner))
  if ('not' in condition) return !isMet(entry, condition.not)
  const { field, test, value } = condition
  const stored = shown[field]!(entry)
  if (test === 'equals') return stored === value
  if (Array.isArray(stored)) return stored.includes(String(value))
  if (typeof stored !== 'string' || typeof value !== 'string') return false
  return test === 'contains' ? stored.includes(value) : fold(stored).includes(fold(value))
}

/** Deliveries that differ in all that can be asked for. */
async function sendVaried(world: World, from: WorldUser, to: WorldUser): Promise<void> {
  const some = { from, to: [to] }
  await send(world, 'Plain', some)
  const both = await send(world, 'Příloha 50%', { ...some, delivery: { accessType: 'public', accessLimit: 5 } })
  await updateNode(world.system, { nodeId: both, attributes: { notes: 'Straße_1' } })
  await attach(world, both, 'a', { screening: 'pending', recheckAt: 3 }, ['matched'])
  await attach(world, both, 'b', { releasedAt: 9, integrity: 'ok' }, ['too-large'])
  await tag(world, both, ['done', 'Done'])
  const bad = await send(world, 'Příloha 50%', { ...some, delivery: { accessType: 'internal' } })
  await attach(world, bad, 'c', { screening: 'failed', integrity: 'inaccessible' }, ['encrypted'])
  await tag(world, bad, ['done'])
  await change(world, bad, { deliveryPasswordHash: 'hash', accessCount: 2 })
  const agreed = await send(world, 'plain', { ...some, policy: { approval: 'approved' } })
  await change(world, agreed, { approvalDecidedAt: 77, passwordEncryption: 1 })
  await attach(world, agreed, 'd', { integrity: 'ok' })
  const refused = await send(world, 'PLAIN', { ...some, policy: { approval: 'refused' } })
  await change(world, refused, { approvalDecidedAt: 78 })
  const open = await send(world, 'nameless', some)
  await updateNode(world.system, { nodeId: open, attributes: { notes: 'plain' } })
  await inTx(world.system, ctx => ctx.db.updateTable('node').set({ label: '' }).where('id', '=', open).execute())
  await inTx(world.system, ctx =>
    ctx.db.updateTable('space_text').set({ labelFold: '' }).where('nodeId', '=', open).execute(),
  )
  await attach(world, open, 'e')
  await inTx(world.system, ctx =>
    ctx.db
      .updateTable('blob')
      .set({ encryption: 'none' })
      .where('id', 'in', eb =>
        eb
          .selectFrom('version')
          .innerJoin('node', 'node.id', 'version.nodeId')
          .select('version.blobId')
          .where('node.spaceId', '=', open),
      )
      .execute(),
  )
}

function conditionsOver(entries: readonly DeliveryEntry[]): fc.Arbitrary<Condition> {
  const odd = ['', 'plain', '%', '_', 'ŘÍ', 'STRASSE', 'Straße', 'done', '\0', 0, 1, 77, 1.5, true, false, null]
  const values = Object.values(shown).flatMap(show => entries.flatMap(entry => show(entry)))
  const tests = Object.keys(shown).map(field =>
    fc.record({
      field: fc.constant(field),
      test: fc.constantFrom<Comparison['test']>(
        ...(field === 'tags' || field === 'flags'
          ? (['has'] as const)
          : field === 'name' || field === 'note'
            ? (['equals', 'contains', 'contains-folded'] as const)
            : (['equals'] as const)),
      ),
      value: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...entries.flatMap(entry => shown[field]!(entry))) },
        fc.constantFrom(...odd, ...values),
      ),
    }),
  )
  const comparison: fc.Arbitrary<Condition> = fc.oneof(...tests)
  return fc.letrec<{ condition: Condition }>(tie => ({
    condition: fc.oneof(
      { maxDepth: 2 },
      comparison,
      fc.record({ not: tie('condition') }),
      fc.record({ any: fc.array(tie('condition'), { maxLength: 2 }) }),
      fc.record({ all: fc.array(tie('condition'), { minLength: 1, maxLength: 2 }) }),
    ),
  })).condition
}

describe('a condition on deliveries', () => {
  test('finds just those that look so, and none of others', { timeout: 60_000 }, async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    await sendVaried(world, from, to)
    await sendVaried(world, await world.user(), await world.user())
    const received = (await listInbox(to.ctx, page)).rows
    const sent = (await listOutbox(from.ctx, page)).rows
    expect([received.length, sent.length]).toEqual([5, 6])

    await fc.assert(
      fc.asyncProperty(conditionsOver(sent), async condition => {
        const uidsOf = (rows: readonly DeliveryEntry[]) => rows.map(({ space }) => space.uid)
        const found = await listInbox(to.ctx, { ...page, condition })
        expect(uidsOf(found.rows)).toEqual(uidsOf(received.filter(entry => isMet(entry, condition))))
        expect(found.total).toBe(found.rows.length)
        const own = await listOutbox(from.ctx, { offset: 0, limit: 1, condition })
        expect(own.total).toBe(sent.filter(entry => isMet(entry, condition)).length)
      }),
      { numRuns: 250 },
    )
  })

  test('looks for words without case in what the delivery is called now', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    const nodeId = await send(world, 'Příloha', { from, to: [to] })
    const named = (value: string, field = 'name') => inbox(to, { condition: { field, test: 'contains-folded', value } })
    expect(await named('PŘÍL')).toEqual(['Příloha'])

    await renameNode(world.system, { nodeId, name: 'Zpráva' })
    await updateNode(world.system, { nodeId, attributes: { notes: 'ČÍSLO' } })
    expect(await named('příl')).toEqual([])
    expect(await named('ZPRÁV')).toEqual(['Zpráva'])
    expect(await named('číslo', 'note')).toEqual(['Zpráva'])
  })
})

/** Everything that is asked of the database meanwhile. */
async function queriesOf(ctx: Ctx, ask: (ctx: Ctx) => Promise<unknown>): Promise<CompiledQuery[]> {
  const seen: CompiledQuery[] = []
  const watch: KyselyPlugin = {
    transformQuery({ node, queryId }) {
      seen.push(ctx.db.getExecutor().compileQuery(node, queryId))
      return node
    },
    transformResult: async ({ result }) => result,
  }
  await ask({ ...ctx, db: ctx.db.withPlugin(watch) })
  return seen
}

describe('a page', () => {
  test('costs the same number of queries however many deliveries it holds', async ({ world }) => {
    const [from, to] = [await world.user(), await world.user()]
    const countQueries = async () => (await queriesOf(to.ctx, ctx => listInbox(ctx, page))).length
    await attach(world, await send(world, 'first', { from, to: [to] }), 'file')
    const one = await countQueries()
    for (const name of ['a', 'b', 'c', 'd']) await attach(world, await send(world, name, { from, to: [to] }), name)

    expect(await countQueries()).toBe(one)
  })

  test('is walked to along an index, without a sort', async ({ world }) => {
    if (world.deps.database.engine !== 'sqlite') return // which would not bother for so few rows
    const user = await world.user()
    await send(world, 'package', { from: user, to: [user] })
    const condition: Condition = { field: 'name', test: 'contains', value: 'pack' }
    for (const [list, index] of [
      [listInbox, /USING (COVERING )?INDEX access_grant_recipients/],
      [listOutbox, /USING INDEX space_(deliveries_)?ownerId/],
    ] as const) {
      const [query] = await queriesOf(user.ctx, ctx => list(ctx, { ...page, condition }))
      const plan = await user.ctx.db.executeQuery<{ detail: string }>(
        CompiledQuery.raw(`explain query plan ${query!.sql}`, [...query!.parameters]),
      )
      const steps = plan.rows.map(({ detail }) => detail).join('\n')
      expect(steps).toMatch(index)
      expect(steps).not.toMatch(/SCAN|TEMP B-TREE/)
    }
  })
})
