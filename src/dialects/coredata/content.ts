/** The content of a file: an address to fetch it from, and new content in a body or by a blob. */
import { extname } from 'node:path'
import { Type as T, type Static } from 'typebox'
import type { FastifyRequest } from 'fastify'
import { ADDRESS_LIFE_MS, storeBlobAsVersion } from '#core/blob-uploads.ts'
import type { Ctx } from '#core/ctx.ts'
import { directAddressOf, openContent } from '#core/downloads.ts'
import { DomainError } from '#core/errors.ts'
import type { Node } from '#core/nodes.ts'
import type { Placed } from '#core/placement.ts'
import { storeVersion } from '#core/uploads.ts'
import { getCurrentVersion } from '#core/versions.ts'
import { baseUrl } from '#http/addresses.ts'
import { chunksOfBody } from '#http/body.ts'
import { mediaTypeOfName } from '#http/media-types.ts'
import { binary } from '#http/request-body.ts'
import { getFileByUid } from './containers.ts'
import { errorTable, op, refusals } from './errors.ts'
import { blobIdOf, blobName } from './file.ts'
import { FilePath } from './schemas.ts'
import { addressOf } from './storage.ts'

const ContentQuery = T.Object({
  filename: T.Optional(T.String({ description: 'Name of the uploaded file; only its extension is taken over.' })),
  snapshot_id: T.Optional(
    T.String({ format: 'uuid', description: 'Version the change is based on; refused when no longer current.' }),
  ),
  blob_name: T.Optional(
    T.String({ pattern: '^[0-9a-f]{32}$', description: 'Uploaded blob to take instead of a body; needs digest.' }),
  ),
  digest: T.Optional(
    T.String({ pattern: '^[0-9a-fA-F]{32}$', description: 'MD5 of the blob, hex; only together with blob_name.' }),
  ),
})
type ContentQuery = Static<typeof ContentQuery>

/** `publicUrl`: what addresses begin with; by default what the client used. */
export const contentOperations = ({ publicUrl }: { publicUrl: string | undefined }) => [
  op({
    id: 'downloadFileContent',
    method: 'GET',
    path: '/api/v2/files/{file_id}/content/',
    tag: 'Files',
    summary: 'Get the address of the content',
    params: FilePath,
    status: 302,
    reply: 'empty',
    headers: { Location: 'Temporary address, usable without a key.' },
    refusals: { 401: refusals[401], 403: refusals[403], 404: refusals[404] },
    handler: async ({ ctx, params, request, reply }) => {
      const node = await getFileByUid(ctx, params.file_id)
      return reply
        .code(302)
        .header('location', await contentAddress(ctx, node, baseUrl(request, publicUrl)))
        .send()
    },
  }),
  op({
    id: 'updateFileContent',
    method: 'PUT',
    path: '/api/v2/files/{file_id}/content/',
    tag: 'Files',
    summary: "Replace a file's content",
    description: 'An empty body is valid content. Of a blob, the digest must be the one named.',
    params: FilePath,
    query: ContentQuery,
    body: binary('application/octet-stream', { required: false }),
    status: 201,
    reply: 'empty',
    headers: {
      'X-Coredata-fields-filedigest': 'MD5 of the stored content.',
      'X-Coredata-fields-snapshot-id': 'ID of the new version.',
    },
    refusals: {
      400: 'Digest and blob differ, only one of the two is given, or the blob has no content.',
      401: refusals[401],
      403: refusals[403],
      404: refusals[404],
      409: 'snapshot_id is not the current one.',
    },
    // Bytes of any type are content, so there is no 415; what can still be wrong is a header that names no type at all.
    errors: { 'invalid-input': details => ({ ...errorTable['invalid-input'](details), status: 400 }) },
    handler: async ({ ctx, params, query, request, reply }) => {
      const { node, version } = await replaceContent(ctx, await getFileByUid(ctx, params.file_id), { query, request })
      return reply
        .code(201)
        .header('x-coredata-fields-filedigest', version.md5 ?? '')
        .header('x-coredata-fields-snapshot-id', node.snapshotUid)
        .send()
    },
  }),
]

/** Of the medium itself where that can give the bytes, else of ours. */
async function contentAddress(ctx: Ctx, node: Node, base: string): Promise<string> {
  const opened = await openContent(ctx, { nodeId: node.id })
  const answer = {
    contentType: opened.version.mediaType,
    // The blank in front is the vendor's.
    disposition: ` attachment; filename*=utf-8''${encodeFilename(node.label)}`,
    expiresAt: ctx.clock() + ADDRESS_LIFE_MS,
  }
  const direct = await directAddressOf(ctx, opened, answer)
  if (direct !== undefined) return direct
  return addressOf(ctx, base, {
    method: 'GET',
    blob: blobName(opened.version),
    expiresAt: answer.expiresAt,
    fixed: {
      'response-content-disposition': answer.disposition,
      'response-content-type': answer.contentType,
      versionId: String(opened.version.id),
    },
  })
}

/** By RFC 8187: what is no attr-char is percent-encoded. */
const encodeFilename = (name: string) =>
  encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    mark => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )

async function replaceContent(
  ctx: Ctx,
  node: Node,
  { query, request }: { query: ContentQuery; request: FastifyRequest },
): Promise<Placed> {
  const { blob_name: blob, digest, filename = '', snapshot_id: snapshot } = query
  if ((blob === undefined) !== (digest === undefined)) {
    throw new DomainError('invalid-input', { field: 'digest', rule: 'blob_name and digest go together' })
  }
  const extension = extensionOf(filename)
  const change = {
    nodeId: node.id,
    ...(snapshot !== undefined && { expectedSnapshot: snapshot.toLowerCase() }),
    ...(extension !== '' && { name: stemOf(node.label) + extension }),
  }
  const current = await getCurrentVersion(ctx, node)
  const byName = extension === '' ? undefined : mediaTypeOfName(filename)
  if (blob !== undefined && digest !== undefined) {
    if (hasBody(request)) throw new DomainError('invalid-input', { field: 'body', rule: 'either a body or blob_name' })
    return storeBlobAsVersion(ctx, {
      blobId: blobIdOf(blob),
      expectedMd5: digest,
      version: change,
      mediaType: uploaded => byName ?? (uploaded === '' ? current.mediaType : uploaded),
    })
  }
  return storeVersion(ctx, { ...change, mediaType: byName ?? current.mediaType, md5: true }, chunksOfBody(request.raw))
}

/** With its dot; empty where nothing follows one. */
function extensionOf(filename: string): string {
  const extension = extname(filename)
  return extension === '.' ? '' : extension
}

const stemOf = (name: string) => name.slice(0, name.length - extname(name).length)

const hasBody = ({ headers }: FastifyRequest) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
