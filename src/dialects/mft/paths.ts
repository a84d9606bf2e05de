/** Virtual paths and fileset numbers in addresses. */
import type { FastifyRequest } from 'fastify'
import { DomainError } from '#core/errors.ts'
import { baseUrl, checkSegments, encodePath, rawPath, segmentsAfter } from '#http/addresses.ts'

export const PREFIX = '/2.0'

/** Segments before the virtual path: the version and the resource. */
const SKIPPED = 2

/** Path of a file. Throws `invalid-input` of `filename` where only a directory is named, else `path-refused`. */
export function filePath(request: FastifyRequest): string[] {
  const segments = segmentsOf(request)
  if (segments.length === 0 || segments.at(-1) === '')
    throw new DomainError('invalid-input', { field: 'filename', rule: 'missing' })
  checkSegments(segments, rawPath(request))
  return segments
}

/** Path of a directory, with or without a slash at the end; the root has no segments. */
export function directoryPath(request: FastifyRequest): string[] {
  const segments = segmentsOf(request)
  if (segments.at(-1) === '') segments.pop()
  checkSegments(segments, rawPath(request))
  return segments
}

const segmentsOf = (request: FastifyRequest) => segmentsAfter(rawPath(request), SKIPPED)

/** Throws `invalid-input` of `fileset` for anything but a positive number. */
export function filesetId(request: FastifyRequest): number {
  const [text = '', ...rest] = rawPath(request)
    .split('/')
    .slice(1 + SKIPPED)
  const id = /^\d{1,16}$/.test(text) ? Number(text) : 0
  if (id < 1 || rest.length > 0 || !Number.isSafeInteger(id))
    throw new DomainError('invalid-input', { field: 'fileset', rule: 'number' })
  return id
}

/** As it stands in answers and messages. */
export const virtualPath = (segments: readonly string[]): string => `/${segments.join('/')}`

export type Links = (resource: 'files' | 'metadata' | 'directories', segments: readonly string[]) => string

/** Makes absolute addresses for the answers to a request. */
export function linksOf(request: FastifyRequest, publicUrl: string | undefined): Links {
  const base = baseUrl(request, publicUrl) + PREFIX
  return (resource, segments) => `${base}/${resource}${encodePath(segments)}`
}

/** True where the address ends with a slash, or names nothing at all: it can only mean a directory. */
export const namesDirectory = (request: FastifyRequest): boolean => rawPath(request).endsWith('/')
