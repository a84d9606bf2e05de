import Fastify from 'fastify'
import { describe, expect } from 'vitest'
import type { Ctx } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { createSpace } from '#core/spaces.ts'
import { test } from '#test/world.ts'
import { asDomainError } from './errors.ts'
import { answerErrors } from './refusals.ts'

/** An API of one operation that ends with `error`, and what it logged. */
function serve(ctx: Ctx | undefined, error: Error) {
  const logged: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: line => void logged.push(line) } } })
  app.decorateRequest('ctx', null as unknown as Ctx)
  answerErrors(app, {
    refusalOf: (_request, error) => ({ status: 500, code: 'fault', ...worded(error) }),
    noOperation: { status: 404, code: 'no-operation' },
    answer: (_request, reply, { status, code }) => reply.code(status).send({ code }),
  })
  app.get('/', async request => {
    if (ctx) request.ctx = ctx
    throw error
  })
  const get = async (url = '/') => {
    const { statusCode, body } = await app.inject({ url })
    return [statusCode, JSON.parse(body)]
  }
  return { get, logged }
}

function worded(error: unknown) {
  const known = asDomainError(error)
  return known && { status: known.code === 'busy' ? 503 : 403, code: known.code }
}

const forbidden = (nodeId: number) => new DomainError('forbidden', { action: 'read', nodeId })

describe('what ends in an error', () => {
  test('is worded and not logged when the client caused it, logged when we did', async ({ world }) => {
    const { ctx } = await world.user()
    const refused = serve(ctx, new DomainError('name-taken', { name: 'a', parentId: 1, by: 'file' }))
    expect(await refused.get()).toEqual([403, { code: 'name-taken' }])
    expect(refused.logged).toEqual([])
    expect(await refused.get('/elsewhere')).toEqual([404, { code: 'no-operation' }])
    const faulty = serve(ctx, new Error('broken'))
    expect(await faulty.get()).toEqual([500, { code: 'fault' }])
    expect(faulty.logged).toEqual([expect.stringContaining('broken')])
    expect(await world.events()).toEqual([])
  })

  test('is audited with its place when a right was missing', async ({ world }) => {
    const space = await createSpace(world.system, { name: 's' })
    const { ctx, user } = await world.user()
    expect(await serve(ctx, forbidden(space.id)).get()).toEqual([403, { code: 'forbidden' }])
    const event = await world.deps.database.read
      .selectFrom('event')
      .selectAll()
      .orderBy('id', 'desc')
      .executeTakeFirstOrThrow()
    const place = { spaceId: space.id, subject1: `node:${space.id}`, facts: '{"action":"read"}' }
    expect(event).toMatchObject({ type: 'access.refused', outcome: 'refused', actorId: user.id, ...place })
  })

  test('is an outage when it cannot be audited', async ({ world, open }) => {
    const { ctx } = await world.user()
    const database = await open(world.folder)
    await database.close()
    const { get, logged } = serve({ ...ctx, db: database.read, database }, forbidden(1))
    expect((await get())[0]).toBeGreaterThanOrEqual(500)
    expect(logged).toHaveLength(1)
  })

  test('needs nobody who acts', async () => {
    expect(await serve(undefined, forbidden(1)).get()).toEqual([403, { code: 'forbidden' }])
  })
})
