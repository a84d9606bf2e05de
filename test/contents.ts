/** Contents as the engines of screening get them, for tests. */
import type { ContentRule, Examined } from '#core/ports.ts'

interface Given {
  name?: string
  rules?: readonly ContentRule[]
  /** How much comes at a time. */
  chunkBytes?: number
}

/** `bytes` as a content whose ranges come in chunks. */
export function contentOf(
  bytes: Uint8Array | string,
  { name = 'x', rules = [], chunkBytes = 65_536 }: Given = {},
): Examined {
  const all = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  return {
    name,
    mediaType: 'application/octet-stream',
    sizeBytes: all.length,
    rules,
    // oxlint-disable-next-line require-await -- the port is asynchronous
    async *read(start = 0, end = all.length) {
      for (let at = start; at < end; at += chunkBytes) yield all.subarray(at, Math.min(at + chunkBytes, end))
    },
  }
}

/** The test file of virus scanners, in parts, as they would take this source for it. */
export const testFile = ['X5O!P%@AP[4\\PZX54(P^', ')7CC)7}$EICAR-STAND', 'ARD-ANTIVIRUS-TEST-FILE!$H+H*'].join('')

export const rule = (
  kind: ContentRule['kind'],
  terms: readonly string[] = [],
  given: Partial<ContentRule> = {},
): ContentRule => ({
  name: kind,
  kind,
  terms,
  minMatches: 1,
  effect: 'flag',
  ...given,
})

export const untilAborted = () => new AbortController().signal
