/**
 * Signatures of addresses that work without a sign-in until they run out: who holds one may do the one thing that it names.
 * Nothing is stored: the key is derived from the installation's own.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Actor, Ctx, Deps } from './ctx.ts'
import { openVersion, type OpenedContent } from './downloads.ts'
import { DomainError } from './errors.ts'
import { getNodeRow } from './nodes.ts'
import { actingAccount, actorOfAccount, notSignedIn } from './sessions.ts'
import { getSpaceRow } from './space-rows.ts'
import { getVersionRow } from './versions.ts'

/** Base64 of an HMAC-SHA1, the length that clients of such addresses know: a MAC needs no resistance to collisions. */
export function signText({ keys }: Pick<Deps, 'keys'>, text: string): string {
  return createHmac('sha1', keys.lookup('signed addresses')).update(text).digest('base64')
}

/** In constant time. */
export function isSignature(deps: Pick<Deps, 'keys'>, text: string, signature: string): boolean {
  const wanted = Buffer.from(signText(deps, text))
  const given = Buffer.from(signature)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

/** The account that an address was made for acts when it is used. Throws `not-signed-in` once it may not act any more. */
export async function actorOfAddress(
  deps: Deps,
  { principalId, ...from }: { principalId: string; tenantId: string; client: string; address: string },
): Promise<Actor> {
  const row = await deps.database.read
    .selectFrom('principal')
    .innerJoin('tenant', 'tenant.id', 'principal.tenantId')
    .select(actingAccount)
    .where('principal.id', '=', principalId)
    .where('principal.tenantId', '=', from.tenantId)
    .executeTakeFirst()
  if (!row) throw notSignedIn('unknown')
  // The address itself is the permission, from wherever it is used.
  return actorOfAccount(deps, { ...row, ipRanges: null }, from)
}

/**
 * Content of an address that was signed for this very version, whether it is still the current one or not. The right was asked
 * when the address was made; gates are asked now. Throws `not-found` for a purged version, and what gates say.
 */
export async function openSignedVersion(
  ctx: Ctx,
  input: { versionId: number; blobId: string },
): Promise<OpenedContent> {
  const version = await getVersionRow(ctx, input.versionId)
  if (version.blobId !== input.blobId || version.purgedAt !== null)
    throw new DomainError('not-found', { what: 'version', id: String(input.versionId) })
  const node = await getNodeRow(ctx, version.nodeId)
  return openVersion(ctx, { node, space: await getSpaceRow(ctx, node.spaceId ?? 0), version })
}
