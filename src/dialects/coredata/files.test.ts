import { createHash } from 'node:crypto'
import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { lockNode } from '#core/locks.ts'
import { findNodeByUid } from '#core/space-list.ts'
import {
  createdId,
  createFile,
  showFile,
  statuses,
  test,
  type Caller,
  type CoredataWorld,
} from '#test/coredata-world.ts'
import { bin, brokenNodes, names, put, wrongTotals } from '#test/tree.ts'

const files = '/api/v2/files/'
const unknownId = 'e139a8ac-7368-11ee-b992-57663b1559fb'
const empty = Buffer.alloc(0)
const large = Buffer.alloc(40_000, 'entrepot\r\n--entrepot')
const md5 = (content: string | Buffer) => createHash('md5').update(content).digest('hex')
const required = ['This field is required.']

/** What the folder holds, under the names of path views. */
const inFolder = ({ users, folder }: CoredataWorld) => names(users.editor.ctx, folder.nodeId)

describe('getFile', () => {
  test('shows every field', async ({ coredata }) => {
    const { space, project, folder } = coredata
    const contact = await coredata.make('contacts', { title: 'Contact' })
    const fields = { filename: 'plan.pdf', title: 'The plan', dynatype: 'Contract', contacts: contact, tags: 'a,b' }
    const id = await createdId(createFile(coredata, fields))
    const time = expect.stringMatching(/^2026-01-05T08:\d\d:\d\d$/)
    const identifier = expect.stringMatching(/^2026-\d+$/)
    const shown = await showFile(coredata, id)
    expect(shown).toEqual({
      aspects: {},
      blob_name: expect.stringMatching(/^[0-9a-f]{32}$/),
      category: 'main',
      contacts: [contact],
      created: time,
      created_by: 'Eddie Editor',
      description: '',
      digest: md5('content'),
      dynatype: {
        caption_plural: 'dynatypes_labels:Contract_plural:',
        caption_singular: 'dynatypes_labels:Contract_singular:',
        id: expect.any(String),
        title: 'Contract',
      },
      filename: 'plan.pdf',
      fileplan: '',
      fileplan_title: '',
      folder: folder.id,
      id,
      mime_type: 'application/pdf',
      modified: time,
      modified_by: 'Eddie Editor',
      owner: null,
      parent: folder.id,
      path: expect.stringMatching(
        /^\/domain\/spaces\/Spaces\/Space\/Projects\/Project\/2026-\d+\/Drawings\/plan\.pdf$/,
      ),
      project: { id: project.id, identifier, title: 'Project' },
      resource_uri: `/api/v2/files/${id}/`,
      size: 7,
      snapshot_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      space: { id: space.id, title: 'Space' },
      tags: ['a', 'b'],
      template: null,
      title: 'The plan',
      type: 'File',
      userhome: null,
      version: '0.1',
    })
    expect(await showFile(coredata, id, 'reader')).toEqual(shown)
    expect(await showFile(coredata, id.toUpperCase())).toEqual(shown)
  })

  test('shows the workspace of a space as such', async ({ coredata }) => {
    const id = await coredata.file(coredata.space.spaceId, 'x.txt')
    expect(await showFile(coredata, id)).toMatchObject({
      path: '/domain/spaces/Spaces/Space/Workspace/x.txt',
      parent: coredata.space.filespace,
      project: {},
      folder: '',
    })
  })

  test('shows what came in by another door, which gives no title and no MD5', async ({ coredata }) => {
    for (const [name, text, title] of [
      ['report.final.txt', large.toString(), 'report.final'],
      ['.hidden', `${large.toString()}!`, '.hidden'],
    ] as const) {
      const { node, version } = await put(coredata.users.editor.ctx, coredata.folder.nodeId, name, text)
      expect(version.md5).toBeNull()
      const first = await showFile(coredata, node.uid)
      expect(first).toMatchObject({ title, filename: name, digest: md5(text), mime_type: 'text/plain', tags: [] })
      expect(first).toMatchObject({ version: '0.1', contacts: [], dynatype: { title: 'File' } })
      expect(await showFile(coredata, node.uid)).toEqual(first)
    }
  })

  test('the minor version grows by one with each change of anything', async ({ coredata }) => {
    const { send, folder } = coredata
    const id = await createdId(createFile(coredata))
    const json = { filename: 'a.txt', title: 'A', parent: folder.id }
    const seen = [await showFile(coredata, id)]
    for (let change = 0; change < 9; change += 1) {
      const [path, sent] = change % 2 ? [`${files}${id}/`, { json }] : [`${files}${id}/content/`, { payload: 'x' }]
      const headers = 'payload' in sent ? { headers: { 'content-type': 'application/octet-stream' } } : {}
      await send('PUT', path, { as: 'editor', ...sent, ...headers })
      seen.push(await showFile(coredata, id))
    }
    expect(seen.map(({ version }) => version)).toEqual(Array.from({ length: 10 }, (_, n) => `0.${n + 1}`))
    expect(new Set(seen.map(({ snapshot_id }) => snapshot_id)).size).toBe(10)
    expect(new Set(seen.map(({ created }) => created)).size).toBe(1)
  })

  test('what is no file, and what the caller cannot see, is 404', async ({ coredata }) => {
    const file = await coredata.file(coredata.folder.nodeId)
    const { folder, project, space } = coredata
    for (const id of [unknownId, folder.id, project.id, project.filespace, space.id, 'x', '%00', '1', '%2e%2e']) {
      expect(await coredata.send('GET', `${files}${id}/`, { as: 'editor' }), id).toMatchObject({
        status: 404,
        raw: empty,
      })
    }
    expect(await coredata.send('GET', `${files}${file}/`, { as: 'stranger' })).toMatchObject({
      status: 404,
      raw: empty,
    })
    expect(await coredata.send('GET', `${files}${file}/`)).toMatchObject({ status: 401, raw: empty })
  })
})

