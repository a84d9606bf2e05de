/** Folders of a package. */
import { Type as T } from 'typebox'
import type { Static } from 'typebox'
import { createFolderSettled } from '#core/conflicts.ts'
import {
  getFolder,
  requireActive,
  requireContributor,
  requireNoQuarantine,
  type OpenDelivery,
} from '#core/delivery-access.ts'
import { DomainError } from '#core/errors.ts'
import { listFolder } from '#core/file-records.ts'
import { renameNode, type Node } from '#core/nodes.ts'
import { shredFolder } from '#core/shred.ts'
import { deleteNode } from '#core/trash.ts'
import { json } from '#http/request-body.ts'
import { op, refusalsOf } from './errors.ts'
import {
  ConflictResolution,
  CreatedItem,
  File,
  Folder,
  loadSeenChecks,
  presentCreated,
  presentFile,
  presentFolder,
  strategies,
} from './file.ts'
import { enterPackage, proofHeaders } from './open.ts'
import { FolderPath, impersonationHeaders, PackagePath, Uuid } from './schemas.ts'

export const ItemName = (description: string) => T.String({ minLength: 1, maxLength: 255, description })

const FolderCreate = T.Object({
  parentId: Uuid('Folder that it will lie in.'),
  name: ItemName('Folder name.'),
  conflictResolution: T.Optional(ConflictResolution),
})

export const Rename = T.Object({ name: ItemName('New name.') })

const FolderContent = T.Object({ folders: T.Array(Folder), files: T.Array(File) })

const tag = 'Folders'
const headers = { ...impersonationHeaders, ...proofHeaders }

export const folderOperations = [
  op({
    id: 'createFolder',
    method: 'POST',
    path: '/packages/{packageId}/folders',
    roles: 'user',
    tag,
    summary: 'Create a folder',
    requestHeaders: headers,
    params: PackagePath,
    body: json(FolderCreate),
    status: 201,
    reply: CreatedItem,
    refusals: refusalsOf(400, 401, 403, 404, 409),
    handler: async ({ ctx, params, body, request }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireContributor(opened)
      const parent = await getFolder(opened, body.parentId)
      await requireNoQuarantine(opened, 'quarantine.add')
      const onConflict = strategies[body.conflictResolution ?? 'RENAME']
      const { folder, settled } = await createFolderSettled(opened.ctx, {
        parentId: parent.id,
        name: body.name,
        onConflict,
      })
      return presentCreated(folder, settled)
    },
  }),
  op({
    id: 'deleteFolder',
    method: 'DELETE',
    path: '/packages/{packageId}/folders/{folderId}',
    roles: 'both',
    tag,
    summary: 'Delete a folder with its content',
    requestHeaders: headers,
    params: FolderPath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireContributor(opened)
      const folder = await getInnerFolder(opened, params.folderId)
      await requireNoQuarantine(opened, 'quarantine.delete')
      await deleteNode(opened.ctx, { nodeId: folder.id })
      return reply.send()
    },
  }),
  op({
    id: 'shredFolder',
    method: 'POST',
    path: '/packages/{packageId}/folders/{folderId}/shred',
    aliases: [{ method: 'DELETE', path: '/packages/{packageId}/folders/{folderId}/shred' }],
    roles: 'admin',
    tag,
    summary: 'Destroy the content of a folder for good',
    params: FolderPath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      const folder = await getInnerFolder(opened, params.folderId, { withDeleted: true })
      if (folder.state === 'purged')
        throw new DomainError('wrong-state', { what: 'node', state: folder.state, needed: 'live or deleted' })
      await shredFolder(opened.ctx, { nodeId: folder.id })
      return reply.send()
    },
  }),
  op({
    id: 'renameFolder',
    method: 'PUT',
    path: '/packages/{packageId}/folders/{folderId}/name',
    aliases: [{ method: 'PATCH', path: '/packages/{packageId}/folders/{folderId}' }],
    roles: 'both',
    tag,
    summary: 'Rename a folder',
    requestHeaders: headers,
    params: FolderPath,
    body: json(Rename),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409),
    handler: async ({ ctx, params, body, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireContributor(opened)
      const folder = await getInnerFolder(opened, params.folderId)
      await requireNoQuarantine(opened, 'quarantine.add')
      await renameNode(opened.ctx, { nodeId: folder.id, name: body.name })
      return reply.send()
    },
  }),
  op({
    id: 'getFolderContent',
    method: 'GET',
    path: '/packages/{packageId}/folders/{folderId}/content',
    aliases: [{ method: 'GET', path: '/packages/{packageId}/folders/{folderId}' }],
    roles: 'both',
    tag,
    summary: 'List a folder',
    description: 'What lies directly in it, by name.',
    requestHeaders: headers,
    params: FolderPath,
    reply: FolderContent,
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params, request }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      return presentContent(opened, await getFolder(opened, params.folderId))
    },
  }),
]

async function presentContent({ ctx, role }: OpenDelivery, folder: Node): Promise<Static<typeof FolderContent>> {
  const listing = await listFolder(ctx, { nodeId: folder.id, withDeleted: role === 'administrator' })
  const seen = await loadSeenChecks(ctx, listing.files)
  return { folders: listing.folders.map(presentFolder), files: listing.files.map(file => presentFile(file, seen)) }
}

/** A folder that is not the root: that one belongs to the package itself. Deleted ones are no longer there to be changed. */
async function getInnerFolder(opened: OpenDelivery, uid: string, { withDeleted = false } = {}): Promise<Node> {
  const folder = await getFolder(opened, uid)
  if (folder.kind === 'space') throw new DomainError('cannot-move-space', { nodeId: folder.id })
  if (folder.state !== 'live' && !withDeleted) throw new DomainError('already-deleted', { nodeId: folder.id })
  return folder
}
