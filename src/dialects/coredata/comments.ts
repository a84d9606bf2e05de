/** Comments on files. */
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { commentFile, listComments, type Comment as CoreComment } from '#core/messages.ts'
import type { Node } from '#core/nodes.ts'
import { json } from '#http/request-body.ts'
import { getFileByUid } from './containers.ts'
import { presentTime } from './document.ts'
import { fieldErrors, op, refusals } from './errors.ts'
import { FieldsRefused } from './field-errors.ts'
import { listOf, paging, presentList, readPage, textOf } from './list-query.ts'

const Comment = T.Object({
  created: T.String({ pattern: String.raw`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$` }),
  created_by: T.Union([T.String(), T.Null()]),
  document: T.String({ format: 'uuid', description: 'Commented document.' }),
  id: T.String({ format: 'uuid' }),
  resource_uri: T.String(),
  text: T.String(),
  type: T.Literal('Comment'),
})

const CommentCreate = T.Object({
  document: T.String({ format: 'uuid', description: 'File to comment.' }),
  text: T.String({ minLength: 1, maxLength: 10_000 }),
})

const tag = 'Neighbours'

export const commentOperations = [
  op({
    id: 'listComments',
    method: 'GET',
    path: '/api/v2/comments/',
    tag,
    summary: 'List comments',
    description: 'Oldest first; those on files that the caller may list.',
    query: T.Object({
      ...paging,
      document: T.Optional(T.String({ format: 'uuid', description: 'Commented document.' })),
    }),
    queryAsText: true,
    reply: listOf(Comment),
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const uid = textOf(query, 'document')
      const file = uid === undefined ? undefined : await findFile(ctx, uid)
      if (uid !== undefined && !file) return presentList(request, page, { total: 0, objects: [] })
      const { total, rows } = await listComments(ctx, { ...page, ...(file && { nodeId: file.id }) })
      return presentList(request, page, { total, objects: rows.map(presentComment) })
    },
  }),
  op({
    id: 'createComment',
    method: 'POST',
    path: '/api/v2/comments/',
    tag,
    summary: 'Comment a file',
    description: 'Takes the right to read the file.',
    body: json(CommentCreate),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new comment; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401] },
    errors: fieldErrors('comments', ['text']),
    handler: async ({ ctx, body: { document, text }, reply }) => {
      const file = await findFile(ctx, document)
      if (!file) throw new FieldsRefused('comments', { document: ['Unknown file.'] })
      const { id } = await commentFile(ctx, { nodeId: file.id, text })
      return reply.code(201).header('location', `/api/v2/comments/${id}/`).send()
    },
  }),
]

async function findFile(ctx: Ctx, uid: string): Promise<Node | undefined> {
  try {
    return await getFileByUid(ctx, uid)
  } catch (error) {
    if (isDomainError(error, 'not-found')) return undefined
    throw error
  }
}

const presentComment = ({ id, nodeUid, text, spaceTime, authorName }: CoreComment): Static<typeof Comment> => ({
  created: presentTime(spaceTime),
  created_by: authorName,
  document: nodeUid,
  id,
  resource_uri: `/api/v2/comments/${id}/`,
  text,
  type: 'Comment',
})
