/**
 * The fixture `coredata`: the API over a world with spaces, a project, a folder, and users with keys; every answer is held
 * against the contract.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { createFolder } from '#core/nodes.ts'
import { grantRight } from '#core/roles.ts'
import { createSpace } from '#core/spaces.ts'
import { createToken } from '#core/tokens.ts'
import { coredata } from '#dialects/coredata/index.ts'
import { routableUrl } from '#http/addresses.ts'
import { answerOf, type Answer } from '#test/answer.ts'
import { loadChecker } from '#test/contract-checker.ts'
import { put } from '#test/tree.ts'
import { test as base, type World, type WorldUser } from '#test/world.ts'

/** `editor` may do everything, `reader` list and read, `stranger` only in a space of his own. */
export type Caller = 'editor' | 'reader' | 'stranger'

export interface Sent {
  /** Whose key goes along; none where absent. */
  as?: Caller
  /** Sent as the body, with its media type. */
  json?: unknown
  payload?: string | Buffer
  headers?: Record<string, string>
  /** The contract has no word for what is asked here. */
  beyondContract?: true
}

/** A space or project: its own id, and that of the root of its files. */
export interface Place {
  id: string
  filespace: string
  /** The core's id of both. */
  spaceId: number
}

export interface CoredataWorld {
  world: World
  app: FastifyInstance
  users: Record<Caller, WorldUser>
  /** Keys alone, without the user. */
  keys: Record<Caller, string>
  /** `Space`, with the project `Project` and therein the folder `Drawings`. */
  space: Place
  project: Place
  folder: { id: string; nodeId: number }
  /** A space that only `stranger` may see. */
  elsewhere: Place
  send: (method: string, path: string, sent?: Sent) => Promise<Answer>
  /** Makes something by a POST of `editor`, and answers its id. */
  make: (resource: string, json: object) => Promise<string>
  /** Stores a text as a file, by `editor`, and answers its id. */
  file: (parentId: number, name?: string, text?: string) => Promise<string>
}

export const test = base.extend<{ coredata: CoredataWorld }>({
  coredata: async ({ world }, use) => {
    const app = Fastify({ routerOptions: { maxParamLength: 8192 }, rewriteUrl: routableUrl })
    await app.register(coredata, { deps: world.deps })
    const violations: unknown[] = []
    await use(await populate({ world, app, check: await loadChecker('coredata', violations) }))
    await app.close()
    await world.deps.reads.close()
    expect(violations).toEqual([])
  },
})

interface Means {
  world: World
  app: FastifyInstance
  check: (exchange: object) => void
}

async function populate({ world, app, check }: Means): Promise<CoredataWorld> {
  const users = {
    editor: await world.user('editor', { name: 'Eddie Editor' }),
    reader: await world.user('reader'),
    stranger: await world.user('stranger'),
  }
  const keys = {
    editor: await keyOf(users.editor),
    reader: await keyOf(users.reader),
    stranger: await keyOf(users.stranger),
  }
  const send = sender({ app, check }, keys)
  const make = async (resource: string, json: object) => {
    const answer = await send('POST', `/api/v2/${resource}/`, { as: 'editor', json })
    expect(answer).toMatchObject({ status: 201, raw: Buffer.alloc(0) })
    return idIn(answer)
  }
  const file = async (parentId: number, name = 'sample.txt', text = 'content') =>
    (await put(users.editor.ctx, parentId, name, text)).node.uid
  return { world, app, users, keys, send, make, file, ...(await populateSpaces(world, users)) }
}

/** The id at the end of the header Location. */
export const idIn = ({ headers }: Answer): string => String(headers.location).split('/').at(-2) ?? ''

async function keyOf({ user, ctx }: WorldUser): Promise<string> {
  const { secret } = await createToken(ctx, { principalId: user.id, name: 'test' })
  return secret
}

async function populateSpaces(world: World, { editor, reader, stranger }: CoredataWorld['users']) {
  const { system } = world
  await grantRight(system, { principalId: editor.user.id, right: 'spaces.create' })
  const owned = (user: WorldUser) => ({ ownerId: user.user.id, managerIds: [user.user.id] })
  const space = await createSpace(system, { name: 'Space', ...owned(editor) })
  await setGrant(system, { nodeId: space.id, subjectId: reader.user.id, actions: ['list', 'read'] })
  const project = await createSpace(editor.ctx, {
    name: 'Project',
    parentSpaceId: space.id,
    policy: { inheritsGrants: true },
  })
  const folder = await createFolder(editor.ctx, { parentId: project.id, name: 'Drawings' })
  const elsewhere = await createSpace(system, { name: 'Elsewhere', ...owned(stranger) })
  const placeOf = ({ id, uid, node }: typeof space): Place => ({ id: uid, filespace: node.uid, spaceId: id })
  return {
    space: placeOf(space),
    project: placeOf(project),
    folder: { id: folder.uid, nodeId: folder.id },
    elsewhere: placeOf(elsewhere),
  }
}

