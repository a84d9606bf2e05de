/** Two APIs over one store: what one program puts in, every other that may see it sees at once. */
import { createHash } from 'node:crypto'
import { describe, expect } from 'vitest'
import { brokenNodes, wrongTotals } from '#test/tree.ts'
import { mft } from '#dialects/mft/index.ts'
import type { Answer } from '#test/answer.ts'
import { idIn, test as base, type Caller, type CoredataWorld } from '#test/coredata-world.ts'
import { loadChecker } from '#test/contract-checker.ts'
import { multipart, openSession, sender, type Sent } from '#test/mft-world.ts'

/** One server with both doors. Over MFT, the folder of the world is at `/Space/Project/Drawings`. */
interface Doors extends CoredataWorld {
  overMft: (method: string, path: string, sent?: Asked) => Promise<Answer>
  /** PUT by `editor` over MFT; answers the fileset. */
  upload(path: string, content?: string | Buffer): Promise<number>
  /** A file made by `editor` over CoreData, in the folder; answers its id. */
  create(fields?: Record<string, string>, content?: string | Buffer): Promise<string>
  /** The file as CoreData shows it. */
  show(id: string): Promise<Shown>
}

type Asked = Omit<Sent, 'as'> & { as?: Caller | undefined }

interface Shown {
  id: string
  filename: string
  title: string
  parent: string
  version: string
  snapshot_id: string
  digest: string
  size: number
  mime_type: string
  tags: string[]
  contacts: string[]
  dynatype: { title?: string }
}

const test = base.extend<{ doors: Doors }>({
  doors: async ({ coredata }, use) => {
    await coredata.app.register(mft, { deps: coredata.world.deps })
    const violations: unknown[] = []
    await use(await openDoors(coredata, await loadChecker('mft', violations)))
    expect(violations).toEqual([])
    const { system } = coredata.world
    expect({ totals: await wrongTotals(system), nodes: await brokenNodes(system) }).toEqual({ totals: [], nodes: [] })
  },
})

async function openDoors(coredata: CoredataWorld, check: (exchange: object) => void): Promise<Doors> {
  const { app, users, send, folder } = coredata
  const cookies = {
    editor: await openSession(users.editor),
    reader: await openSession(users.reader),
    stranger: await openSession(users.stranger),
  }
  const sendMft = sender(app, check)
  const overMft = (method: string, path: string, { as = 'editor', ...sent }: Asked = {}) =>
    sendMft(method, path, { ...sent, as: cookies[as] })
  return {
    ...coredata,
    overMft,
    async upload(path, content = 'content') {
      const { status, body } = await overMft('PUT', `/2.0/files/${path}`, multipart([{ name: 'file', content }]))
      expect(status).toBe(201)
      return (body as { fileset: number }).fileset
    },
    async create(fields = {}, content = 'content') {
      const all = { filename: 'a.txt', title: 'Letter', parent: folder.id, ...fields }
      const parts = Object.entries(all).map(([name, text]) => ({ name, content: text }))
      const made = await send('POST', '/api/v2/files/', {
        as: 'editor',
        ...multipart([...parts, { name: 'content', content, filename: 'sent', type: 'text/plain' }]),
      })
      expect(made.status).toBe(201)
      return idIn(made)
    },
    async show(id) {
      const { status, body } = await send('GET', `/api/v2/files/${id}/`, { as: 'editor' })
      expect(status).toBe(200)
      return body as Shown
    },
  }
}

const FOLDER = 'Space/Project/Drawings'
const md5 = (content: string | Buffer) => createHash('md5').update(content).digest('hex')

/** Filenames and filesets of the folder over MFT. */
async function listed({ overMft }: Doors, as: Caller = 'editor'): Promise<Record<string, number>> {
  const { status, body } = await overMft('GET', `/2.0/directories/${FOLDER}`, { as })
  expect(status).toBe(200)
  const { files } = body as { files: { filename: string; fileset: number }[] }
  return Object.fromEntries(files.map(({ filename, fileset }) => [filename, fileset]))
}

