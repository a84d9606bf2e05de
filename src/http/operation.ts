/** A dialect is a table of operations: each row says what it is called, takes and answers, and which function does it. */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static, TObject, TSchema } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { rawPath } from './addresses.ts'
import { readBodies, type BodyOf, type RequestBody } from './request-body.ts'
import type { ErrorTable } from './errors.ts'

/** `public`: answers without a sign-in. */
export type Access = 'user' | 'public'

/** Makes the context of a request, or throws. Runs before the body is read, so that strangers cost nothing. */
export type Authenticate = (request: FastifyRequest, access: Access) => Promise<Ctx>

/** A body that the handler streams by itself. */
export interface ContentReply {
  content: string
  /** Parts of it are given too, with 206. */
  ranges?: true
}
/** `empty`: headers alone. */
type Reply = TSchema | ContentReply | 'empty'
type ReplyOf<R> = R extends ContentReply | 'empty' ? FastifyReply : R extends TSchema ? Static<R> | FastifyReply : never
type ValuesOf<S> = S extends TObject ? Static<S> : Record<never, never>

export interface Call<P, Q, B> {
  ctx: Ctx
  params: P
  query: Q
  body: B
  request: FastifyRequest
  reply: FastifyReply
}

export interface Alias {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH'
  path: string
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
  /** Further ways to it, in the form of method and path. */
  aliases?: readonly Alias[]
  tag: string
  summary: string
  description?: string
  access?: Access
  params?: P
  query?: Q
  /** The query reaches the handler as it came: an API with words of its own for what is wrong in one. */
  queryAsText?: boolean
  /** Headers that a request may have: what they hold, or a schema where more is to be said. For the documentation. */
  requestHeaders?: Record<string, string | TSchema>
  body?: B
  /** Of a success; 200 unless given. */
  status?: number
  reply: R
  /** Further successes by their status, as the handler chooses: what each means and looks like. */
  otherReplies?: Record<number, { description: string; reply: TSchema }>
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

/** Gives the function that types rows of a dialect whose errors become `A`, and which may say `More` of themselves. */
export const rowsOf =
  <A, More = unknown>() =>
  <
    const R extends Reply,
    const P extends TObject | undefined = undefined,
    const Q extends TObject | undefined = undefined,
    const B extends RequestBody | undefined = undefined,
  >(
    row: Operation<A, P, Q, B, R> & More,
  ) =>
    row

interface MountOptions {
  operations: readonly Operation[]
  authenticate: Authenticate
  /**
   * What a path with a trailing slash is: the same operation, or a redirect to the path without it. `required`: paths have
   * one, and without it lead there.
   */
  trailingSlash: 'same' | 'redirect' | 'required'
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
  for (const operation of operations.flatMap(withAliases)) {
    for (const url of operation.routes ?? routesOf(operation, trailingSlash)) route(app, operation, url, options)
    if (trailingSlash === 'redirect' && !operation.routes) redirect(app, operation)
  }
  if (trailingSlash === 'required') for (const { path } of onePerPath(operations)) addSlash(app, path)
}

const withAliases = (operation: Operation): Operation[] => [
  operation,
  ...(operation.aliases ?? []).map(alias => ({ ...operation, ...alias })),
]

const onePerPath = (operations: readonly Operation[]) => [...new Map(operations.map(row => [row.path, row])).values()]

const routerPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1')

const routesOf = ({ path }: Operation, trailingSlash: MountOptions['trailingSlash']) =>
  trailingSlash === 'same' ? [routerPath(path), `${routerPath(path)}/`] : [routerPath(path)]

function route(app: FastifyInstance, operation: Operation, url: string, { authenticate }: MountOptions): void {
  const { method, access = 'user', status = 200 } = operation
  const streams = isContent(operation.reply)
  app.route({
    // A streamed answer decides about HEAD itself; for others Fastify drops the body.
    method: streams && method === 'GET' ? ['GET', 'HEAD'] : method,
    exposeHeadRoute: !streams,
    url,
    config: { row: operation },
    schema: checkedParts(operation),
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

const isContent = (reply: Reply): reply is ContentReply => reply !== 'empty' && 'content' in reply

/** What Fastify checks before the handler and filters after it. Multipart and bare bodies are checked as they are read. */
function checkedParts({ params, routes, query, queryAsText, body, reply, status = 200 }: Operation) {
  return {
    ...(params && !routes && { params }),
    ...(query && !queryAsText && { querystring: query }),
    ...((body?.kind === 'json' || body?.kind === 'form') && { body: body.schema }),
    ...(reply !== 'empty' && !isContent(reply) && { response: { [status]: reply } }),
  }
}

/** A path of the table without its last slash leads to the path that has it, whatever the method: clients know no other status. */
function addSlash(app: FastifyInstance, path: string): void {
  if (!path.endsWith('/')) return
  app.route({
    method: app.supportedMethods,
    exposeHeadRoute: false,
    url: routerPath(path.slice(0, -1)),
    handler: async (request, reply) => {
      const query = /\?.*$/s.exec(request.originalUrl)?.[0] ?? ''
      return reply.redirect(`${rawPath(request)}/${query}`, 301)
    },
  })
}

/** Answers the methods that a path of the table does not have; `answer` gets those that it has. */
export function refuseOtherMethods(
  app: FastifyInstance,
  operations: readonly Operation[],
  answer: (reply: FastifyReply, allowed: readonly string[]) => FastifyReply,
): void {
  for (const [path, rows] of Map.groupBy(operations, row => row.path)) {
    const allowed: string[] = rows.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    app.route({
      method: app.supportedMethods.filter(method => !allowed.includes(method)),
      exposeHeadRoute: false,
      url: routerPath(path),
      handler: async (_request, reply) => answer(reply, allowed),
    })
  }
}

function redirect(app: FastifyInstance, { method, path }: Operation): void {
  app.route({
    method,
    url: `${routerPath(path)}/`,
    handler: async (request, reply) => reply.redirect(request.url.replace(/\/(?=$|\?)/, ''), 308),
  })
}

/** Schemas are ours and typed: to check them against the schema of schemas takes longer than to compile them all. */
const ajvOptions = { validateFormats: false, strict: false, validateSchema: false, meta: false }

/** Compilers of checks. Texts of addresses become numbers and truth values where the schema asks for them; bodies never do. */
function createChecks() {
  const ajv = new Ajv(ajvOptions)
  // Of a body, clients are told everything that is wrong with it.
  const thorough = new Ajv({ ...ajvOptions, allErrors: true })
  return (schema: TSchema, isText: boolean) => {
    if (!isText) return compiledLate(thorough, schema)
    const check = compiledLate(ajv, schema)
    const coerce = coercions(schema)
    return (values: Record<string, unknown>) => {
      coerce(values)
      return check(values) ? true : { error: new Error(ajv.errorsText(check.errors)) }
    }
  }
}

/** A check as the compiler makes it, but compiled by its first request: hundreds of them would make a slow start. */
function compiledLate(ajv: Ajv, schema: TSchema) {
  let validate: ValidateFunction | undefined
  const check = (values: unknown): boolean => {
    validate ??= ajv.compile(schema)
    const isValid = validate(values)
    check.errors = validate.errors ?? null
    return isValid
  }
  check.errors = null as ErrorObject[] | null
  return check
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