function sender({ app, check }: Omit<Means, 'world'>, keys: CoredataWorld['keys']) {
  return async (method: string, path: string, sent: Sent = {}): Promise<Answer> => {
    const { as, json, payload = json === undefined ? undefined : JSON.stringify(json), beyondContract } = sent
    const headers = {
      ...(as && { authorization: `ApiKey ${as}:${keys[as]}` }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...sent.headers,
    }
    const response = await app.inject({
      method: method as 'GET', // the tests send methods that nobody serves too
      url: path,
      headers,
      ...(payload !== undefined && { payload }),
    })
    const answer = answerOf(response)
    const { status, raw: body } = answer
    if (!beyondContract) check({ method, url: path, requestHeaders: headers, status, headers: answer.headers, body })
    return answer
  }
}

export interface FormPart {
  name: string
  content: string | Buffer
  filename?: string
  type?: string
}

const BOUNDARY = 'entrepot-test-boundary'

/** A multipart body of these parts, as a client would send it. */
export function formOf(parts: readonly FormPart[]) {
  const pieces = parts.flatMap(({ name, content, filename, type }) => [
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"`,
    filename === undefined ? '' : `; filename="${filename}"`,
    type === undefined ? '' : `\r\nContent-Type: ${type}`,
    '\r\n\r\n',
    content,
    '\r\n',
  ])
  const payload = Buffer.concat([...pieces, `--${BOUNDARY}--\r\n`].map(piece => Buffer.from(piece)))
  return { headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` }, payload }
}

/** Announces a blob of that size, by `editor` unless told otherwise; answers its name and the path of its address. */
export async function announce({ send }: CoredataWorld, sizeBytes: number, { as = 'editor' }: { as?: Caller } = {}) {
  const answer = await send('POST', `/api/v3/blob/presigned-upload-url/?content_length=${sizeBytes}`, { as })
  const { blobName, presignedUrl } = answer.body as { blobName: string; presignedUrl: string }
  const { pathname, search } = new URL(presignedUrl)
  return { blobName, address: pathname + search }
}

/** Puts a blob there, and answers its name. */
export async function fillBlob(
  coredata: CoredataWorld,
  content: string | Buffer,
  { as = 'editor', type = 'application/octet-stream' }: { as?: Caller; type?: string } = {},
): Promise<string> {
  const payload = Buffer.from(content)
  const { blobName, address } = await announce(coredata, payload.length, { as })
  const answer = await coredata.send('PUT', address, { payload, headers: { 'content-type': type } })
  expect(answer).toMatchObject({ status: 201 })
  return blobName
}

/** The bytes of a file, by way of the address that the API gives. */
export async function contentOf({ send }: CoredataWorld, fileId: string): Promise<Buffer> {
  const { headers } = await send('GET', `/api/v2/files/${fileId}/content/`, { as: 'editor' })
  const { pathname, search } = new URL(String(headers.location))
  const answer = await send('GET', pathname + search)
  expect(answer).toMatchObject({ status: 200 })
  return answer.raw
}

/** A file as the API shows it. */
export interface ShownFile {
  id: string
  version: string
  snapshot_id: string
  [field: string]: unknown
}

export async function showFile({ send }: CoredataWorld, id: string, as: Caller = 'editor'): Promise<ShownFile> {
  const answer = await send('GET', `/api/v2/files/${id}/`, { as })
  expect(answer).toMatchObject({ status: 200 })
  return answer.body as ShownFile
}

export const fieldParts = (fields: Record<string, string>): FormPart[] =>
  Object.entries(fields).map(([name, content]) => ({ name, content }))

export const contentPart = (content: string | Buffer = 'content', more: Partial<FormPart> = {}): FormPart => ({
  name: 'content',
  content,
  filename: 'sent.bin',
  ...more,
})

/** Creates a file in the folder from these fields, which win over the mandatory ones, and a content. */
export function createFile(
  { send, folder }: CoredataWorld,
  fields: Record<string, string> = {},
  { as = 'editor', content = contentPart() }: { as?: Caller; content?: FormPart } = {},
): Promise<Answer> {
  const all = { filename: 'a.txt', title: 'A', parent: folder.id, ...fields }
  return send('POST', '/api/v2/files/', { as, ...formOf([...fieldParts(all), content]) })
}

/** The id of what a request has created. */
export async function createdId(answer: Promise<Answer>): Promise<string> {
  const created = await answer
  expect(created).toMatchObject({ status: 201, raw: Buffer.alloc(0) })
  return idIn(created)
}

/** Statuses of several answers, in ascending order. */
export const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status).toSorted((a, b) => a - b)
