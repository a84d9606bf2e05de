/** Addresses as they were sent: segments decoded once, and the server's own address for links. */
import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { DomainError } from '#core/errors.ts'

/**
 * For Fastify's `rewriteUrl`: the router decodes paths before any of our code runs and would answer a broken `%` itself.
 * Paths it cannot decode are shown to it in a form that it can; `rawPath` still gives the path as it was sent.
 */
export function routableUrl({ url = '/' }: Pick<IncomingMessage, 'url'>): string {
  const path = pathOf(url)
  try {
    decodeURI(path)
    return url
  } catch {
    return path.replaceAll('%', '%25') + url.slice(path.length)
  }
}

const pathOf = (url: string) => url.split(/[?#]/, 1)[0]!

/** The path of a request byte for byte, without query. */
export function rawPath(request: FastifyRequest): string {
  const path = pathOf(request.originalUrl)
  // A proxy may send the whole address.
  return path.startsWith('/') ? path : path.replace(/^[a-z]+:\/\/[^/]*/i, '')
}

type PathRule = 'encoding' | 'empty-segment' | 'dot-segment' | 'slash' | 'control-character'

/** The segments after the first `skipped` ones, each decoded once; the last is empty when the path ends with a slash. */
export function segmentsAfter(path: string, skipped: number): string[] {
  const raw = path.split('/').slice(1 + skipped)
  return raw.map(segment => decodeSegment(segment, path))
}

/** Throws `path-refused` for a segment that is not UTF-8, or hides a slash or a NUL. */
function decodeSegment(raw: string, path: string): string {
  const segment = raw.includes('%') ? decode(raw, path) : raw
  if (segment.includes('/')) refuse(path, 'slash')
  if (segment.includes('\0')) refuse(path, 'control-character')
  return segment
}

function decode(raw: string, path: string): string {
  try {
    return decodeURIComponent(raw)
  } catch {
    return refuse(path, 'encoding')
  }
}

/** Throws `path-refused` for empty segments and for `.` and `..`: a path means one place only. */
export function checkSegments(segments: readonly string[], path: string): void {
  if (segments.includes('')) refuse(path, 'empty-segment')
  if (segments.some(segment => segment === '.' || segment === '..')) refuse(path, 'dot-segment')
}

function refuse(path: string, rule: PathRule): never {
  throw new DomainError('path-refused', { path, rule })
}

/** `/a/b` with each segment percent-encoded. */
export const encodePath = (segments: readonly string[]): string =>
  segments.map(name => `/${encodeURIComponent(name)}`).join('')

/** Host names, IPv4, IPv6 in brackets, a port: whatever else a client calls a host does not go into an answer. */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** Where links point: the configured address, else the one the client used. No slash at the end. */
export function baseUrl(request: FastifyRequest, publicUrl: string | undefined): string {
  if (publicUrl) return publicUrl.replace(/\/+$/, '')
  return `${request.protocol}://${HOST.test(request.host) ? request.host : 'localhost'}`
}
