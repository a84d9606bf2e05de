/** Compares rows and stored content, both ways. Reports; never repairs. */
import type { Selectable } from 'kysely'
import type { VersionTable } from '#db/schema.ts'
import { digestContent, loadSegments, readSegments, unwrapKey, type SegmentRow } from './content.ts'
import type { Ctx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import { requireRight } from './roles.ts'
import { hasSealedKey } from './sealed-keys.ts'
import { LEFTOVER_AGE_MS, unknownSegments } from './sweep.ts'

export interface VerifyReport {
  versions: number
  segments: number
  objects: number
  /** Versions that open with a password only: they were not read, but everything that makes them up is there. */
  sealed: number
  /** Bytes whose digest was recomputed. */
  checkedBytes: number
  /** Young objects without a row: transfers in progress, or leavings that the sweep will remove. */
  leftovers: number
  problems: Problem[]
}

export interface Problem {
  what:
    | 'key-unusable'
    | 'segments-missing'
    | 'content-unreadable'
    | 'digest-differs'
    | 'object-without-row'
    | 'file-without-content'
  /** `version:7`, `segment:<uuid>`, `node:3`. */
  subject: string
}

type Version = Selectable<VersionTable>
type Found = (what: Problem['what'], subject: string) => void

const BATCH = 200

/** With `content`, every byte is read back and its hash compared; without, the last byte of each segment. */
export async function verifyStore(ctx: Ctx, { content }: { content: boolean }): Promise<VerifyReport> {
  await requireRight(ctx, 'config.manage')
  const report: VerifyReport = {
    versions: 0,
    segments: 0,
    objects: 0,
    sealed: 0,
    checkedBytes: 0,
    leftovers: 0,
    problems: [],
  }
  const found: Found = (what, subject) => void report.problems.push({ what, subject })
  await verifyVersions(ctx, { content, report, found })
  await verifyObjects(ctx, report, found)
  await verifyFiles(ctx, found)
  return report
}

interface Task {
  content: boolean
  report: VerifyReport
  found: Found
}

async function verifyVersions(ctx: Ctx, task: Task): Promise<void> {
  for (let after = 0; ;) {
    const versions = await ctx.db
      .selectFrom('version')
      .selectAll()
      .where('id', '>', after)
      .where('purgedAt', 'is', null)
      .orderBy('id')
      .limit(BATCH)
      .execute()
    const last = versions.at(-1)
    if (!last) return
    after = last.id
    for (const version of versions) await verifyVersion(ctx, version, task)
  }
}

async function verifyVersion(ctx: Ctx, version: Version, task: Task): Promise<void> {
  const problem = await problemOf(ctx, version, task)
  task.report.versions += 1
  // Purged while it was looked at: nothing is wrong.
  if (problem && !(await isPurged(ctx, version.id))) task.found(problem, `version:${version.id}`)
}

async function problemOf(ctx: Ctx, version: Version, { content, report }: Task): Promise<Problem['what'] | undefined> {
  if (!hasSealedKey(version) && !opensKey(ctx, version)) return 'key-unusable'
  const segments = await loadSegments(ctx, version.blobId)
  report.segments += segments.length
  if (!coverWhole(segments, version.sizeBytes)) return 'segments-missing'
  try {
    if (hasSealedKey(version)) return await measureSealed(ctx, segments, { content, report })
    if (!content) return await readEnds(ctx, version, segments)
    const digests = await digestContent(ctx, version, { md5: version.md5 !== null })
    report.checkedBytes += version.sizeBytes
    return digests.sha256 === version.sha256 && digests.md5 === version.md5 ? undefined : 'digest-differs'
  } catch (error) {
    if (!isDomainError(error, 'content-damaged')) throw error
    return 'content-unreadable'
  }
}

function opensKey(ctx: Ctx, version: Version): boolean {
  try {
    unwrapKey(ctx, version)
    return true
  } catch (error) {
    if (isDomainError(error, 'content-damaged')) return false
    throw error
  }
}

/** What can be seen without the key: that each piece is there, and with `content` in its whole length. */
async function measureSealed(
  ctx: Ctx,
  segments: readonly SegmentRow[],
  { content, report }: Pick<Task, 'content' | 'report'>,
): Promise<Problem['what'] | undefined> {
  for (const segment of segments) {
    const stored = segment.inlineBytes?.byteLength ?? (await storedBytes(ctx, segment.id, content))
    const isWhole = content || segment.inlineBytes ? stored === ctx.inline.storedSize(segment.sizeBytes) : stored > 0
    if (!isWhole) return 'content-unreadable'
  }
  report.sealed += 1
  return undefined
}

/** Without `whole`, no more than the first piece is read. Throws `content-damaged` for a missing one. */
async function storedBytes(ctx: Ctx, segmentId: string, whole: boolean): Promise<number> {
  let sum = 0
  for await (const chunk of ctx.blobs.readStored(segmentId)) {
    sum += chunk.byteLength
    if (!whole) break
  }
  return sum
}

/** True when the segments follow each other without a gap from the first byte to the last. */
function coverWhole(segments: readonly SegmentRow[], sizeBytes: number): boolean {
  let position = 0
  for (const { startByte, usedBytes } of segments) {
    if (startByte !== position) return false
    position += usedBytes
  }
  return position === sizeBytes && (segments.length > 0 || sizeBytes === 0)
}

/** The last frame of a segment only opens when the object is there and has its whole length. */
async function readEnds(ctx: Ctx, version: Version, segments: readonly SegmentRow[]): Promise<undefined> {
  const key = unwrapKey(ctx, version)
  for (const segment of segments) {
    const end = segment.startByte + segment.usedBytes
    const start = Math.max(end - 1, segment.startByte)
    for await (const _ of readSegments(ctx, { key, segments: [segment], start, end }));
  }
}

async function isPurged(ctx: Ctx, versionId: number): Promise<boolean> {
  const row = await ctx.db.selectFrom('version').select('purgedAt').where('id', '=', versionId).executeTakeFirst()
  return row?.purgedAt !== null
}

async function verifyObjects(ctx: Ctx, report: VerifyReport, found: Found): Promise<void> {
  const before = ctx.clock() - LEFTOVER_AGE_MS
  let batch = new Map<string, number>()
  const compare = async () => {
    for (const segmentId of await unknownSegments(ctx, [...batch.keys()])) {
      if ((batch.get(segmentId) ?? 0) < before) found('object-without-row', `segment:${segmentId}`)
      else report.leftovers += 1
    }
    batch = new Map()
  }
  for await (const { segmentId, changedAt } of ctx.blobs.list()) {
    report.objects += 1
    batch.set(segmentId, changedAt)
    if (batch.size >= BATCH) await compare()
  }
  await compare()
}

/** Live files whose current version is not there any more. */
async function verifyFiles(ctx: Ctx, found: Found): Promise<void> {
  const files = await ctx.db
    .selectFrom('node')
    .leftJoin('version', join =>
      join.onRef('version.id', '=', 'node.currentVersionId').on('version.purgedAt', 'is', null),
    )
    .select('node.id')
    .where('node.kind', '=', 'file')
    .where('node.state', '=', 'live')
    .where('version.id', 'is', null)
    .execute()
  for (const { id } of files) found('file-without-content', `node:${id}`)
}