/** What CoreData shows in the folder, oldest first. */
async function filed({ send, folder }: Doors, as: Caller = 'editor'): Promise<Shown[]> {
  const { body } = await send('GET', `/api/v2/files/?parent=${folder.id}`, { as })
  return (body as { objects: Shown[] }).objects
}

/** The bytes that CoreData gives of a file. */
async function fetched({ send }: Doors, id: string, as: Caller = 'editor'): Promise<Buffer> {
  const { headers } = await send('GET', `/api/v2/files/${id}/content/`, { as })
  const { pathname, search } = new URL(String(headers.location))
  return (await send('GET', pathname + search)).raw
}

async function metadataOf({ overMft }: Doors, path: string): Promise<Record<string, string>> {
  const { body } = await overMft('GET', `/2.0/metadata/${path}`)
  return (body as { metadata: Record<string, string> }).metadata
}

const jsonBody = (value: unknown) => ({
  headers: { 'content-type': 'application/json' },
  payload: JSON.stringify(value),
})

const annotate = ({ overMft }: Doors, path: string, values: object) =>
  overMft('POST', `/2.0/metadata/${path}`, jsonBody(values))

/** Changes a file over CoreData. */
async function refile({ send, folder }: Doors, id: string, changes: object): Promise<void> {
  const json = { filename: 'a.txt', title: 'Letter', parent: folder.id, ...changes }
  expect(await send('PUT', `/api/v2/files/${id}/`, { as: 'editor', json })).toMatchObject({ status: 204 })
}

const replace = ({ send }: Doors, id: string, payload: string | Buffer, query = '') =>
  send('PUT', `/api/v2/files/${id}/content/${query}`, {
    as: 'editor',
    payload,
    headers: { 'content-type': 'application/octet-stream' },
  })

