/** The envelope of answers. */
import type { Ctx } from '#core/ctx.ts'
import { timeText } from './attributes.ts'
import type { Refusal } from './errors.ts'

/** Answers of these calls carry no time: the vendor's document shows none there. */
const untimed = new Set(['loginBasic', 'uploadFileWithMetadata'])

const timestampFor = (operationId: string | undefined, now: number) =>
  operationId && untimed.has(operationId) ? {} : { timestamp: timeText(now) }

export const okAnswer = (ctx: Ctx, message: string, fileset: number, operationId?: string) => ({
  result: 'ok' as const,
  ...timestampFor(operationId, ctx.clock()),
  message,
  fileset,
})

export const failedAnswer = ({ message, errorType }: Refusal, now: number, operationId: string | undefined) => ({
  result: 'failed',
  ...timestampFor(operationId, now),
  message,
  errorType,
})
