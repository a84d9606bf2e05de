/** Uploads that begin and end in one request: bytes first, then one transaction that makes them a file. */
import { authorize } from './access.ts'
import { discardContent, insertContent, receiveContent, type Body, type ReceivedContent } from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireWritableSpace } from './gates.ts'
import { checkName, nameKey } from './names.ts'
import { findChild, getContainer, getLiveNode, requireRevision, type Node } from './nodes.ts'
import { placeFile, placeVersion, type NewContent, type Placed, type Placement } from './placement.ts'
import { getSpaceRow, type Space } from './space-rows.ts'

export interface NewFile extends Expected, Omit<Placement, 'metadata' | 'mediaType' | 'reservedNodeId'> {
  /** What is only known once the body has ended (a multipart field may follow the file). */
  late: () => Pick<Placement, 'metadata' | 'mediaType'>
}

/** What the client said of the bytes ahead, and whether an MD5 is wanted beside the SHA-256. Digests are hex. */
export interface Expected {
  announcedBytes?: number
  expectedSha256?: string
  expectedMd5?: string
  md5?: boolean
}

/**
 * Stores a body as a file: a new one, a new version, or what `onConflict` says. The answer is given once content and row are
 * durable; before that nobody sees anything. No large body is read when the caller may not write.
 * Throws what placeFile throws, and `upload-incomplete`, `upload-too-large`, `checksum-mismatch`, `storage-full`.
 */
export function storeFile(ctx: Ctx, input: NewFile, body: Body): Promise<Placed> {
  return storeBody(ctx, body, {
    ...input,
    // Nobody shall send a gigabyte for a refusal; a small body is there anyway, and the transaction asks.
    beforeStreaming: () => requireMayStore(ctx, input),
    place: (ctx, content) => placeFile(ctx, { ...input, ...input.late() }, content),
  })
}

/**
 * Stores a body as the new content of a file that exists. Throws what placeVersion throws, and `upload-too-large`,
 * `upload-incomplete`, `checksum-mismatch`, `storage-full`.
 */
export function storeVersion(ctx: Ctx, input: NewContent & Expected, body: Body): Promise<Placed> {
  return storeBody(ctx, body, {
    ...input,
    beforeStreaming: () => requireMayReplace(ctx, input),
    place: (ctx, content) => placeVersion(ctx, input, content),
  })
}

/**
 * Stores a body whose place may be known only once it has ended: `place` runs in the transaction that makes it visible.
 * What `beforeStreaming` throws ends a large body early.
 */
export async function storeBody(
  ctx: Ctx,
  body: Body,
  input: Expected & {
    beforeStreaming?: () => Promise<unknown>
    place: (ctx: TxCtx, content: ReceivedContent) => Promise<Placed>
  },
): Promise<Placed> {
  const content = await receiveContent(ctx, body, {
    md5: input.md5 === true || input.expectedMd5 !== undefined,
    ...(input.beforeStreaming && { beforeStreaming: input.beforeStreaming }),
  })
  try {
    requireAsExpected(input, content)
    return await inTx(ctx, async ctx => {
      await insertContent(ctx, content)
      return input.place(ctx, content)
    })
  } catch (error) {
    await discardContent(ctx, content.segments, error)
    throw error
  }
}

/** As requireMayStore, for the content of a file that exists. */
async function requireMayReplace(ctx: Ctx, input: NewContent & Expected): Promise<void> {
  const node = await getLiveNode(ctx, input.nodeId)
  await authorize(ctx, 'write', node)
  requireRevision(node, input)
  requireWritableSpace(ctx, await getSpaceRow(ctx, node.spaceId ?? 0))
  requireBelowLimit(ctx, input)
}

export function requireBelowLimit(ctx: Ctx, { announcedBytes = 0 }: Pick<Expected, 'announcedBytes'>): void {
  const limit = ctx.settings.maxFileBytes
  if (limit !== null && announcedBytes > limit) throw new DomainError('upload-too-large', { limitBytes: limit })
}

/** Asks early what the last transaction will ask again, so that nobody sends a gigabyte for a refusal. */
export async function requireMayStore(
  ctx: Ctx,
  input: Pick<NewFile, 'parentId' | 'name' | 'onConflict' | 'announcedBytes'>,
): Promise<{ parent: Node; space: Space }> {
  const parent = await getContainer(ctx, input.parentId)
  const space = await getSpaceRow(ctx, parent.spaceId)
  const existing = await findChild(ctx, parent.id, nameKey(checkName(input.name), space.caseRule))
  const isNewVersion = existing?.kind === 'file' && existing.state === 'live' && input.onConflict === 'new-version'
  await authorize(ctx, isNewVersion ? 'write' : 'create', isNewVersion ? existing : parent)
  requireWritableSpace(ctx, space)
  requireBelowLimit(ctx, input)
  return { parent, space }
}

/** Throws when length or checksum differ from what the client named. */
export function requireAsExpected(
  expected: Omit<Expected, 'md5'>,
  content: Pick<ReceivedContent, 'sizeBytes' | 'sha256' | 'md5'>,
): void {
  if (expected.announcedBytes !== undefined && expected.announcedBytes !== content.sizeBytes) {
    throw new DomainError('upload-incomplete', {
      expectedBytes: expected.announcedBytes,
      receivedBytes: content.sizeBytes,
    })
  }
  const sums = { sha256: expected.expectedSha256, md5: expected.expectedMd5 }
  for (const algorithm of ['sha256', 'md5'] as const) {
    const wanted = sums[algorithm]?.toLowerCase()
    const actual = content[algorithm] ?? ''
    if (wanted !== undefined && wanted !== actual)
      throw new DomainError('checksum-mismatch', { algorithm, expected: wanted, actual })
  }
}
