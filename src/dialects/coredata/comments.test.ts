import { describe, expect } from 'vitest'
import { setGrant } from '#core/grants.ts'
import { test, type Caller, type CoredataWorld } from '#test/coredata-world.ts'

const comments = '/api/v2/comments/'

async function texts({ send }: CoredataWorld, as: Caller, query = ''): Promise<string[]> {
  const { body } = await send('GET', comments + query, { as })
  return (body as { objects: { text: string }[] }).objects.map(({ text }) => text)
}

describe('createComment', () => {
  test('writes what everybody who may list the file reads', async ({ coredata }) => {
    const document = await coredata.file(coredata.folder.nodeId)
    const json = { document: document.toUpperCase(), text: 'Please check page 2.\n💡', more: 1 }
    const made = await coredata.send('POST', comments, { as: 'reader', json })
    expect(made).toMatchObject({ status: 201, raw: Buffer.alloc(0) })
    const { body } = await coredata.send('GET', comments, { as: 'editor' })
    expect((body as { objects: object[] }).objects).toEqual([
      {
        created: expect.stringMatching(/^2026-01-05T08:0\d:\d\d$/) as string,
        created_by: coredata.users.reader.user.name,
        document,
        id: String(made.headers.location).slice(comments.length, -1),
        resource_uri: made.headers.location,
        text: 'Please check page 2.\n💡',
        type: 'Comment',
      },
    ])
  })

  test.for([
    [{ text: '' }, 'text'],
    [{ text: 7 }, 'text'],
    [{ text: 'x'.repeat(10_001) }, 'text'],
    [{ text: 'a\0b' }, 'text'],
    [{ document: 7 }, 'document'],
    [{ document: 'x' }, 'document'],
    [{ document: 'e139a8ac-7368-11ee-b992-57663b1559fb' }, 'document'],
  ] as const)('%j is refused in its own field and changes nothing', async ([said, field], { coredata }) => {
    const document = await coredata.file(coredata.folder.nodeId)
    const before = await coredata.world.events()
    const answer = await coredata.send('POST', comments, { as: 'editor', json: { document, text: 'x', ...said } })
    expect(answer).toMatchObject({ status: 400, body: { comments: { [field]: [expect.any(String)] } } })
    expect(await coredata.world.events()).toEqual(before)
  })

  test('is about files that the caller can see', async ({ coredata }) => {
    const { folder, project } = coredata
    const file = await coredata.file(folder.nodeId)
    const calls: [Caller, string][] = [
      ['stranger', file],
      ['editor', folder.id],
      ['editor', project.id],
    ]
    for (const [as, document] of calls) {
      const answer = await coredata.send('POST', comments, { as, json: { document, text: 'x' } })
      expect(answer).toMatchObject({ status: 400, body: { comments: { document: ['Unknown file.'] } } })
    }
  })

  test('takes the right to read the file', async ({ coredata }) => {
    const { world, space, users } = coredata
    const document = await coredata.file(coredata.folder.nodeId)
    await setGrant(world.system, { nodeId: space.spaceId, subjectId: users.stranger.user.id, actions: ['list'] })
    const answer = await coredata.send('POST', comments, { as: 'stranger', json: { document, text: 'x' } })
    expect(answer).toMatchObject({ status: 400, body: { error: 'You may not create this here.' } })
    expect(await texts(coredata, 'editor')).toEqual([])
  })
})

describe('listComments', () => {
  test('shows those on files that the caller may list, oldest first, or those on one file', async ({ coredata }) => {
    const { folder, space } = coredata
    const [a, b] = [await coredata.file(folder.nodeId, 'a.txt'), await coredata.file(space.spaceId, 'b.txt')]
    for (const [document, text] of [
      [a, 'one'],
      [b, 'two'],
      [a, 'three'],
    ]) {
      await coredata.make('comments', { document, text })
    }
    expect(await texts(coredata, 'reader')).toEqual(['one', 'two', 'three'])
    expect(await texts(coredata, 'reader', '?limit=1&offset=1')).toEqual(['two'])
    expect(await texts(coredata, 'reader', `?document=${a}`)).toEqual(['one', 'three'])
    expect(await texts(coredata, 'stranger')).toEqual([])
    expect(await texts(coredata, 'stranger', `?document=${a}`)).toEqual([])
  })

  test('what is no file has no comments', async ({ coredata }) => {
    await coredata.make('comments', { document: await coredata.file(coredata.folder.nodeId), text: 'x' })
    for (const document of [coredata.folder.id, coredata.space.id, 'e139a8ac-7368-11ee-b992-57663b1559fb', 'x', '']) {
      expect(await texts(coredata, 'editor', `?document=${document}`)).toEqual([])
    }
  })
})
