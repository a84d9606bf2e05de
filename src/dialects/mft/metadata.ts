/** Reading and changing the attributes of a file, by path or by fileset. */
import type { Ctx } from '#core/ctx.ts'
import { describing } from '#core/permissions.ts'
import { getMetadata, setMetadata } from '#core/metadata.ts'
import { loadReadTimes } from '#core/reads.ts'
import { getCurrentVersion } from '#core/versions.ts'
import { json } from '#http/request-body.ts'
import { attributeReader, NAMESPACE, parseMetadata } from './attributes.ts'
import { metadataErrors, op, refusals } from './errors.ts'
import { openFile, openFileset, untilUnchanged, type OpenFile } from './open.ts'
import { linksOf, virtualPath, type Links } from './paths.ts'
import { okAnswer } from './answers.ts'
import { builtInNames, FileMetadata, FilePath, Fileset, MetadataInput, Ok } from './schemas.ts'

const byPath = {
  path: '/metadata/{path}/{file}',
  routes: ['/metadata', '/metadata/*'],
  tag: 'Metadata',
  params: FilePath,
}
const byId = {
  path: '/metadatabyid/{id}',
  routes: ['/metadatabyid', '/metadatabyid/*'],
  tag: 'Metadata by ID',
  params: Fileset,
}

const reading = { summary: 'Read metadata', reply: FileMetadata }
const changing = { summary: 'Add or change metadata', body: json(MetadataInput, { limitBytes: 256 * 1024 }), reply: Ok }

const refusalsOf = (right: string, missing: string) => ({
  400: 'No name or number of a file, or a broken body.',
  401: refusals[401],
  403: refusals[403](right),
  404: missing,
})

export const metadataOperations = ({ publicUrl }: { publicUrl: string | undefined }) => [
  op({
    id: 'setMetadata',
    method: 'POST',
    ...byPath,
    ...changing,
    refusals: refusalsOf('write', refusals.file),
    errors: metadataErrors,
    handler: ({ ctx, body, request }) => change(ctx, body, () => openFile(ctx, request, describing)),
  }),
  op({
    id: 'getMetadata',
    method: 'GET',
    ...byPath,
    ...reading,
    refusals: refusalsOf('read', refusals.file),
    errors: metadataErrors,
    handler: async ({ ctx, request }) =>
      present(ctx, await openFile(ctx, request, 'read'), linksOf(request, publicUrl)),
  }),
  op({
    id: 'setMetadataById',
    method: 'POST',
    ...byId,
    ...changing,
    refusals: refusalsOf('write', refusals.fileset),
    handler: ({ ctx, body, request }) => change(ctx, body, () => openFileset(ctx, request, describing)),
  }),
  op({
    id: 'getMetadataById',
    method: 'GET',
    ...byId,
    ...reading,
    refusals: refusalsOf('read', refusals.fileset),
    handler: async ({ ctx, request }) =>
      present(ctx, await openFileset(ctx, request, 'read'), linksOf(request, publicUrl)),
  }),
]

/** Sets what the body names, on the very content that was found. */
async function change(ctx: Ctx, body: unknown, open: () => Promise<OpenFile>) {
  const values = parseMetadata(body)
  return untilUnchanged(async () => {
    const { node, fileset } = await open()
    await setMetadata(ctx, { nodeId: node.id, namespace: NAMESPACE, ...values, expectedRevision: node.revision })
    return okAnswer(ctx, 'Metadata updated', fileset)
  })
}

async function present(ctx: Ctx, { node, path, fileset }: OpenFile, links: Links) {
  const version = await getCurrentVersion(ctx, node)
  const metadata = await getMetadata(ctx, { nodeId: node.id, namespace: NAMESPACE })
  const times = await loadReadTimes(ctx, version.id)
  const source = { ...version, ...times, storedAt: version.createdAt, metadata }
  const builtIns = builtInNames.map(name => [name, attributeReader(name)(source)])
  return {
    id: virtualPath(path),
    uri: links('files', path),
    metaUri: links('metadata', path),
    filename: node.name,
    fileset,
    metadata: { ...Object.fromEntries(builtIns), ...metadata },
  }
}
