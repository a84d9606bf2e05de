/** Random acts on a tree, for tests that look at what must hold after any of them. */
import fc from 'fast-check'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { removeGrant, setGrant } from '#core/grants.ts'
import { copyNode, moveNode } from '#core/node-move.ts'
import { createFolder, renameNode } from '#core/nodes.ts'
import { purgeVersion } from '#core/purge.ts'
import { appendUpload, cancelUpload, completeUpload, openUpload } from '#core/transfers.ts'
import { deleteNode, restoreVersion, undoDeletion } from '#core/trash.ts'
import { switchVersion } from '#core/versions.ts'
import { put } from '#test/tree.ts'

const kinds = [
  ...['put', 'put', 'put', 'folder', 'folder', 'delete', 'delete', 'restore', 'restore', 'undo', 'undo'],
  ...['move', 'move', 'copy', 'purge', 'switch', 'rename', 'reserve', 'fill', 'cancel', 'mask', 'unmask'],
] as const

const strategies = ['fail', 'new-version', 'replace', 'rename-new', 'rename-existing'] as const

const act = fc.record({
  kind: fc.constantFrom(...kinds),
  /** Which of what there is: taken modulo its number. */
  which: fc.nat(50),
  where: fc.nat(50),
  name: fc.constantFrom('a', 'A', 'b', 'c.txt'),
  sizeBytes: fc.nat(20),
  strategy: fc.constantFrom(...strategies),
})

type Act = typeof act extends fc.Arbitrary<infer T> ? T : never

export const someActs = fc.array(act, { minLength: 1, maxLength: 40, size: 'max' })
export { fc }

/** Does them one after the other; what the domain refuses is skipped. */
export async function applyActs(ctx: Ctx, spaceIds: readonly number[], acts: readonly Act[]): Promise<void> {
  for (const next of acts) {
    try {
      await apply(ctx, spaceIds, next)
    } catch (error) {
      if (!isDomainError(error)) throw error
    }
  }
}

async function apply(ctx: Ctx, spaceIds: readonly number[], { kind, which, where, name, sizeBytes, strategy }: Act) {
  const pick = <T>(from: readonly T[], at: number): T | undefined => from[at % Math.max(1, from.length)]
  const nodes = await liveNodes(ctx, spaceIds)
  const parentId = pick([...spaceIds, ...nodes.filter(node => node.kind === 'folder').map(node => node.id)], where)!
  const node = pick(nodes, which)
  const version = pick(await versions(ctx, spaceIds), which)
  const onConflict = strategy === 'replace' || strategy === 'rename-new' ? strategy : 'fail'
  switch (kind) {
    case 'put':
      return put(ctx, parentId, name, 'x'.repeat(sizeBytes), { onConflict: strategy })
    case 'folder':
      return createFolder(ctx, { parentId, name, onConflict: strategy === 'rename-new' ? strategy : 'fail' })
    case 'delete':
      return node && deleteNode(ctx, { nodeId: node.id })
    case 'restore':
      return version && restoreVersion(ctx, { versionId: version.id, parentId, onConflict: strategy })
    case 'undo': {
      const deletion = pick(await deletions(ctx, spaceIds), which)
      return deletion && undoDeletion(ctx, { deletionId: deletion.id })
    }
    case 'move':
      return node && moveNode(ctx, { nodeId: node.id, parentId, onConflict })
    case 'copy':
      return node && copyNode(ctx, { nodeId: node.id, parentId, onConflict })
    case 'purge':
      return version && purgeVersion(ctx, { versionId: version.id })
    case 'switch':
      return version && switchVersion(ctx, { nodeId: version.nodeId, versionId: version.id })
    case 'rename':
      return node && renameNode(ctx, { nodeId: node.id, name })
    case 'reserve':
      return openUpload(ctx, { parentId, name, onConflict: strategy, mediaType: 'text/plain', reserve: true })
    case 'fill':
    case 'cancel': {
      const upload = pick(await uploads(ctx, spaceIds), which)
      if (!upload) return undefined
      if (kind === 'cancel') return cancelUpload(ctx, { uploadId: upload.id })
      await appendUpload(ctx, { uploadId: upload.id }, [Buffer.alloc(sizeBytes)])
      return completeUpload(ctx, { uploadId: upload.id, onRefusal: 'fail' })
    }
    case 'mask':
      return setGrant(ctx, { nodeId: parentId, subjectId: ctx.actor.principalId, actions: ['list', 'manage'] })
    case 'unmask':
      return removeGrant(ctx, { nodeId: parentId, subjectId: ctx.actor.principalId })
  }
}

const liveNodes = (ctx: Ctx, spaceIds: readonly number[]) =>
  ctx.db
    .selectFrom('node')
    .select(['id', 'kind'])
    .where('spaceId', 'in', spaceIds)
    .where('kind', 'in', ['file', 'folder'])
    .where('state', '=', 'live')
    .orderBy('id')
    .execute()

const versions = (ctx: Ctx, spaceIds: readonly number[]) =>
  ctx.db
    .selectFrom('version')
    .select(['id', 'nodeId'])
    .where('deletedSpaceId', 'in', spaceIds)
    .where('purgedAt', 'is', null)
    .orderBy('id')
    .execute()

const deletions = (ctx: Ctx, spaceIds: readonly number[]) =>
  ctx.db
    .selectFrom('deletion')
    .innerJoin('node', 'node.id', 'deletion.nodeId')
    .select('deletion.id')
    .where('node.spaceId', 'in', spaceIds)
    .where('undoneAt', 'is', null)
    .orderBy('deletion.id')
    .execute()

const uploads = (ctx: Ctx, spaceIds: readonly number[]) =>
  ctx.db
    .selectFrom('upload')
    .innerJoin('node', 'node.id', 'upload.parentId')
    .select('upload.id')
    .where('node.spaceId', 'in', spaceIds)
    .where('upload.state', '=', 'open')
    .orderBy('upload.id')
    .execute()
