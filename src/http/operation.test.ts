import Fastify, { type FastifyError } from 'fastify'
import { Type as T } from 'typebox'
import { describe, expect, test } from 'vitest'
import { DomainError } from '#core/errors.ts'
import { asDomainError } from './errors.ts'
import { mount, refuseOtherMethods, rowsOf, type Authenticate, type Operation } from './operation.ts'
import { binary, form, json } from './request-body.ts'

const op = rowsOf<string>()
const common = { tag: 't', summary: 's', refusals: {} }
const Echo = T.Object({ values: T.Unknown() })

const rows = [
  op({
    id: 'query',
    method: 'GET',
    path: '/query/{id}',
    ...common,
    params: T.Object({ id: T.Integer() }),
    query: T.Object({
      n: T.Optional(T.Integer({ minimum: 0, default: 7 })),
      yes: T.Optional(T.Boolean()),
      text: T.Optional(T.String()),
    }),
    reply: Echo,
    handler: async ({ params, query }) => ({ values: { ...params, ...query }, secret: 'hash' }),
  }),
  op({
    id: 'json',
    method: 'POST',
    path: '/json',
    ...common,
    body: json(T.Object({ n: T.Integer() }), { limitBytes: 50 }),
    status: 201,
    reply: Echo,
    handler: async ({ body }) => ({ values: body }),
  }),
  op({
    id: 'form',
    method: 'POST',
    path: '/form',
    ...common,
    access: 'public',
    body: form(T.Object({ a: T.String() })),
    reply: Echo,
    handler: async ({ body }) => ({ values: body }),
  }),
]

const authenticate: Authenticate = async (request, access) => {
  if (access === 'user' && !request.headers.authorization) throw new DomainError('not-signed-in', { reason: 'missing' })
  return undefined as never // no row here looks at it
}

function serve(options: { trailingSlash?: 'same' | 'redirect'; answers?: 'by-schema' | 'as-built' } = {}) {
  const app = Fastify()
  app.setErrorHandler((error: FastifyError, _request, reply) =>
    reply.code(499).send({ code: asDomainError(error)?.code ?? 'fault' }),
  )
  const operations: readonly Operation<string>[] = rows
  mount(app, { operations, authenticate, trailingSlash: 'same', answers: 'by-schema', ...options })
  return async (method: 'GET' | 'POST' | 'HEAD', url: string, payload?: string, type?: string) => {
    const headers = { authorization: 'x', ...(type !== undefined && { 'content-type': type }) }
    const {
      statusCode,
      body,
      headers: sent,
    } = await app.inject({ method, url, headers, ...(payload !== undefined && { payload }) })
    return { statusCode, body, location: sent.location }
  }
}

/** Rows whose paths end in a slash, one of which has no body to answer with. */
function serveSlashed() {
  const app = Fastify()
  app.setErrorHandler((error: FastifyError, _request, reply) => reply.code(400).send(error.validation))
  const operations: readonly Operation<string>[] = [
    op({
      id: 'list',
      method: 'GET',
      path: '/things/',
      ...common,
      query: T.Object({ limit: T.Optional(T.Integer({ minimum: 0 })) }),
      queryAsText: true,
      reply: Echo,
      handler: async ({ query }) => ({ values: query }),
    }),
    op({
      id: 'make',
      method: 'POST',
      path: '/things/',
      ...common,
      body: json(T.Object({ n: T.Integer(), text: T.String() })),
      status: 201,
      reply: 'empty',
      handler: async ({ reply }) => reply.header('location', '/things/7/').send(),
    }),
    op({
      id: 'store',
      method: 'PUT',
      path: '/blobs/{id}',
      ...common,
      body: binary('*/*'),
      status: 204,
      reply: 'empty',
      handler: async ({ reply }) => reply.send(),
    }),
  ]
  mount(app, { operations, authenticate, trailingSlash: 'required', answers: 'as-built' })
  refuseOtherMethods(app, operations, (reply, allowed) => reply.code(405).header('allow', allowed.join(', ')).send())
  return (method: string, url: string, payload?: string, type = 'application/json') =>
    app.inject({
      method: method as 'GET', // whatever the test sends
      url,
      headers: { authorization: 'x', 'content-type': type },
      ...(payload !== undefined && { payload }),
    })
}

describe('paths with a slash at the end', () => {
  test('without it every method leads there, before the body is read or anybody signs in', async () => {
    const send = serveSlashed()
    for (const method of ['GET', 'HEAD', 'POST', 'PATCH', 'OPTIONS']) {
      const answer = await send(method, '/things?x=/%2F', method === 'GET' ? undefined : '{')
      expect(answer, method).toMatchObject({ statusCode: 301, headers: { location: '/things/?x=/%2F' } })
    }
  })

  test('rows that have none keep to that', async () => {
    const send = serveSlashed()
    expect(await send('PUT', '/blobs/1', 'x', 'image/png')).toMatchObject({ statusCode: 204, body: '' })
    expect((await send('PUT', '/blobs/1/', 'x')).statusCode).toBe(404)
  })
})

