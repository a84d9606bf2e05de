/** Deliveries for tests: people who may send and receive, and a short way to send. */
import { createDelivery, type NewDelivery } from '#core/deliveries.ts'
import { addMembers, createGroup } from '#core/groups.ts'
import { setRightsOf, systemRights, type SystemRight } from '#core/roles.ts'
import type { Ctx } from '#core/ctx.ts'
import type { World, WorldUser } from '#test/world.ts'

/** What people who send and receive usually may. */
export const usualRights: readonly SystemRight[] = [
  'deliveries.use',
  'deliveries.receive',
  'deliveries.send.public',
  'deliveries.send.internal',
  'deliveries.send.private',
]

/** Users by name with an address each and the usual rights. */
export async function makePeople<const N extends string>(
  world: World,
  ...names: N[]
): Promise<Record<N, WorldUser> & { groupId: string }> {
  const { id: groupId } = await createGroup(world.system, { name: `people ${names.join(' ')}` })
  await setRightsOf(world.system, { principalId: groupId, rights: usualRights, among: systemRights })
  const people: [string, WorldUser][] = []
  for (const name of names) people.push([name, await world.user(name, { email: `${name}@example.test` })])
  const memberIds = people.map(([, { user }]) => user.id)
  await addMembers(world.system, { groupId, memberIds })
  return { ...(Object.fromEntries(people) as Record<N, WorldUser>), groupId } // one for each name
}

/** Gives a user further rights. */
export const giveRights = (world: World, { user }: WorldUser, ...rights: SystemRight[]) =>
  setRightsOf(world.system, { principalId: user.id, rights, among: systemRights })

export const send = (ctx: Ctx, input: Partial<NewDelivery> = {}) =>
  createDelivery(ctx, {
    label: 'Report',
    note: '',
    accessType: 'private',
    recipients: [],
    encrypt: false,
    persistent: false,
    accessLimit: null,
    notify: true,
    ...input,
  })
