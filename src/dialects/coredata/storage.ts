/** Contents under signed addresses: whoever holds one needs no key, and none is looked at. */
import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { receiveBlob } from '#core/blob-uploads.ts'
import { makeCtx, type Ctx, type Deps } from '#core/ctx.ts'
import type { ErrorCode } from '#core/errors.ts'
import { actorOfAddress, openSignedVersion } from '#core/signed-addresses.ts'
import { findTenantByHost } from '#core/tenants.ts'
import { chunksOfBody } from '#http/body.ts'
import { sendContent, type Content } from '#http/downloads.ts'
import { asDomainError } from '#http/errors.ts'
import { headerType } from '#http/media-types.ts'
import { binary } from '#http/request-body.ts'
import { checkSigned, signedAddress, type SignedRequest } from '#http/signed-addresses.ts'
import { op } from './errors.ts'
import { blobIdOf } from './file.ts'
import { BlobPath, SignedQuery, SignedGetQuery } from './schemas.ts'

const PREFIX = '/laika'
const KEY_ID = 's3f:'

/** The address that lets its holder do this with a blob, for whom `ctx` acts. `expiresAt` is in epoch milliseconds. */
export function addressOf(
  ctx: Ctx,
  base: string,
  input: { blob: string; expiresAt: number } & Pick<SignedRequest, 'method' | 'contentType' | 'fixed'>,
): string {
  const { blob, expiresAt, ...request } = input
  const keyId = KEY_ID + ctx.actor.principalId
  return signedAddress(ctx, base, {
    ...request,
    path: `${PREFIX}/${blob}`,
    keyId,
    expires: Math.floor(expiresAt / 1000),
  })
}

/** In the form of object stores, as everything under these addresses. */
interface StorageError {
  status: number
  code: string
  message: string
}

const refused: StorageError = { status: 403, code: 'SignatureDoesNotMatch', message: 'The signature does not match' }
const expired: StorageError = { status: 403, code: 'AccessDenied', message: 'Request has expired' }
const noAccount: StorageError = { status: 403, code: 'InvalidAccessKeyId', message: 'The key ID is not valid' }
const used: StorageError = { status: 403, code: 'AccessDenied', message: 'The blob is in use' }
const missing: StorageError = { status: 404, code: 'NoSuchKey', message: 'There is no such blob' }
const otherLength: StorageError = {
  status: 400,
  code: 'BadRequest',
  message: 'The length differs from the announced one',
}
const withheld: StorageError = { status: 403, code: 'AccessDenied', message: 'The content is withheld' }
const away: StorageError = { status: 503, code: 'SlowDown', message: 'Try again' }
const full: StorageError = { status: 507, code: 'InsufficientStorage', message: 'No space left' }
const damaged: StorageError = { status: 503, code: 'InternalError', message: 'The content is not available' }

/** What can happen here; any other refusal of the core is a gate that is shut. */
const words: Partial<Record<ErrorCode, StorageError>> = {
  'not-found': missing,
  'not-signed-in': noAccount,
  'wrong-state': used,
  'upload-incomplete': otherLength,
  'upload-interrupted': { status: 400, code: 'IncompleteBody', message: 'The body ended early' },
  'upload-too-large': { status: 400, code: 'EntityTooLarge', message: 'The blob is too large' },
  'invalid-input': { status: 400, code: 'InvalidRequest', message: 'The request is not valid' },
  'content-damaged': damaged,
  'storage-full': full,
  busy: away,
}

const storageRefusals = (own: Record<number, string>) => ({
  403: 'Signature wrong, expired, or header not as signed.',
  404: 'No such blob.',
  ...own,
})

