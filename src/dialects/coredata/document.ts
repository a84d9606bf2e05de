/** What all documents of this API have in common, and where they lie. */
import { Type as T, type Static } from 'typebox'
import type { Above, NodeContext } from '#core/node-context.ts'
import type { Node } from '#core/nodes.ts'

/** Metadata that belongs to this API. */
export const NAMESPACE = 'coredata'

const Time = (description: string) =>
  T.String({
    pattern: String.raw`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$`,
    description: `${description} In UTC, without a zone.`,
  })
const NameOrNull = T.Union([T.String(), T.Null()])

/** Fields of every document; `optional` ones are always answered all the same. */
export const documentFields = <const K extends string>(type: K) => ({
  aspects: T.Object({}, { additionalProperties: true, description: 'Extra fields per aspect name.' }),
  created: Time('Creation.'),
  created_by: NameOrNull,
  description: T.String(),
  id: T.String({ format: 'uuid' }),
  modified: Time('Last change.'),
  modified_by: NameOrNull,
  path: T.String({ description: 'Titles from the root.' }),
  resource_uri: T.String({ description: 'Own relative URL.' }),
  snapshot_id: T.String({ format: 'uuid', description: 'ID of the current version; changes with every change.' }),
  tags: T.Array(T.String()),
  template: NameOrNull,
  title: T.String(),
  type: T.Literal(type),
  version: T.String({ pattern: String.raw`^\d+\.\d+$`, description: 'Minor part grows by one with each change.' }),
})

export const ProjectRef = T.Union([
  T.Object({ id: T.String({ format: 'uuid' }), identifier: T.String(), title: T.String() }),
  T.Object({}, { maxProperties: 0 }),
])
export const SpaceRef = T.Union([
  T.Object({ id: T.String({ format: 'uuid' }), title: T.String() }),
  T.Object({}, { maxProperties: 0 }),
])

export const presentTime = (time: number) => new Date(time).toISOString().slice(0, 19)

type Changing = Pick<Node, 'createdAt' | 'changedAt' | 'revision' | 'snapshotUid'>
type Makers = Pick<NodeContext, 'createdByName' | 'changedByName'>

/** Every change of anything raises the minor part; the major one stays. */
export const presentDocument = <const K extends string>(
  document: Changing,
  { createdByName, changedByName }: Makers,
  own: { type: K; id: string; title: string; path: string; description?: string; tags?: readonly string[] },
) => ({
  aspects: {},
  created: presentTime(document.createdAt),
  created_by: createdByName,
  description: own.description ?? '',
  id: own.id,
  modified: presentTime(document.changedAt),
  modified_by: changedByName,
  path: own.path,
  snapshot_id: document.snapshotUid,
  tags: [...(own.tags ?? [])],
  template: null,
  title: own.title,
  type: own.type,
  version: `0.${document.revision}`,
})

type SpaceRoot = Pick<Above, 'id' | 'label' | 'createdAt'> & { spaceUid: string | null }

/** Year and number; the number is the space's own, so it is unique, grows, and is the same for projects made elsewhere. */
export const identifierOf = ({ id, createdAt }: Pick<SpaceRoot, 'id' | 'createdAt'>) =>
  `${new Date(createdAt).getUTCFullYear()}-${id}`

export const projectRef = (root: SpaceRoot): Static<typeof ProjectRef> => ({
  id: root.spaceUid ?? '',
  identifier: identifierOf(root),
  title: root.label,
})

/** A space, and a project in it, as far as the way leads through one; what is nested deeper counts as folders. */
function stepsOf(above: readonly Above[]) {
  const [space, ...rest] = above
  const project = rest.find(step => step.kind === 'space')
  const folders = project ? rest.slice(rest.indexOf(project) + 1) : rest
  return { space, project, folders }
}

/** Where a document lies: its container, and which space and project that belongs to. */
export function placeOf({ above }: Pick<NodeContext, 'above'>) {
  const { space, project, folders } = stepsOf(above)
  const project_: Static<typeof ProjectRef> = project ? projectRef(project) : {}
  const space_: Static<typeof SpaceRef> = space ? { id: space.spaceUid ?? '', title: space.label } : {}
  return {
    parent: above.at(-1)?.uid ?? '',
    folder: folders.at(-1)?.uid ?? '',
    project: project_,
    space: space_,
  }
}

export const spacePath = (title: string) => `/domain/spaces/Spaces/${title}`

/** Titles from the root down to `last`. */
export function pathOf({ above }: Pick<NodeContext, 'above'>, last: string): string {
  const { space, project, folders } = stepsOf(above)
  const filespace = project ? ['Projects', project.label, identifierOf(project)] : ['Workspace']
  return [spacePath(space?.label ?? ''), ...filespace, ...folders.map(step => step.label), last].join('/')
}
