/** The documentation that the server gives about itself: `/docs/`, a page and an OpenAPI document per dialect. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { dialectPage, indexPage, pagePolicy } from './docs-page.ts'
import { openApi, type DialectDescription } from './openapi.ts'

/** Routes the documentation of the dialects that are served. */
export function addDocs(app: FastifyInstance, dialects: readonly DialectDescription[]): void {
  const index = indexPage(dialects)
  app.get('/docs', async (_request, reply) => reply.redirect('/docs/', 308))
  app.get('/docs/', async (_request, reply) => sendPage(reply, index))
  for (const dialect of dialects) {
    const document = JSON.stringify(openApi(dialect), null, 2)
    const page = dialectPage(dialect)
    const path = `/docs/${dialect.name}`
    app.get(`${path}/openapi.json`, async (_request, reply) => reply.type('application/json').send(document))
    app.get(path, async (_request, reply) => reply.redirect(`${path}/`, 308))
    app.get(`${path}/`, async (_request, reply) => sendPage(reply, page))
  }
}

const sendPage = (reply: FastifyReply, page: string) =>
  reply.type('text/html; charset=utf-8').header('content-security-policy', pagePolicy).send(page)
