/** The OpenAPI 3.1 document of a dialect, made from its rows. */
import { Type as T, type Static, type TObject, type TSchema } from 'typebox'
import { mediaTypes } from './request-body.ts'
import type { Operation } from './operation.ts'

/** What a dialect says about itself beyond its rows. */
export interface DialectDescription {
  /** In addresses: `mft`. */
  name: string
  title: string
  version: string
  summary: string
  /** Path below which all rows lie. */
  prefix: string
  tags: Record<string, string>
  /** OpenAPI security schemes; a caller needs all of them, unless one will do. */
  security: Record<string, SecurityScheme>
  securityNeeds?: 'all' | 'any'
  /** Shape of every refusal; or, by status and operation, its shape in each media type: none where it has no body. */
  refusal: TSchema | RefusalShapes
  /** Headers that every refusal has, and what they hold. */
  refusalHeaders?: Record<string, string>
  operations: readonly Operation[]
}

export type RefusalShapes = (status: number, operation: Operation) => Record<string, TSchema>

export type SecurityScheme = { description: string } & (
  { type: 'apiKey'; in: 'cookie' | 'header'; name: string } | { type: 'http'; scheme: 'bearer'; bearerFormat: string }
)

type Json = string | number | boolean | null | undefined | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

export function openApi(dialect: DialectDescription): JsonObject {
  const components: Components = { schemas: {} }
  const paths: Record<string, JsonObject> = {}
  for (const operation of dialect.operations) {
    const add = (method: string, path: string, described: JsonObject) => {
      const entry = (paths[dialect.prefix + path] ??= {})
      entry[method.toLowerCase()] = described
    }
    const described = describe(operation, dialect, components)
    add(operation.method, operation.path, described)
    for (const [index, { method, path }] of (operation.aliases ?? []).entries())
      add(method, path, { ...described, ...aliasOf(operation, index + 1) })
  }
  return {
    openapi: '3.1.0',
    info: { title: dialect.title, version: dialect.version, summary: dialect.summary },
    servers: [{ url: '/' }],
    security: securityOf(dialect),
    tags: Object.entries(dialect.tags).map(([name, description]) => ({ name, description })),
    paths,
    components: { ...components, securitySchemes: plain(dialect.security) },
  }
}

function securityOf({ security, securityNeeds = 'all' }: DialectDescription): Json {
  const needs = Object.keys(security).map(name => ({ [name]: [] }))
  return securityNeeds === 'any' ? needs : [Object.assign({}, ...needs) as JsonObject] // of such objects
}

/** What tells a further way to an operation from the first one. */
const aliasOf = ({ id, method, path }: Operation, number: number): JsonObject => ({
  operationId: `${id}Alias${number}`,
  deprecated: true,
  description: `The same as ${method} ${path}.`,
})

interface Components {
  schemas: JsonObject
  [section: string]: Json
}

function describe(operation: Operation, dialect: DialectDescription, components: Components): JsonObject {
  const { refusal, refusalHeaders } = dialect
  const { id, tag, summary, description, access = 'user' } = operation
  const parameters = parametersOf(operation, components)
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description && { description }),
    ...(access === 'public' && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(operation.body && { requestBody: bodyOf(operation.body, components) }),
    responses: {
      ...successesOf(operation, components),
      ...Object.fromEntries(
        Object.entries(operation.refusals).map(([status, cause]) => {
          const shapes = typeof refusal === 'function' ? refusal(Number(status), operation) : jsonOf(refusal)
          return [status, { description: cause, ...headersOf(refusalHeaders), ...contentOf(shapes, components) }]
        }),
      ),
    },
  }
}

const jsonOf = (schema: TSchema) => ({ 'application/json': schema })

/** Nothing where there is no body at all. */
function contentOf(shapes: Record<string, TSchema>, components: Components): JsonObject {
  const described = Object.entries(shapes).map(([type, schema]) => [type, { schema: schemaOf(schema, components) }])
  return described.length === 0 ? {} : { content: Object.fromEntries(described) as JsonObject } // entries as built above
}

