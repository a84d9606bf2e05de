/** What a content is, by its first bytes. */

/** As many bytes as are looked at. */
export const HEAD_BYTES = 1_024

export type Container = 'zip' | 'gzip' | 'tar'

/** The kinds of archive that are looked into; undefined for everything else. */
export function containerOf(head: Uint8Array): Container | undefined {
  if (startsWith(head, 'PK\u0003\u0004') || startsWith(head, 'PK\u0005\u0006')) return 'zip'
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  return startsWith(head.subarray(257), 'ustar') ? 'tar' : undefined
}

/** The mark of a PDF may stand anywhere in the first kilobyte. */
export function isPdf(head: Uint8Array): boolean {
  return Buffer.from(head.buffer, head.byteOffset, head.length).subarray(0, 1_024).includes('%PDF-')
}

function startsWith(head: Uint8Array, mark: string): boolean {
  return Buffer.from(mark, 'latin1').every((byte, at) => byte === head[at])
}
