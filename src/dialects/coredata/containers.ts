/** What holds files: the filespace of a project, the workspace of a space, a folder; and the files themselves by their ids. */
import type { Ctx } from '#core/ctx.ts'
import { DomainError, isDomainError } from '#core/errors.ts'
import type { Node } from '#core/nodes.ts'
import { findNodeByUid, getSpaceByUid } from '#core/space-list.ts'
import { getSpaceRow, type Space } from '#core/space-rows.ts'

/** A live file that the caller may list. Throws `not-found`, also for what is no file. */
export async function getFileByUid(ctx: Ctx, uid: string): Promise<Node> {
  const node = await findNodeByUid(ctx, uid)
  if (node.kind !== 'file') throw new DomainError('not-found', { what: 'file', id: uid })
  return node
}

/** A folder or filespace; the id of a project stands for its filespace. Undefined for anything else, and for what is hidden. */
export async function findContainer(ctx: Ctx, uid: string): Promise<Node | undefined> {
  const node = await missing(findNodeByUid(ctx, uid))
  if (node) return node.kind === 'file' ? undefined : node
  const entry = await missing(getSpaceByUid(ctx, uid))
  return entry && (await isProject(ctx, entry.space)) ? entry.node : undefined
}

/** A project by its id. Throws `not-found`, also for a space that is none. */
export async function getProjectByUid(ctx: Ctx, uid: string) {
  const entry = await getSpaceByUid(ctx, uid)
  if (!(await isProject(ctx, entry.space))) throw new DomainError('not-found', { what: 'space', id: uid })
  return entry
}

/** Right below a top-level space; what is nested deeper is a folder here. */
async function isProject(ctx: Ctx, { parentSpaceId }: Space): Promise<boolean> {
  return parentSpaceId !== null && (await getSpaceRow(ctx, parentSpaceId)).parentSpaceId === null
}

const missing = <T>(found: Promise<T>): Promise<T | undefined> =>
  found.catch((error: unknown) => {
    if (isDomainError(error, 'not-found')) return undefined
    throw error
  })
