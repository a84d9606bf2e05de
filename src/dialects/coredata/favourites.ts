/** The caller's own favourite files. */
import { addFavourite, removeFavourite } from '#core/favourites.ts'
import { searchFiles } from '#core/file-search.ts'
import { getFileByUid } from './containers.ts'
import { op, refusals } from './errors.ts'
import { FileList, presentFiles } from './file.ts'
import { ListQuery, presentList, readPage } from './list-query.ts'
import { FilePath } from './schemas.ts'

const tag = 'Neighbours'
const onOne = {
  path: '/api/v2/user/files/favourites/{file_id}/',
  tag,
  params: FilePath,
  status: 204,
  reply: 'empty',
  refusals: { 401: refusals[401], 404: refusals[404] },
} as const

export const favouriteOperations = [
  op({
    id: 'listFavouriteFiles',
    method: 'GET',
    path: '/api/v2/user/files/favourites/',
    tag,
    summary: 'List favourite files',
    description: 'Oldest file first.',
    query: ListQuery,
    queryAsText: true,
    reply: FileList,
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const { total, rows } = await searchFiles(ctx, { favourites: true, ...page })
      return presentList(request, page, { total, objects: await presentFiles(ctx, rows) })
    },
  }),
  op({
    ...onOne,
    id: 'addFavouriteFile',
    method: 'PUT',
    summary: 'Mark a file as favourite',
    description: 'Repeating changes nothing.',
    handler: async ({ ctx, params, reply }) => {
      const { id } = await getFileByUid(ctx, params.file_id)
      await addFavourite(ctx, { nodeId: id })
      return reply.code(204).send()
    },
  }),
  op({
    ...onOne,
    id: 'removeFavouriteFile',
    method: 'DELETE',
    summary: 'Unmark a favourite file',
    description: 'A file that is none stays none.',
    handler: async ({ ctx, params, reply }) => {
      const { id } = await getFileByUid(ctx, params.file_id)
      await removeFavourite(ctx, { nodeId: id })
      return reply.code(204).send()
    },
  }),
]
