/** Sessions in two cookies: who, and a secret. */
import type { FastifyRequest } from 'fastify'
import { anonymousActor } from '#core/auth.ts'
import { makeCtx, type Deps } from '#core/ctx.ts'
import { DomainError } from '#core/errors.ts'
import { authenticateSession } from '#core/sessions.ts'
import { findTenantByHost } from '#core/tenants.ts'
import type { Authenticate } from '#http/operation.ts'

export const userCookie = 'sp-http-usr'
export const sessionCookie = 'sp-http-ses'

/** Bytes of a session secret. */
const SECRET_BYTES = 16

export function authenticateBy(deps: Deps): Authenticate {
  return async (request, access) => {
    const tenant = await findTenantByHost(deps, request.host)
    const from = { client: request.headers['user-agent'] ?? '', address: request.ip, tenantId: tenant.id }
    const actor =
      access === 'public'
        ? anonymousActor(from.tenantId, from.client, from.address)
        : await authenticateSession(deps, { ...credentials(request), ...from })
    return makeCtx(deps, actor, request.id)
  }
}

/** Both cookies are needed, and each once: with two of a name, nobody knows which one the caller means. */
function credentials(request: FastifyRequest): { login: string; secret: Uint8Array } {
  const cookies = parseCookies(request.headers.cookie ?? '')
  const login = decodeLogin(cookies.get(userCookie) ?? '')
  const secret = Buffer.from(cookies.get(sessionCookie) ?? '', 'base64')
  if (!login || secret.length !== SECRET_BYTES) throw new DomainError('not-signed-in', { reason: 'missing' })
  return { login, secret }
}

/** Name to value up to the next semicolon: base64 ends in `=`, so only the first one separates. */
function parseCookies(header: string): Map<string, string> {
  const cookies = new Map<string, string>()
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at < 0) continue
    const name = pair.slice(0, at).trim()
    cookies.set(name, cookies.has(name) ? '' : unquote(pair.slice(at + 1).trim()))
  }
  return cookies
}

const unquote = (value: string) => (/^".*"$/.test(value) ? value.slice(1, -1) : value)

/** A login as a cookie can carry it: what is no cookie character is percent-encoded. Others stay as they are. */
const encodeLogin = (login: string) => login.replaceAll(/[^!#$&-+\--:<-[\]-~]+/gu, encodeURIComponent)

function decodeLogin(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return ''
  }
}

export interface CookieOptions {
  /** Only over TLS. */
  secure?: boolean | undefined
  sameSite?: 'Strict' | 'Lax' | 'None' | 'off' | undefined
}

/** The two headers, to the letter of the vendor's document; further attributes only where they are configured. */
export function sessionCookies(login: string, secret: Buffer, { secure, sameSite }: CookieOptions): string[] {
  const attributes = `;Version=1;Path=/;HttpOnly${secure ? ';Secure' : ''}${sameSite && sameSite !== 'off' ? `;SameSite=${sameSite}` : ''}`
  return [
    `${userCookie}=${encodeLogin(login)}${attributes}`,
    `${sessionCookie}=${secret.toString('base64')}${attributes}`,
  ]
}
