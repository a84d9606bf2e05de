/** How far archives are unpacked, and what says that it was too far. */

export interface ArchiveLimits {
  /** Archives within archives. */
  depth: number
  /** Members, over all archives within. */
  entries: number
  /** Bytes when everything is unpacked, over all archives within. */
  unpackedBytes: number
  /** Times that it grows when it is unpacked. */
  ratio: number
}

export const defaultLimits: ArchiveLimits = { depth: 5, entries: 100_000, unpackedBytes: 32 * 2 ** 30, ratio: 200 }

/** Small things may grow as much as they like: a short text of equal lines does. */
const RATIO_FROM_BYTES = 64 * 2 ** 20

/** An archive that cannot be read on. What was seen of it counts. */
export class BrokenArchive extends Error {}

/** An archive unpacks to more than is reasonable. The message names the limit. */
export class LimitExceeded extends Error {}

export interface Tally {
  /** Counts a member. Throws LimitExceeded. */
  enter(): void
  /** Counts unpacked bytes. Throws LimitExceeded. */
  unpack(bytes: number): void
  /** Refuses an archive that lies too deep. Throws LimitExceeded. */
  descend(depth: number): void
}

/** Counts what comes out of a content of `packedBytes`. */
export function openTally(limits: ArchiveLimits, packedBytes: number): Tally {
  const mostBytes = Math.min(limits.unpackedBytes, Math.max(RATIO_FROM_BYTES, limits.ratio * packedBytes))
  let entries = 0
  let bytes = 0
  return {
    enter() {
      entries += 1
      if (entries > limits.entries) throw new LimitExceeded(`more than ${limits.entries} members`)
    },
    unpack(more) {
      bytes += more
      if (bytes <= mostBytes) return
      const grows = mostBytes < limits.unpackedBytes
      throw new LimitExceeded(
        grows ? `unpacks to more than ${limits.ratio} times its size` : `unpacks to more than ${mostBytes} bytes`,
      )
    },
    descend(depth) {
      if (depth >= limits.depth) throw new LimitExceeded(`archives lie within archives deeper than ${limits.depth}`)
    },
  }
}
