/** Pages and filters of lists. */
import { Type as T, type Static, type TSchema } from 'typebox'
import type { FastifyRequest } from 'fastify'
import { PageRefused } from './field-errors.ts'

const DEFAULT_LIMIT = 20
const MAX_LIMIT = 1000

export const paging = {
  limit: T.Optional(
    T.Integer({
      minimum: 0,
      maximum: MAX_LIMIT,
      default: DEFAULT_LIMIT,
      description: 'Page size; 0 asks for the maximum.',
    }),
  ),
  offset: T.Optional(T.Integer({ minimum: 0, default: 0, description: 'Records to skip.' })),
}

export const titleFilters = {
  title: T.Optional(T.String({ description: 'Exact title.' })),
  title__startswith: T.Optional(T.String({ description: 'Title prefix.' })),
}

export const ListQuery = T.Object({ ...paging })
export const FileListQuery = T.Object({
  ...paging,
  ...titleFilters,
  parent: T.Optional(T.String({ format: 'uuid', description: 'Direct container.' })),
})

export interface Page {
  offset: number
  limit: number
}

/** As it came: a parameter that comes twice is an array, and its first value counts. */
export type RawQuery = Readonly<Record<string, unknown>>

export function textOf(query: RawQuery, name: string): string | undefined {
  const given = query[name]
  const value: unknown = Array.isArray(given) ? given[0] : given
  return typeof value === 'string' ? value : undefined
}

/** Throws PageRefused. `limit=0` and what is over the maximum mean the maximum. */
export function readPage(query: RawQuery): Page {
  const limit = wholeNumber(query, 'limit', DEFAULT_LIMIT)
  return { limit: limit === 0 ? MAX_LIMIT : Math.min(limit, MAX_LIMIT), offset: wholeNumber(query, 'offset', 0) }
}

function wholeNumber(query: RawQuery, name: 'limit' | 'offset', fallback: number): number {
  const text = textOf(query, name) ?? ''
  if (text === '') return fallback
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new PageRefused(`Invalid ${name} '${text.slice(0, 100)}' provided. Please provide a positive integer >= 0.`)
}

/** The filters by title as the core takes them. */
export function readTitleFilters(query: RawQuery): { title?: string; titlePrefix?: string } {
  const title = textOf(query, 'title')
  const titlePrefix = textOf(query, 'title__startswith')
  return { ...(title !== undefined && { title }), ...(titlePrefix !== undefined && { titlePrefix }) }
}

export const Meta = T.Object({
  limit: T.Integer({ minimum: 0, description: 'Page size used.' }),
  next: T.Union([T.String(), T.Null()], { description: 'Relative URL of the next page.' }),
  offset: T.Integer({ minimum: 0 }),
  previous: T.Union([T.String(), T.Null()]),
  total_count: T.Integer({ minimum: 0, description: 'Matches before paging.' }),
})

export const listOf = <S extends TSchema>(entry: S) => T.Object({ meta: Meta, objects: T.Array(entry) })

/** A page with links to its neighbours, which keep the filters of the request. */
export function presentList<O>(
  request: FastifyRequest,
  { limit, offset }: Page,
  { total, objects }: { total: number; objects: O[] },
): { meta: Static<typeof Meta>; objects: O[] } {
  const [path = '', search = ''] = request.url.split('?')
  const filters = [...new URLSearchParams(search)].filter(([name]) => name !== 'limit' && name !== 'offset')
  const address = (start: number) => {
    const query = new URLSearchParams([['limit', String(limit)], ['offset', String(start)], ...filters])
    return `${path}?${query.toString()}`
  }
  const next = offset + limit < total ? address(offset + limit) : null
  const previous = offset > 0 ? address(Math.max(offset - limit, 0)) : null
  return { meta: { limit, next, offset, previous, total_count: total }, objects }
}
