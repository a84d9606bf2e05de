/** Files of a package: announced, uploaded, confirmed, checked, fetched. */
import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import {
  getFolder,
  requireActive,
  requireContributor,
  requireMayFetch,
  requireNoQuarantine,
  type OpenDelivery,
} from '#core/delivery-access.ts'
import { openContent, type OpenedContent } from '#core/downloads.ts'
import { DomainError } from '#core/errors.ts'
import {
  cancelRecord,
  confirmRecord,
  createFileRecord,
  findSame,
  getFileRecord,
  putRecordContent,
  type FileRecord,
} from '#core/file-records.ts'
import { renameNode } from '#core/nodes.ts'
import { shredFile } from '#core/shred.ts'
import { deleteNode } from '#core/trash.ts'
import { chunksOfBody } from '#http/body.ts'
import { contentDisposition, sendContent, type Content } from '#http/downloads.ts'
import { DEFAULT_MEDIA_TYPE, headerType } from '#http/media-types.ts'
import { documentedAs } from '#http/openapi.ts'
import { binary, json } from '#http/request-body.ts'
import { op, refusalsOf, Refused, refuse } from './errors.ts'
import {
  ConflictResolution,
  CreatedItem,
  File,
  loadSeenChecks,
  presentCreated,
  presentFile,
  stateOf,
  strategies,
  type FileState,
} from './file.ts'
import { ItemName, Rename } from './folders.ts'
import { enterPackage, proofHeaders } from './open.ts'
import { FilePath, FolderPath, impersonationHeaders } from './schemas.ts'

const Hash = (description: string) => T.String({ pattern: '^[0-9a-fA-F]{64}$', description })

