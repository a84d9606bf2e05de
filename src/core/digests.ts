/** MD5 digests of contents that came in by a door which needs none: made when somebody has to show one, and kept. */
import { digestContent } from './content.ts'
import { inTx, type Ctx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import type { Version } from './versions.ts'

type Keyed = Pick<Version, 'id' | 'md5' | 'blobId' | 'wrappedKey' | 'keyName' | 'sizeBytes'>

/**
 * The MD5 of each version, lower-case hex, by version id; one that is damaged, or opens with a password only, is absent. Reads the bytes of those that lack it, one
 * after the other: a page of large files that nobody has asked for before takes its time once.
 */
export async function loadMd5s(ctx: Ctx, versions: readonly Keyed[]): Promise<Map<number, string>> {
  const digests = new Map<number, string>()
  for (const version of versions) {
    const digest = version.md5 ?? (await makeMd5(ctx, version))
    if (digest !== undefined) digests.set(version.id, digest)
  }
  return digests
}

async function makeMd5(ctx: Ctx, version: Keyed): Promise<string | undefined> {
  const digest = await digestContent(ctx, version, { md5: true }).catch(ignoreUnreadable)
  const md5 = digest?.md5
  if (!md5) return undefined
  // A derived value: nothing changes for anybody, so there is no event.
  await inTx(ctx, ctx => ctx.db.updateTable('version').set({ md5 }).where('id', '=', version.id).execute())
  return md5
}

function ignoreUnreadable(error: unknown): undefined {
  if (!isDomainError(error, 'content-damaged') && !isDomainError(error, 'proof-required')) throw error
}
