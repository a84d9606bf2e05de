/** API keys in the header Authorization: `apikey USER:KEY`, and in version 3 `apikey KEY`; both forms work on both. */
import { anonymousActor } from '#core/auth.ts'
import { makeCtx, type Deps } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { findTenantByHost } from '#core/tenants.ts'
import { authenticateToken } from '#core/tokens.ts'
import { headerText } from '#http/header-text.ts'
import type { Authenticate } from '#http/operation.ts'

export function authenticateBy(deps: Deps): Authenticate {
  return async (request, access) => {
    const tenant = await findTenantByHost(deps, request.host)
    const from = { client: request.headers['user-agent'] ?? '', address: request.ip, tenantId: tenant.id }
    const actor =
      access === 'public'
        ? anonymousActor(from.tenantId, from.client, from.address)
        : await authenticateToken(deps, { ...credentials(request.headers.authorization), ...from })
    return makeCtx(deps, actor, request.id)
  }
}

/** A login may have colons, a key has none. */
function credentials(header = ''): { login?: string; secret: string } {
  const [, given] = /^apikey +(\S.*)$/i.exec(headerText(header)) ?? []
  if (given === undefined) throw new DomainError('not-signed-in', { reason: 'missing' })
  const colon = given.lastIndexOf(':')
  return colon < 0 ? { secret: given } : { login: given.slice(0, colon), secret: given.slice(colon + 1) }
}
