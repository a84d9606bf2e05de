/** Random acts on a tree, for tests that look at what must hold after any of them. */
import fc from 'fast-check'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { removeGrant, setGrant } from '#core/grants.ts'
import { copyNode, moveNode } from '#core/node-move.ts'
import { createFolder, renameNode } from '#core/nodes.ts'
import { purgeVersion } from '#core/purge.ts'
import { completeUpload } from '#core/transfer-completion.ts'
import { appendUpload, cancelUpload, openUpload } from '#core/transfers.ts'
import { restoreVersion, undoDeletion } from '#core/restore.ts'
import { deleteNode } from '#core/trash.ts'
import { switchVersion } from '#core/versions.ts'
import { put } from '#test/tree.ts'

const strategies = ['fail', 'new-version', 'replace', 'rename-new', 'rename-existing'] as const

interface Act {
  kind: keyof typeof acts
  /** Which of what there is: taken modulo its number. */
  which: number
  where: number
  name: string
  sizeBytes: number
  strategy: (typeof strategies)[number]
}

/** An act, and what its numbers mean in the tree as it is. */
interface Site extends Act {
  parentId: number
  nodeId: number
  version: { id: number; nodeId: number }
  deletionId: string
  uploadId: string
  /** The strategy, where it is one for moving. */
  onConflict: 'fail' | 'replace' | 'rename-new'
}

const acts = {
  put: (ctx: Ctx, { parentId, name, sizeBytes, strategy }: Site) =>
    put(ctx, parentId, name, 'x'.repeat(sizeBytes), { onConflict: strategy }),
  folder: (ctx: Ctx, { parentId, name, onConflict }: Site) =>
    createFolder(ctx, { parentId, name, onConflict: onConflict === 'replace' ? 'fail' : onConflict }),
  delete: (ctx: Ctx, { nodeId }: Site) => deleteNode(ctx, { nodeId }),
  restore: (ctx: Ctx, { version, parentId, strategy }: Site) =>
    restoreVersion(ctx, { versionId: version.id, parentId, onConflict: strategy }),
  undo: (ctx: Ctx, { deletionId }: Site) => undoDeletion(ctx, { deletionId }),
  move: (ctx: Ctx, { nodeId, parentId, onConflict }: Site) => moveNode(ctx, { nodeId, parentId, onConflict }),
  copy: (ctx: Ctx, { nodeId, parentId, onConflict }: Site) => copyNode(ctx, { nodeId, parentId, onConflict }),
  purge: (ctx: Ctx, { version }: Site) => purgeVersion(ctx, { versionId: version.id }),
  switch: (ctx: Ctx, { version }: Site) => switchVersion(ctx, { nodeId: version.nodeId, versionId: version.id }),
  rename: (ctx: Ctx, { nodeId, name }: Site) => renameNode(ctx, { nodeId, name }),
  reserve: (ctx: Ctx, { parentId, name, strategy }: Site) =>
    openUpload(ctx, { parentId, name, onConflict: strategy, mediaType: 'text/plain', reserve: true }),
  cancel: (ctx: Ctx, { uploadId }: Site) => cancelUpload(ctx, { uploadId }),
  fill: async (ctx: Ctx, { uploadId, sizeBytes }: Site) => {
    await appendUpload(ctx, { uploadId }, [Buffer.alloc(sizeBytes)])
    await completeUpload(ctx, { uploadId, onRefusal: 'fail' })
  },
  mask: (ctx: Ctx, { parentId }: Site) =>
    setGrant(ctx, { nodeId: parentId, subjectId: ctx.actor.principalId, actions: ['list', 'manage'] }),
  unmask: (ctx: Ctx, { parentId }: Site) => removeGrant(ctx, { nodeId: parentId, subjectId: ctx.actor.principalId }),
}

const kinds = Object.keys(acts) as Act['kind'][] // the table's own keys
/** So that there is something to act on. */
const frequent = ['put', 'put', 'folder', 'folder', 'delete', 'restore', 'undo', 'move'] as const

const act: fc.Arbitrary<Act> = fc.record({
  kind: fc.constantFrom(...kinds, ...frequent),
  which: fc.nat(50),
  where: fc.nat(50),
  name: fc.constantFrom('a', 'A', 'b', 'c.txt'),
  sizeBytes: fc.nat(20),
  strategy: fc.constantFrom(...strategies),
})

export const someActs = fc.array(act, { minLength: 1, maxLength: 40, size: 'max' })
export { fc }

/** Does them one after the other; what the domain refuses, also because there is no such thing yet, is skipped. */
export async function applyActs(ctx: Ctx, spaceIds: readonly number[], some: readonly Act[]): Promise<void> {
  for (const next of some) {
    const site = await locate(ctx, spaceIds, next)
    try {
      await acts[next.kind](ctx, site)
    } catch (error) {
      if (!isDomainError(error)) throw error
    }
  }
}

async function locate(ctx: Ctx, spaceIds: readonly number[], act: Act): Promise<Site> {
  const { which, where, strategy } = act
  const nodes = await liveNodes(ctx, spaceIds)
  const folders = nodes.filter(node => node.kind === 'folder').map(node => node.id)
  return {
    ...act,
    parentId: pick([...spaceIds, ...folders], where) ?? 0,
    nodeId: pick(nodes, which)?.id ?? 0,
    version: pick(await versions(ctx, spaceIds), which) ?? { id: 0, nodeId: 0 },
    deletionId: pick(await deletions(ctx, spaceIds), which)?.id ?? '',
    uploadId: pick(await uploads(ctx, spaceIds), which)?.id ?? '',
    onConflict: strategy === 'replace' || strategy === 'rename-new' ? strategy : 'fail',
  }
}

const pick = <T>(from: readonly T[], at: number): T | undefined => from[at % Math.max(1, from.length)]

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
