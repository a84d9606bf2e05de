/** The CoreData Files API: document filing in spaces, projects and folders. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type as T } from 'typebox'
import type { Deps } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { rawPath } from '#http/addresses.ts'
import { asDomainError, translate } from '#http/errors.ts'
import type { DialectDescription, RefusalShapes } from '#http/openapi.ts'
import { mount, refuseOtherMethods, type Operation } from '#http/operation.ts'
import { answerErrors } from '#http/refusals.ts'
import { authenticateBy } from './auth.ts'
import { blobOperations } from './blobs.ts'
import { commentOperations } from './comments.ts'
import { contactOperations } from './contacts.ts'
import { contentOperations } from './content.ts'
import { errorTable, internalError, noOperation, type Refusal } from './errors.ts'
import { favouriteOperations } from './favourites.ts'
import { FieldsRefused, PageRefused, REQUIRED, type FieldErrors } from './field-errors.ts'
import { fileOperations } from './files.ts'
import { folderOperations } from './folders.ts'
import { projectOperations } from './projects.ts'
import { spaceOperations } from './spaces.ts'
import { storageOperations } from './storage.ts'

export interface CoredataOptions {
  deps: Deps
  /** What addresses in answers begin with; by default what the client used. */
  publicUrl?: string | undefined
}

/** Everything this API answers. */
const operationsOf = (options: { publicUrl: string | undefined }): readonly Operation<Refusal>[] => [
  ...fileOperations,
  ...contentOperations(options),
  ...blobOperations(options),
  ...storageOperations,
  ...spaceOperations,
  ...projectOperations,
  ...folderOperations,
  ...contactOperations,
  ...favouriteOperations,
  ...commentOperations,
]

const ErrorShape = T.Object({ error: T.String() }, { title: 'Error' })
const ValidationError = T.Unsafe<Record<string, FieldErrors>>({
  title: 'ValidationError',
  description: 'Resource name to field to messages.',
  type: 'object',
  additionalProperties: { type: 'object', additionalProperties: { type: 'array', items: { type: 'string' } } },
})
const inputRefused = T.Union([ErrorShape, ValidationError])

/** Under signed addresses refusals are XML; elsewhere JSON, where there is something to say. */
const refusalShapes: RefusalShapes = (status, { path }) => {
  if (path.startsWith('/laika/')) return status === 416 ? {} : { 'application/xml': T.String() }
  if ([401, 403, 404].includes(status)) return {}
  return { 'application/json': status === 400 ? inputRefused : ErrorShape }
}

export const coredataDescription: DialectDescription = {
  name: 'coredata',
  title: 'CoreData Files API',
  version: '2',
  summary: 'Files of projects, folders and filespaces.',
  prefix: '',
  tags: {
    Files: 'Files.',
    Blobs: 'Content uploaded ahead.',
    Storage: 'Signed content addresses.',
    Neighbours: 'Resources that the flows of files lean on.',
  },
  security: {
    apikeyV2: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'apikey USER:KEY' },
    apikeyV3: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'apikey KEY' },
  },
  securityNeeds: 'any',
  refusal: refusalShapes,
  operations: operationsOf({ publicUrl: undefined }),
}

/** Where this API lies; other APIs may have paths below, which win. */
const PREFIXES = ['/api/v2', '/api/v3', '/laika']

/** Serves the API. */
export async function coredata(app: FastifyInstance, { deps, publicUrl }: CoredataOptions): Promise<void> {
  const operations = operationsOf({ publicUrl })
  for (const prefix of PREFIXES) {
    const below = operations.filter(({ path }) => path.startsWith(`${prefix}/`))
    const rows = below.map(row => ({ ...row, path: row.path.slice(prefix.length) }))
    await app.register(async scope => serve(scope, deps, rows), { prefix })
  }
}

function serve(scope: FastifyInstance, deps: Deps, operations: readonly Operation<Refusal>[]): void {
  answerErrors(scope, { refusalOf, noOperation, answer: refuse })
  const trailingSlash = 'required'
  mount(scope, { operations, authenticate: authenticateBy(deps), trailingSlash, answers: 'as-built' })
  refuseOtherMethods(scope, operations, (reply, allowed) => reply.code(405).header('allow', allowed.join(', ')).send())
}

function refusalOf(request: FastifyRequest, error: unknown): Refusal {
  if (error instanceof PageRefused) return { status: 400, body: { error: error.message } }
  if (error instanceof FieldsRefused) return { status: 400, body: { [error.resource]: error.fields } }
  if ((error as Partial<FastifyError>).validationContext === 'params') return noOperation
  const fields = wrongFields(error)
  if (fields) return { status: 400, body: { [resourceOf(request)]: fields } }
  const known = isOtherType(error) ? otherType : asDomainError(error)
  return known ? translate(errorTable, known, ownWords(request)) : internalError
}

/** Fastify itself refuses a content type that is none. */
const isOtherType = (error: unknown) => (error as Partial<FastifyError>).statusCode === 415
const otherType = new DomainError('invalid-input', { field: 'content-type', rule: 'malformed' })

/** Rows know no dialect's type of answers; those routed here are ours. */
const ownWords = ({ routeOptions }: FastifyRequest) => routeOptions.config.row?.errors as Operation<Refusal>['errors']

/** The noun of the path: `/api/v2/files/…` is about files. */
const resourceOf = (request: FastifyRequest) => rawPath(request).split('/')[3] ?? ''

/** What a body that does not fit its schema lacks; undefined for any other error, and for a body that is no object. */
function wrongFields(error: unknown): FieldErrors | undefined {
  const { validation, validationContext } = error as Partial<FastifyError>
  if (validationContext !== 'body' || !validation) return undefined
  const fields: FieldErrors = {}
  for (const { instancePath, keyword, params, message = 'is not valid' } of validation) {
    const missing = keyword === 'required' ? String(params['missingProperty']) : undefined
    const name = missing ?? instancePath.split('/')[1]
    if (!name) return undefined
    fields[name] = [missing || keyword === 'minLength' ? REQUIRED : `This value ${message}.`]
  }
  return fields
}

function refuse(_request: FastifyRequest, reply: FastifyReply, { status, body, retryAfter }: Refusal) {
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  if (!body) return reply.code(status).send()
  return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body))
}
