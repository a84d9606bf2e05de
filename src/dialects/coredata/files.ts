/** Files: listing, making, changing, deleting. Their contents are in content.ts. */
import { Type as T, type Static } from 'typebox'
import type { FastifyRequest } from 'fastify'
import { storeBlob } from '#core/blob-uploads.ts'
import type { Ctx } from '#core/ctx.ts'
import { DomainError, isDomainError } from '#core/errors.ts'
import { searchFiles, type FileQuery } from '#core/file-search.ts'
import { loadMetadata } from '#core/metadata.ts'
import { changeNode } from '#core/node-change.ts'
import { placeFile, type Placed, type Placement } from '#core/placement.ts'
import { deleteNode } from '#core/trash.ts'
import { requireMayStore, storeBody } from '#core/uploads.ts'
import { getCurrentVersion } from '#core/versions.ts'
import { mediaTypeOf } from '#http/media-types.ts'
import { documentedAs } from '#http/openapi.ts'
import { json, multipart } from '#http/request-body.ts'
import { findContainer, getFileByUid, getProjectByUid } from './containers.ts'
import { NAMESPACE } from './document.ts'
import { op, refusals } from './errors.ts'
import { FieldsRefused } from './field-errors.ts'
import { checkFileFields, missingFields, type FileFields, type SaidOfFile } from './file-fields.ts'
import { loadExtras, storeExtras } from './extras.ts'
import { File, FileList, blobIdOf, presentFiles, type FileExtras } from './file.ts'
import { readForm, type FormContent, type FormFields } from './form.ts'
import { FileListQuery, presentList, readPage, readTitleFilters, textOf, type RawQuery } from './list-query.ts'
import { FilePath, ProjectPath } from './schemas.ts'

const tag = 'Files'
const EITHER = 'Give either content or blob_name.'

const nameFields = {
  filename: T.String({ minLength: 1, description: 'Name with extension.' }),
  title: T.String({ minLength: 1, description: 'Title, name without extension.' }),
  parent: T.String({ format: 'uuid', description: 'Filespace, project or folder.' }),
}
const contacts = 'Comma-separated contact IDs; ignored for dynatype File.'
const tags = 'Comma-separated tags; blanks around are dropped.'

const FileCreate = T.Object({
  content: T.Optional(T.Unsafe<string>({ type: 'string', format: 'binary', description: 'Content.' })),
  blob_name: T.Optional(T.String({ pattern: '^[0-9a-f]{32}$', description: 'Uploaded blob, instead of content.' })),
  ...nameFields,
  dynatype: T.Optional(T.String({ default: 'File', description: 'Dynatype title.' })),
  contacts: T.Optional(T.String({ description: contacts })),
  tags: T.Optional(T.String({ description: tags })),
})

/** Lists may come as arrays too; the documented form is the text. */
const texts = (description: string) =>
  documentedAs(T.String({ description }), T.Union([T.String(), T.Array(T.String())]))

/** What is mandatory is asked for by name, like everything else that a client may get wrong. */
const FileUpdate = T.Object({
  ...nameFields,
  dynatype: T.Optional(T.String({ description: 'Dynatype title.' })),
  contacts: T.Optional(texts(contacts)),
  tags: T.Optional(texts(tags)),
})

export const fileOperations = [
  op({
    id: 'listFiles',
    method: 'GET',
    path: '/api/v2/files/',
    tag,
    summary: 'List files',
    description: 'Oldest first.',
    query: FileListQuery,
    queryAsText: true,
    reply: FileList,
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: ({ ctx, query, request }) => listFiles(ctx, request, query, {}),
  }),
  op({
    id: 'listProjectFiles',
    method: 'GET',
    path: '/api/v2/projects/{project_id}/files/',
    tag,
    summary: 'List the files of a project',
    description: 'Those in its folders and in what is nested in it too.',
    params: ProjectPath,
    query: FileListQuery,
    queryAsText: true,
    reply: FileList,
    refusals: { 400: refusals.page, 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params, query, request }) => {
      const { space } = await getProjectByUid(ctx, params.project_id)
      return listFiles(ctx, request, query, { withinSpaceId: space.id })
    },
  }),
  op({
    id: 'createFile',
    method: 'POST',
    path: '/api/v2/files/',
    tag,
    summary: 'Create a file',
    description: 'Content comes either in the request or from a blob uploaded beforehand.',
    body: multipart(FileCreate, {}),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new file; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401], 403: refusals[403], 415: refusals[415] },
    handler: async ({ ctx, request, reply }) => {
      const { node } = await createFile(ctx, request)
      return reply.code(201).header('location', `/api/v2/files/${node.uid}/`).send()
    },
  }),
  op({
    id: 'getFile',
    method: 'GET',
    path: '/api/v2/files/{file_id}/',
    tag,
    summary: 'Get a file',
    params: FilePath,
    reply: File,
    refusals: { 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params }) => {
      const node = await getFileByUid(ctx, params.file_id)
      const [file] = await presentFiles(ctx, [{ node, version: await getCurrentVersion(ctx, node) }])
      if (!file) throw new DomainError('not-found', { what: 'file', id: params.file_id })
      return file
    },
  }),
  op({
    id: 'updateFile',
    method: 'PUT',
    path: '/api/v2/files/{file_id}/',
    tag,
    summary: "Change a file's metadata",
    description: 'Also moves the file when parent differs. Absent optional fields stay.',
    params: FilePath,
    body: json(FileUpdate),
    status: 204,
    reply: 'empty',
    refusals: {
      400: refusals[400],
      401: refusals[401],
      403: refusals[403],
      404: refusals[404],
      415: refusals[415],
    },
    handler: async ({ ctx, params, body, reply }) => {
      await updateFile(ctx, params.file_id, body)
      return reply.code(204).send()
    },
  }),
  op({
    id: 'deleteFile',
    method: 'DELETE',
    path: '/api/v2/files/{file_id}/',
    tag,
    summary: 'Delete a file',
    params: FilePath,
    status: 204,
    reply: 'empty',
    refusals: { 401: refusals[401], 403: refusals[403], 404: refusals[404] },
    handler: async ({ ctx, params, reply }) => {
      const node = await getFileByUid(ctx, params.file_id)
      await deleteNode(ctx, { nodeId: node.id })
      return reply.code(204).send()
    },
  }),
]

