/** The OpenAPI 3.1 document of a dialect, made from its rows. */
import type { TObject, TSchema } from 'typebox'
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
  /** OpenAPI security schemes; a caller needs all of them. */
  security: Record<string, SecurityScheme>
  /** Shape of every refusal. */
  refusal: TSchema
  operations: readonly Operation[]
}

export interface SecurityScheme {
  type: 'apiKey'
  in: 'cookie' | 'header'
  name: string
  description: string
}

type Json = string | number | boolean | null | undefined | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

export function openApi(dialect: DialectDescription): JsonObject {
  const components: Components = { schemas: {} }
  const paths: Record<string, JsonObject> = {}
  for (const operation of dialect.operations) {
    const path = (paths[dialect.prefix + operation.path] ??= {})
    path[operation.method.toLowerCase()] = describe(operation, dialect, components)
  }
  return {
    openapi: '3.1.0',
    info: { title: dialect.title, version: dialect.version, summary: dialect.summary },
    servers: [{ url: '/' }],
    security: [Object.fromEntries(Object.keys(dialect.security).map(name => [name, []]))],
    tags: Object.entries(dialect.tags).map(([name, description]) => ({ name, description })),
    paths,
    components: { ...components, securitySchemes: plain(dialect.security) },
  }
}

interface Components {
  schemas: JsonObject
  [section: string]: Json
}

function describe(operation: Operation, { refusal }: DialectDescription, components: Components): JsonObject {
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
      [operation.status ?? 200]: successOf(operation, components),
      ...Object.fromEntries(
        Object.entries(operation.refusals).map(([status, cause]) => [
          status,
          { description: cause, content: { 'application/json': { schema: schemaOf(refusal, components) } } },
        ]),
      ),
    },
  }
}

function bodyOf(body: NonNullable<Operation['body']>, components: Components): JsonObject {
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

function successOf({ reply, alternatives = {}, headers, summary }: Operation, components: Components): JsonObject {
  const content: JsonObject =
    'content' in reply
      ? { [String(reply.content)]: { schema: { type: 'string', format: 'binary' } } }
      : { 'application/json': { schema: schemaOf(reply, components) } }
  for (const [type, schema] of Object.entries(alternatives)) content[type] = { schema: schemaOf(schema, components) }
  const described = Object.entries(headers ?? {}).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ])
  return {
    description: `${summary}: done.`,
    ...(described.length > 0 && { headers: Object.fromEntries(described) as JsonObject }), // entries as built above
    content,
  }
}

function parametersOf({ params, query }: Operation, components: Components): Json[] {
  const of = (place: 'path' | 'query', schema: TObject | undefined) => {
    const needed: readonly string[] = schema?.required ?? []
    return Object.entries(schema?.properties ?? {}).map(([name, property]) => {
      const { description, ...rest } = schemaOf(property, components)
      const required = place === 'path' || needed.includes(name)
      return { name, in: place, required, ...(description !== undefined && { description }), schema: rest }
    })
  }
  return [...of('path', params), ...of('query', query)]
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

/** Without what TypeBox hides in its schemas. */
const plain = (value: object): Json => JSON.parse(JSON.stringify(value)) as Json // JSON by construction

const mapValues = (values: JsonObject, map: (value: Json) => Json): JsonObject =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, map(value)]))
