/** Persons and organisations that files are about. They cannot sign in and hold no rights; the whole tenant shares them. */
import { sql, type RawBuilder, type Selectable } from 'kysely'
import type { ContactTable } from '#db/schema.ts'
import { inTx, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { hasAction, type Action } from './permissions.ts'
import { chunked, MAX_IDS } from './principals.ts'
import { textConditions } from './titles.ts'
import { requireAccount } from './visibility.ts'

/** What may be said of a contact. Kept as JSON in `contact.attributes`. */
export interface ContactAttributes {
  role?: string
  status?: string
  description?: string
  tags?: readonly string[]
}

export type Contact = Omit<Selectable<ContactTable>, 'attributes'> & {
  attributes: ContactAttributes
  createdByName: string | null
  changedByName: string | null
}

export interface NewContact {
  title: string
  /** A number or code by which others know the contact; not unique. Default: none. */
  identifier?: string
  attributes?: ContactAttributes
}

const MAX_FIELD_BYTES = 1_000
const MAX_TEXT_BYTES = 64 * 1024
const MAX_TAGS = 200

/** Makes a contact; any account of the tenant may. Throws `invalid-input`, `forbidden` for visitors and narrow scopes. */
export function createContact(ctx: Ctx, input: NewContact): Promise<Contact> {
  return inTx(ctx, async ctx => {
    requireContactAccess(ctx, 'create')
    const { title, identifier = '', attributes = {} } = input
    checkContact({ title, identifier, attributes })
    const now = ctx.clock()
    const id = ctx.newId()
    await ctx.db
      .insertInto('contact')
      .values({
        id,
        tenantId: ctx.actor.tenantId,
        title,
        identifier,
        attributes: JSON.stringify(attributes),
        revision: 1,
        snapshotUid: ctx.newId(),
        createdAt: now,
        createdBy: ctx.actor.principalId,
        changedAt: now,
        changedBy: ctx.actor.principalId,
      })
      .execute()
    await ctx.emit({ type: 'contact.created', subject1: `contact:${id}` })
    return getContact(ctx, { contactId: id })
  })
}

/** Throws `not-found`, also for another tenant's, and `forbidden`. */
export async function getContact(ctx: Ctx, { contactId }: { contactId: string }): Promise<Contact> {
  requireContactAccess(ctx, 'list')
  const row = isText(contactId) ? await contacts(ctx).where('contact.id', '=', contactId).executeTakeFirst() : undefined
  if (!row) throw new DomainError('not-found', { what: 'contact', id: contactId })
  return contactOf(row)
}

export interface ContactQuery {
  /** Case counts in all of these. */
  title?: string
  titlePrefix?: string
  identifier?: string
  identifierPrefix?: string
  offset: number
  limit: number
}

/** A page of the tenant's contacts, oldest first. Throws `forbidden`. */
export async function listContacts(ctx: Ctx, query: ContactQuery): Promise<{ total: number; rows: Contact[] }> {
  requireContactAccess(ctx, 'list')
  const where = contactConditions(ctx, query)
  if (!where) return { total: 0, rows: [] }
  const { rows: counted } = await sql<{ total: number }>`
    select count(*) as total from contact where ${where}`.execute(ctx.db)
  const total = Number(counted[0]?.total ?? 0)
  if (query.limit === 0 || query.offset >= total) return { total, rows: [] }
  const page = sql<string>`(select id from contact where ${where} order by "createdAt", id
    limit ${query.limit} offset ${query.offset})`
  const rows = await contacts(ctx)
    .where('contact.id', 'in', page)
    .orderBy('contact.createdAt')
    .orderBy('contact.id')
    .execute()
  return { total, rows: rows.map(contactOf) }
}

function contactConditions({ actor }: Ctx, query: ContactQuery): RawBuilder<unknown> | undefined {
  const byTitle = textConditions(sql`title`, { text: query.title, prefix: query.titlePrefix })
  const byIdentifier = textConditions(sql`identifier`, { text: query.identifier, prefix: query.identifierPrefix })
  if (!byTitle || !byIdentifier) return undefined
  return sql.join([sql`"tenantId" = ${actor.tenantId}`, ...byTitle, ...byIdentifier], sql` and `)
}

/** Throws `not-found` for the first id that is none of the tenant's contacts, and `forbidden`. */
export async function requireContacts(ctx: Ctx, contactIds: readonly string[]): Promise<void> {
  requireContactAccess(ctx, 'list')
  const known = new Set<string>()
  for (const some of chunked([...new Set(contactIds)].filter(isText), MAX_IDS)) {
    const rows = await ctx.db
      .selectFrom('contact')
      .select('id')
      .where('tenantId', '=', ctx.actor.tenantId)
      .where('id', 'in', some)
      .execute()
    for (const { id } of rows) known.add(id)
  }
  const unknown = contactIds.find(id => !known.has(id))
  if (unknown !== undefined) throw new DomainError('not-found', { what: 'contact', id: unknown })
}

/** Contacts lie in no space, so a scope that names nodes does not reach them. */
function requireContactAccess(ctx: Ctx, action: Action): void {
  requireAccount(ctx, 'contact', { orSystem: true })
  const { scope } = ctx.actor
  if (scope && !scope.some(entry => entry.nodeId === undefined && hasAction(entry.actions, action))) {
    throw new DomainError('forbidden', { action: 'contact' })
  }
}

const contacts = (ctx: Ctx) =>
  ctx.db
    .selectFrom('contact')
    .leftJoin('principal as creator', 'creator.id', 'contact.createdBy')
    .leftJoin('principal as changer', 'changer.id', 'contact.changedBy')
    .selectAll('contact')
    .select(['creator.name as createdByName', 'changer.name as changedByName'])
    .where('contact.tenantId', '=', ctx.actor.tenantId)

const contactOf = (row: Omit<Contact, 'attributes'> & { attributes: string }): Contact => ({
  ...row,
  attributes: JSON.parse(row.attributes) as ContactAttributes, // written above
})

/** What the database can hold and compare: PostgreSQL keeps no NUL, and lone surrogates are no text. */
const isText = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

function checkContact({ title, identifier, attributes }: Required<NewContact>): void {
  if (title.trim() === '') throw new DomainError('invalid-input', { field: 'title', rule: 'must not be empty' })
  const { role = '', status = '', description = '', tags = [] } = attributes
  for (const [field, text] of Object.entries({ title, identifier, role, status }))
    checkField(field, text, MAX_FIELD_BYTES)
  checkField('description', description, MAX_TEXT_BYTES)
  if (tags.length > MAX_TAGS) throw new DomainError('invalid-input', { field: 'tags', rule: `at most ${MAX_TAGS}` })
  for (const tag of tags) checkField('tags', tag, MAX_FIELD_BYTES)
}

function checkField(field: string, text: string, maxBytes: number): void {
  if (Buffer.byteLength(text) > maxBytes) {
    throw new DomainError('invalid-input', { field, rule: `at most ${maxBytes} bytes` })
  }
  if (!isText(text)) throw new DomainError('invalid-input', { field, rule: 'text must be Unicode without NUL' })
}