describe('updateFile', () => {
  const update = ({ send }: CoredataWorld, id: string, json: unknown, as: Caller = 'editor') =>
    send('PUT', `${files}${id}/`, { as, json })

  test('changes the names, and keeps what is not said', async ({ coredata }) => {
    const contact = await coredata.make('contacts', { title: 'Contact' })
    const id = await createdId(createFile(coredata, { dynatype: 'Memo', contacts: contact, tags: 'a,b' }))
    const before = await showFile(coredata, id)
    const said = { filename: 'b.pdf', title: 'B', parent: coredata.folder.id }
    expect(await update(coredata, id, said)).toMatchObject({ status: 204, raw: empty })
    const after = await showFile(coredata, id)
    expect(after).toEqual({
      ...before,
      ...said,
      path: (before['path'] as string).replace('a.txt', 'b.pdf'),
      version: '0.2',
      snapshot_id: after.snapshot_id,
      modified: after['modified'],
    })
    expect(after.snapshot_id).not.toBe(before.snapshot_id)
    expect(await inFolder(coredata)).toEqual(['b.pdf'])
  })

  test('says anew what is said, as text or as an array', async ({ coredata }) => {
    const [a, b] = [
      await coredata.make('contacts', { title: 'A' }),
      await coredata.make('contacts', { title: 'B' }),
    ] as const
    const id = await createdId(createFile(coredata, { tags: 'a' }))
    const names = { filename: 'a.txt', title: 'A', parent: coredata.folder.id }
    for (const [said, shown] of [
      [
        { dynatype: 'Contract', contacts: `${a},${b}`, tags: 'x, y ,x' },
        { contacts: [a, b], tags: ['x', 'y'] },
      ],
      [
        { contacts: [b, b], tags: [' z ', '', 'y', 'z'] },
        { contacts: [b], tags: ['z', 'y'] },
      ],
      [{ dynatype: 'Report' }, { dynatype: { title: 'Report' }, contacts: [b], tags: ['z', 'y'] }],
      [{ tags: '' }, { contacts: [b], tags: [] }],
      [
        { dynatype: 'File', contacts: a },
        { dynatype: { title: 'File' }, contacts: [] },
      ],
      [{ dynatype: 'Report' }, { dynatype: { title: 'Report' }, contacts: [] }],
    ] as const) {
      expect(await update(coredata, id, { ...names, ...said })).toMatchObject({ status: 204 })
      expect(await showFile(coredata, id)).toMatchObject(shown)
    }
  })

  test('moves the file to another parent, with all that follows from it', async ({ coredata }) => {
    const { space, project, folder } = coredata
    const id = await createdId(createFile(coredata))
    await createdId(createFile(coredata, { parent: space.filespace }))
    for (const [parent, shown] of [
      [
        space.filespace,
        { parent: space.filespace, project: {}, folder: '', path: '/domain/spaces/Spaces/Space/Workspace/a.txt' },
      ],
      [project.id, { parent: project.filespace, project: { id: project.id }, folder: '' }],
      [folder.id, { parent: folder.id, folder: folder.id }],
    ] as const) {
      expect(await update(coredata, id, { filename: 'a.txt', title: 'A', parent })).toMatchObject({ status: 204 })
      expect(await showFile(coredata, id)).toMatchObject({ id, filename: 'a.txt', ...shown })
    }
    expect(await showFile(coredata, id)).toMatchObject({ version: '0.4' })
    expect(await wrongTotals(coredata.world.system)).toEqual([])
    expect(await brokenNodes(coredata.world.system)).toEqual([])
  })

  test('a change that says what is there already counts all the same', async ({ coredata }) => {
    const id = await createdId(createFile(coredata))
    const before = await showFile(coredata, id)
    coredata.world.advance(5_000)
    await update(coredata, id, { filename: 'a.txt', title: 'A', parent: coredata.folder.id })
    const after = await showFile(coredata, id)
    expect(after).toMatchObject({ version: '0.2', filename: 'a.txt' })
    expect(after.snapshot_id).not.toBe(before.snapshot_id)
    expect(after['modified']).not.toBe(before['modified'])
    expect(await inFolder(coredata)).toEqual(['a.txt'])
  })

  test('of many changes at once each counts', async ({ coredata }) => {
    const id = await createdId(createFile(coredata))
    const { folder, space } = coredata
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        update(coredata, id, { filename: `${n}.txt`, title: `${n}`, parent: n % 2 ? folder.id : space.filespace }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 204))
    const after = await showFile(coredata, id)
    expect(after).toMatchObject({ version: '0.9', filename: `${String(after['title'])}.txt` })
    expect(await wrongTotals(coredata.world.system)).toEqual([])
    expect(await brokenNodes(coredata.world.system)).toEqual([])
  })

  test('of changes at once none takes back what another one said', async ({ coredata }) => {
    const id = await createdId(createFile(coredata))
    const names = { filename: 'a.txt', title: 'A', parent: coredata.folder.id }
    const said = [{ tags: 'one, two' }, {}, { dynatype: 'Memo' }, {}]
    const answers = await Promise.all(said.map(fields => update(coredata, id, { ...names, ...fields })))
    expect(statuses(answers)).toEqual([204, 204, 204, 204])
    expect(await showFile(coredata, id)).toMatchObject({ tags: ['one', 'two'], dynatype: { title: 'Memo' } })
  })

  test('a name that is taken may be taken again, and stays what it is in path views', async ({ coredata }) => {
    await createdId(createFile(coredata))
    const id = await createdId(createFile(coredata, { filename: 'b.txt' }))
    for (let times = 0; times < 2; times += 1) {
      await update(coredata, id, { filename: 'a.txt', title: 'B', parent: coredata.folder.id })
      expect(await showFile(coredata, id)).toMatchObject({ filename: 'a.txt' })
      expect(await inFolder(coredata)).toEqual(['a (1).txt', 'a.txt'])
    }
  })

  test('what is wrong is 400, named, and changes nothing', async ({ coredata }) => {
    const { space, elsewhere, folder } = coredata
    const id = await createdId(createFile(coredata, { tags: 'a' }))
    const before = await showFile(coredata, id)
    const names = { filename: 'b.txt', title: 'B', parent: folder.id }
    for (const [json, body] of [
      [{}, { files: { filename: required, title: required, parent: required } }],
      [{ filename: 'b.txt', parent: folder.id }, { files: { title: required } }],
      [{ ...names, title: '' }, { files: { title: required } }],
      [{ ...names, title: 7 }, { files: { title: [expect.any(String)] } }],
      [{ ...names, parent: 'x' }, { files: { parent: [expect.any(String)] } }],
      [{ ...names, parent: unknownId }, { files: { parent: [expect.any(String)] } }],
      [{ ...names, parent: space.id }, { files: { parent: [expect.any(String)] } }],
      [{ ...names, parent: elsewhere.filespace }, { files: { parent: [expect.any(String)] } }],
      [{ ...names, parent: id }, { files: { parent: [expect.any(String)] } }],
      [{ ...names, filename: 'a/b' }, { files: { filename: [expect.any(String)] } }],
      [{ ...names, title: '\ud800' }, { files: { title: [expect.any(String)] } }],
      [{ ...names, dynatype: 'Novel' }, { files: { dynatype: [expect.any(String)] } }],
      [{ ...names, dynatype: 'Memo', contacts: [unknownId] }, { files: { contacts: [expect.any(String)] } }],
      [{ ...names, tags: 7 }, { files: { tags: [expect.any(String)] } }],
      [{ ...names, tags: ['\ud800'] }, { files: { tags: [expect.any(String)] } }],
      [{ ...names, tags: ['x'.repeat(20_000)] }, { files: { tags: [expect.any(String)] } }],
      [[], { error: expect.any(String) }],
      ['x', { error: expect.any(String) }],
      [null, { error: expect.any(String) }],
    ] as const) {
      const answer = await update(coredata, id, json)
      expect(answer, JSON.stringify(json)).toMatchObject({ status: 400 })
      expect(answer.body, JSON.stringify(json)).toEqual(body)
    }
    const broken = { payload: '{"filename"', headers: { 'content-type': 'application/json' } }
    expect(await coredata.send('PUT', `${files}${id}/`, { as: 'editor', ...broken })).toMatchObject({ status: 400 })
    expect(await showFile(coredata, id)).toEqual(before)
  })

  test('another body than JSON is 415', async ({ coredata }) => {
    const id = await coredata.file(coredata.folder.nodeId)
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'nonsense']) {
      const sent = { as: 'editor', payload: '{}', headers: { 'content-type': type } } as const
      expect(await coredata.send('PUT', `${files}${id}/`, sent), type).toMatchObject({ status: 415 })
    }
  })

  test('without the right it is 403 and changes nothing', async ({ coredata }) => {
    const { world, folder, space, users } = coredata
    const id = await createdId(createFile(coredata))
    const before = await showFile(coredata, id)
    const names = { filename: 'b.txt', title: 'B', parent: folder.id }
    expect(await update(coredata, id, names, 'reader')).toMatchObject({ status: 403, raw: empty })
    const ofReader = { subjectId: users.reader.user.id }
    await setGrant(world.system, { nodeId: space.spaceId, ...ofReader, actions: ['list', 'read', 'create', 'change'] })
    await setGrant(world.system, { nodeId: folder.nodeId, ...ofReader, actions: ['list', 'read'] })
    const moving = { ...names, parent: space.filespace }
    expect(await update(coredata, id, moving, 'reader')).toMatchObject({ status: 403, raw: empty })
    const above = await coredata.file(space.spaceId)
    expect(await update(coredata, above, names, 'reader')).toMatchObject({ status: 403, raw: empty })
    expect(await showFile(coredata, above)).toMatchObject({ version: '0.1', parent: space.filespace })
    expect(await showFile(coredata, id)).toEqual(before)
  })

  test('a file that another one holds locked is 403', async ({ coredata }) => {
    const { world, folder, space, users } = coredata
    await setGrant(world.system, { nodeId: space.spaceId, subjectId: users.reader.user.id, actions: ['list', 'lock'] })
    const id = await createdId(createFile(coredata))
    const { id: nodeId } = await findNodeByUid(users.editor.ctx, id)
    await lockNode(users.reader.ctx, { nodeId })
    const before = await showFile(coredata, id)
    const names = { filename: 'b.txt', title: 'B', parent: folder.id }
    for (const parent of [folder.id, space.filespace]) {
      expect(await update(coredata, id, { ...names, parent })).toMatchObject({ status: 403, raw: empty })
    }
    expect(await coredata.send('DELETE', `${files}${id}/`, { as: 'editor' })).toMatchObject({ status: 403, raw: empty })
    expect(await showFile(coredata, id)).toEqual(before)
  })

  test('what is no file, and what the caller cannot see, is 404', async ({ coredata }) => {
    const { folder, project, space } = coredata
    const names = { filename: 'b.txt', title: 'B', parent: folder.id }
    for (const id of [unknownId, folder.id, project.id, space.filespace, 'x']) {
      expect(await update(coredata, id, names), id).toMatchObject({ status: 404, raw: empty })
    }
    const file = await coredata.file(folder.nodeId)
    expect(await update(coredata, file, names, 'stranger')).toMatchObject({ status: 404, raw: empty })
    expect(await coredata.send('PUT', `${files}${file}/`, { json: names })).toMatchObject({ status: 401, raw: empty })
  })
})

