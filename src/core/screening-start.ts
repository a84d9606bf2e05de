/** How a content enters screening: clean at once where its first bytes show that there is nothing to find, else by a job. */
import { loadRules } from './content-rules.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { enqueue } from './jobs.ts'

/** So much of a content its engines see before it is stored. */
export const HEAD_BYTES = 512

/**
 * What a content is born as. `head` are its first bytes; undefined where nobody has them, as in what came by several requests.
 */
export async function stateAtBirth(
  ctx: Ctx,
  { head, sizeBytes }: { head: Uint8Array | undefined; sizeBytes: number },
): Promise<'clean' | 'pending'> {
  if (ctx.engines.length === 0) return 'clean'
  if (head?.byteLength !== Math.min(HEAD_BYTES, sizeBytes)) return 'pending'
  const rules = await loadRules(ctx)
  const isHarmless = ctx.engines.every(engine => engine.isHarmless?.(head, { sizeBytes, rules }) ?? false)
  return isHarmless ? 'clean' : 'pending'
}

/** A copy of the first bytes, for as long as it is not known what they are. */
export function headOf(chunks: readonly Uint8Array[]): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES)
  let size = 0
  for (const chunk of chunks) {
    if (size === HEAD_BYTES) break
    head.set(chunk.subarray(0, HEAD_BYTES - size), size)
    size = Math.min(HEAD_BYTES, size + chunk.byteLength)
  }
  return head.subarray(0, size)
}

/** Has a version looked into, once however often it is asked for. */
export function enqueueScreening(ctx: TxCtx, versionId: number, runAt?: number): Promise<void> {
  const job = { kind: 'version.screen', payload: { versionId }, dedupKey: `version.screen:${versionId}` } as const
  return enqueue(ctx, { ...job, ...(runAt !== undefined && { runAt }) })
}
