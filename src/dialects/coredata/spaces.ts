/** Spaces: the top-level spaces that the caller may list, each with a filespace of its own. */
import { Type as T, type Static } from 'typebox'
import { inTx, type Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { addMetadata } from '#core/metadata.ts'
import { loadContexts, type NodeContext } from '#core/node-context.ts'
import { requireRight } from '#core/roles.ts'
import { getSpaceByUid, listSpaces, type SpaceEntry } from '#core/space-list.ts'
import { createSpace } from '#core/spaces.ts'
import { json } from '#http/request-body.ts'
import { documentFields, NAMESPACE, presentDocument, spacePath } from './document.ts'
import { DynatypeRef } from './dynatypes.ts'
import { creationErrors, op, refusals } from './errors.ts'
import { checkTitle, loadExtras, storeExtras } from './extras.ts'
import { ListQuery, listOf, presentList, readPage } from './list-query.ts'
import { SpacePath } from './schemas.ts'

const Space = T.Object({
  ...documentFields('Space'),
  dynatype: DynatypeRef,
  filespace: T.String({ format: 'uuid', description: "The space's own filespace." }),
  is_hidden: T.Boolean({ description: 'As it was said when the space was made; hides nothing.' }),
  status: T.String(),
})

const SpaceCreate = T.Object({
  title: T.String({ minLength: 1 }),
  description: T.Optional(T.String()),
  is_hidden: T.Optional(T.Boolean({ default: false })),
})

/** What this API keeps of a space. */
type SpaceExtras = Omit<Static<typeof SpaceCreate>, 'title'>

const tag = 'Neighbours'

export const spaceOperations = [
  op({
    id: 'listSpaces',
    method: 'GET',
    path: '/api/v2/spaces/',
    tag,
    summary: 'List spaces',
    description: 'Oldest first.',
    query: ListQuery,
    queryAsText: true,
    reply: listOf(Space),
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const { total, rows } = await listSpaces(ctx, { depth: 1, ...page })
      return presentList(request, page, { total, objects: await presentSpaces(ctx, rows) })
    },
  }),
  op({
    id: 'createSpace',
    method: 'POST',
    path: '/api/v2/spaces/',
    tag,
    summary: 'Create a space',
    description: 'Whoever makes it owns and manages it.',
    body: json(SpaceCreate),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new space; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401] },
    errors: creationErrors,
    handler: async ({ ctx, body, reply }) => {
      const uid = await makeSpace(ctx, body)
      return reply.code(201).header('location', `/api/v2/spaces/${uid}/`).send()
    },
  }),
  op({
    id: 'getSpace',
    method: 'GET',
    path: '/api/v2/spaces/{space_id}/',
    tag,
    summary: 'Get a space',
    params: SpacePath,
    reply: Space,
    refusals: { 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params }) => {
      const entry = await getSpaceByUid(ctx, params.space_id)
      const [space] = entry.space.parentSpaceId === null ? await presentSpaces(ctx, [entry]) : []
      if (!space) throw new DomainError('not-found', { what: 'space', id: params.space_id })
      return space
    },
  }),
]

/** Answers the id of the new space. */
async function makeSpace(ctx: Ctx, { title, description, is_hidden }: Static<typeof SpaceCreate>): Promise<string> {
  const name = checkTitle('spaces', title)
  const values = storeExtras('spaces', { description, is_hidden } satisfies Record<keyof SpaceExtras, unknown>)
  // Asked before the transaction, so that the refusal is audited.
  await requireRight(ctx, 'spaces.create')
  const managerIds = [ctx.actor.principalId]
  const { uid } = await inTx(ctx, async ctx => {
    const space = await createSpace(ctx, { name, managerIds, onConflict: 'rename-new' })
    await addMetadata(ctx, { nodeId: space.id, namespace: NAMESPACE, values })
    return space
  })
  return uid
}

async function presentSpaces(ctx: Ctx, entries: readonly SpaceEntry[]): Promise<Static<typeof Space>[]> {
  const nodes = entries.map(({ node }) => node)
  const contexts = await loadContexts(ctx, nodes, { namespace: NAMESPACE })
  return entries.flatMap(entry => {
    const context = contexts.get(entry.node.id)
    return context ? [presentSpace(entry, context)] : []
  })
}

function presentSpace({ space, node }: SpaceEntry, context: NodeContext): Static<typeof Space> {
  const { description = '', is_hidden = false } = loadExtras<SpaceExtras>(context.metadata)
  const title = node.label
  return {
    ...presentDocument(node, context, { type: 'Space', id: space.uid, title, path: spacePath(title), description }),
    dynatype: {},
    filespace: node.uid,
    is_hidden,
    resource_uri: `/api/v2/spaces/${space.uid}/`,
    status: 'space_status:active:',
  }
}
