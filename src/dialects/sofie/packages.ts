/** Packages: sending them, finding them, changing and ending them. */
import { Type as T, type Static } from 'typebox'
import type { Ctx } from '#core/ctx.ts'
import { createDelivery, deleteDelivery, updateDelivery, type DeliveryChanges } from '#core/deliveries.ts'
import {
  openDelivery,
  requireActive,
  requireNoQuarantine,
  requireSender,
  seesAll,
  type OpenDelivery,
} from '#core/delivery-access.ts'
import { listInbox, listOutbox, loadDeliveries, type DeliveryPage } from '#core/delivery-list.ts'
import type { ProofToken } from '#core/delivery-proofs.ts'
import { DomainError } from '#core/errors.ts'
import { recipientsOf, visibleRecipients } from '#core/recipients.ts'
import { requireRight } from '#core/roles.ts'
import { shredSpace } from '#core/shred.ts'
import { documentedAs } from '#http/openapi.ts'
import type { ErrorTable } from '#http/errors.ts'
import { json } from '#http/request-body.ts'
import { adminOnly, op, refusalsOf, Refused, wrongField, type Refusal } from './errors.ts'
import { parseFilter } from './filter.ts'
import { enterByPassword, enterPackage, passwordHeader, proofHeaders } from './open.ts'
import {
  AccessType,
  coreAccess,
  Package,
  PackageDetail,
  presentDetail,
  presentPackage,
  readRecipients,
  RecipientInput,
} from './package.ts'
import {
  DateTime,
  FilteredPageQuery,
  impersonationHeaders,
  PackagePath,
  parseTime,
  presentPage,
  presentTime,
  readPage,
  Uuid,
} from './schemas.ts'

/** A whole number; the API calls it a number. */
const Count = (description: string) =>
  documentedAs(T.Number({ minimum: 1, description }), T.Integer({ minimum: 1, maximum: 1_000_000_000 }))

const PackageCreate = T.Object({
  name: T.Optional(T.String({ maxLength: 100 })),
  note: T.Optional(T.String({ maxLength: 10_000 })),
  downloadPassword: T.Optional(T.String({ maxLength: 30, writeOnly: true, description: 'Asked before access.' })),
  encryptDataWithPassword: T.Optional(
    T.Boolean({ default: false, description: 'Encrypt the content with the password.' }),
  ),
  downloadExpiration: T.Optional(T.Integer({ minimum: 1, maximum: 10_000, description: 'Validity in days.' })),
  persistent: T.Optional(T.Boolean({ default: false, description: 'It does not end by itself.' })),
  accessType: AccessType,
  recipients: T.Optional(T.Array(RecipientInput, { description: 'PRIVATE packages need one at least.' })),
  limitAccessCount: T.Optional(Count('Accesses of recipients at most.')),
  sendEmailNotifications: T.Optional(T.Boolean({ default: true, description: 'Tell recipients by e-mail.' })),
})

const PackageCreated = T.Object({ packageId: Uuid('New package.'), rootFolderId: Uuid('Its root folder.') })

const PackageUpdate = T.Object({
  name: T.Optional(T.String({ maxLength: 100 })),
  note: T.Optional(T.String({ maxLength: 10_000 })),
  accessType: T.Optional(AccessType),
  downloadPassword: T.Optional(
    T.String({ maxLength: 30, writeOnly: true, description: 'New password; an empty one takes it away.' }),
  ),
  downloadExpiration: T.Optional(DateTime('New end of validity.')),
  persistent: T.Optional(T.Boolean({ description: 'It does not end by itself.' })),
})

const PackageList = T.Object({
  count: T.Integer({ minimum: 0, description: 'Packages on this page.' }),
  total: T.Integer({ minimum: 0, description: 'Packages that match.' }),
  data: T.Array(Package),
})

const tag = 'Packages'

/** What the domain calls the attributes of a package. */
const attributes: Partial<Record<string, string>> = {
  label: 'name',
  days: 'downloadExpiration',
  expiresAt: 'downloadExpiration',
  password: 'downloadPassword',
}

const inOurWords: Partial<ErrorTable<Refusal>> = {
  'invalid-input': ({ field, rule }) => wrongField(attributes[field] ?? field, rule),
  'password-refused': ({ rule }) => wrongField('downloadPassword', rule),
}

