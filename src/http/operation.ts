/** A dialect is a table of operations: each row says what it is called, takes and answers, and which function does it. */
import { Ajv } from 'ajv'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static, TObject, TSchema } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { readBodies, type BodyOf, type RequestBody } from './request-body.ts'
import type { ErrorTable } from './errors.ts'

/** `public`: answers without a sign-in. */
export type Access = 'user' | 'public'

/** Makes the context of a request, or throws. Runs before the body is read, so that strangers cost nothing. */
export type Authenticate = (request: FastifyRequest, access: Access) => Promise<Ctx>

/** A body that the handler streams by itself. */
export interface ContentReply {
  content: string
}
type Reply = TSchema | ContentReply
type ReplyOf<R> = R extends ContentReply ? FastifyReply : R extends TSchema ? Static<R> | FastifyReply : never
type ValuesOf<S> = S extends TObject ? Static<S> : Record<never, never>

export interface Call<P, Q, B> {
  ctx: Ctx
  params: P
  query: Q
  body: B
  request: FastifyRequest
  reply: FastifyReply
}

/** `A` is what the dialect's error table answers with. */
export interface Operation<
  A = unknown,
  P extends TObject | undefined = TObject | undefined,
  Q extends TObject | undefined = TObject | undefined,
  B extends RequestBody | undefined = RequestBody | undefined,
  R extends Reply = Reply,
> {
  /** The vendor's own name of it. */
  id: string
  method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH'
  /** As in OpenAPI, below the dialect's prefix: `/files/{path}/{file}`. */
  path: string
  /** What the router matches, where that is not what `path` says: a path of several segments needs a wildcard. */
  routes?: readonly string[]
  tag: string
  summary: string
  description?: string
  access?: Access
  params?: P
  query?: Q
  body?: B
  /** Of a success; 200 unless given. */
  status?: number
  reply: R
  /** What a success looks like in other media types; the handler chooses. */
  alternatives?: Record<string, TSchema>
  /** Headers of a success, and what they hold. */
  headers?: Record<string, string>
  /** Documented refusals: status and cause. */
  refusals: Record<number, string>
  /** Wording that differs from the dialect's. */
  errors?: Partial<ErrorTable<A>>
  handler(call: Call<ValuesOf<P>, ValuesOf<Q>, BodyOf<B>>): Promise<ReplyOf<R>>
}

declare module 'fastify' {
  interface FastifyRequest {
    ctx: Ctx
  }
  interface FastifyContextConfig {
    /** The row that a route comes from. */
    row?: Operation
  }
}

/** Gives the function that types rows of a dialect whose errors become `A`. */
export const rowsOf =
  <A>() =>
  <
    const R extends Reply,
    const P extends TObject | undefined = undefined,
    const Q extends TObject | undefined = undefined,
    const B extends RequestBody | undefined = undefined,
  >(
    row: Operation<A, P, Q, B, R>,
  ) =>
    row

interface MountOptions {
  operations: readonly Operation[]
  authenticate: Authenticate
  /** What a path with a trailing slash is: the same operation, or a redirect to the path without it. */
  trailingSlash: 'same' | 'redirect'
  /** What leaves: only fields of the schema, in an order of the serialiser; or what the presenter built, as it built it. */
  answers: 'by-schema' | 'as-built'
}

/** Routes the rows in the scope of `app`, with bodies, checks and answers as they say. */
export function mount(app: FastifyInstance, options: MountOptions): void {
  const { operations, trailingSlash, answers } = options
  // Null, not undefined: a decorated slot keeps the shape of request objects.
  app.decorateRequest('ctx', null as unknown as Ctx) // set by onRequest before anything reads it
  readBodies(app)
  if (answers === 'as-built') app.setSerializerCompiler(() => JSON.stringify)
  const check = createChecks()
  app.setValidatorCompiler(({ schema, httpPart }) => check(schema as TSchema, httpPart !== 'body'))
  for (const operation of operations) {
    for (const url of operation.routes ?? routesOf(operation, trailingSlash)) route(app, operation, url, options)
    if (trailingSlash === 'redirect' && !operation.routes) redirect(app, operation)
  }
}

const routerPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1')

const routesOf = ({ path }: Operation, trailingSlash: MountOptions['trailingSlash']) =>
  trailingSlash === 'same' ? [routerPath(path), `${routerPath(path)}/`] : [routerPath(path)]

function route(app: FastifyInstance, operation: Operation, url: string, { authenticate }: MountOptions): void {
  const { method, access = 'user', status = 200 } = operation
  const streams = 'content' in operation.reply
  app.route({
    // A streamed answer decides about HEAD itself; for others Fastify drops the body.
    method: streams && method === 'GET' ? ['GET', 'HEAD'] : method,
    exposeHeadRoute: !streams,
    url,
    config: { row: operation },
    schema: {
      ...(operation.params && !operation.routes && { params: operation.params }),
      ...(operation.query && { querystring: operation.query }),
      ...(operation.body && operation.body.kind !== 'multipart' && { body: operation.body.schema }),
      ...(!streams && { response: { [status]: operation.reply } }),
    },
    onRequest: async request => {
      request.ctx = await authenticate(request, access)
    },
    handler: async (request, reply) => {
      reply.code(status)
      // What the schemas above have checked is what the row's types say.
      const { ctx, params, query, body } = request as FastifyRequest & Call<never, never, never>
      return operation.handler({ ctx, params, query, body, request, reply })
    },
  })
}

function redirect(app: FastifyInstance, { method, path }: Operation): void {
  app.route({
    method,
    url: `${routerPath(path)}/`,
    handler: async (request, reply) => reply.redirect(request.url.replace(/\/(?=$|\?)/, ''), 308),
  })
}

/** Compilers of checks. Texts of addresses become numbers and truth values where the schema asks for them; bodies never do. */
function createChecks() {
  const ajv = new Ajv({ validateFormats: false, strict: false })
  return (schema: TSchema, isText: boolean) => {
    const validate = ajv.compile(schema)
    if (!isText) return validate
    const coerce = coercions(schema)
    return (values: Record<string, unknown>) => {
      coerce(values)
      return validate(values) ? true : { error: new Error(ajv.errorsText(validate.errors)) }
    }
  }
}

interface PlainSchema {
  type?: string
  default?: unknown
  properties?: Record<string, PlainSchema>
}

/** Plain decimal digits only: neither `0x10` nor `1e3` nor an empty text is a number. */
const INTEGER = /^-?\d{1,15}$/

function coercions(schema: PlainSchema) {
  const properties = Object.entries(schema.properties ?? {})
  return (values: Record<string, unknown>) => {
    for (const [name, property] of properties) {
      const value = values[name]
      if (value === undefined) {
        if (property.default !== undefined) values[name] = property.default
      } else if (property.type === 'integer' && typeof value === 'string' && INTEGER.test(value))
        values[name] = Number(value)
      else if (property.type === 'boolean' && (value === 'true' || value === 'false')) values[name] = value === 'true'
    }
  }
}
