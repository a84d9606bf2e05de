/** Shapes that several operations share, and how times and pages look. */
import { Type as T } from 'typebox'
import { documentedAs } from '#http/openapi.ts'
import { Refused, wrongField } from './errors.ts'

const uuid = { type: 'string', format: 'uuid' } as const
const UUID = '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'

/** An id, of either case on its way in. Those in paths reach handlers in lower case, those in bodies as they came. */
export const Uuid = (description: string) =>
  documentedAs(T.String({ ...uuid, description }), T.String({ pattern: UUID, description }))

export const isUuid = (text: string) => new RegExp(UUID).test(text)

export const DateTime = (description: string) => T.String({ format: 'date-time', description })
export const Email = (description: string, limits: { maxLength?: number } = {}) =>
  T.String({ format: 'email', description, ...limits })

/** What every refusal looks like. */
export const ErrorShape = T.Object(
  {
    reason: T.String({ description: 'The same as in the header X-Sofie-Response-Reason.' }),
    message: T.Optional(T.String({ description: 'An explanation for people.' })),
    details: T.Optional(
      T.Array(T.Object({ field: T.Optional(T.String()), message: T.Optional(T.String()) }), {
        description: 'What is wrong with which attribute.',
      }),
    ),
  },
  { title: 'Error' },
)

export const Created = T.Object({ id: Uuid('New ID.') })

export const UserPath = T.Object({ userId: Uuid('User.') })
export const UserGroupPath = T.Object({ userGroupId: Uuid('User group.') })
export const MemberPath = T.Object({ userGroupId: Uuid('User group.'), userId: Uuid('User.') })
export const ApiTokenPath = T.Object({ apiTokenId: Uuid('API token.') })
export const PackagePath = T.Object({ packageId: Uuid('Package.') })
export const RecipientPath = T.Object({ packageId: Uuid('Package.'), recipientId: Uuid('Recipient.') })
export const FolderPath = T.Object({ packageId: Uuid('Package.'), folderId: Uuid('Folder.') })
export const FilePath = T.Object({ packageId: Uuid('Package.'), fileId: Uuid('File.') })

const MAX_PAGE = 5_000
const DEFAULT_PAGE = 100

export const paging = {
  $top: T.Optional(T.Integer({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE, description: 'Page size.' })),
  $skip: T.Optional(T.Integer({ minimum: 0, default: 0, description: 'Records to skip.' })),
}
/** Its length is checked with what is in it: too long a filter is a filter that is not supported. */
export const filtering = {
  $filter: T.Optional(
    documentedAs(
      T.String({ contentMediaType: 'application/json', maxLength: 8192, description: 'JsonLogic expression.' }),
      T.String(),
    ),
  ),
}
export const PageQuery = T.Object(paging)
export const FilteredPageQuery = T.Object({ ...paging, ...filtering })

export const readPage = ({ $top = DEFAULT_PAGE, $skip = 0 }: { $top?: number; $skip?: number }) => ({
  limit: $top,
  offset: $skip,
})

export const presentPage = <Row>({ total, rows }: { total: number; rows: Row[] }) => ({
  total,
  count: rows.length,
  data: rows,
})

/** Headers with which an administrator's token acts as a user. One of them at most. */
export const impersonationHeaders = {
  'X-Sofie-Impersonate-UserId': Uuid('Administrator tokens only: act as this user. Excludes the form with a username.'),
  'X-Sofie-Impersonate-Username': 'Administrator tokens only: act as this user. Excludes the form with an ID.',
}

export const presentTime = (at: number): string => new Date(at).toISOString()

const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

/** Epoch milliseconds of an RFC 3339 time with its zone; NaN for anything else. */
export const timeOf = (text: string): number => (TIME.test(text) ? Date.parse(text.toUpperCase()) : Number.NaN)

/** The same, refusing anything else in the name of the field. */
export function parseTime(field: string, text: string): number {
  const at = timeOf(text)
  if (Number.isNaN(at)) throw new Refused(wrongField(field, 'is no RFC 3339 date-time'))
  return at
}