const FileCreate = T.Object({
  name: ItemName('File name.'),
  conflictResolution: T.Optional(ConflictResolution),
  size: documentedAs(
    T.Number({ minimum: 0, description: 'Bytes; a whole number.' }),
    T.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  ),
  mimeType: T.Optional(
    documentedAs(
      T.String({ maxLength: 100, default: DEFAULT_MEDIA_TYPE, description: 'Media type.' }),
      T.String({ maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]*$' }),
    ),
  ),
  hash: T.Optional(Hash('SHA-256 of the content, hex. An identical file is then answered instead.')),
})

const ExistingFiles = T.Object({ existingFiles: T.Array(File, { minItems: 1 }) })

const FileStateChange = T.Object({
  state: T.Enum(['UPLOADED', 'CANCELED'], { description: 'Confirm the upload, or give it up.' }),
  hash: T.Optional(Hash('SHA-256 of the content, hex; compared with what was stored.')),
})

const tag = 'Files'
const headers = { ...impersonationHeaders, ...proofHeaders }

export const fileOperations = [
  op({
    id: 'createFile',
    method: 'POST',
    path: '/packages/{packageId}/folders/{folderId}/files',
    roles: 'user',
    tag,
    summary: 'Announce a file',
    description: 'Its name is held; the content comes next, and then the confirmation.',
    requestHeaders: headers,
    params: FolderPath,
    body: json(FileCreate),
    status: 201,
    reply: CreatedItem,
    otherReplies: { 200: { description: 'There is such a file already; nothing was made.', reply: ExistingFiles } },
    refusals: refusalsOf(400, 401, 403, 404, 409, 413),
    handler: async ({ ctx, params, body, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireContributor(opened)
      const folder = await getFolder(opened, params.folderId)
      await requireNoQuarantine(opened, 'quarantine.add')
      const existing = await findIdentical(opened, body)
      if (existing) return reply.code(200).send(existing)
      const { node, settled } = await createFileRecord(opened.ctx, {
        parentId: folder.id,
        name: body.name,
        onConflict: strategies[body.conflictResolution ?? 'RENAME'],
        sizeBytes: body.size,
        mediaType: body.mimeType || DEFAULT_MEDIA_TYPE,
        ...(body.hash !== undefined && { sha256: body.hash }),
      })
      return presentCreated(node, settled)
    },
  }),
  op({
    id: 'getFile',
    method: 'GET',
    path: '/packages/{packageId}/files/{fileId}',
    roles: 'both',
    tag,
    summary: 'Get a file',
    requestHeaders: headers,
    params: FilePath,
    reply: File,
    refusals: refusalsOf(401, 403, 404),
    handler: async ({ ctx, params, request }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      const record = await findRecord(opened, params.fileId)
      return presentFile(record, await loadSeenChecks(opened.ctx, [record]))
    },
  }),
  op({
    id: 'deleteFile',
    method: 'DELETE',
    path: '/packages/{packageId}/files/{fileId}',
    roles: 'both',
    tag,
    summary: 'Delete a file',
    description: 'Only CLEAN and UNCLEAN ones.',
    requestHeaders: headers,
    params: FilePath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterForChange(ctx, request, params.packageId)
      const record = await findRecord(opened, params.fileId)
      await requireNoQuarantine(opened, 'quarantine.delete')
      await deleteNode(opened.ctx, { nodeId: storedNode(record, ['CLEAN', 'UNCLEAN']).id })
      return reply.send()
    },
  }),
  op({
    id: 'shredFile',
    method: 'POST',
    path: '/packages/{packageId}/files/{fileId}/shred',
    aliases: [{ method: 'DELETE', path: '/packages/{packageId}/files/{fileId}/shred' }],
    roles: 'admin',
    tag,
    summary: 'Destroy the content of a file for good',
    requestHeaders: proofHeaders,
    params: FilePath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      const record = await findRecord(opened, params.fileId)
      if (record.kind !== 'stored' && record.kind !== 'deleted') throw wrongState(record)
      if (record.version.purgedAt !== null) throw wrongState(record)
      await shredFile(opened.ctx, { nodeId: record.node.id })
      return reply.send()
    },
  }),
  op({
    id: 'renameFile',
    method: 'PUT',
    path: '/packages/{packageId}/files/{fileId}/name',
    aliases: [{ method: 'PATCH', path: '/packages/{packageId}/files/{fileId}' }],
    roles: 'both',
    tag,
    summary: 'Rename a file',
    requestHeaders: headers,
    params: FilePath,
    body: json(Rename),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409),
    handler: async ({ ctx, params, body, request, reply }) => {
      const opened = await enterForChange(ctx, request, params.packageId)
      const record = await findRecord(opened, params.fileId)
      await requireNoQuarantine(opened, 'quarantine.add')
      const node = storedNode(record, ['UPLOADED', 'CLEAN', 'UNCLEAN'])
      await renameNode(opened.ctx, { nodeId: node.id, name: body.name })
      return reply.send()
    },
  }),
  op({
    id: 'downloadFile',
    method: 'GET',
    path: '/packages/{packageId}/files/{fileId}/content',
    roles: 'both',
    tag,
    summary: 'Download a file',
    description: 'Only CLEAN ones.',
    requestHeaders: headers,
    params: FilePath,
    reply: { content: DEFAULT_MEDIA_TYPE, ranges: true },
    headers: { 'Content-Disposition': 'The name of the file.', 'Content-Length': 'Bytes.' },
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      await requireMayFetch(opened)
      const record = await findRecord(opened, params.fileId)
      if (!opened.ctx.settings.quarantineOpen) await requireNoQuarantine(opened)
      const node = storedNode(record, ['CLEAN'])
      return sendFile(request, reply, await openContent(opened.ctx, { nodeId: node.id }))
    },
  }),
  op({
    id: 'uploadFile',
    method: 'PUT',
    path: '/packages/{packageId}/files/{fileId}/content',
    roles: 'user',
    tag,
    summary: 'Store the content of a file',
    description: 'Only UPLOADING ones. Another call replaces what the one before stored.',
    requestHeaders: headers,
    params: FilePath,
    body: binary(DEFAULT_MEDIA_TYPE, { required: true }),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409, 413),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterForChange(ctx, request, params.packageId)
      const upload = uploadOf(await findRecord(opened, params.fileId))
      await requireNoQuarantine(opened, 'quarantine.add')
      await putRecordContent(opened.ctx, { uploadId: upload.id }, chunksOfBody(request.raw))
      return reply.send()
    },
  }),
  op({
    id: 'setFileState',
    method: 'PUT',
    path: '/packages/{packageId}/files/{fileId}/state',
    aliases: [{ method: 'PATCH', path: '/packages/{packageId}/files/{fileId}/state' }],
    roles: 'user',
    tag,
    summary: 'Confirm an upload, or give it up',
    description: 'Only UPLOADING ones. A wrong hash leaves the state as it is.',
    requestHeaders: headers,
    params: FilePath,
    body: json(FileStateChange),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409, 412),
    handler: async ({ ctx, params, body, request, reply }) => {
      const opened = await enterForChange(ctx, request, params.packageId)
      const { id: uploadId } = uploadOf(await findRecord(opened, params.fileId))
      await requireNoQuarantine(opened, 'quarantine.add')
      if (body.state === 'CANCELED') await cancelRecord(opened.ctx, { uploadId })
      else await confirmRecord(opened.ctx, { uploadId, ...(body.hash !== undefined && { sha256: body.hash }) })
      return reply.send()
    },
  }),
]