export const packageOperations = [
  op({
    id: 'createPackage',
    method: 'POST',
    path: '/packages',
    roles: 'user',
    tag,
    summary: 'Send a package',
    description: 'It is active at once and has a root folder.',
    requestHeaders: impersonationHeaders,
    body: json(PackageCreate, { limitBytes: 1024 * 1024 }),
    status: 201,
    reply: PackageCreated,
    refusals: refusalsOf(400, 401, 403),
    errors: inOurWords,
    handler: async ({ ctx, body }) => {
      const { uid, node } = await createDelivery(ctx, {
        label: body.name ?? '',
        note: body.note ?? '',
        accessType: coreAccess[body.accessType],
        recipients: readRecipients(body.recipients ?? []),
        ...(body.downloadPassword && { password: body.downloadPassword }),
        encrypt: body.encryptDataWithPassword ?? false,
        ...(body.downloadExpiration !== undefined && { days: body.downloadExpiration }),
        persistent: body.persistent ?? false,
        accessLimit: body.limitAccessCount ?? null,
        notify: body.sendEmailNotifications ?? true,
      })
      return { packageId: uid, rootFolderId: node.uid }
    },
  }),
  op({
    id: 'listReceivedPackages',
    method: 'GET',
    path: '/packages/inbox',
    roles: 'user',
    tag,
    summary: 'List received packages',
    description: 'Newest first.',
    requestHeaders: impersonationHeaders,
    query: FilteredPageQuery,
    reply: PackageList,
    refusals: refusalsOf(400, 401, 403),
    handler: async ({ ctx, query }) => {
      await requireRight(ctx, 'deliveries.receive')
      return presentPackages(ctx, await listInbox(ctx, readQuery(query)), { isSender: false })
    },
  }),
  op({
    id: 'listSentPackages',
    method: 'GET',
    path: '/packages/outbox',
    aliases: [{ method: 'GET', path: '/packages/sent' }],
    roles: 'user',
    tag,
    summary: 'List sent packages',
    description: 'Newest first.',
    requestHeaders: impersonationHeaders,
    query: FilteredPageQuery,
    reply: PackageList,
    refusals: refusalsOf(400, 401, 403),
    handler: async ({ ctx, query }) =>
      presentPackages(ctx, await listOutbox(ctx, readQuery(query)), { isSender: true }),
  }),
  op({
    id: 'getPackage',
    method: 'GET',
    path: '/packages/{packageId}',
    roles: 'both',
    tag,
    summary: 'Get a package',
    requestHeaders: {
      ...impersonationHeaders,
      ...proofHeaders,
      ...passwordHeader,
    },
    params: PackagePath,
    reply: PackageDetail,
    refusals: refusalsOf(400, 401, 403, 404),
    handler: async ({ ctx, params, request }) => {
      const opened = await enterByPassword(ctx, request, params.packageId)
      return {
        ...(await loadDetail(opened)),
        ...(opened.token && { passwordToken: presentToken(opened.token) }),
      }
    },
  }),
  op({
    id: 'updatePackage',
    method: 'PATCH',
    path: '/packages/{packageId}',
    roles: 'both',
    tag,
    summary: 'Change a package',
    requestHeaders: { ...impersonationHeaders, ...proofHeaders },
    params: PackagePath,
    body: json(PackageUpdate),
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(400, 401, 403, 404, 409),
    errors: inOurWords,
    handler: async ({ ctx, params, body, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireSender(opened)
      if (body.accessType !== undefined && opened.role !== 'administrator') throw new Refused(adminOnly)
      await requireNoQuarantine(opened)
      await updateDelivery(opened.ctx, opened.space, readChanges(body))
      return reply.send()
    },
  }),
  op({
    id: 'deletePackage',
    method: 'DELETE',
    path: '/packages/{packageId}',
    roles: 'both',
    tag,
    summary: 'Delete a package with its content',
    description: 'An administrator can restore it until its content is shredded.',
    requestHeaders: { ...impersonationHeaders, ...proofHeaders },
    params: PackagePath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, request, reply }) => {
      const opened = await enterPackage(ctx, request, params.packageId)
      requireActive(opened)
      requireSender(opened)
      await requireNoQuarantine(opened, 'quarantine.delete')
      await deleteDelivery(opened.ctx, opened.space)
      return reply.send()
    },
  }),
  op({
    id: 'shredPackage',
    method: 'POST',
    path: '/packages/{packageId}/shred',
    aliases: [{ method: 'DELETE', path: '/packages/{packageId}/shred' }],
    roles: 'admin',
    tag,
    summary: 'Destroy the content of a package for good',
    description: 'What is known of the package stays.',
    params: PackagePath,
    status: 204,
    reply: 'empty',
    refusals: refusalsOf(401, 403, 404, 409),
    handler: async ({ ctx, params, reply }) => {
      const { ctx: acting, space } = await openDelivery(ctx, params.packageId)
      // One that a fault interrupted goes on.
      if (space.contentPurgedAt !== null)
        throw new DomainError('wrong-state', { what: 'delivery', state: 'purged', needed: 'not purged' })
      await shredSpace(acting, { spaceId: space.id })
      return reply.send()
    },
  }),
]

const readQuery = (query: Static<typeof FilteredPageQuery>) => ({
  ...readPage(query),
  ...(query.$filter !== undefined && { condition: parseFilter(query.$filter, 'package') }),
})

async function presentPackages(ctx: Ctx, { total, rows }: DeliveryPage, { isSender }: { isSender: boolean }) {
  const all = await recipientsOf(
    ctx,
    rows.map(({ space }) => space.id),
  )
  const bySpace = Map.groupBy(all, ({ spaceId }) => spaceId)
  const packages = rows.map(entry => {
    const recipients = bySpace.get(entry.space.id) ?? []
    const isOwn = isSender || entry.space.ownerId === ctx.actor.principalId
    return presentPackage(entry, visibleRecipients(ctx, { recipients, seesAll: isOwn }))
  })
  return presentPage({ total, rows: packages })
}

async function loadDetail(opened: OpenDelivery): Promise<Static<typeof PackageDetail>> {
  const { ctx, space } = opened
  const entry = (await loadDeliveries(ctx, [space.id])).get(space.id)
  if (!entry) throw new DomainError('not-found', { what: 'delivery', id: space.uid })
  const recipients = await recipientsOf(ctx, [space.id])
  return presentDetail(entry, visibleRecipients(ctx, { recipients, seesAll: seesAll(opened) }))
}

export const presentToken = ({ token, expiresAt }: ProofToken) => ({
  passwordToken: token,
  expiresAt: presentTime(expiresAt),
})

function readChanges(body: Static<typeof PackageUpdate>): DeliveryChanges {
  const { name, note, accessType, downloadPassword, downloadExpiration, persistent } = body
  return {
    ...(name !== undefined && { label: name }),
    ...(note !== undefined && { note }),
    ...(accessType !== undefined && { accessType: coreAccess[accessType] }),
    ...(downloadPassword !== undefined && { password: downloadPassword }),
    ...(downloadExpiration !== undefined && { expiresAt: parseTime('downloadExpiration', downloadExpiration) }),
    ...(persistent !== undefined && { persistent }),
  }
}
