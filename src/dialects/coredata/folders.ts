/** Folders, and spaces that are nested deeper than projects, which this API shows as folders too. */
import { Type as T, type Static } from 'typebox'
import { inTx, type Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { searchFolders } from '#core/file-search.ts'
import { addMetadata } from '#core/metadata.ts'
import { loadContexts, type NodeContext } from '#core/node-context.ts'
import { createFolder, type Node } from '#core/nodes.ts'
import { findNodeByUid } from '#core/space-list.ts'
import { json } from '#http/request-body.ts'
import { findContainer } from './containers.ts'
import { documentFields, NAMESPACE, pathOf, placeOf, presentDocument, ProjectRef, SpaceRef } from './document.ts'
import { DynatypeRef } from './dynatypes.ts'
import { creationErrors, op, refusals } from './errors.ts'
import { checkTitle, listed, loadExtras, storeExtras } from './extras.ts'
import { FieldsRefused } from './field-errors.ts'
import { ListQuery, listOf, presentList, readPage } from './list-query.ts'
import { FolderPath } from './schemas.ts'

const Folder = T.Object({
  ...documentFields('Folder'),
  dynatype: DynatypeRef,
  parent: T.String({ format: 'uuid', description: 'Folder or filespace that it lies in.' }),
  project: ProjectRef,
  space: SpaceRef,
})

const FolderCreate = T.Object({
  parent: T.String({ format: 'uuid', description: 'Project, filespace or folder.' }),
  title: T.String({ minLength: 1 }),
  description: T.Optional(T.String()),
  tags: T.Optional(T.Array(T.String())),
})

/** What this API keeps of a folder. */
type FolderExtras = Omit<Static<typeof FolderCreate>, 'parent' | 'title'>

const tag = 'Neighbours'

export const folderOperations = [
  op({
    id: 'listFolders',
    method: 'GET',
    path: '/api/v2/folders/',
    tag,
    summary: 'List folders',
    description: 'Oldest first.',
    query: ListQuery,
    queryAsText: true,
    reply: listOf(Folder),
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const { total, rows } = await searchFolders(ctx, page)
      return presentList(request, page, { total, objects: await presentFolders(ctx, rows) })
    },
  }),
  op({
    id: 'createFolder',
    method: 'POST',
    path: '/api/v2/folders/',
    tag,
    summary: 'Create a folder',
    body: json(FolderCreate),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new folder; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401] },
    errors: creationErrors,
    handler: async ({ ctx, body, reply }) => {
      const uid = await makeFolder(ctx, body)
      return reply.code(201).header('location', `/api/v2/folders/${uid}/`).send()
    },
  }),
  op({
    id: 'getFolder',
    method: 'GET',
    path: '/api/v2/folders/{folder_id}/',
    tag,
    summary: 'Get a folder',
    params: FolderPath,
    reply: Folder,
    refusals: { 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params }) => {
      const [folder] = await presentFolders(ctx, [await findNodeByUid(ctx, params.folder_id)])
      if (!folder) throw new DomainError('not-found', { what: 'node', id: params.folder_id })
      return folder
    },
  }),
]

/** Answers the id of the new folder. */
async function makeFolder(ctx: Ctx, body: Static<typeof FolderCreate>): Promise<string> {
  const { description, tags } = body
  const name = checkTitle('folders', body.title)
  const values = storeExtras('folders', { description, tags: tags && listed(tags) })
  const parent = await findContainer(ctx, body.parent)
  if (!parent) throw new FieldsRefused('folders', { parent: ['Unknown filespace, project or folder.'] })
  const { uid } = await inTx(ctx, async ctx => {
    // The same title again is another folder: what tells folders apart here is their ID.
    const folder = await createFolder(ctx, { parentId: parent.id, name, onConflict: 'rename-new' })
    await addMetadata(ctx, { nodeId: folder.id, namespace: NAMESPACE, values })
    return folder
  })
  return uid
}

/** Of the nodes those that are folders here. */
async function presentFolders(ctx: Ctx, nodes: readonly Node[]): Promise<Static<typeof Folder>[]> {
  const contexts = await loadContexts(ctx, nodes, { namespace: NAMESPACE })
  return nodes.flatMap(node => {
    const context = contexts.get(node.id)
    return context && isFolder(node, context) ? [presentFolder(node, context)] : []
  })
}

const isFolder = ({ kind }: Node, { above }: NodeContext): boolean =>
  kind === 'folder' || (kind === 'space' && above.filter(step => step.kind === 'space').length >= 2)

function presentFolder(node: Node, context: NodeContext): Static<typeof Folder> {
  const { description = '', tags = [] } = loadExtras<FolderExtras>(context.metadata)
  const { parent, project, space } = placeOf(context)
  const path = pathOf(context, node.label)
  return {
    ...presentDocument(node, context, { type: 'Folder', id: node.uid, title: node.label, path, description, tags }),
    dynatype: {},
    parent,
    project,
    resource_uri: `/api/v2/folders/${node.uid}/`,
    space,
  }
}