describe('deleteFile', () => {
  const remove = ({ send }: CoredataWorld, id: string, as: Caller = 'editor') =>
    send('DELETE', `${files}${id}/`, { as })

  test('takes the file out of everything but the trash', async ({ coredata }) => {
    const { send, project, users } = coredata
    const id = await createdId(createFile(coredata))
    const favourite = `/api/v2/user/files/favourites/${id}/`
    await send('PUT', favourite, { as: 'editor' })
    expect(await remove(coredata, id)).toMatchObject({ status: 204, raw: empty })
    const json = { filename: 'a.txt', title: 'A', parent: coredata.folder.id }
    for (const [method, path, sent] of [
      ['GET', `${files}${id}/`, {}],
      ['PUT', `${files}${id}/`, { json }],
      ['DELETE', `${files}${id}/`, {}],
      ['GET', `${files}${id}/content/`, {}],
      ['PUT', `${files}${id}/content/`, { payload: 'x', headers: { 'content-type': 'application/octet-stream' } }],
      ['PUT', favourite, {}],
    ] as const) {
      const answer = await send(method, path, { as: 'editor', ...sent })
      expect(answer, `${method} ${path}`).toMatchObject({ status: 404, raw: empty })
    }
    for (const path of [files, `/api/v2/projects/${project.id}/files/`, '/api/v2/user/files/favourites/']) {
      expect(await send('GET', path, { as: 'editor' }), path).toMatchObject({ body: { objects: [] } })
    }
    expect(await bin(users.editor.ctx, project.spaceId)).toMatchObject([{ deletedName: 'a.txt' }])
    expect(await wrongTotals(coredata.world.system)).toEqual([])
  })

  test('of many at once one deletes, and for the others the file is gone', async ({ coredata }) => {
    const id = await createdId(createFile(coredata))
    const answers = await Promise.all(Array.from({ length: 5 }, () => remove(coredata, id)))
    expect(statuses(answers)).toEqual([204, 404, 404, 404, 404])
    expect(await bin(coredata.users.editor.ctx, coredata.project.spaceId)).toHaveLength(1)
  })

  test('is refused without the right, without sight, without a key', async ({ coredata }) => {
    const id = await createdId(createFile(coredata))
    expect(await remove(coredata, id, 'reader')).toMatchObject({ status: 403, raw: empty })
    expect(await remove(coredata, id, 'stranger')).toMatchObject({ status: 404, raw: empty })
    expect(await coredata.send('DELETE', `${files}${id}/`)).toMatchObject({ status: 401, raw: empty })
    for (const other of [unknownId, coredata.folder.id, coredata.project.id, 'x']) {
      expect(await remove(coredata, other), other).toMatchObject({ status: 404, raw: empty })
    }
    expect(await showFile(coredata, id)).toMatchObject({ version: '0.1' })
    expect(await inFolder(coredata)).toEqual(['a.txt'])
  })
})
