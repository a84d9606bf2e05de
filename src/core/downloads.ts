/** Content going out: right and gates asked, the read noted, the bytes as a stream or at once. */
import { authorize, requireAction } from './access.ts'
import { loadContent, loadSegments, type Content } from './content.ts'
import type { Ctx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireReadable } from './gates.ts'
import { getLiveNode, type Node } from './nodes.ts'
import type { ActionSet } from './permissions.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { getCurrentVersion, getVersionRow, type Version } from './versions.ts'

export interface OpenedContent extends Content {
  node: Node
  version: Version
  /** Notes the read. Call it once per download, when bytes are about to go out. */
  noteRead(): void
}

/** The current content of a live file, or one of its earlier versions. Throws `not-found`, `forbidden`, `not-a-file`, gates. */
export async function openContent(ctx: Ctx, input: { nodeId: number; versionId?: number }): Promise<OpenedContent> {
  const node = await getLiveNode(ctx, input.nodeId)
  await authorize(ctx, 'read', node)
  const version =
    input.versionId === undefined ? await getCurrentVersion(ctx, node) : await getVersionRow(ctx, input.versionId)
  if (version.nodeId !== node.id || version.purgedAt !== null) {
    throw new DomainError('not-found', { what: 'version', id: String(input.versionId) })
  }
  return openVersion(ctx, { node, space: await getSpaceRow(ctx, node.spaceId ?? 0), version })
}

/** The same for a node that this request has loaded together with the actor's rights on it. */
export async function openCurrentContent(
  ctx: Ctx,
  { node, space, allowed }: { node: Node; space: Space; allowed: ActionSet },
): Promise<OpenedContent> {
  requireAction(allowed, 'read', node)
  return openVersion(ctx, { node, space, version: await getCurrentVersion(ctx, node) })
}

/** For callers that have asked for the right; gates are asked here. */
export async function openVersion(
  ctx: Ctx,
  { node, space, version }: { node: Node; space: Space; version: Version },
): Promise<OpenedContent> {
  await requireReadable(ctx, { space, node, version })
  const content = await loadContent(ctx, version)
  const noteRead = () => ctx.reads.note(ctx, { spaceId: node.spaceId, nodeId: node.id, versionId: version.id })
  return { ...content, node, version, noteRead }
}

/**
 * An address of the medium itself for content that a client put there; undefined where only we can read it. The bytes go out
 * without us, so the read is noted here.
 */
export async function directAddressOf(
  ctx: Ctx,
  { version, noteRead }: Pick<OpenedContent, 'version' | 'noteRead'>,
  answer: { contentType: string; disposition: string; expiresAt: number },
): Promise<string | undefined> {
  if (!ctx.blobs.direct) return undefined
  const [only, ...more] = await loadSegments(ctx, version.blobId)
  if (!only || more.length > 0 || only.encryption !== 'none') return undefined
  noteRead()
  return ctx.blobs.direct.getAddress({ segmentId: only.id, ...answer })
}