function bodyOf(body: NonNullable<Operation['body']>, components: Components): JsonObject {
  if (body.kind === 'binary') return { required: body.required, content: { [body.mediaType]: { schema: bytes } } }
  const encoding = body.kind === 'multipart' ? Object.entries(body.encoding ?? {}) : []
  return {
    required: true,
    content: {
      [mediaTypes[body.kind]]: {
        schema: schemaOf(body.schema, components),
        ...(encoding.length > 0 && {
          encoding: Object.fromEntries(encoding.map(([name, contentType]) => [name, { contentType }])),
        }),
      },
    },
  }
}

function successesOf(operation: Operation, components: Components): JsonObject {
  const { reply, headers, summary, status = 200, otherReplies = {} } = operation
  const success: JsonObject = {
    description: `${summary}: done.`,
    ...headersOf(headers),
    ...contentOf(shapesOf(operation), components),
  }
  const hasRanges = reply !== 'empty' && 'content' in reply && reply.ranges === true
  const others = Object.entries(otherReplies).map(([other, { description, reply: shape }]) => [
    other,
    { description, ...contentOf(jsonOf(shape), components) },
  ])
  return {
    [status]: success,
    ...(Object.fromEntries(others) as JsonObject), // entries as built above
    ...(hasRanges && { 206: { ...success, description: `${summary}: a part of it.` } }),
  }
}

function headersOf(headers: Record<string, string> = {}): JsonObject {
  const described = Object.entries(headers).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  return described.length === 0 ? {} : { headers: Object.fromEntries(described) as JsonObject } // entries as built above
}

function shapesOf({ reply, alternatives = {} }: Operation): Record<string, TSchema> {
  if (reply === 'empty') return alternatives
  return { ...('content' in reply ? { [String(reply.content)]: bytes } : jsonOf(reply)), ...alternatives }
}

const bytes = { type: 'string', format: 'binary' }

function parametersOf({ params, query, requestHeaders = {} }: Operation, components: Components): Json[] {
  const of = (place: 'path' | 'query', schema: TObject | undefined) => {
    const needed: readonly string[] = schema?.required ?? []
    return Object.entries(schema?.properties ?? {}).map(([name, property]) => {
      const { description, ...rest } = schemaOf(property, components)
      const required = place === 'path' || needed.includes(name)
      return { name, in: place, required, ...(description !== undefined && { description }), schema: rest }
    })
  }
  const headers = Object.entries(requestHeaders).map(([name, given]) => {
    const schema = typeof given === 'string' ? T.String({ description: given }) : given
    const { description, ...rest } = schemaOf(schema, components)
    return { name, in: 'header', ...(description !== undefined && { description }), schema: rest }
  })
  return [...of('path', params), ...of('query', query), ...headers]
}

/** A schema with a title is a component, described once. */
function schemaOf(schema: TSchema, components: Components): JsonObject {
  return lift(plain(schema) as JsonObject, components) as JsonObject // an object in, an object out
}

function lift(value: Json, components: Components): Json {
  if (Array.isArray(value)) return value.map(entry => lift(entry, components))
  if (typeof value !== 'object' || value === null) return value
  const { title, ...rest } = mapValues(value, entry => lift(entry, components))
  if (typeof title !== 'string') return { ...rest, ...(title !== undefined && { title }) }
  components.schemas[title] = rest
  return { $ref: `#/components/schemas/${title}` }
}

const SHOWN = Symbol('shown')

/** A schema that takes more than is documented. */
export const documentedAs = <S extends TSchema>(shown: TSchema, checked: S) =>
  T.Unsafe<Static<S>>({ ...checked, [SHOWN]: shown })

const shownOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && SHOWN in value ? value[SHOWN] : value

/** Without what TypeBox hides in its schemas. */
const plain = (value: object): Json => JSON.parse(JSON.stringify(value, (_key, entry) => shownOf(entry))) as Json // JSON by construction

const mapValues = (values: JsonObject, map: (value: Json) => Json): JsonObject =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, map(value)]))
