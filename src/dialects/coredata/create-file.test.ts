import { createHash } from 'node:crypto'
import { describe, expect } from 'vitest'
import { actionSet } from '#core/permissions.ts'
import { createToken } from '#core/tokens.ts'
import {
  announce,
  contentOf,
  contentPart,
  createdId,
  createFile,
  fieldParts,
  fillBlob,
  formOf,
  idIn,
  showFile,
  statuses,
  test,
  type CoredataWorld,
} from '#test/coredata-world.ts'
import { brokenNodes, names, wrongTotals } from '#test/tree.ts'

const files = '/api/v2/files/'
const unknownId = 'e139a8ac-7368-11ee-b992-57663b1559fb'
const empty = Buffer.alloc(0)
const large = Buffer.alloc(40_000, 'entrepot\r\n--entrepot')
const md5 = (content: string | Buffer) => createHash('md5').update(content).digest('hex')
const required = ['This field is required.']

/** What the folder holds, under the names of path views. */
const inFolder = ({ users, folder }: CoredataWorld) => names(users.editor.ctx, folder.nodeId)

/** How many segments lie in the store, whether or not a row knows of them. */
async function storedSegments({ world }: CoredataWorld): Promise<number> {
  return (await Array.fromAsync(world.deps.blobs.list())).length
}

