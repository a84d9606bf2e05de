/** Projects: the spaces right below a space. They follow the grants and the policy of that space. */
import { Type as T, type Static } from 'typebox'
import { inTx, type Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { addMetadata } from '#core/metadata.ts'
import { loadContexts, type NodeContext } from '#core/node-context.ts'
import { getSpaceByUid, listSpaces, type SpaceEntry } from '#core/space-list.ts'
import type { Space } from '#core/space-rows.ts'
import { createSpace, type SpacePolicy } from '#core/spaces.ts'
import { json } from '#http/request-body.ts'
import { areContacts } from './contacts.ts'
import { getProjectByUid } from './containers.ts'
import { documentFields, identifierOf, NAMESPACE, placeOf, presentDocument, spacePath, SpaceRef } from './document.ts'
import { DynatypeRef } from './dynatypes.ts'
import { creationErrors, op, refusals } from './errors.ts'
import { checkTitle, listed, loadExtras, storeExtras } from './extras.ts'
import { FieldsRefused, type FieldErrors } from './field-errors.ts'
import { listOf, paging, presentList, readPage, readTitleFilters, titleFilters } from './list-query.ts'
import { ProjectPath } from './schemas.ts'

const texts = T.Array(T.String())

const Project = T.Object({
  ...documentFields('Project'),
  associated_contacts_id: texts,
  associated_users: T.Array(T.String(), { description: 'Connected and responsible users.' }),
  connected_users: texts,
  contacts: T.Array(T.Unknown(), { description: 'IDs of linked contacts.' }),
  due_date: T.Union([T.String(), T.Null()], { description: 'YYYY-MM-DD.' }),
  dynatype: DynatypeRef,
  fileplan: T.String(),
  fileplan_title: T.String(),
  filespace: T.String({ format: 'uuid', description: "The project's filespace." }),
  identifier: T.String({ description: 'Year and number; unique, and ascending.' }),
  responsible_users: T.Array(
    T.Object({
      first_name: T.Optional(T.String()),
      last_name: T.Optional(T.String()),
      username: T.String(),
    }),
  ),
  space: SpaceRef,
  status: T.String(),
  status_message: T.String(),
})

const ProjectCreate = T.Object({
  space: T.String({ format: 'uuid', description: 'Space.' }),
  title: T.String({ minLength: 1 }),
  aspects: T.Optional(T.Object({}, { additionalProperties: true })),
  contacts: T.Optional(texts),
  description: T.Optional(T.String()),
  due_date: T.Optional(T.String({ format: 'date', description: 'YYYY-MM-DD.' })),
  fileplan: T.Optional(T.String()),
  connected_users: T.Optional(texts),
  responsible_users: T.Optional(texts),
  status: T.Optional(T.String()),
  status_message: T.Optional(T.String()),
  tags: T.Optional(texts),
  template: T.Optional(T.String()),
})
type ProjectCreate = Static<typeof ProjectCreate>
/** What this API keeps of a project. */
type ProjectExtras = Omit<ProjectCreate, 'space' | 'title'>

const tag = 'Neighbours'

export const projectOperations = [
  op({
    id: 'listProjects',
    method: 'GET',
    path: '/api/v2/projects/',
    tag,
    summary: 'List projects',
    description: 'Oldest first.',
    query: T.Object({ ...paging, ...titleFilters }),
    queryAsText: true,
    reply: listOf(Project),
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const { total, rows } = await listSpaces(ctx, { depth: 2, ...readTitleFilters(query), ...page })
      return presentList(request, page, { total, objects: await presentProjects(ctx, rows) })
    },
  }),
  op({
    id: 'createProject',
    method: 'POST',
    path: '/api/v2/projects/',
    tag,
    summary: 'Create a project',
    description: 'Takes the right to manage the space.',
    body: json(ProjectCreate),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new project; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401] },
    errors: creationErrors,
    handler: async ({ ctx, body, reply }) => {
      const uid = await makeProject(ctx, body)
      return reply.code(201).header('location', `/api/v2/projects/${uid}/`).send()
    },
  }),
  op({
    id: 'getProject',
    method: 'GET',
    path: '/api/v2/projects/{project_id}/',
    tag,
    summary: 'Get a project',
    params: ProjectPath,
    reply: Project,
    refusals: { 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params }) => {
      const [project] = await presentProjects(ctx, [await getProjectByUid(ctx, params.project_id)])
      return project! // of one entry comes one
    },
  }),
]

