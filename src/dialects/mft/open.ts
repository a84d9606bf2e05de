/** From an address to a file that the caller may use: right first, existence after it. */
import type { FastifyRequest } from 'fastify'
import type { Ctx } from '#core/ctx.ts'
import { DomainError, isDomainError } from '#core/errors.ts'
import type { Node } from '#core/nodes.ts'
import { hasAction, type Action, type ActionSet } from '#core/permissions.ts'
import type { Space } from '#core/space-rows.ts'
import { deleteNode } from '#core/trash.ts'
import { findFile, requireAllowed, resolvePath } from '#core/vfs.ts'
import { okAnswer } from './answers.ts'
import { filePath, filesetId, virtualPath } from './paths.ts'

export interface OpenFile {
  node: Node
  space: Space
  path: readonly string[]
  fileset: number
  allowed: ActionSet
}

/**
 * The file at the path of the address.
 * Throws `no-view`, `path-refused`, `invalid-input` of `filename`, `forbidden`, `not-found`, `not-a-file` for a directory.
 */
export async function openFile(
  ctx: Ctx,
  request: FastifyRequest,
  action: Action | readonly Action[],
): Promise<OpenFile> {
  const path = filePath(request)
  const target = await resolvePath(ctx, path)
  await requireAllowed(ctx, target, action)
  if (!target.parent) throw new DomainError('not-found', { what: 'path', id: virtualPath(path.slice(0, -1)) })
  if (!target.place) throw new DomainError('not-found', { what: 'file', id: virtualPath(path) })
  if (target.place.kind === 'top') throw new DomainError('invalid-input', { field: 'filename', rule: 'missing' })
  const { node, space } = target.place
  if (node.currentVersionId === null) throw new DomainError('not-a-file', { nodeId: node.id })
  return { node, space, path, fileset: node.currentVersionId, allowed: target.allowed }
}

/** The file whose current content has the number of the address. */
export async function openFileset(
  ctx: Ctx,
  request: FastifyRequest,
  action: Action | readonly Action[],
): Promise<OpenFile> {
  const fileset = filesetId(request)
  const { node, space, path, allowed } = await findFile(ctx, fileset)
  // The way through the path is for the refusal, which is audited by place.
  if (!hasAction(allowed, action)) await requireAllowed(ctx, await resolvePath(ctx, path), action)
  return { node, space, path, fileset, allowed }
}

/** Deletes just what was found, and says which content that was. */
export const deleteOpened = (ctx: Ctx, open: () => Promise<OpenFile>) =>
  untilUnchanged(async () => {
    const { node, fileset } = await open()
    await deleteNode(ctx, { nodeId: node.id, expectedRevision: node.revision })
    return okAnswer(ctx, 'File deleted', fileset)
  })

const ATTEMPTS = 5

/** Repeats an act that another caller's change came between; `work` looks the file up anew each time. */
export async function untilUnchanged<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (attempt === ATTEMPTS || !isDomainError(error, 'revision-conflict')) throw error
    }
  }
}
