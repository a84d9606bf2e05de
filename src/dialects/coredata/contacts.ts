/** Contacts: persons and organisations that files and projects are about, shared by the whole tenant. */
import { Type as T, type Static } from 'typebox'
import {
  createContact,
  getContact,
  listContacts,
  requireContacts,
  type Contact as CoreContact,
} from '#core/contacts.ts'
import type { Ctx } from '#core/ctx.ts'
import { isDomainError } from '#core/errors.ts'
import { json } from '#http/request-body.ts'
import { documentFields, presentDocument } from './document.ts'
import { DynatypeRef } from './dynatypes.ts'
import { fieldErrors, op, refusals } from './errors.ts'

import {
  listOf,
  paging,
  presentList,
  readPage,
  readTitleFilters,
  textOf,
  titleFilters,
  type RawQuery,
} from './list-query.ts'
import { ContactPath } from './schemas.ts'

const Contact = T.Object({
  ...documentFields('Contact'),
  dynatype: DynatypeRef,
  identifier: T.String({ description: 'National or other ID.' }),
  role: T.String(),
  status: T.String(),
})

const ContactCreate = T.Object({
  title: T.String({ minLength: 1 }),
  identifier: T.Optional(T.String()),
})

const ContactListQuery = T.Object({
  ...paging,
  ...titleFilters,
  identifier: T.Optional(T.String({ description: 'Exact identifier.' })),
  identifier__startswith: T.Optional(T.String({ description: 'Identifier prefix.' })),
})

const tag = 'Neighbours'

export const contactOperations = [
  op({
    id: 'listContacts',
    method: 'GET',
    path: '/api/v2/contacts/',
    tag,
    summary: 'List contacts',
    description: 'Oldest first.',
    query: ContactListQuery,
    queryAsText: true,
    reply: listOf(Contact),
    refusals: { 400: refusals.page, 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const page = readPage(query)
      const filters = { ...readTitleFilters(query), ...readIdentifierFilters(query) }
      const { total, rows } = await listContacts(ctx, { ...filters, ...page })
      return presentList(request, page, { total, objects: rows.map(presentContact) })
    },
  }),
  op({
    id: 'createContact',
    method: 'POST',
    path: '/api/v2/contacts/',
    tag,
    summary: 'Create a contact',
    body: json(ContactCreate),
    status: 201,
    reply: 'empty',
    headers: { Location: 'Relative URL of the new contact; the ID is its last segment.' },
    refusals: { 400: refusals[400], 401: refusals[401] },
    errors: fieldErrors('contacts', ['title', 'identifier']),
    handler: async ({ ctx, body: { title, identifier }, reply }) => {
      const { id } = await createContact(ctx, { title, ...(identifier !== undefined && { identifier }) })
      return reply.code(201).header('location', `/api/v2/contacts/${id}/`).send()
    },
  }),
  op({
    id: 'getContact',
    method: 'GET',
    path: '/api/v2/contacts/{contact_id}/',
    tag,
    summary: 'Get a contact',
    params: ContactPath,
    reply: Contact,
    refusals: { 401: refusals[401], 404: refusals[404] },
    handler: async ({ ctx, params }) =>
      presentContact(await getContact(ctx, { contactId: params.contact_id.toLowerCase() })),
  }),
]

function readIdentifierFilters(query: RawQuery): { identifier?: string; identifierPrefix?: string } {
  const identifier = textOf(query, 'identifier')
  const identifierPrefix = textOf(query, 'identifier__startswith')
  return {
    ...(identifier !== undefined && { identifier }),
    ...(identifierPrefix !== undefined && { identifierPrefix }),
  }
}

function presentContact(contact: CoreContact): Static<typeof Contact> {
  const { id, title, identifier, attributes } = contact
  const { description = '', tags = [], role = '', status = 'contact_status:Active:' } = attributes
  const path = `/domain/spaces/system/global/Contacts/${title}`
  return {
    ...presentDocument(contact, contact, { type: 'Contact', id, title, path, description, tags }),
    dynatype: {},
    identifier,
    resource_uri: `/api/v2/contacts/${id}/`,
    role,
    status,
  }
}

/** Whether all of these are contacts that the caller may link; a key that reaches no contacts may still link none. */
export async function areContacts(ctx: Ctx, ids: readonly string[]): Promise<boolean> {
  if (ids.length === 0) return true
  try {
    await requireContacts(ctx, ids)
    return true
  } catch (error) {
    if (isDomainError(error)) return false
    throw error
  }
}
