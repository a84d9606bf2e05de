/** Filter, order and page of listing and counting. */
import { Type as T, type Static } from 'typebox'
import { DomainError } from '#core/errors.ts'

const filter = T.Optional(
  T.String({ description: 'Pattern for the whole name. `*` and `_` both stand for any run of characters.' }),
)
const type = T.Enum(['all', 'folders', 'files'], { default: 'all', description: 'Which elements count.' })

export const CountQuery = T.Object({ filter, type: T.Optional(type) })

export const ListQuery = T.Object({
  filter,
  sort: T.Optional(T.Enum(['name', 'size', 'put_date', 'read_date', 'expiry_date'], { default: 'name' })),
  direction: T.Optional(T.Enum(['DESC', 'ASC'], { default: 'DESC' })),
  start: T.Optional(T.Integer({ minimum: 0, default: 0, description: 'Index of the first element.' })),
  limit: T.Optional(T.Integer({ minimum: 0, default: 500, description: 'Elements at most.' })),
  type: T.Optional(type),
  attributes: T.Optional(T.String({ description: 'Comma-separated names of the attributes to show, in this order.' })),
})

const sorts = { name: 'name', size: 'size', put_date: 'stored', read_date: 'read', expiry_date: 'expires' } as const

/** What is counted. Absent values have their defaults by then. */
export function parseCount({ filter, type = 'all' }: Static<typeof CountQuery>) {
  return { kinds: type, ...(filter && { namePieces: parseFilter(filter) }) }
}

export function parseList(query: Static<typeof ListQuery>) {
  const { sort = 'name', direction = 'DESC', start = 0, limit = 500 } = query
  return {
    ...parseCount(query),
    sort: sorts[sort],
    direction: direction === 'ASC' ? ('asc' as const) : ('desc' as const),
    offset: start,
    limit,
  }
}

/**
 * The literal pieces of a pattern. The vendor's document shows `_` where it means `*`, so both are wildcards; a literal
 * underscore matches itself all the same.
 */
function parseFilter(filter: string): string[] {
  if (filter.includes('\0') || !filter.isWellFormed())
    throw new DomainError('invalid-input', { field: 'filter', rule: 'text' })
  return filter.split(/[*_]+/)
}

/** Undefined where all built-in attributes are meant. */
export function parseAttributes(attributes: string | undefined): string[] | undefined {
  const names = (attributes ?? '').split(',').map(name => name.trim())
  const asked = [...new Set(names.filter(name => name !== ''))]
  return asked.length > 0 ? asked : undefined
}