describe('a file', () => {
  test('made over CoreData is listed, fetched, annotated and deleted over MFT', async ({ doors }) => {
    const content = Buffer.from([0, 255, 13, 10, 195, 40])
    const id = await doors.create({ filename: 'Bär.bin' }, content)
    expect(Object.keys(await listed(doors))).toEqual(['Bär.bin'])
    const path = `${FOLDER}/${encodeURIComponent('Bär.bin')}`
    const got = await doors.overMft('GET', `/2.0/files/${path}`)
    expect(got).toMatchObject({ status: 200, headers: { 'content-type': 'text/plain' }, raw: content })
    expect(await annotate(doors, path, { Partner: 'P5' })).toMatchObject({ status: 200 })
    expect(await metadataOf(doors, path)).toMatchObject({ Partner: 'P5', size: '6', datatype: 'text/plain' })

    expect(await doors.overMft('DELETE', `/2.0/files/${path}`)).toMatchObject({ status: 200 })
    expect(await doors.send('GET', `/api/v2/files/${id}/`, { as: 'editor' })).toMatchObject({ status: 404 })
    expect(await doors.send('GET', `/api/v2/files/${id}/content/`, { as: 'editor' })).toMatchObject({ status: 404 })
    expect([await filed(doors), await listed(doors)]).toEqual([[], {}])
  })

  test('that came over MFT is listed, fetched, filed and deleted over CoreData', async ({ doors }) => {
    const fileset = await doors.upload(`${FOLDER}/report.final.txt`, 'Grüße')
    const [file] = await filed(doors)
    expect(file).toMatchObject({
      filename: 'report.final.txt',
      title: 'report.final',
      version: '0.1',
      size: 7,
      digest: md5('Grüße'),
      mime_type: 'application/octet-stream',
      tags: [],
    })
    const { id } = file!
    expect((await fetched(doors, id)).toString()).toBe('Grüße')
    await refile(doors, id, { filename: 'other.txt', title: 'Other' })
    expect(await listed(doors)).toEqual({ 'other.txt': fileset })

    expect(await doors.send('DELETE', `/api/v2/files/${id}/`, { as: 'editor' })).toMatchObject({ status: 204 })
    expect(await doors.overMft('GET', `/2.0/files/${FOLDER}/other.txt`)).toMatchObject({ status: 404 })
    expect(await doors.overMft('GET', `/2.0/fileset/${fileset}`)).toMatchObject({ status: 404 })
    expect([await filed(doors), await listed(doors)]).toEqual([[], {}])
  })

  test('that is large has its digest and its bytes at both doors', async ({ doors }) => {
    const large = Buffer.alloc(300_000, 'entrepot\r\n')
    await doors.upload(`${FOLDER}/large`, large)
    const [file] = await filed(doors)
    expect(file).toMatchObject({ size: large.length, digest: md5(large) })
    expect((await fetched(doors, file!.id)).equals(large)).toBe(true)

    const other = Buffer.concat([large, large])
    expect(await replace(doors, file!.id, other)).toMatchObject({
      status: 201,
      headers: { 'x-coredata-fields-filedigest': md5(other) },
    })
    expect((await doors.overMft('GET', `/2.0/files/${FOLDER}/large`)).raw.equals(other)).toBe(true)
  })

  test('made of a blob is a file like any other', async ({ doors }) => {
    const { body } = await doors.send('POST', '/api/v3/blob/presigned-upload-url/?content_length=4', { as: 'editor' })
    const { blobName, presignedUrl } = body as { blobName: string; presignedUrl: string }
    const { pathname, search } = new URL(presignedUrl)
    await doors.send('PUT', pathname + search, { payload: 'blob', headers: { 'content-type': 'text/csv' } })
    expect(await listed(doors)).toEqual({})
    const fields = { filename: 'b.csv', title: 'b', parent: doors.folder.id, blob_name: blobName }
    const parts = Object.entries(fields).map(([name, content]) => ({ name, content }))
    expect(await doors.send('POST', '/api/v2/files/', { as: 'editor', ...multipart(parts) })).toMatchObject({
      status: 201,
    })
    const got = await doors.overMft('GET', `/2.0/files/${FOLDER}/b.csv`)
    expect(got).toMatchObject({ status: 200, headers: { 'content-type': 'text/csv' }, raw: Buffer.from('blob') })
  })

  test('moved over CoreData is found at its new path, with what MFT knows of it', async ({ doors }) => {
    const id = await doors.create()
    await annotate(doors, `${FOLDER}/a.txt`, { Partner: 'P5' })
    const fileset = (await listed(doors))['a.txt']
    await refile(doors, id, { parent: doors.space.filespace })
    expect(await listed(doors)).toEqual({})
    expect(await metadataOf(doors, 'Space/a.txt')).toMatchObject({ Partner: 'P5' })
    expect(await doors.overMft('GET', `/2.0/fileset/${fileset}`)).toMatchObject({ status: 200 })
  })
})

describe('names', () => {
  test('that two files share are told apart over MFT', async ({ doors }) => {
    const [first, second] = [await doors.create({}, 'one'), await doors.create({}, 'two')]
    expect((await filed(doors)).map(({ filename }) => filename)).toEqual(['a.txt', 'a.txt'])
    expect(Object.keys(await listed(doors)).toSorted()).toEqual(['a (1).txt', 'a.txt'])
    const path = `${FOLDER}/a%20(1).txt`
    expect((await doors.overMft('GET', `/2.0/files/${path}`)).raw.toString()).toBe('two')

    await doors.upload(path, 'three')
    expect((await fetched(doors, second)).toString()).toBe('three')
    expect((await fetched(doors, first)).toString()).toBe('one')
    expect(await doors.show(second)).toMatchObject({ filename: 'a.txt', title: 'Letter', version: '0.2' })
  })

  test('that MFT holds are free for more files over CoreData', async ({ doors }) => {
    const fileset = await doors.upload(`${FOLDER}/x`, 'one')
    await doors.create({ filename: 'x' }, 'two')
    expect(await listed(doors)).toEqual({ x: fileset, 'x (1)': expect.any(Number) as number })
  })
})

