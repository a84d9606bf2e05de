/** The SOFiE API: packages of files, sent to people. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Deps } from '#core/ctx.ts'
import { asDomainError, translate } from '#http/errors.ts'
import type { DialectDescription } from '#http/openapi.ts'
import { mount } from '#http/operation.ts'
import { answerErrors } from '#http/refusals.ts'
import { BodyTooLarge } from '#http/request-body.ts'
import { accessOperations } from './access.ts'
import { apiTokenOperations } from './api-tokens.ts'
import { authenticateBy } from './auth.ts'
import {
  bodyTooLarge,
  errorTable,
  internalError,
  noOperation,
  noSuchId,
  Refused,
  type Refusal,
  type SofieOperation,
} from './errors.ts'
import { fileOperations } from './files.ts'
import { folderOperations } from './folders.ts'
import { packageOperations } from './packages.ts'
import { ErrorShape } from './schemas.ts'
import { userGroupOperations } from './user-groups.ts'
import { userOperations } from './users.ts'

export interface SofieOptions {
  deps: Deps
}

const PREFIX = '/api/v2/user'
const REASON = 'X-Sofie-Response-Reason'

/** Everything this API answers. */
const operations: readonly SofieOperation[] = [
  ...packageOperations,
  ...accessOperations,
  ...folderOperations,
  ...fileOperations,
  ...userOperations,
  ...userGroupOperations,
  ...apiTokenOperations,
]

export const sofieDescription: DialectDescription = {
  name: 'sofie',
  title: 'SOFiE HTTP API',
  version: '2.5.0',
  summary: 'Secure exchange of file packages.',
  prefix: PREFIX,
  tags: {
    Packages: 'Packages.',
    'Access tokens': 'Short-lived proofs for protected packages.',
    Recipients: 'Recipients of a package.',
    Folders: 'Folders of a package.',
    Files: 'Files of a package.',
    Users: 'User accounts; administrators only.',
    'User groups': 'Groups with permissions; administrators only.',
    'API tokens': 'Tokens for this API; administrators only.',
  },
  security: {
    apiToken: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'Bearer and an API token of a user or an administrator',
    },
  },
  refusal: ErrorShape,
  refusalHeaders: { [REASON]: 'Why the request was refused.' },
  operations,
}

/** Serves the API below `/api/v2/user`; another API may have single paths there, which win. */
export async function sofie(app: FastifyInstance, { deps }: SofieOptions): Promise<void> {
  await app.register(
    async scope => {
      answerErrors(scope, { refusalOf, noOperation, answer })
      scope.addHook('preHandler', async request => lowerIds(request))
      mount(scope, { operations, authenticate: authenticateBy(deps), trailingSlash: 'same', answers: 'as-built' })
    },
    { prefix: PREFIX },
  )
}

/** Ids are stored in lower case; every parameter of a path here is one. */
function lowerIds(request: FastifyRequest): void {
  const params = request.params as Record<string, string> // texts, as routed
  for (const [name, id] of Object.entries(params)) params[name] = id.toLowerCase()
}

function refusalOf(request: FastifyRequest, error: unknown): Refusal {
  if (error instanceof Refused) return error.refusal
  if (error instanceof BodyTooLarge) return bodyTooLarge(`The body may have ${error.details.rule}`)
  if ((error as Partial<FastifyError>).validationContext === 'params') return noSuchId
  const wrong = wrongAttributes(error)
  if (wrong) return wrong
  const known = asDomainError(error)
  return known ? translate(errorTable, known, ownWords(request)) : internalError
}

/** Rows know no dialect's type of answers; those routed here are ours. */
const ownWords = ({ routeOptions }: FastifyRequest) => (routeOptions.config.row as SofieOperation | undefined)?.errors

/** What a body that does not fit its schema gets wrong; undefined for any other error. */
function wrongAttributes(error: unknown): Refusal | undefined {
  const { validation, validationContext } = error as Partial<FastifyError>
  if (validationContext !== 'body' || !validation) return undefined
  const details = validation.map(({ instancePath, keyword, params, message = 'is not valid' }) => {
    const missing = keyword === 'required' ? `/${String(params['missingProperty'])}` : ''
    return { field: (instancePath + missing).slice(1), message: missing ? 'is required' : message }
  })
  const [first] = details
  return { status: 400, reason: 'BAD_REQUEST', message: `${first?.field} ${first?.message}`.trim(), details }
}

function answer(_request: FastifyRequest, reply: FastifyReply, { status, retryAfter, ...body }: Refusal) {
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  return reply
    .code(status)
    .header(REASON, body.reason)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(body))
}
