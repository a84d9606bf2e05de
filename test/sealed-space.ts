/** Spaces whose content opens with a password only, for tests. */
import { inTx, noProofs, type Ctx } from '#core/ctx.ts'
import { hashPassword } from '#core/passwords.ts'
import { insertSpaceKey, openSpaceKey, prepareSpaceKey, type PreparedSpaceKey } from '#core/space-keys.ts'
import { getSpaceRow, type DeliveryPolicy, type Space } from '#core/space-rows.ts'
import type { SpacePolicy } from '#core/spaces.ts'
import { makeSpace, type SpaceOptions, type TestSpace } from '#test/tree.ts'
import type { World } from '#test/world.ts'

export const PASSWORD = 'open sesame'

export const openToAll: DeliveryPolicy = {
  accessType: 'internal',
  accessLimit: null,
  expiresAt: null,
  persistent: true,
}

let hash: Promise<string> | undefined
/** Of `PASSWORD`; made once, as making one takes longer than most tests. */
const sharedHash = () => (hash ??= hashPassword(PASSWORD))

export interface TestDelivery extends TestSpace {
  space: Space
}

/** A delivery with a password, or without one when told so. */
export async function makeDelivery(
  world: World,
  { policy, ...options }: SpaceOptions = {},
  { hasPassword = true } = {},
): Promise<TestDelivery> {
  const rules: Partial<SpacePolicy> = {
    delivery: openToAll,
    deliveryPasswordHash: hasPassword ? await sharedHash() : null,
    ...policy,
  }
  const made = await makeSpace(world, { ...options, policy: rules })
  return { ...made, space: await getSpaceRow(made.ctx, made.id) }
}

let keyKit: Promise<{ prepared: PreparedSpaceKey; privateKey: Uint8Array }> | undefined

/** A key pair under `PASSWORD`, made and opened once for all spaces of a test file: both take half a second. */
const sharedKey = (ctx: Ctx, spaceId: number) =>
  (keyKit ??= (async () => {
    const prepared = await prepareSpaceKey(PASSWORD)
    await inTx(ctx, ctx => insertSpaceKey(ctx, { spaceId, prepared }))
    const privateKey = await openSpaceKey(ctx, { space: await getSpaceRow(ctx, spaceId), password: PASSWORD })
    return { prepared, privateKey }
  })())

/** One whose content is sealed with the password; `opened` is its owner's ctx with the password shown. */
export async function makeSealed(world: World, options: SpaceOptions = {}): Promise<TestDelivery & { opened: Ctx }> {
  const made = await makeDelivery(world, options)
  const { prepared, privateKey } = await sharedKey(world.system, made.id)
  const { wrappingKey } = await getSpaceRow(made.ctx, made.id)
  if (wrappingKey === null) await inTx(world.system, ctx => insertSpaceKey(ctx, { spaceId: made.id, prepared }))
  const space = await getSpaceRow(made.ctx, made.id)
  const proofs = { ...noProofs, passwordSpaceIds: [made.id], spaceKeys: new Map([[made.id, privateKey]]) }
  return { ...made, space, opened: { ...made.ctx, actor: { ...made.ctx.actor, proofs } } }
}