describe('what only one door knows of a file', () => {
  const extras = { tags: 'red,blue', dynatype: 'Memo' }

  async function filedWithContact(doors: Doors): Promise<{ id: string; before: Shown }> {
    const contact = await doors.make('contacts', { title: 'John', identifier: '1' })
    const id = await doors.create({ ...extras, contacts: contact })
    const before = await doors.show(id)
    expect(before).toMatchObject({ title: 'Letter', tags: ['red', 'blue'], contacts: [contact] })
    return { id, before }
  }
  const kept = ({ title, tags, dynatype, contacts }: Shown) => ({ title, tags, dynatype, contacts })

  test('stays when CoreData changes metadata or content', async ({ doors }) => {
    const id = await doors.create()
    const path = `${FOLDER}/a.txt`
    await annotate(doors, path, { Partner: 'P5', tags: 'of MFT', description: 'text' })
    await refile(doors, id, { tags: 'red', title: 'New' })
    await replace(doors, id, 'changed')
    expect(await metadataOf(doors, path)).toMatchObject({
      Partner: 'P5',
      tags: 'of MFT',
      description: 'text',
      size: '7',
    })
    expect(await doors.show(id)).toMatchObject({ title: 'New', tags: ['red'] })
  })

  test('stays when MFT changes metadata', async ({ doors }) => {
    const { id, before } = await filedWithContact(doors)
    const values = { title: 'of MFT', tags: '[]', dynatype: 'x', contacts: 'y', Partner: 'P5' }
    expect(await annotate(doors, `${FOLDER}/a.txt`, values)).toMatchObject({ status: 200 })
    expect(kept(await doors.show(id))).toEqual(kept(before))
    expect(await metadataOf(doors, `${FOLDER}/a.txt`)).toMatchObject(values)
  })

  test('stays when MFT brings new content, which clears the keys of MFT alone', async ({ doors }) => {
    const { id, before } = await filedWithContact(doors)
    await annotate(doors, `${FOLDER}/a.txt`, { Partner: 'P5', tags: 'of MFT' })
    await doors.upload(`${FOLDER}/a.txt`, 'changed')
    const metadata = await metadataOf(doors, `${FOLDER}/a.txt`)
    expect(metadata).not.toHaveProperty('Partner')
    expect(metadata).not.toHaveProperty('tags')
    expect(await doors.show(id)).toMatchObject({ ...kept(before), filename: 'a.txt', digest: md5('changed') })
  })
})

describe('every change', () => {
  test('raises the version, whichever door it comes through', async ({ doors }) => {
    const id = await doors.create()
    const path = `${FOLDER}/a.txt`
    const seen = [await doors.show(id)]
    const changes = [
      () => annotate(doors, path, { Partner: 'P5' }),
      () => doors.upload(path, 'two'),
      () => refile(doors, id, { tags: 'red' }),
      () => replace(doors, id, 'three'),
    ]
    for (const change of changes) {
      await change()
      seen.push(await doors.show(id))
    }
    expect(seen.map(({ version }) => version)).toEqual(['0.1', '0.2', '0.3', '0.4', '0.5'])
    expect(new Set(seen.map(file => file.snapshot_id)).size).toBe(5)
  })

  test('over MFT makes what CoreData has seen out of date', async ({ doors }) => {
    const id = await doors.create()
    const { snapshot_id: before } = await doors.show(id)
    await annotate(doors, `${FOLDER}/a.txt`, { Partner: 'P5' })
    expect(await replace(doors, id, 'late', `?snapshot_id=${before}`)).toMatchObject({ status: 409 })
    expect((await doors.overMft('GET', `/2.0/files/${FOLDER}/a.txt`)).raw.toString()).toBe('content')
  })

  test('of content over CoreData is a new fileset, of metadata the same', async ({ doors }) => {
    const id = await doors.create()
    const { 'a.txt': first } = await listed(doors)
    await refile(doors, id, { tags: 'red' })
    expect(await listed(doors)).toEqual({ 'a.txt': first })
    await replace(doors, id, 'changed')
    const { 'a.txt': second } = await listed(doors)
    expect(second).toBeGreaterThan(first!)
    expect(await doors.overMft('GET', `/2.0/fileset/${first}`)).toMatchObject({ status: 404 })
  })

  test('is in one audit trail with its door', async ({ doors }) => {
    const { world, users, project } = doors
    const mftClient = { headers: { 'user-agent': 'mover/1' } }
    const put = multipart([{ name: 'file', content: 'content' }])
    const headers = { ...put.headers, ...mftClient.headers }
    await doors.overMft('PUT', `/2.0/files/${FOLDER}/a.txt`, { ...put, headers })
    const [file] = await filed(doors)
    const json = { filename: 'a.txt', title: 'a', parent: doors.folder.id }
    const coredataClient = { as: 'editor', headers: { 'user-agent': 'filer/1' } } as const
    await doors.send('PUT', `/api/v2/files/${file!.id}/`, {
      as: 'editor',
      json,
      headers: { ...coredataClient.headers, 'content-type': 'application/json' },
    })
    await doors.overMft('GET', `/2.0/files/${FOLDER}/a.txt`, mftClient)
    await world.deps.reads.flush()
    await doors.send('DELETE', `/api/v2/files/${file!.id}/`, coredataClient)

    const rows = await world.system.db
      .selectFrom('event')
      .select(['type', 'client', 'actorId', 'spaceTime'])
      .where('client', 'in', ['mover/1', 'filer/1'])
      .where('spaceId', '=', project.spaceId)
      .orderBy('spaceTime')
      .execute()
    expect(rows.map(({ type, client }) => `${client} ${type}`)).toEqual([
      'mover/1 version.created',
      'filer/1 node.changed',
      'mover/1 version.read',
      'filer/1 node.deleted',
    ])
    expect(new Set(rows.map(({ actorId }) => actorId))).toEqual(new Set([users.editor.user.id]))
    expect(new Set(rows.map(({ spaceTime }) => spaceTime)).size).toBe(rows.length)
  })
})