/** Answers the id of the new project. */
async function makeProject(ctx: Ctx, body: ProjectCreate): Promise<string> {
  const name = checkTitle('projects', body.title)
  const values = storeExtras('projects', extrasOf(body))
  const parent = await checkReferences(ctx, body)
  const { uid } = await inTx(ctx, async ctx => {
    const project = await createSpace(ctx, {
      name,
      parentSpaceId: parent.id,
      policy: policyBelow(parent),
      onConflict: 'rename-new',
    })
    await addMetadata(ctx, { nodeId: project.id, namespace: NAMESPACE, values })
    return project
  })
  return uid
}

/** Clients may send more than is documented; that is left out. */
const extrasOf = (body: ProjectCreate): { [K in keyof Required<ProjectExtras>]: ProjectExtras[K] } => ({
  aspects: body.aspects,
  contacts: contactsOf(body),
  description: body.description,
  due_date: body.due_date,
  fileplan: body.fileplan,
  connected_users: body.connected_users,
  responsible_users: body.responsible_users,
  status: body.status,
  status_message: body.status_message,
  tags: body.tags && listed(body.tags),
  template: body.template,
})

const contactsOf = ({ contacts }: ProjectCreate) => contacts?.map(id => id.toLowerCase())

/** The space that the project shall lie in. Throws FieldsRefused for it, for the contacts, and for a date that is none. */
async function checkReferences(ctx: Ctx, body: ProjectCreate): Promise<Space> {
  const errors: FieldErrors = {}
  if (body.due_date !== undefined && !isDate(body.due_date)) errors['due_date'] = ['Enter a date as YYYY-MM-DD.']
  if (!(await areContacts(ctx, contactsOf(body) ?? []))) errors['contacts'] = ['Unknown contact.']
  const parent = await findTopSpace(ctx, body.space)
  if (!parent) errors['space'] = ['Unknown space.']
  if (!parent || Object.keys(errors).length > 0) throw new FieldsRefused('projects', errors)
  return parent
}

function isDate(text: string): boolean {
  const time = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}

async function findTopSpace(ctx: Ctx, uid: string): Promise<Space | undefined> {
  try {
    const { space } = await getSpaceByUid(ctx, uid)
    return space.parentSpaceId === null ? space : undefined
  } catch (error) {
    if (isDomainError(error, 'not-found')) return undefined
    throw error
  }
}

/** This API has no words for policies, so that a project is as strict as its space. */
function policyBelow(space: Space): Partial<SpacePolicy> {
  const { sumRule, caseRule, trashRetentionMs, fileExpiryMs, versionRetention, defaultClassification } = space
  return {
    inheritsGrants: true,
    sumRule,
    caseRule,
    trashRetentionMs,
    fileExpiryMs,
    versionRetention,
    defaultClassification,
    clientEncryption: space.clientEncryption === 1,
    readProtection: space.readProtection === 1,
    externalSharing: space.externalSharing === 1,
    unscreenedDownloads: space.unscreenedDownloads === 1,
  }
}

async function presentProjects(ctx: Ctx, entries: readonly SpaceEntry[]): Promise<Static<typeof Project>[]> {
  const nodes = entries.map(({ node }) => node)
  const contexts = await loadContexts(ctx, nodes, { namespace: NAMESPACE })
  return entries.flatMap(entry => {
    const context = contexts.get(entry.node.id)
    return context ? [presentProject(entry, context)] : []
  })
}

function presentProject({ space, node }: SpaceEntry, context: NodeContext): Static<typeof Project> {
  const kept = loadExtras<ProjectExtras>(context.metadata)
  const { description = '', tags = [] } = kept
  const path = `${spacePath(context.above[0]?.label ?? '')}/Projects/${node.label}`
  return {
    ...presentDocument(node, context, { type: 'Project', id: space.uid, title: node.label, path, description, tags }),
    ...presentExtras(kept),
    dynatype: {},
    filespace: node.uid,
    identifier: identifierOf(node),
    resource_uri: `/api/v2/projects/${space.uid}/`,
    space: placeOf(context).space,
  }
}

/** What was said when the project was made. */
function presentExtras({
  contacts = [],
  connected_users = [],
  responsible_users = [],
  ...kept
}: Partial<ProjectExtras>) {
  return {
    aspects: kept.aspects ?? {},
    associated_contacts_id: contacts,
    associated_users: [...new Set([...connected_users, ...responsible_users])],
    connected_users,
    contacts,
    due_date: kept.due_date ?? null,
    fileplan: kept.fileplan ?? '',
    fileplan_title: '',
    responsible_users: responsible_users.map(username => ({ username })),
    status: kept.status ?? 'project_status:Pending:',
    status_message: kept.status_message ?? '',
    template: kept.template ?? null,
  }
}
