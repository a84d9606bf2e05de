/** The way from the tenant's root down to a node. */
import { sql } from 'kysely'
import { prepared } from '#db/prepared.ts'
import type { NodeTable } from '#db/schema.ts'
import type { Ctx } from './ctx.ts'

const pathUp = prepared<{ nodeId: number }, { id: number; name: string; kind: NodeTable['kind']; depth: number }>(
  (db, arg) => ({
    compile: () =>
      sql<{ id: number; name: string; kind: NodeTable['kind']; depth: number }>`
      with recursive up (id, "parentId", name, kind, depth) as (
        select id, "parentId", name, kind, 0 from node where id = ${arg('nodeId')}
        union all
        select node.id, node."parentId", node.name, node.kind, up.depth + 1 from up join node on node.id = up."parentId"
      )
      select id, name, kind, depth from up order by depth desc`.compile(db),
  }),
)

/** The nodes from the tenant's root down to the node itself. */
export const pathOf = (ctx: Ctx, nodeId: number) => pathUp(ctx.db, { nodeId })

/** The path inside the tenant, such as `/partner5/inbox`; `/` for the root. */
export async function pathText(ctx: Ctx, nodeId: number): Promise<string> {
  const steps = await pathOf(ctx, nodeId)
  return (
    '/' +
    steps
      .filter(step => step.kind !== 'root')
      .map(step => step.name)
      .join('/')
  )
}
