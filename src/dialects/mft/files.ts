/** Files by path: upload, download, delete. */
import { Type as T } from 'typebox'
import type { FastifyRequest } from 'fastify'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { checkName } from '#core/names.ts'
import { hasAction } from '#core/permissions.ts'
import { requireAllowed, resolvePath, type Place, type PathTarget } from '#core/vfs.ts'
import { multipart } from '#http/request-body.ts'
import { okAnswer } from './answers.ts'
import { sendFile } from './content.ts'
import { deleteErrors, op, refusals } from './errors.ts'
import { deleteOpened, openFile } from './open.ts'
import { directoryPath, filePath, namesDirectory, virtualPath } from './paths.ts'
import { FilePath, MetadataInput, Ok, UploadPath } from './schemas.ts'
import { receiveUpload, type Destination } from './upload.ts'

const routes = ['/files', '/files/*']
const byPath = { path: '/files/{path}/{file}', routes, tag: 'Files', params: FilePath }
const file = T.Unsafe<string>({ type: 'string', format: 'binary', description: 'Content; any media type.' })
const fileTypes = 'application/octet-stream, text/plain'
const uploadRefusals = {
  400: 'No file name, or a broken body.',
  401: refusals[401],
  403: refusals[403]('write'),
  404: refusals.path,
}

export const fileOperations = [
  op({
    id: 'uploadFile',
    method: 'PUT',
    ...byPath,
    summary: 'Upload a file',
    description: 'An existing name gets a new content under a new fileset ID, without its former metadata.',
    body: multipart(T.Object({ file }), { file: fileTypes }),
    status: 201,
    reply: Ok,
    refusals: uploadRefusals,
    handler: async ({ ctx, request }) => {
      const path = filePath(request)
      const to = await openDestination(ctx, path)
      const { version } = await receiveUpload(ctx, request, { takesMetadata: false, destination: async () => to })
      return okAnswer(ctx, 'Upload successful', version.id)
    },
  }),
  op({
    id: 'downloadFile',
    method: 'GET',
    ...byPath,
    summary: 'Download a file',
    reply: { content: 'application/octet-stream' },
    refusals: {
      400: 'No file name, or a broken path.',
      401: refusals[401],
      403: refusals[403]('read'),
      404: refusals.file,
    },
    handler: async call => sendFile(call, await openFile(call.ctx, call.request, 'read')),
  }),
  op({
    id: 'deleteFile',
    method: 'DELETE',
    ...byPath,
    summary: 'Delete a file',
    reply: Ok,
    refusals: {
      400: 'No file name, a broken path, or a directory.',
      401: refusals[401],
      403: refusals[403]('delete'),
      404: refusals.file,
    },
    errors: deleteErrors,
    handler: ({ ctx, request }) => deleteOpened(ctx, () => openFile(ctx, request, 'delete')),
  }),
  op({
    id: 'uploadFileWithMetadata',
    method: 'POST',
    path: '/files/{path}',
    routes,
    tag: 'Files',
    summary: 'Upload a file with metadata',
    description:
      'Where the address is a directory, the name comes from the file part; else its last segment is the name.',
    params: UploadPath,
    body: multipart(T.Object({ metadata: T.Optional(MetadataInput), file }), {
      metadata: 'application/json',
      file: fileTypes,
    }),
    status: 201,
    reply: Ok,
    refusals: uploadRefusals,
    handler: async ({ ctx, request }) => {
      const { version } = await receiveUpload(ctx, request, {
        takesMetadata: true,
        destination: await openPostDestination(ctx, request),
      })
      return okAnswer(ctx, 'Upload successful', version.id, 'uploadFileWithMetadata')
    },
  }),
]

const isFolder = (place: Place) => place.kind === 'top' || place.node.kind !== 'file'

/** Where a file of that path goes. Throws `forbidden`, `not-found`, and `invalid-input` of `filename` for a directory. */
async function openDestination(ctx: Ctx, path: readonly string[]): Promise<Destination> {
  return destinationAt(ctx, await resolvePath(ctx, path))
}

async function destinationAt(ctx: Ctx, target: PathTarget): Promise<Destination> {
  const { place, parent, segments } = target
  const isExistingFile = place !== undefined && !isFolder(place)
  await requireAllowed(ctx, target, isExistingFile ? 'write' : 'create')
  if (place && !isExistingFile) throw noFilename()
  if (parent?.kind !== 'node')
    throw new DomainError('not-found', { what: 'path', id: virtualPath(segments.slice(0, -1)) })
  return { parentId: parent.node.id, name: segments.at(-1) ?? '' }
}

/** A POST may name a directory; then the name is only known with the file part. */
async function openPostDestination(ctx: Ctx, request: FastifyRequest) {
  const path = directoryPath(request)
  const target = await resolvePath(ctx, path)
  if (!target.place && namesDirectory(request)) {
    await requireAllowed(ctx, target, 'create')
    throw new DomainError('not-found', { what: 'path', id: virtualPath(path) })
  }
  if (!target.place || !isFolder(target.place)) {
    const to = await destinationAt(ctx, target)
    return async () => to
  }
  await requireAllowed(ctx, target, hasAction(target.allowed, 'write') ? 'write' : 'create')
  return async (filename: string | undefined) => openDestination(ctx, [...path, baseName(filename)])
}

/** The name that a client gave its file, without any path. Throws where nothing is left. */
function baseName(filename = ''): string {
  const name = filename.slice(Math.max(filename.lastIndexOf('/'), filename.lastIndexOf('\\')) + 1)
  if (name === '' || name === '.' || name === '..') throw noFilename()
  return checkName(name)
}

const noFilename = () => new DomainError('invalid-input', { field: 'filename', rule: 'missing' })
