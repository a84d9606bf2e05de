/** The contents' part of a move: every object that a row knows goes over in its stored form, several at a time. */
import { DatabaseSync } from 'node:sqlite'
import { isDomainError } from '#core/errors.ts'
import type { BlobStore } from '#core/ports.ts'
import type { Database } from '#db/database.ts'
import { storedSize } from '#platform/blobs/frames.ts'
import { CommandFailed } from './terminal.ts'

/** Runs `work` on the database that says which objects there are. */
export type Look = <T>(work: (database: Database) => Promise<T>) => Promise<T>

interface Segment {
  id: string
  blobId: string
  /** Size on the medium. */
  storedBytes: number
}

export interface BlobsMoved {
  /** Objects that the rows know. */
  objects: number
  copied: number
  copiedBytes: number
}

const PAGE = 500
const LANES = 4

/** Throws CommandFailed where the target holds objects and none of them is of this installation. Changes nothing. */
export async function requireOwnObjects(look: Look, target: BlobStore): Promise<void> {
  let batch: string[] = []
  let seen = 0
  for await (const { segmentId } of target.list()) {
    batch.push(segmentId)
    seen += 1
    if (batch.length < PAGE) continue
    if (await knowsOne(look, batch)) return
    batch = []
  }
  if (seen === 0 || (await knowsOne(look, batch))) return
  throw new CommandFailed('The target for contents holds those of another installation: name an empty one')
}

async function knowsOne(look: Look, segmentIds: readonly string[]): Promise<boolean> {
  if (segmentIds.length === 0) return false
  const row = await look(({ read }) =>
    read.selectFrom('segment').select('id').where('id', 'in', segmentIds).limit(1).executeTakeFirst(),
  )
  return row !== undefined
}

/** Copies what the target does not have in its right size. What the source does not have is left to `missingObjects`. */
export async function copyObjects(
  look: Look,
  { from, to }: { from: BlobStore; to: BlobStore },
  onCopied: (moved: BlobsMoved) => void,
): Promise<BlobsMoved> {
  const moved: BlobsMoved = { objects: 0, copied: 0, copiedBytes: 0 }
  using present = await takeInventory(to)
  await inLanes(LANES, listSegments(look), async segment => {
    moved.objects += 1
    if (present.sizeOf(segment.id) === segment.storedBytes) return
    if (!(await copyObject({ from, to }, segment))) return
    moved.copied += 1
    moved.copiedBytes += segment.storedBytes
    onCopied(moved)
  })
  return moved
}

/** False when the source does not have the object whole. */
async function copyObject(
  { from, to }: { from: BlobStore; to: BlobStore },
  { id, storedBytes }: Segment,
): Promise<boolean> {
  try {
    await to.writeStored(id, from.readStored(id), storedBytes)
    return true
  } catch (error) {
    if (isDomainError(error, 'content-damaged')) return false
    throw error
  }
}

/** Objects that a version needs and the target does not have in their right size. */
export async function missingObjects(look: Look, target: BlobStore): Promise<string[]> {
  using present = await takeInventory(target)
  const missing: string[] = []
  let absent: Segment[] = []
  const judge = async () => {
    const needed = await neededBlobs(
      look,
      absent.map(segment => segment.blobId),
    )
    missing.push(...absent.filter(({ blobId }) => needed.has(blobId)).map(({ id }) => id))
    absent = []
  }
  for await (const segment of listSegments(look)) {
    if (present.sizeOf(segment.id) !== segment.storedBytes) absent.push(segment)
    if (absent.length >= PAGE) await judge()
  }
  await judge()
  return missing
}

/** Pieces of a transfer in progress may vanish; contents of versions may not. */
async function neededBlobs(look: Look, blobIds: readonly string[]): Promise<Set<string>> {
  if (blobIds.length === 0) return new Set()
  const rows = await look(({ read }) =>
    read
      .selectFrom('version')
      .select('blobId')
      .distinct()
      .where('blobId', 'in', blobIds)
      .where('purgedAt', 'is', null)
      .execute(),
  )
  return new Set(rows.map(row => row.blobId))
}

/** Segments that lie in the blob store, by id. Each page is looked up anew, as copying one may take long. */
async function* listSegments(look: Look): AsyncGenerator<Segment> {
  for (let after = ''; ;) {
    const rows = await look(({ read }) =>
      read
        .selectFrom('segment')
        .innerJoin('blob', 'blob.id', 'segment.blobId')
        .select(['segment.id', 'segment.blobId', 'segment.sizeBytes', 'blob.encryption'])
        .where('segment.id', '>', after)
        .where('segment.inlineBytes', 'is', null)
        .orderBy('segment.id')
        .limit(PAGE)
        .execute(),
    )
    const last = rows.at(-1)
    if (!last) return
    after = last.id
    for (const { id, blobId, sizeBytes, encryption } of rows) {
      yield { id, blobId, storedBytes: encryption === 'none' ? sizeBytes : storedSize(sizeBytes) }
    }
  }
}

/** Several at a time; after a failure none is begun, and it is thrown once those under way have ended. */
async function inLanes<T>(count: number, queue: AsyncGenerator<T>, work: (next: T) => Promise<void>): Promise<void> {
  const lane = async () => {
    try {
      for (let next = await queue.next(); !next.done; next = await queue.next()) await work(next.value)
    } finally {
      await queue.return(undefined)
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: count }, lane))
  const failed = outcomes.find(outcome => outcome.status === 'rejected')
  if (failed) throw failed.reason
}

interface Inventory extends Disposable {
  /** Stored bytes of a finished object, or undefined. */
  sizeOf(segmentId: string): number | undefined
}

/** What a store has, kept in a temporary file: there may be more than memory should hold. */
async function takeInventory(store: BlobStore): Promise<Inventory> {
  const list = new DatabaseSync('') // without a name it is temporary
  list.exec('create table object (id text primary key, bytes integer not null) without rowid; begin')
  const insert = list.prepare('insert or replace into object values (?, ?)')
  const find = list.prepare('select bytes from object where id = ?')
  for await (const { segmentId, state, storedBytes } of store.list()) {
    if (state === 'stored') insert.run(segmentId, storedBytes)
  }
  return {
    sizeOf: segmentId => find.get(segmentId)?.['bytes'] as number | undefined, // as the table says
    [Symbol.dispose]: () => list.close(),
  }
}