export const storageOperations = [
  op({
    id: 'putBlob',
    method: 'PUT',
    path: '/laika/{blob_name}',
    tag: 'Storage',
    access: 'public',
    summary: 'Upload blob content',
    description:
      'The media type and the length are those that were announced. Repeating it before the blob is used overwrites.',
    params: BlobPath,
    query: SignedQuery,
    queryAsText: true,
    requestHeaders: { Slug: 'File name, informative; may be empty.' },
    body: binary('*/*'),
    status: 201,
    reply: 'empty',
    refusals: storageRefusals({ 400: 'Length differs from the announced one, or the type is none.' }),
    // Of a content type that is none, which is refused before the address is looked at.
    errors: { 'invalid-input': () => ({ status: 400 }) },
    handler: ({ ctx: visitor, request, reply }) =>
      answering(reply, async () => {
        const { ctx, blobId } = await openAddress(visitor, request)
        const length = request.headers['content-length']
        await receiveBlob(
          ctx,
          {
            blobId,
            mediaType: request.headers['content-type'] ?? '',
            lengthBytes: length ? Number(length) : undefined,
          },
          chunksOfBody(request.raw),
        )
        return reply.code(201).send()
      }),
  }),
  op({
    id: 'getBlob',
    method: 'GET',
    path: '/laika/{blob_name}',
    tag: 'Storage',
    access: 'public',
    summary: 'Download blob content',
    params: BlobPath,
    query: SignedGetQuery,
    queryAsText: true,
    requestHeaders: { Range: 'Byte range.' },
    reply: { content: '*/*', ranges: true },
    headers: {
      'Content-Length': 'Bytes of the answer.',
      'Last-Modified': 'When the content was stored.',
      'Content-Disposition': 'As the address says.',
      'Accept-Ranges': 'Always bytes.',
    },
    refusals: storageRefusals({ 416: 'Range not satisfiable.' }),
    handler: ({ ctx: visitor, request, reply }) =>
      answering(reply, async () => {
        const { ctx, blobId, fixed } = await openAddress(visitor, request)
        const opened = await openSignedVersion(ctx, { blobId, versionId: Number(fixed['versionId'] ?? 0) })
        const content: Content = {
          sizeBytes: opened.version.sizeBytes,
          etag: `"${opened.version.id}"`,
          modifiedAt: opened.version.createdAt,
          contentType: headerType(fixed['response-content-type']),
          disposition: (fixed['response-content-disposition'] ?? 'attachment').trim(),
          open(start, end) {
            opened.noteRead()
            return opened.inline()?.subarray(start, end) ?? opened.read(start, end)
          },
        }
        const getHeaders = () => reply.getHeaders() as OutgoingHttpHeaders // Fastify lets any header be a number
        await sendContent(request, { raw: reply.raw, hijack: () => reply.hijack(), getHeaders }, content)
        return reply
      }),
  }),
]

class Refused extends Error {
  readonly answer: StorageError
  constructor(answer: StorageError) {
    super(answer.message)
    this.answer = answer
  }
}

interface Opened {
  ctx: Ctx
  blobId: string
  /** What the address fixes of the answer. */
  fixed: Readonly<Record<string, string>>
}

/** Whose address it is, and of which blob. Throws what is wrong with it. */
async function openAddress(deps: Deps, request: FastifyRequest): Promise<Opened> {
  const path = request.url.split('?', 1)[0] ?? ''
  const query = request.query as Record<string, unknown> // parsed by the router
  const checked = checkSigned(deps, {
    method: request.method,
    path,
    contentType: request.headers['content-type'],
    query,
  })
  if (checked === 'refused') throw new Refused(refused)
  if (checked === 'expired') throw new Refused(expired)
  const tenant = await findTenantByHost(deps, request.host)
  const from = { client: request.headers['user-agent'] ?? '', address: request.ip, tenantId: tenant.id }
  const actor = await actorOfAddress(deps, { ...from, principalId: checked.keyId.slice(KEY_ID.length) })
  return {
    ctx: makeCtx(deps, actor, request.id),
    blobId: blobIdOf(path.slice(PREFIX.length + 1)),
    fixed: checked.fixed,
  }
}

/** Refusals here are XML, unlike everywhere else. Faults of ours go on to the dialect's error handler, which logs them. */
async function answering(reply: FastifyReply, work: () => Promise<FastifyReply>): Promise<FastifyReply> {
  try {
    return await work()
  } catch (error) {
    if (reply.raw.headersSent) throw error
    const domainError = error instanceof Refused ? undefined : asDomainError(error)
    if (!domainError && !(error instanceof Refused)) throw error
    const answer = error instanceof Refused ? error.answer : (words[domainError!.code] ?? withheld)
    const { status, code, message } = answer
    return reply
      .code(status)
      .type('application/xml')
      .send(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`)
  }
}
