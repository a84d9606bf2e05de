/** Files as this API shows them. */
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { loadMd5s } from '#core/digests.ts'
import { loadContexts, type NodeContext } from '#core/node-context.ts'
import type { Node } from '#core/nodes.ts'
import { titleOf } from '#core/titles.ts'
import type { Version } from '#core/versions.ts'
import { documentFields, NAMESPACE, pathOf, placeOf, presentDocument, ProjectRef, SpaceRef } from './document.ts'
import { DynatypeRef, presentDynatype } from './dynatypes.ts'
import { loadExtras } from './extras.ts'
import { listOf } from './list-query.ts'

export const File = T.Object({
  ...documentFields('File'),
  blob_name: T.String({ pattern: '^[0-9a-f]{32}$', description: 'Name of the stored content.' }),
  category: T.String({ description: 'Always main.' }),
  contacts: T.Optional(T.Array(T.String({ format: 'uuid' }), { description: 'Linked contacts.' })),
  digest: T.String({
    pattern: '^[0-9a-f]{32}$',
    description: 'MD5 of the content, hex; zeros when it cannot be read.',
  }),
  dynatype: DynatypeRef,
  filename: T.String({ description: 'Name with extension.' }),
  fileplan: T.String(),
  fileplan_title: T.String(),
  folder: T.String({ description: 'Folder that it lies in, empty outside folders.' }),
  mime_type: T.String(),
  owner: T.Union([T.String(), T.Null()]),
  parent: T.String({ format: 'uuid', description: 'Folder or filespace that it lies in.' }),
  project: ProjectRef,
  size: T.Integer({ minimum: 0, format: 'int64', description: 'Bytes.' }),
  space: SpaceRef,
  userhome: T.Union([T.String(), T.Null()]),
})

export const FileList = listOf(File)

/** What this API keeps of a file beside what every file has. */
export interface FileExtras {
  /** Its title; none is the default. */
  dynatype?: string
  /** Ids of linked contacts. */
  contacts?: readonly string[]
  tags?: readonly string[]
}

interface Entry {
  node: Node
  version: Version
}

/** A page of files with everything that is shown of them. */
export async function presentFiles(ctx: Ctx, entries: readonly Entry[]): Promise<Static<typeof File>[]> {
  const contexts = await loadContexts(
    ctx,
    entries.map(({ node }) => node),
    { namespace: NAMESPACE },
  )
  const digests = await loadMd5s(
    ctx,
    entries.map(({ version }) => version),
  )
  return entries.flatMap(entry => {
    const context = contexts.get(entry.node.id)
    return context ? [presentFile(entry, context, digests.get(entry.version.id) ?? UNREADABLE)] : []
  })
}

/** No content has this digest; the field must hold one. */
const UNREADABLE = '0'.repeat(32)

export const blobName = ({ blobId }: Pick<Version, 'blobId'>) => blobId.replaceAll('-', '')

/** The id of a blob from its name. */
export const blobIdOf = (name: string) =>
  [name.slice(0, 8), name.slice(8, 12), name.slice(12, 16), name.slice(16, 20), name.slice(20)].join('-')

function presentFile({ node, version }: Entry, context: NodeContext, digest: string): Static<typeof File> {
  const { dynatype, contacts = [], tags = [] } = loadExtras<FileExtras>(context.metadata)
  const { parent, folder, project, space } = placeOf(context)
  return {
    ...presentDocument(node, context, {
      type: 'File',
      id: node.uid,
      title: titleOf(node),
      path: pathOf(context, node.label),
      tags,
    }),
    resource_uri: `/api/v2/files/${node.uid}/`,
    blob_name: blobName(version),
    category: 'main',
    contacts: [...contacts],
    digest,
    dynatype: presentDynatype(dynatype),
    filename: node.label,
    fileplan: '',
    fileplan_title: '',
    folder,
    mime_type: version.mediaType,
    owner: null,
    parent,
    project,
    size: version.sizeBytes,
    space,
    userhome: null,
  }
}
