/** Goes through a content and, where it is an archive, through everything within, down to the files. */
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { collect, counted, memorySource, peek, takeHead, type Bytes, type Source } from './bytes.ts'
import { BrokenArchive, openTally, type ArchiveLimits, type Tally } from './limits.ts'
import { containerOf, HEAD_BYTES } from './magic.ts'
import { tarMembers } from './tar.ts'
import { guarded, zipMembers } from './zip.ts'

/** A file that is no archive: the content itself, or one within it. */
export interface Leaf {
  name: string
  /** The first kilobyte, or all of it where there is less. */
  head: Uint8Array
  /** All of it, once. */
  bytes: Bytes
  /** For the content itself: it can be read from anywhere. */
  source?: Source
}

export interface Visitor {
  leaf(leaf: Leaf): Promise<void>
  /** A member that nobody can look into without its password. */
  encrypted(): void
  /** An archive within an archive that is too large to be held for a look. */
  unseen(): void
}

/** ZIP archives within archives are held in memory for as long as they are looked into: that much, over all levels. */
export const MAX_HELD_BYTES = 64 * 2 ** 20

/**
 * Visits every file. A broken archive ends where it breaks, and so does one whose bytes cannot be read: whoever gives the
 * bytes knows of that. Throws LimitExceeded and what the visitor throws.
 */
export async function walk(content: Source & { name: string }, limits: ArchiveLimits, visitor: Visitor): Promise<void> {
  const walker: Walker = { visitor, tally: openTally(limits, content.sizeBytes), heldBytes: 0 }
  const head = await takeHead(content, HEAD_BYTES)
  const kind = containerOf(head)
  if (kind === 'zip') await walkZip(walker, content, 0)
  else if (kind) await walkStream(walker, { name: content.name, bytes: content.read(), depth: 0 })
  else await visitor.leaf({ name: content.name, head, bytes: content.read(), source: content })
}

interface Walker {
  visitor: Visitor
  tally: Tally
  heldBytes: number
}

interface Stream {
  name: string
  bytes: Bytes
  /** How many archives are around it. */
  depth: number
}

async function walkZip(walker: Walker, source: Source, depth: number): Promise<void> {
  await forgiving(async () => {
    for await (const member of zipMembers(source)) {
      walker.tally.enter()
      if (member.isEncrypted) walker.visitor.encrypted()
      const bytes = member.open?.()
      // A broken member says nothing about the next one.
      if (bytes)
        await forgiving(() =>
          walkStream(walker, { name: member.name, bytes: tallied(walker, bytes), depth: depth + 1 }),
        )
    }
  })
}

async function walkStream(walker: Walker, { name, bytes, depth }: Stream): Promise<void> {
  const peeked = await peek(bytes, HEAD_BYTES)
  try {
    const inner = { name, bytes: peeked.bytes, depth }
    const kind = containerOf(peeked.head)
    if (kind === 'zip') await walkHeldZip(walker, inner)
    else if (kind === 'gzip') await walkGzip(walker, inner)
    else if (kind === 'tar') await walkTar(walker, inner)
    else await walker.visitor.leaf({ name, head: peeked.head, bytes: peeked.bytes })
  } finally {
    await peeked.leave()
  }
}

/** The directory of a ZIP archive stands at its end, so one in a stream must be held. */
async function walkHeldZip(walker: Walker, { bytes, depth }: Stream): Promise<void> {
  walker.tally.descend(depth)
  const held = await collect(bytes, MAX_HELD_BYTES - walker.heldBytes)
  if (!held) return walker.visitor.unseen()
  walker.heldBytes += held.length
  await walkZip(walker, memorySource(held), depth)
  walker.heldBytes -= held.length
}

async function walkGzip(walker: Walker, { name, bytes, depth }: Stream): Promise<void> {
  walker.tally.descend(depth)
  walker.tally.enter()
  // The error goes to whoever reads; here it only must not go unheard.
  const unpacked = guarded(pipeline(bytes, createGunzip(), () => {}))
  const inner = { name: name.replace(/\.t?gz$/i, ''), bytes: tallied(walker, unpacked), depth: depth + 1 }
  await forgiving(() => walkStream(walker, inner))
}

async function walkTar(walker: Walker, { bytes, depth }: Stream): Promise<void> {
  walker.tally.descend(depth)
  await forgiving(async () => {
    for await (const member of tarMembers(bytes)) {
      walker.tally.enter()
      await walkStream(walker, { ...member, depth: depth + 1 })
    }
  })
}

const tallied = ({ tally }: Walker, bytes: Bytes) => counted(bytes, length => tally.unpack(length))

async function forgiving(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof BrokenArchive)) throw error
  }
}
