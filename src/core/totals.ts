/**
 * Recursive totals of every container: live files, folders and bytes, and the bytes in the bin. Kept in the transaction of
 * each change, as its last step and in the order of ids, so that two changes never wait for each other in a circle.
 */
import { sql } from 'kysely'
import { prepared } from '#db/prepared.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'

/** Changes of a container's totals; absent means unchanged. */
export interface TotalsDelta {
  files?: number
  folders?: number
  bytes?: number
  binBytes?: number
}

interface Container {
  id: number
  kind: 'root' | 'space' | 'folder'
  /** Quota of a space or of the tenant, null where there is none. */
  quotaBytes: number | null
}

/** The container itself and everything above it, with quotas, in the order of ids. */
const containersUp = prepared<{ nodeId: number }, Container>((db, arg) => ({
  compile: () =>
    sql<Container>`
      with recursive up (id, "parentId", kind, "tenantId") as (
        select id, "parentId", kind, "tenantId" from node where id = ${arg('nodeId')}
        union all
        select node.id, node."parentId", node.kind, node."tenantId" from up join node on node.id = up."parentId"
      )
      select up.id, up.kind, coalesce(space."quotaBytes", tenant."quotaBytes") as "quotaBytes"
      from up
      left join space on space.id = up.id
      left join tenant on up.kind = 'root' and tenant.id = up."tenantId"
      order by up.id`.compile(db),
}))

type AddArgs = Required<TotalsDelta> & { nodeId: number; now: number }

const addToOne = prepared<AddArgs, { bytes: number; binBytes: number }>((db, arg) =>
  db
    .updateTable('node_total')
    .set(eb => ({
      files: eb('files', '+', arg('files')),
      folders: eb('folders', '+', arg('folders')),
      bytes: eb('bytes', '+', arg('bytes')),
      binBytes: eb('binBytes', '+', arg('binBytes')),
      changedAt: arg('now'),
    }))
    .where('nodeId', '=', arg('nodeId'))
    .returning(['bytes', 'binBytes']),
)

/**
 * Adds to a container and all above it, and refuses what would pass a quota (live bytes and bin count).
 * Call it once per container, last in the transaction. Throws `quota-exceeded`.
 */
export async function addTotals(ctx: TxCtx, containerId: number, delta: TotalsDelta): Promise<void> {
  const { files = 0, folders = 0, bytes = 0, binBytes = 0 } = delta
  const grows = bytes + binBytes > 0
  for (const { id, kind, quotaBytes } of await containersUp(ctx.db, { nodeId: containerId })) {
    const [total] = await addToOne(ctx.db, { nodeId: id, files, folders, bytes, binBytes, now: ctx.clock() })
    if (!total || quotaBytes === null || !grows) continue
    const neededBytes = total.bytes + total.binBytes
    if (neededBytes > quotaBytes) {
      const scope = kind === 'root' ? 'tenant' : 'space'
      throw new DomainError('quota-exceeded', { scope, limitBytes: quotaBytes, neededBytes })
    }
  }
}

export interface Totals {
  files: number
  folders: number
  bytes: number
  binBytes: number
}

/** Stored totals of one container. */
export async function getTotals(ctx: Ctx, nodeId: number): Promise<Totals> {
  return ctx.db
    .selectFrom('node_total')
    .select(['files', 'folders', 'bytes', 'binBytes'])
    .where('nodeId', '=', nodeId)
    .executeTakeFirstOrThrow()
}

/** The same, counted anew from nodes and versions: what the stored figures must equal. */
export async function recountTotals(ctx: Ctx, nodeId: number): Promise<Totals> {
  const { rows } = await sql<Totals>`
    with recursive down (id, kind, state, "currentVersionId") as (
      select id, kind, state, "currentVersionId" from node where id = ${nodeId}
      union all
      select node.id, node.kind, node.state, node."currentVersionId" from down join node on node."parentId" = down.id
    )
    select
      (select count(*) from down where kind = 'file' and state = 'live') as files,
      (select count(*) from down where kind in ('folder', 'space') and state = 'live' and id <> ${nodeId}) as folders,
      (select coalesce(sum(version."sizeBytes"), 0) from down join version on version.id = down."currentVersionId"
        where down.kind = 'file' and down.state = 'live') as bytes,
      (select coalesce(sum(version."sizeBytes"), 0) from version
        where version."deletedAt" is not null and version."purgedAt" is null
          and version."deletedParentId" in (select id from down)) as "binBytes"`.execute(ctx.db)
  const [row] = rows
  return {
    files: Number(row?.files),
    folders: Number(row?.folders),
    bytes: Number(row?.bytes),
    binBytes: Number(row?.binBytes),
  }
}