describe('who may not', () => {
  test('see a file sees it by neither door', async ({ doors }) => {
    const id = await doors.create()
    const { 'a.txt': fileset } = await listed(doors)
    const as: Caller = 'stranger'
    expect(await filed(doors, as)).toEqual([])
    for (const path of [`/api/v2/files/${id}/`, `/api/v2/files/${id}/content/`])
      expect(await doors.send('GET', path, { as }), path).toMatchObject({ status: 404 })
    const top = await doors.overMft('GET', '/2.0/directories', { as })
    expect(top.raw.toString()).toContain('Elsewhere')
    expect(top.raw.toString()).not.toContain('"Space"')
    for (const path of [
      `files/${FOLDER}/a.txt`,
      `directories/${FOLDER}`,
      `fileset/${fileset}`,
      `metadata/${FOLDER}/a.txt`,
    ]) {
      const { status, raw } = await doors.overMft('GET', `/2.0/${path}`, { as })
      expect([403, 404], path).toContain(status)
      expect(raw.toString(), path).not.toContain('content')
    }
  })

  test('change a file reads it by both doors and changes it by neither', async ({ doors }) => {
    const id = await doors.create()
    const as: Caller = 'reader'
    expect((await fetched(doors, id, as)).toString()).toBe('content')
    expect((await doors.overMft('GET', `/2.0/files/${FOLDER}/a.txt`, { as })).raw.toString()).toBe('content')

    const json = { filename: 'b.txt', title: 'b', parent: doors.folder.id }
    const before = await doors.show(id)
    const answers = [
      await doors.send('PUT', `/api/v2/files/${id}/`, { as, json }),
      await doors.send('PUT', `/api/v2/files/${id}/content/`, { as, payload: 'x' }),
      await doors.send('DELETE', `/api/v2/files/${id}/`, { as }),
      await doors.overMft('PUT', `/2.0/files/${FOLDER}/a.txt`, { as, ...multipart([{ name: 'file', content: 'x' }]) }),
      await doors.overMft('POST', `/2.0/metadata/${FOLDER}/a.txt`, { as, ...jsonBody({ a: 'b' }) }),
      await doors.overMft('DELETE', `/2.0/files/${FOLDER}/a.txt`, { as }),
    ]
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 403))
    expect(await doors.show(id)).toEqual(before)
  })
})