describe('createFile', () => {
  const mandatory = (coredata: CoredataWorld) =>
    fieldParts({ filename: 'sample.pdf', title: 'Sample', parent: coredata.folder.id })

  test.for([
    ['before', 'small', Buffer.from('Grüße')],
    ['after', 'small', Buffer.from('Grüße')],
    ['around', 'small', Buffer.from('Grüße')],
    ['before', 'large', large],
    ['after', 'large', large],
    ['around', 'large', large],
    ['before', 'empty', empty],
    ['after', 'empty', empty],
  ] as const)('takes fields that come %s a content that is %s', async ([order, , content], { coredata }) => {
    const [filename, title, parent] = mandatory(coredata)
    const sent = contentPart(content)
    const parts = {
      before: [filename!, title!, parent!, sent],
      after: [sent, filename!, title!, parent!],
      around: [filename!, parent!, sent, title!],
    }[order]
    const answer = await coredata.send('POST', files, { as: 'editor', ...formOf(parts) })
    expect(answer).toMatchObject({ status: 201, raw: empty })
    expect(answer.headers.location).toMatch(/^\/api\/v2\/files\/[0-9a-f]{8}-[0-9a-f-]{27}\/$/)
    const id = idIn(answer)
    expect(await showFile(coredata, id)).toMatchObject({
      filename: 'sample.pdf',
      title: 'Sample',
      parent: coredata.folder.id,
      size: content.length,
      digest: md5(content),
      mime_type: 'application/pdf',
      version: '0.1',
    })
    expect((await contentOf(coredata, id)).equals(content)).toBe(true)
    expect(await coredata.world.events()).toContain('version.created')
    expect(await wrongTotals(coredata.world.system)).toEqual([])
    expect(await brokenNodes(coredata.world.system)).toEqual([])
  })

  test.for([
    ['text/csv', 'x.pdf', 'text/csv'],
    ['text/plain; charset=utf-8', 'x.pdf', 'text/plain; charset=utf-8'],
    ['application/octet-stream', 'x.pdf', 'application/pdf'],
    ['Application/Octet-Stream', 'x.PDF', 'application/pdf'],
    [undefined, 'x.pdf', 'application/pdf'],
    [undefined, 'x.unheard-of', 'application/octet-stream'],
    [undefined, 'x', 'application/octet-stream'],
  ] as const)('a part of type %s as %s is %s', async ([type, filename, shown], { coredata }) => {
    const content = contentPart('x', { filename: 'other.html', ...(type && { type }) })
    const id = await createdId(createFile(coredata, { filename }, { content }))
    expect(await showFile(coredata, id)).toMatchObject({ filename, mime_type: shown })
  })

  test('goes into a filespace, a folder, or by the id of a project into its filespace', async ({ coredata }) => {
    const { space, project, folder } = coredata
    for (const [parent, shown] of [
      [project.id, { parent: project.filespace, folder: '', project: { id: project.id }, space: { id: space.id } }],
      [project.filespace, { parent: project.filespace, folder: '', project: { id: project.id } }],
      [project.id.toUpperCase(), { parent: project.filespace }],
      [folder.id, { parent: folder.id, folder: folder.id, project: { id: project.id } }],
      [space.filespace, { parent: space.filespace, folder: '', project: {}, space: { id: space.id, title: 'Space' } }],
    ] as const) {
      const id = await createdId(createFile(coredata, { parent }))
      expect(await showFile(coredata, id), parent).toMatchObject(shown)
    }
  })

  test('a parent that is none, or that the caller cannot see, is 400', async ({ coredata }) => {
    const { space, elsewhere, folder } = coredata
    const file = await coredata.file(folder.nodeId)
    const contact = await coredata.make('contacts', { title: 'Contact' })
    const refusal = { files: { parent: ['Unknown filespace, project or folder.'] } }
    for (const parent of [space.id, elsewhere.id, elsewhere.filespace, file, contact, unknownId, 'x', '\u{0}', '%00']) {
      expect(await createFile(coredata, { parent }), parent).toMatchObject({ status: 400, body: refusal })
    }
    expect(await createFile(coredata, {}, { as: 'stranger' })).toMatchObject({ status: 400, body: refusal })
    expect(await inFolder(coredata)).toEqual(['sample.txt'])
  })

  test('names all mandatory fields that are missing, wherever the content stands', async ({ coredata }) => {
    const { send, folder } = coredata
    const parent = { name: 'parent', content: folder.id }
    const filename = { name: 'filename', content: 'a.txt' }
    for (const [parts, fields] of [
      [[contentPart()], { filename: required, title: required, parent: required }],
      [[contentPart(), parent, filename], { title: required }],
      [[parent, filename, contentPart()], { title: required }],
      [[parent, filename, contentPart(large)], { title: required }],
      [[contentPart(large), filename], { title: required, parent: required }],
      [[parent, filename, contentPart(), { name: 'title', content: '' }], { title: required }],
      [[], { content: ['Give either content or blob_name.'], filename: required, title: required, parent: required }],
      [[parent, filename], { content: ['Give either content or blob_name.'], title: required }],
    ] as const) {
      const answer = await send('POST', files, { as: 'editor', ...formOf(parts) })
      expect(answer).toMatchObject({ status: 400 })
      expect(answer.body).toEqual({ files: fields })
    }
    expect(await inFolder(coredata)).toEqual([])
    expect(await storedSegments(coredata)).toBe(0)
  })

  test.for([
    ['a slash in the file name', { filename: 'a/b.txt' }, 'filename'],
    ['a parent directory as file name', { filename: '..' }, 'filename'],
    ['NUL in the file name', { filename: 'a\0.txt' }, 'filename'],
    ['too long a file name', { filename: 'x'.repeat(2000) }, 'filename'],
    ['NUL in the title', { title: 'a\0' }, 'title'],
    ['too long a title', { title: 'x'.repeat(1001) }, 'title'],
    ['an unknown dynatype', { dynatype: 'Novel' }, 'dynatype'],
    ['a dynatype in other case', { dynatype: 'contract' }, 'dynatype'],
    ['an unknown contact', { dynatype: 'Contract', contacts: unknownId }, 'contacts'],
    ['a contact that is no id', { dynatype: 'Memo', contacts: 'x' }, 'contacts'],
    ['too many tags', { tags: Array.from({ length: 101 }, (_, n) => n).join() }, 'tags'],
    ['too long tags', { tags: 'x'.repeat(20_000) }, 'tags'],
    ['NUL in a tag', { tags: 'a,\0' }, 'tags'],
  ] as const)('%s is 400 and stores nothing', async ([, fields, field], { coredata }) => {
    for (const content of [contentPart(), contentPart(large)]) {
      const answer = await createFile(coredata, fields, { content })
      expect(answer).toMatchObject({ status: 400, body: { files: { [field]: [expect.any(String)] } } })
    }
    expect(await inFolder(coredata)).toEqual([])
    expect(await storedSegments(coredata)).toBe(0)
  })

  test('links contacts unless the dynatype is File, where nobody looks at them', async ({ coredata }) => {
    const [a, b] = [
      await coredata.make('contacts', { title: 'A' }),
      await coredata.make('contacts', { title: 'B' }),
    ] as const
    for (const [fields, shown] of [
      [
        { dynatype: 'Contract', contacts: `${b}, ${a},,${b},${a.toUpperCase()}` },
        { dynatype: { title: 'Contract' }, contacts: [b, a] },
      ],
      [
        { dynatype: 'Report', contacts: '' },
        { dynatype: { title: 'Report' }, contacts: [] },
      ],
      [{ contacts: `${a},${unknownId}` }, { dynatype: { title: 'File' }, contacts: [] }],
      [
        { dynatype: 'File', contacts: a },
        { dynatype: { title: 'File' }, contacts: [] },
      ],
    ] as const) {
      expect(await showFile(coredata, await createdId(createFile(coredata, fields)))).toMatchObject(shown)
    }
  })

  test('keeps tags in their order, trimmed and once each', async ({ coredata }) => {
    const id = await createdId(createFile(coredata, { tags: ' b , a,,b,  ,Ä c,a' }))
    expect(await showFile(coredata, id)).toMatchObject({ tags: ['b', 'a', 'Ä c'] })
    expect(await showFile(coredata, await createdId(createFile(coredata, { tags: '' })))).toMatchObject({ tags: [] })
  })

  test('of a field that comes twice the first one counts', async ({ coredata }) => {
    const again = { name: 'title', content: 'Second' }
    const parts = [...mandatory(coredata), contentPart(), again]
    const id = await createdId(coredata.send('POST', files, { as: 'editor', ...formOf(parts) }))
    expect(await showFile(coredata, id)).toMatchObject({ title: 'Sample' })
  })

  test('a file name may come again; path views tell the files apart', async ({ coredata }) => {
    const first = await createdId(createFile(coredata, { filename: 'x.txt' }))
    const second = await createdId(createFile(coredata, { filename: 'x.txt' }, { content: contentPart('second') }))
    expect(second).not.toBe(first)
    expect(await showFile(coredata, first)).toMatchObject({ filename: 'x.txt', size: 7 })
    expect(await showFile(coredata, second)).toMatchObject({ filename: 'x.txt', size: 6 })
    expect(await inFolder(coredata)).toEqual(['x (1).txt', 'x.txt'])
  })

  test('of many at once with one file name each becomes a file', async ({ coredata }) => {
    const ids = await Promise.all(
      Array.from({ length: 8 }, () => createdId(createFile(coredata, { filename: 'x.txt' }))),
    )
    expect(new Set(ids).size).toBe(8)
    for (const id of ids) expect(await showFile(coredata, id)).toMatchObject({ filename: 'x.txt', version: '0.1' })
    expect(new Set(await inFolder(coredata)).size).toBe(8)
    expect(await wrongTotals(coredata.world.system)).toEqual([])
  })

  test('of many at once with one blob exactly one becomes a file', async ({ coredata }) => {
    const blob_name = await fillBlob(coredata, large)
    const form = formOf([...mandatory(coredata), { name: 'blob_name', content: blob_name }])
    const send = () => coredata.send('POST', files, { as: 'editor', ...form })
    const answers = await Promise.all(Array.from({ length: 8 }, send))
    expect(statuses(answers)).toEqual([201, 400, 400, 400, 400, 400, 400, 400])
    const id = idIn(answers.find(({ status }) => status === 201)!)
    expect((await contentOf(coredata, id)).equals(large)).toBe(true)
    expect(await inFolder(coredata)).toEqual(['sample.pdf'])
  })

  test('takes a blob in place of content, once', async ({ coredata }) => {
    const blob_name = await fillBlob(coredata, 'from a blob', { type: 'text/csv' })
    const parts = fieldParts({ filename: 'x.pdf', title: 'X', parent: coredata.folder.id, blob_name })
    const sent = { as: 'editor', ...formOf(parts) } as const
    const id = await createdId(coredata.send('POST', files, sent))
    expect(await showFile(coredata, id)).toMatchObject({
      blob_name,
      size: 11,
      digest: md5('from a blob'),
      mime_type: 'text/csv',
      version: '0.1',
    })
    expect((await contentOf(coredata, id)).toString()).toBe('from a blob')
    expect(await coredata.send('POST', files, sent)).toMatchObject({ status: 400, body: { error: expect.any(String) } })
    expect(await inFolder(coredata)).toEqual(['x.pdf'])
  })

  test('of a blob without a telling type the file name says what it is', async ({ coredata }) => {
    const blob_name = await fillBlob(coredata, '')
    const parts = fieldParts({ filename: 'x.pdf', title: 'X', parent: coredata.folder.id, blob_name })
    const id = await createdId(coredata.send('POST', files, { as: 'editor', ...formOf(parts) }))
    expect(await showFile(coredata, id)).toMatchObject({ size: 0, mime_type: 'application/pdf' })
  })

  test('a blob is not used up by a refusal', async ({ coredata }) => {
    const { send, folder } = coredata
    const blob_name = await fillBlob(coredata, 'blob')
    const blob = { name: 'blob_name', content: blob_name }
    const fields = mandatory(coredata)
    for (const [as, parts] of [
      ['editor', [...fields, blob, contentPart()]],
      ['editor', [...fields, contentPart(), blob]],
      ['editor', [...fields, contentPart(large), blob]],
      ['editor', [...fields.slice(1), blob]],
      ['editor', [...fieldParts({ filename: 'a', title: 'A', parent: unknownId }), blob]],
    ] as const) {
      expect(await send('POST', files, { as, ...formOf(parts) })).toMatchObject({ status: 400 })
    }
    expect(await storedSegments(coredata)).toBeLessThanOrEqual(1)
    await createdId(send('POST', files, { as: 'editor', ...formOf([...fields, blob]) }))
    expect(await names(coredata.users.editor.ctx, folder.nodeId)).toEqual(['sample.pdf'])
  })

  test("a blob that is unknown, empty, or another one's is 400", async ({ coredata }) => {
    const { blobName: unfilled } = await announce(coredata, 5)
    const foreign = await fillBlob(coredata, 'blob', { as: 'stranger' })
    const taken = (await showFile(coredata, await coredata.file(coredata.folder.nodeId)))['blob_name'] as string
    for (const blob_name of [unfilled, foreign, taken, '0'.repeat(32), 'x', '']) {
      const parts = [...mandatory(coredata), { name: 'blob_name', content: blob_name }]
      const answer = await coredata.send('POST', files, { as: 'editor', ...formOf(parts) })
      expect(answer, blob_name).toMatchObject({ status: 400 })
    }
    expect(await inFolder(coredata)).toEqual(['sample.txt'])
  })

  test('a body that is no form is 415', async ({ coredata }) => {
    const json = { filename: 'a.txt', title: 'A', parent: coredata.folder.id }
    expect(await coredata.send('POST', files, { as: 'editor', json })).toMatchObject({ status: 415 })
    for (const type of ['application/x-www-form-urlencoded', 'multipart/mixed; boundary=x', 'nonsense']) {
      const sent = { as: 'editor', payload: 'a=b', headers: { 'content-type': type } } as const
      expect(await coredata.send('POST', files, sent), type).toMatchObject({ status: 415 })
    }
  })

  test('a broken form is 400 and stores nothing', async ({ coredata }) => {
    for (const content of [contentPart(), contentPart(large)]) {
      const { headers, payload } = formOf([...mandatory(coredata), content])
      for (const [why, sent] of [
        ['no boundary', { payload, headers: { 'content-type': 'multipart/form-data' } }],
        ['another boundary', { payload, headers: { 'content-type': 'multipart/form-data; boundary=other' } }],
        ['no end', { payload: payload.subarray(0, -6), headers }],
        ['an end within the content', { payload: payload.subarray(0, -40), headers }],
        ['nothing', { payload: empty, headers }],
        ['two contents', formOf([...mandatory(coredata), content, content])],
        ['a field that is no text', formOf([{ name: 'title', content: Buffer.from([0xff]) }, content])],
        ['a huge field', formOf([{ name: 'title', content: 'x'.repeat(70_000) }, content])],
      ] as const) {
        expect(await coredata.send('POST', files, { as: 'editor', ...sent }), why).toMatchObject({ status: 400 })
      }
    }
    expect(await coredata.send('POST', files, { as: 'editor' })).toMatchObject({ status: 400 })
    expect(await inFolder(coredata)).toEqual([])
    expect(await storedSegments(coredata)).toBe(0)
  })

  test('without the right it is 403, without a key 401', async ({ coredata }) => {
    for (const content of [contentPart(), contentPart(large)]) {
      expect(await createFile(coredata, {}, { as: 'reader', content })).toMatchObject({ status: 403, raw: empty })
    }
    const blob_name = await fillBlob(coredata, 'blob', { as: 'reader' })
    const parts = [...mandatory(coredata), { name: 'blob_name', content: blob_name }]
    expect(await coredata.send('POST', files, { as: 'reader', ...formOf(parts) })).toMatchObject({ status: 403 })
    const nobody = await coredata.send('POST', files, formOf([...mandatory(coredata), contentPart()]))
    expect(nobody).toMatchObject({ status: 401, raw: empty })
    expect(await inFolder(coredata)).toEqual([])
  })
})

test('a key that reaches one space only creates files there, and none elsewhere', async ({ coredata }) => {
  const { users, space, folder, elsewhere, send } = coredata
  const scope = [{ actions: actionSet(['list', 'read', 'create']), nodeId: space.spaceId }]
  const holder = { principalId: users.editor.user.id, name: 'narrow', scope }
  const { secret } = await createToken(users.editor.ctx, holder)
  const create = (parent: string) => {
    const form = formOf([...fieldParts({ filename: 'a.txt', title: 'A', parent }), contentPart()])
    return send('POST', files, { ...form, headers: { ...form.headers, authorization: `apikey editor:${secret}` } })
  }

  expect(await create(folder.id)).toMatchObject({ status: 201 })
  expect(await create(elsewhere.filespace)).toMatchObject({ status: 400 })
  expect(await inFolder(coredata)).toEqual(['a.txt'])
})
