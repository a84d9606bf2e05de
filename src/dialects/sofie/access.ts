/** Short-lived proofs for protected packages, and who a package is for. */
import { Type as T } from 'typebox'
import { inTx } from '#core/ctx.ts'
import { addRecipients } from '#core/deliveries.ts'
import { requireActive, requireNoQuarantine, requireSender } from '#core/delivery-access.ts'
import { spendAccess } from '#core/delivery-proofs.ts'
import { revokeRecipient } from '#core/recipients.ts'
import type { ErrorTable } from '#http/errors.ts'
import { json } from '#http/request-body.ts'
import { op, refusalsOf, refuse, Refused, type Refusal } from './errors.ts'
import { enterPackage, openPackage, proofHeaders, showPassword } from './open.ts'
import { PasswordToken, presentRecipient, readRecipients, Recipient, RecipientInput } from './package.ts'
import { presentToken } from './packages.ts'
import { DateTime, impersonationHeaders, PackagePath, presentTime, RecipientPath } from './schemas.ts'

const LimitAccessToken = T.Object({
  limitAccessToken: T.String({ maxLength: 1_000, description: 'For the header X-Sofie-Limit-Access-Token.' }),
  expiresAt: DateTime('Until when it works.'),
})

const { 'X-Sofie-Password-Token': passwordHeader } = proofHeaders
const headers = { ...impersonationHeaders, ...proofHeaders }

const unlimited = refuse(409, 'FILE_STATE', 'The accesses of the package are not limited')

/** In quarantine nobody can be added: the state is in the way, not a missing right. */
const whileQuarantined: Partial<ErrorTable<Refusal>> = {
  'delivery-quarantined': () => refuse(409, 'PACKAGE_QUARANTINED', 'The package is in quarantine'),
}

export const accessOperations = [
  op({
    id: 'createPasswordToken',
    method: 'POST',
    path: '/packages/{packageId}/password-token',
    aliases: [{ method: 'POST', path: '/packages/{packageId}/passwordToken' }],
    roles: 'both',
    tag: 'Access tokens',
    summary: 'Trade the password of a package for a token',
    requestHeaders: impersonationHeaders,
    params: PackagePath,
    body: json(T.Object({ password: T.String({ maxLength: 100, description: 'Password of the package.' }) })),
    status: 201,
    reply: PasswordToken,
    refusals: refusalsOf(400, 401, 403, 404, 409),
    handler: async ({ ctx, params, body, request }) => {
      const opened = await openPackage(ctx, request, params.packageId)
      requireActive(opened)
      return presentToken((await showPassword(opened, body.password)).token)
    },
  }),
  op({
    id: 'createLimitAccessToken',
    method: 'POST',
    path: '/packages/{packageId}/limit-access-token',
    aliases: [{ method: 'POST', path: '/packages/{packageId}/limitAccessToken' }],
    roles: 'user',
    tag: 'Access tokens',
    summary: 'Spend one access and get a token for a time',
    description: 'Each call counts; once all accesses are used, it is refused.',
    requestHeaders: { ...impersonationHeaders, 'X-Sofie-Password-Token': passwordHeader },
    params: PackagePath,
    status: 201,
    reply: LimitAccessToken,
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request }) => {
      const { ctx: acting, space } = await openPackage(ctx, request, params.packageId)
      if (space.accessLimit === null) throw new Refused(unlimited)
      const { token, expiresAt } = await spendAccess(acting, { space })
      return { limitAccessToken: token, expiresAt: presentTime(expiresAt) }
    },
  }),
  op({
    id: 'addRecipients',
    method: 'POST',
    path: '/packages/{packageId}/recipients',
    roles: 'both',
    tag: 'Recipients',
    summary: 'Add recipients',
    description: 'Only while the package is active and not in quarantine.',
    requestHeaders: headers,
    params: PackagePath,
    body: json(T.Array(RecipientInput, { minItems: 1 }), { limitBytes: 1024 * 1024 }),
    status: 201,
    reply: T.Array(Recipient),
    refusals: refusalsOf(400, 401, 403, 404, 409),
    errors: whileQuarantined,
    handler: async ({ ctx, params, body, request }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireSender(opened)
      await requireNoQuarantine(opened)
      return (await addRecipients(opened.ctx, opened.space, readRecipients(body))).map(presentRecipient)
    },
  }),
  op({
    id: 'removeRecipient',
    method: 'DELETE',
    path: '/packages/{packageId}/recipients/{recipientId}',
    roles: 'both',
    tag: 'Recipients',
    summary: 'Remove a recipient with an account',
    requestHeaders: headers,
    params: RecipientPath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    errors: whileQuarantined,
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireSender(opened)
      await requireNoQuarantine(opened)
      await inTx(opened.ctx, ctx => revokeRecipient(ctx, opened.space, params.recipientId))
      return reply.send()
    },
  }),
]
