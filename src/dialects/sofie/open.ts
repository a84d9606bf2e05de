/** From a request to the package of its path, with what its headers prove. */
import type { FastifyRequest } from 'fastify'
import { Type as T } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { openDelivery, requireProofs, type OpenDelivery } from '#core/delivery-access.ts'
import { acceptAccessToken, acceptPasswordToken, provePassword, type ProofToken } from '#core/delivery-proofs.ts'
import { DomainError } from '#core/errors.ts'
import { headerText } from '#http/header-text.ts'

const PASSWORD_TOKEN = 'X-Sofie-Password-Token'
const ACCESS_TOKEN = 'X-Sofie-Limit-Access-Token'
const DOWNLOAD_PASSWORD = 'X-Sofie-Download-Password'

const MAX_TOKEN_LENGTH = 1_000
const MAX_PASSWORD_LENGTH = 100

const proofHeader = (description: string) => T.String({ maxLength: MAX_TOKEN_LENGTH, description })

/** For the documentation of calls on a package. */
export const proofHeaders = {
  [PASSWORD_TOKEN]: proofHeader(
    'Proof that the password of the package is known: from the detail call or the password-token call.',
  ),
  [ACCESS_TOKEN]: proofHeader('Proof that one of the limited accesses was spent.'),
}

export const passwordHeader = {
  [DOWNLOAD_PASSWORD]: T.String({
    maxLength: MAX_PASSWORD_LENGTH,
    description: 'Password of the package; a right one also yields a passwordToken in the answer.',
  }),
}

type Proof = 'password' | 'access'

/** A header as one text; one that is longer than any proof proves nothing. */
function proofIn(request: FastifyRequest, name: string, proof: Proof, maxLength = MAX_TOKEN_LENGTH) {
  const value = request.headers[name.toLowerCase()]
  if (value === undefined) return undefined
  const text = String(value)
  if (text.length > maxLength) throw new DomainError('wrong-proof', { proof })
  return text
}

/** The package, with the proofs that the headers bring: those that are there must be good, needed or not. */
export async function openPackage(ctx: Ctx, request: FastifyRequest, packageId: string): Promise<OpenDelivery> {
  const opened = await openDelivery(ctx, packageId)
  return withProofs(opened, {
    passwordToken: proofIn(request, PASSWORD_TOKEN, 'password'),
    accessToken: proofIn(request, ACCESS_TOKEN, 'access'),
  })
}

function withProofs(
  opened: OpenDelivery,
  { passwordToken, accessToken }: { passwordToken?: string | undefined; accessToken?: string | undefined },
): OpenDelivery {
  const { space } = opened
  let { ctx } = opened
  if (passwordToken !== undefined) ctx = acceptPasswordToken(ctx, { space, token: passwordToken })
  if (accessToken !== undefined) ctx = acceptAccessToken(ctx, { space, token: accessToken })
  return { ...opened, ctx }
}

/** The same for calls that need all the proofs that the package asks for. */
export async function enterPackage(ctx: Ctx, request: FastifyRequest, packageId: string): Promise<OpenDelivery> {
  const opened = await openPackage(ctx, request, packageId)
  requireProofs(opened)
  return opened
}

/** The same with the password of the header shown, where there is one: needed or not, it must be right. */
export async function enterByPassword(
  ctx: Ctx,
  request: FastifyRequest,
  packageId: string,
): Promise<OpenDelivery & { token?: ProofToken }> {
  const opened = await openPackage(ctx, request, packageId)
  const text = proofIn(request, DOWNLOAD_PASSWORD, 'password', MAX_PASSWORD_LENGTH)
  const shown = text === undefined ? opened : await showPassword(opened, headerText(text))
  requireProofs(shown)
  return shown
}

/** Throws `wrong-proof`, for a package without a password too: there, none is right. */
export async function showPassword(
  opened: OpenDelivery,
  password: string,
): Promise<OpenDelivery & { token: ProofToken }> {
  const { space } = opened
  if (space.deliveryPasswordHash === null) throw new DomainError('wrong-proof', { proof: 'password' })
  const { ctx, ...token } = await provePassword(opened.ctx, { space, password })
  return { ...opened, ctx, token }
}
