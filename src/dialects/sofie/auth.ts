/** Bearer tokens, whom they act as, and which calls that opens. */
import type { FastifyRequest } from 'fastify'
import { makeCtx, type Ctx, type Deps } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { impersonate } from '#core/impersonation.ts'
import { requireRight } from '#core/roles.ts'
import { findTenantByHost } from '#core/tenants.ts'
import { authenticateToken } from '#core/tokens.ts'
import { headerText } from '#http/header-text.ts'
import type { Authenticate } from '#http/operation.ts'
import { adminOnly, refuse, Refused, type Roles, type SofieOperation } from './errors.ts'

/** Checks in this order: token, address, account, impersonation, the right to use packages at all, the role of the call. */
export function authenticateBy(deps: Deps): Authenticate {
  return async request => {
    const { id: tenantId } = await findTenantByHost(deps, request.host)
    const from = { client: request.headers['user-agent'] ?? '', address: request.ip, tenantId }
    const secret = bearer(request.headers.authorization)
    const own = makeCtx(deps, await authenticateToken(deps, { secret, ...from }), request.id)
    const ctx = await actAsNamed(own, request)
    const { capacity } = ctx.actor
    if (capacity === 'user') await requireRight(ctx, 'deliveries.use')
    requireRole(capacity, rolesOf(request))
    return ctx
  }
}

function bearer(header = ''): string {
  const [, secret] = /^bearer +(\S+)$/i.exec(header) ?? []
  if (secret === undefined) throw new DomainError('not-signed-in', { reason: 'missing' })
  return secret
}

async function actAsNamed(ctx: Ctx, { headers }: FastifyRequest): Promise<Ctx> {
  const userId = headers['x-sofie-impersonate-userid']
  const login = headers['x-sofie-impersonate-username']
  if (userId !== undefined && login !== undefined)
    throw new Refused(refuse(400, 'IMPERSONATION_CONFLICT', 'Name the user by ID or by username, not by both'))
  if (userId !== undefined) return impersonate(ctx, { userId: String(userId).toLowerCase() })
  return login === undefined ? ctx : impersonate(ctx, { login: headerText(String(login)) })
}

/** Rows know no dialect's extras; those routed here are ours. */
const rolesOf = ({ routeOptions }: FastifyRequest): Roles =>
  (routeOptions.config.row as SofieOperation | undefined)?.roles ?? 'both'

const onlyFor = {
  user: new Refused(refuse(403, 'USER_ONLY', 'Only users can call this')),
  admin: new Refused(adminOnly),
}

function requireRole(capacity: 'user' | 'administrator', roles: Roles): void {
  if (roles === 'user' && capacity !== 'user') throw onlyFor.user
  if (roles === 'admin' && capacity !== 'administrator') throw onlyFor.admin
}
