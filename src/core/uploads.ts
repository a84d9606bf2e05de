/** Uploads that begin and end in one request: bytes first, then one transaction that makes them a file. */
import { authorize } from './access.ts'
import { discardContent, insertContent, receiveContent, type Body, type ReceivedContent } from './content.ts'
import { inTx, type Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireWritableSpace } from './gates.ts'
import { checkName, nameKey } from './names.ts'
import { findChild, getContainer, type Node } from './nodes.ts'
import { placeFile, type Placed, type Placement } from './placement.ts'
import { getSpaceRow, type Space } from './space-rows.ts'

export interface NewFile extends Omit<Placement, 'metadata' | 'mediaType' | 'reservedNodeId'> {
  /** What is only known once the body has ended (a multipart field may follow the file). */
  late: () => Pick<Placement, 'metadata' | 'mediaType'>
  announcedBytes?: number
  /** Lower-case hex. */
  expectedSha256?: string
  expectedMd5?: string
  md5?: boolean
}

/**
 * Stores a body as a file: a new one, a new version, or what `onConflict` says. The answer is given once content and row are
 * durable; before that nobody sees anything. No large body is read when the caller may not write.
 * Throws what placeFile throws, and `upload-incomplete`, `upload-too-large`, `checksum-mismatch`, `storage-full`.
 */
export async function storeFile(ctx: Ctx, input: NewFile, body: Body): Promise<Placed> {
  const content = await receiveContent(ctx, body, {
    md5: input.md5 === true || input.expectedMd5 !== undefined,
    // Nobody shall send a gigabyte for a refusal; a small body is there anyway, and the transaction asks.
    beforeStreaming: () => requireMayStore(ctx, input),
  })
  try {
    requireAsExpected(input, content)
    const placement = { ...input, ...input.late() }
    return await inTx(ctx, async ctx => {
      await insertContent(ctx, content)
      return placeFile(ctx, placement, content)
    })
  } catch (error) {
    await discardContent(ctx, content.segments, error)
    throw error
  }
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
  const limit = ctx.settings.maxFileBytes
  if (limit !== null && (input.announcedBytes ?? 0) > limit)
    throw new DomainError('upload-too-large', { limitBytes: limit })
  return { parent, space }
}

/** Throws when length or checksum differ from what the client named. */
export function requireAsExpected(
  expected: Pick<NewFile, 'announcedBytes' | 'expectedSha256' | 'expectedMd5'>,
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