async function listFiles(
  ctx: Ctx,
  request: FastifyRequest,
  query: RawQuery,
  within: Pick<FileQuery, 'withinSpaceId'>,
): Promise<Static<typeof FileList>> {
  const page = readPage(query)
  const parentUid = textOf(query, 'parent')
  const parent = parentUid === undefined ? undefined : await findContainer(ctx, parentUid)
  if (parentUid !== undefined && !parent) return presentList(request, page, { total: 0, objects: [] })
  const { total, rows } = await searchFiles(ctx, {
    ...page,
    ...within,
    ...(parent && { parentId: parent.id }),
    ...readTitleFilters(query),
  })
  return presentList(request, page, { total, objects: await presentFiles(ctx, rows) })
}

const MAX_TRIES = 20

/** What is not said stays, so it must still be there when the rest is written: who was overtaken looks again. */
async function updateFile(ctx: Ctx, uid: string, said: SaidOfFile): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const { id: nodeId, revision: expectedRevision } = await getFileByUid(ctx, uid)
    const before = loadExtras<FileExtras>(await loadMetadata(ctx, { nodeId, namespace: NAMESPACE }))
    const fields = await checkFileFields(ctx, said, before)
    try {
      await changeNode(ctx, { nodeId, expectedRevision, ...placementOf(fields) })
      return
    } catch (error) {
      if (!isDomainError(error, 'revision-conflict')) throw error
      if (tries === MAX_TRIES) throw new DomainError('busy', {})
    }
  }
}

function createFile(ctx: Ctx, request: FastifyRequest): Promise<Placed> {
  return readForm(ctx, request, {
    store: (content, fields) => storeContent(ctx, content, fields),
    plain: async fields => {
      const blob = fields.get('blob_name')
      if (blob === undefined) throw new FieldsRefused('files', { content: [EITHER], ...missingFields(saidIn(fields)) })
      if (!/^[0-9a-f]{32}$/.test(blob)) throw new DomainError('not-found', { what: 'blob', id: blob })
      const placement = await newPlacement(ctx, fields)
      const mediaType = (uploaded: string) => mediaTypeOf(uploaded, placement.name)
      return storeBlob(ctx, { blobId: blobIdOf(blob), placement, mediaType })
    },
  })
}

/** Fields may follow the content, so they are checked once all of it is here; early, where they were there before it. */
function storeContent(ctx: Ctx, content: FormContent, fields: FormFields): Promise<Placed> {
  return storeBody(ctx, content.body, {
    md5: true,
    beforeStreaming: async () => {
      const isWhole = Object.keys(missingFields(saidIn(fields))).length === 0
      if (isWhole) await requireMayStore(ctx, await newPlacement(ctx, fields))
    },
    place: async (ctx, received) => {
      if (fields.has('blob_name')) {
        throw new FieldsRefused('files', { content: [EITHER] })
      }
      const placement = await newPlacement(ctx, fields)
      return placeFile(ctx, { ...placement, mediaType: mediaTypeOf(content.mediaType, placement.name) }, received)
    },
  })
}

async function newPlacement(ctx: Ctx, fields: FormFields): Promise<Omit<Placement, 'mediaType'>> {
  const checked = await checkFileFields(ctx, saidIn(fields))
  // The same name again is another file: what tells files apart here is their ID.
  return { ...placementOf(checked), onConflict: 'rename-new' }
}

function saidIn(fields: FormFields): SaidOfFile {
  const { filename, title, parent, dynatype, contacts, tags } = Object.fromEntries(fields)
  return { filename, title, parent, dynatype, contacts, tags }
}

const placementOf = ({ parent, filename, title, ...extras }: FileFields) => ({
  parentId: parent.id,
  name: filename,
  attributes: { title },
  metadata: { namespace: NAMESPACE, values: storeExtras('files', { ...extras }) },
})
