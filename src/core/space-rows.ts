/** Reading the policy rows of spaces; spaces.ts changes them. */
import type { Selectable } from 'kysely'
import { prepared } from '#db/prepared.ts'
import type { SpaceTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'

export type Space = Selectable<SpaceTable>

const spaceById = prepared<{ id: number }, Space>((db, arg) =>
  db.selectFrom('space').selectAll().where('id', '=', arg('id')),
)

/** The space of that root node, in whatever state. Throws `not-found` for another tenant's. */
export async function getSpaceRow(ctx: Ctx, spaceId: number): Promise<Space> {
  const [space] = await spaceById(ctx.db, { id: spaceId })
  if (!space || space.tenantId !== ctx.actor.tenantId)
    throw new DomainError('not-found', { what: 'space', id: String(spaceId) })
  return space
}
