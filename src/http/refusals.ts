/** How errors leave an API: who lacked a right is audited, a fault of ours logged, and the dialect words the answer. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isDomainError } from '#core/errors.ts'
import { recordForbidden } from '#core/events.ts'

/** `A` is what the dialect's error table answers with. */
interface RefusalRules<A extends { status: number }> {
  /** Words any error. */
  refusalOf: (request: FastifyRequest, error: unknown) => A | Promise<A>
  /** For an address that is none of the dialect's. */
  noOperation: A
  answer: (request: FastifyRequest, reply: FastifyReply, refusal: A) => FastifyReply
}

/** Answers everything in `scope` that ends in an error. */
export function answerErrors<A extends { status: number }>(scope: FastifyInstance, rules: RefusalRules<A>): void {
  const { refusalOf, noOperation, answer } = rules
  scope.setErrorHandler(async (error, request, reply) => {
    const cause = await audit(request, error)
    const refusal = await refusalOf(request, cause)
    // The only place that logs it.
    if (refusal.status >= 500) request.log.error({ reqId: request.id, err: cause }, 'request failed')
    return answer(request, reply, refusal)
  })
  scope.setNotFoundHandler((request, reply) => answer(request, reply, noOperation))
}

/** What to answer: the error itself, or why it could not be audited. */
async function audit({ ctx }: FastifyRequest, error: unknown): Promise<unknown> {
  if (!ctx || !isDomainError(error, 'forbidden')) return error
  return recordForbidden(ctx, error).then(
    () => error,
    (failure: unknown) => failure,
  )
}
