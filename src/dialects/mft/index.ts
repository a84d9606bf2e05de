/** The HTTP MFT REST API 2.0: file transfer over virtual directories. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Deps } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { viewRoot } from '#core/vfs.ts'
import { asDomainError, translate } from '#http/errors.ts'
import type { DialectDescription } from '#http/openapi.ts'
import { mount, type Operation } from '#http/operation.ts'
import { answerErrors } from '#http/refusals.ts'
import { failedAnswer } from './answers.ts'
import { authenticateBy, sessionCookie, userCookie, type CookieOptions } from './auth.ts'
import { directoryOperations } from './directories.ts'
import { errorTable, internalError, noOperation, type Refusal } from './errors.ts'
import { fileOperations } from './files.ts'
import { filesetOperations } from './filesets.ts'
import { loginOperations } from './login.ts'
import { metadataOperations } from './metadata.ts'
import { PREFIX } from './paths.ts'
import { Failed } from './schemas.ts'

export interface MftOptions {
  deps: Deps
  /** What links in answers begin with; by default what the client used. */
  publicUrl?: string | undefined
  cookies?: CookieOptions
}

/** Everything this API answers. */
const operationsOf = ({ publicUrl, cookies = {} }: Omit<MftOptions, 'deps'>): readonly Operation<Refusal>[] => [
  ...loginOperations({ cookies }),
  ...fileOperations,
  ...filesetOperations,
  ...metadataOperations({ publicUrl }),
  ...directoryOperations({ publicUrl }),
]

export const mftDescription: DialectDescription = {
  name: 'mft',
  title: 'HTTP MFT REST API',
  version: '2.0',
  summary: 'File transfer over virtual directories.',
  prefix: PREFIX,
  tags: {
    Login: 'Sessions.',
    Files: 'Files by path.',
    Fileset: 'Files by the number of their content.',
    Metadata: 'Attributes by path.',
    'Metadata by ID': 'Attributes by number.',
    'Count elements': 'How much is in a directory.',
    Directories: 'What is in a directory.',
  },
  security: {
    userCookie: { type: 'apiKey', in: 'cookie', name: userCookie, description: 'Login.' },
    sessionCookie: { type: 'apiKey', in: 'cookie', name: sessionCookie, description: 'Secret of the session.' },
  },
  refusal: Failed,
  operations: operationsOf({}),
}

/** Serves the API below `/2.0`. */
export async function mft(app: FastifyInstance, { deps, ...options }: MftOptions): Promise<void> {
  await app.register(
    async scope => {
      const answer = (request: FastifyRequest, reply: FastifyReply, refusal: Refusal) =>
        refuse(deps, { request, reply }, refusal)
      answerErrors(scope, { refusalOf, noOperation, answer })
      const operations = operationsOf(options)
      mount(scope, { operations, authenticate: authenticateBy(deps), trailingSlash: 'same', answers: 'as-built' })
    },
    { prefix: PREFIX },
  )
}

interface Exchange {
  request: FastifyRequest
  reply: FastifyReply
}

async function refusalOf(request: FastifyRequest, error: unknown): Promise<Refusal> {
  const known = asDomainError(error)
  if (!known) return internalError
  const refusal = translate(errorTable, known, ownWords(request))
  return refusal.status === 400 && (await lacksView(request)) ? errorTable['no-view']({}) : refusal
}

/** Rows know no dialect's type of answers; those routed here are ours. */
const ownWords = ({ routeOptions }: FastifyRequest) => routeOptions.config.row?.errors as Operation<Refusal>['errors']

/**
 * A caller without a view learns that first, even from a request that is wrong in itself. Asked only then: a request that is
 * right meets the view on its way.
 */
async function lacksView({ ctx, routeOptions }: FastifyRequest): Promise<boolean> {
  if (!ctx || routeOptions.config.row?.access === 'public') return false
  try {
    await viewRoot(ctx)
    return false
  } catch (error) {
    return isDomainError(error, 'no-view')
  }
}

function refuse(deps: Deps, { request, reply }: Exchange, refusal: Refusal) {
  if (refusal.retryAfter !== undefined) reply.header('retry-after', refusal.retryAfter)
  const body = failedAnswer(refusal, deps.clock(), request.routeOptions.config.row?.id)
  return reply.code(refusal.status).type('application/json; charset=utf-8').send(body)
}
