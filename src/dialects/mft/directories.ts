/** Listing and counting what is in a directory. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type as T } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { countPlace, listPlace, type ListedNode } from '#core/node-list.ts'
import { requireAllowed, resolvePath, type Place } from '#core/vfs.ts'
import { attributeWriter, NAMESPACE } from './attributes.ts'
import { listErrors, op, refusals } from './errors.ts'
import { CountQuery, ListQuery, parseAttributes, parseCount, parseList } from './list-query.ts'
import { directoryPath, linksOf, virtualPath, type Links } from './paths.ts'
import { builtInNames, DirectoryPath, Listing } from './schemas.ts'

const listRefusals = {
  400: 'Invalid query or path.',
  401: refusals[401],
  403: refusals[403]('list'),
  404: refusals.path,
}

export const directoryOperations = ({ publicUrl }: { publicUrl: string | undefined }) => [
  op({
    id: 'countElements',
    method: 'GET',
    path: '/countelements/{path}',
    routes: ['/countelements', '/countelements/*'],
    tag: 'Count elements',
    summary: 'Count the elements of a directory',
    params: DirectoryPath,
    query: CountQuery,
    reply: T.Integer({ minimum: 0 }),
    alternatives: { 'text/plain': T.String({ pattern: '^[0-9]+$' }) },
    refusals: listRefusals,
    errors: listErrors,
    handler: async ({ ctx, query, request, reply }) => {
      const { place } = await openDirectory(ctx, request)
      const count = String(await countPlace(ctx, place, parseCount(query)))
      return reply.type(wantsText(request) ? 'text/plain' : 'application/json').send(count)
    },
  }),
  op({
    id: 'listDirectory',
    method: 'GET',
    path: '/directories/{path}',
    routes: ['/directories', '/directories/*'],
    tag: 'Directories',
    summary: 'List a directory',
    description: 'One level. Folders and files alike, filtered, then ordered, then paged.',
    params: DirectoryPath,
    query: ListQuery,
    reply: Listing,
    refusals: listRefusals,
    errors: listErrors,
    handler: async ({ ctx, query, request, reply }) => {
      const { place, path } = await openDirectory(ctx, request)
      const names = parseAttributes(query.attributes)
      const { total, rows } = await listPlace(ctx, place, { ...parseList(query), metadataNamespace: NAMESPACE })
      const links = linksOf(request, publicUrl)
      return sendJson(reply, listingJson({ path, links, total, rows, names: names ?? builtInNames }))
    },
  }),
]

/** A directory that the caller may list: the right is asked before anything is said about what exists. */
async function openDirectory(ctx: Ctx, request: FastifyRequest): Promise<{ place: Place; path: string[] }> {
  const path = directoryPath(request)
  const target = await resolvePath(ctx, path)
  await requireAllowed(ctx, target, 'list')
  const { place } = target
  if (!place || (place.kind === 'node' && place.node.kind === 'file')) {
    throw new DomainError('not-found', { what: 'path', id: virtualPath(path) })
  }
  return { place, path }
}

const wantsText = ({ headers: { accept = '' } }: FastifyRequest) =>
  /\btext\/plain\b/.test(accept) && !/json|\*\/\*/.test(accept)

const sendJson = (reply: FastifyReply, json: Buffer) => reply.type('application/json; charset=utf-8').send(json)

interface ListingFacts {
  path: readonly string[]
  links: Links
  total: number
  rows: readonly ListedNode[]
  /** Attributes to show, in this order. */
  names: readonly string[]
}

/** Entries that become text together: in longer texts the pieces outlive the collector's first look, which takes four times as long. */
const ENTRIES_AT_ONCE = 64

/** The listing as JSON. Built by hand, since objects cannot keep the asked order of names that look like numbers. */
function listingJson({ path, links, total, rows, names }: ListingFacts): Buffer {
  const write = entryWriter(entryStarts(path, links), names)
  const pieces = [Buffer.from(`{"uri":${JSON.stringify(links('directories', path))},"totalCount":"${total}","files":[`)]
  for (let at = 0; at < rows.length; at += ENTRIES_AT_ONCE) {
    const some = rows.slice(at, at + ENTRIES_AT_ONCE).map(write)
    pieces.push(Buffer.from((at === 0 ? '' : ',') + some.join(',')))
  }
  return Buffer.concat([...pieces, Buffer.from(']}')])
}

function entryWriter(start: ReturnType<typeof entryStarts>, names: readonly string[]): (row: ListedNode) => string {
  const attributes = names.map((name, at) => ({
    start: `${at === 0 ? '' : ','}${JSON.stringify(name)}:`,
    write: attributeWriter(name),
  }))
  const ofFolder = attributes.map(attribute => `${attribute.start}""`).join('')
  return row => {
    const name = JSON.stringify(row.name)
    const address = encodeURIComponent(row.name)
    const head = `{"id":"${start.id}${name.slice(1)},"uri":"`
    if (row.kind === 'folder')
      return `${head}${start.directory}${address}","filename":${name},"owner":"","directory":true,"attributes":{${ofFolder}}}`
    let text = `${head}${start.file}${address}","metaUri":"${start.metadata}${address}","filename":${name}`
    text += `,"fileset":${row.versionId},"owner":"","directory":false,"attributes":{`
    for (const attribute of attributes) text += attribute.start + attribute.write(row)
    return `${text}}}`
  }
}

/** What ids and addresses of a directory's entries have in common, as it stands between the quotes of a JSON text. */
function entryStarts(path: readonly string[], links: Links) {
  const folder = virtualPath(path)
  const inner = (text: string) => JSON.stringify(text).slice(1, -1)
  return {
    id: inner(folder === '/' ? '/' : `${folder}/`),
    file: inner(`${links('files', path)}/`),
    metadata: inner(`${links('metadata', path)}/`),
    directory: inner(`${links('directories', path)}/`),
  }
}
