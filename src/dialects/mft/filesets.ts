/** Files by the number of their content. */
import { sendFile } from './content.ts'
import { op, refusals } from './errors.ts'
import { deleteOpened, openFileset } from './open.ts'
import { Fileset, Ok } from './schemas.ts'

const shared = {
  path: '/fileset/{id}',
  routes: ['/fileset', '/fileset/*'],
  tag: 'Fileset',
  params: Fileset,
}

const refusalsOf = (right: string) => ({
  400: 'No number, or none that could be one.',
  401: refusals[401],
  403: refusals[403](right),
  404: refusals.fileset,
})

export const filesetOperations = [
  op({
    id: 'downloadFileset',
    method: 'GET',
    ...shared,
    summary: 'Download by fileset ID',
    reply: { content: 'application/octet-stream' },
    refusals: refusalsOf('read'),
    handler: async call => sendFile(call, await openFileset(call.ctx, call.request, 'read')),
  }),
  op({
    id: 'deleteFileset',
    method: 'DELETE',
    ...shared,
    summary: 'Delete by fileset ID',
    reply: Ok,
    refusals: refusalsOf('delete'),
    handler: ({ ctx, request }) => deleteOpened(ctx, () => openFileset(ctx, request, 'delete')),
  }),
]
