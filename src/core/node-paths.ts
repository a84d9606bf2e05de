/** The way from the tenant's root down to a node. */
import { sql } from 'kysely'
import { oneOf } from '#db/columns.ts'
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

/**
 * Paths of folders from the root of their space on, which itself has an empty one: `/folder/nested`. One query for all; empty for
 * what is none of them.
 */
export async function pathsInSpace(ctx: Ctx, folderIds: readonly number[]): Promise<(folderId: number) => string> {
  const { rows } = await sql<{ id: number; parentId: number; name: string }>`
    with recursive up (id, "parentId", name, kind) as (
      select id, "parentId", name, kind from node where ${oneOf(ctx.database.engine, sql`id`, folderIds)} and kind = 'folder'
      union
      select node.id, node."parentId", node.name, node.kind from up join node on node.id = up."parentId"
        where node.kind = 'folder'
    )
    select id, "parentId", name from up`.execute(ctx.db)
  const steps = new Map(rows.map(step => [step.id, step]))
  return function pathOfFolder(folderId): string {
    const step = steps.get(folderId)
    return step ? `${pathOfFolder(step.parentId)}/${step.name}` : ''
  }
}