async function enterForChange(ctx: Ctx, request: FastifyRequest, packageId: string): Promise<OpenDelivery> {
  const opened = await enterPackage(ctx, request, packageId)
  requireActive(opened)
  requireContributor(opened)
  return opened
}

/** Deleted ones show to administrators only, whatever the sender's rights in his bin. */
async function findRecord({ ctx, space, role }: OpenDelivery, uid: string): Promise<FileRecord> {
  const record = await getFileRecord(ctx, { spaceId: space.id, uid })
  if (record.kind === 'deleted' && role !== 'administrator')
    throw new DomainError('not-found', { what: 'file', id: uid })
  return record
}

const wrongState = (record: FileRecord) => new Refused(refuse(409, 'FILE_STATE', `The file is ${stateOf(record)}`))

/** The node of a file that is in one of the states. */
function storedNode(record: FileRecord, states: readonly FileState[]) {
  if (record.kind === 'stored' && states.includes(stateOf(record))) return record.node
  if (record.kind === 'deleted') throw new DomainError('already-deleted', { nodeId: record.node.id })
  throw wrongState(record)
}

function uploadOf(record: FileRecord) {
  if (record.kind === 'uploading') return record.upload
  throw wrongState(record)
}

async function findIdentical(
  { ctx, space }: OpenDelivery,
  { name, hash }: Static<typeof FileCreate>,
): Promise<Static<typeof ExistingFiles> | undefined> {
  if (hash === undefined) return undefined
  const same = await findSame(ctx, { spaceId: space.id, name, sha256: hash })
  if (same.length === 0) return undefined
  const seen = await loadSeenChecks(ctx, same)
  return { existingFiles: same.map(record => presentFile(record, seen)) }
}

async function sendFile(request: FastifyRequest, reply: FastifyReply, opened: OpenedContent): Promise<FastifyReply> {
  // The same headers: Fastify's type lets any of them be a number, Node's does not.
  const getHeaders = () => reply.getHeaders() as OutgoingHttpHeaders
  await sendContent(request, { raw: reply.raw, hijack: () => reply.hijack(), getHeaders }, contentOf(opened))
  return reply
}

function contentOf({ node, version, ...opened }: OpenedContent): Content {
  return {
    sizeBytes: version.sizeBytes,
    etag: `"${version.sha256}"`,
    modifiedAt: version.createdAt,
    contentType: headerType(version.mediaType),
    disposition: contentDisposition(node.name),
    open(start, end) {
      const bytes = opened.inline()?.subarray(start, end) ?? opened.read(start, end)
      opened.noteRead()
      return bytes
    },
  }
}