describe('refuseOtherMethods', () => {
  test('says which methods a path has', async () => {
    const send = serveSlashed()
    expect(await send('DELETE', '/things/')).toMatchObject({ statusCode: 405, headers: { allow: 'GET, HEAD, POST' } })
    expect(await send('GET', '/blobs/1')).toMatchObject({ statusCode: 405, headers: { allow: 'PUT' } })
    expect((await send('HEAD', '/things/')).statusCode).toBe(200)
  })
})

describe('mount', () => {
  test('a query that is read as text is not checked', async () => {
    expect((await serveSlashed()('GET', '/things/?limit=x&limit=-1')).json()).toEqual({
      values: { limit: ['x', '-1'] },
    })
  })

  test('an answer without a body has its status and headers', async () => {
    const answer = await serveSlashed()('POST', '/things/', '{"n":1,"text":""}')
    expect(answer).toMatchObject({
      statusCode: 201,
      body: '',
      headers: { location: '/things/7/', 'content-length': '0' },
    })
  })

  test('everything that is wrong with a body is told', async () => {
    const { body } = await serveSlashed()('POST', '/things/', '{"n":"1"}')
    const wrong = JSON.parse(body) as { keyword: string }[]
    expect(wrong.map(({ keyword }) => keyword)).toEqual(['required', 'type'])
  })

  test('texts of addresses become what the schema says, plainly written numbers only', async () => {
    const send = serve()
    expect(JSON.parse((await send('GET', '/query/5?yes=true&text=1')).body)).toEqual({
      values: { id: 5, n: 7, yes: true, text: '1' },
    })
    for (const bad of ['n=', 'n=0x10', 'n=1e3', 'n=-1', 'n=1.5', 'n=%201', 'n=1&n=2', 'yes=1']) {
      expect(await send('GET', `/query/5?${bad}`), bad).toMatchObject({ body: '{"code":"invalid-input"}' })
    }
  })

  test('bodies are not coerced', async () => {
    const send = serve()
    expect(await send('POST', '/json', '{"n":1}', 'application/json; charset=utf-8')).toMatchObject({
      statusCode: 201,
      body: '{"values":{"n":1}}',
    })
    for (const bad of ['{"n":"1"}', '{"n":true}', '{}', '', '[', `{"n":1,"x":"${'y'.repeat(60)}"}`]) {
      expect(await send('POST', '/json', bad, 'application/json'), bad).toMatchObject({
        body: '{"code":"invalid-input"}',
      })
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense', undefined]) {
      expect(await send('POST', '/json', '{"n":1}', type)).toMatchObject({ body: '{"code":"invalid-input"}' })
    }
  })

  test('of a repeated form field the first counts', async () => {
    expect(await serve()('POST', '/form', 'a=1&a=2&b=3', 'application/x-www-form-urlencoded')).toMatchObject({
      body: '{"values":{"a":"1","b":"3"}}',
    })
  })

  test('only fields of the schema leave, unless the dialect answers as built', async () => {
    expect((await serve()('GET', '/query/5')).body).not.toContain('secret')
    expect((await serve({ answers: 'as-built' })('GET', '/query/5')).body).toContain('secret')
  })

  test('a slash at the end is the same, or leads away from it', async () => {
    expect((await serve()('GET', '/query/5/')).statusCode).toBe(200)
    expect(await serve({ trailingSlash: 'redirect' })('GET', '/query/5/?n=1')).toMatchObject({
      statusCode: 308,
      location: '/query/5?n=1',
    })
  })

  test('a HEAD answers as its GET', async () => {
    expect(await serve()('HEAD', '/query/5')).toMatchObject({ statusCode: 200, body: '' })
  })

  test('strangers are refused before their body is read', async () => {
    const app = Fastify()
    app.setErrorHandler((error: FastifyError, _request, reply) => reply.code(401).send(asDomainError(error)?.code))
    mount(app, {
      operations: rows as readonly Operation<string>[],
      authenticate,
      trailingSlash: 'same',
      answers: 'by-schema',
    })
    expect(
      await app.inject({ method: 'POST', url: '/json', payload: '[', headers: { 'content-type': 'x' } }),
    ).toMatchObject({ body: 'not-signed-in' })
    expect(
      await app.inject({ method: 'POST', url: '/form', payload: '', headers: { 'content-type': 'x' } }),
    ).toMatchObject({ body: 'invalid-input' })
  })
})
