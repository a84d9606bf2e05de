/** Files and folders as this API shows them. */
import { Type as T, type Static } from 'typebox'
import type { NodeRef, Settled } from '#core/conflicts.ts'
import type { Ctx } from '#core/ctx.ts'
import type { FileRecord, FolderEntry } from '#core/file-records.ts'
import { hasRight } from '#core/roles.ts'
import type { Check } from '#core/screening-examination.ts'
import { loadChecks } from '#core/screening-list.ts'
import type { Version } from '#core/versions.ts'
import { shownFlags } from './package.ts'
import { DateTime, presentTime, Uuid } from './schemas.ts'

const FileCheck = T.Object(
  {
    detectionEngine: T.String({ description: 'Name of the engine.' }),
    result: T.String({ description: 'Its verdict.' }),
    detectionName: T.Optional(T.String({ description: 'What it found, in its own words.' })),
    detectionDescription: T.Optional(T.String()),
    checkStarted: T.Optional(DateTime('When it began.')),
    checkFinished: T.Optional(DateTime('When it ended.')),
  },
  { title: 'FileCheck' },
)

export const File = T.Object(
  {
    id: Uuid('File.'),
    name: T.String({ maxLength: 255 }),
    path: T.String({ description: 'From the root of the package.' }),
    size: T.Integer({ minimum: 0, format: 'int64', description: 'Bytes.' }),
    hash: T.Optional(T.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the content, hex.' })),
    mimeType: T.String({ maxLength: 100 }),
    state: T.Enum(['UPLOADING', 'UPLOADED', 'CLEAN', 'UNCLEAN', 'CANCELED']),
    recheckInProgress: T.Boolean({ description: 'A repeated check is running.' }),
    created: DateTime('When it was announced.'),
    uploaded: T.Optional(DateTime('When its upload was confirmed.')),
    deleted: T.Optional(DateTime('When it was deleted; administrators only.')),
    contentDeleted: T.Optional(DateTime('When its content was destroyed; administrators only.')),
    checks: T.Array(FileCheck, { description: 'Details need FILE_CHECK_RESULT_DETAILS.' }),
    flags: T.Array(T.String()),
  },
  { title: 'File' },
)

export const Folder = T.Object(
  {
    id: Uuid('Folder.'),
    name: T.String(),
    path: T.String({ description: 'From the root of the package.' }),
    size: T.Integer({ minimum: 0, format: 'int64', description: 'Bytes of everything in it.' }),
    created: DateTime('When it was made.'),
    deleted: T.Optional(DateTime('When it was deleted; administrators only.')),
    contentDeleted: T.Optional(DateTime('When everything in it was destroyed; administrators only.')),
  },
  { title: 'Folder' },
)

const ItemRef = T.Object({ id: Uuid('Item.') }, { title: 'ItemRef' })

export const CreatedItem = T.Object({
  id: Uuid('New item.'),
  name: T.String({ description: 'Its name; another one than asked for where that was taken.' }),
  renamedFolders: T.Array(ItemRef),
  renamedFiles: T.Array(ItemRef),
  replacedFolders: T.Array(ItemRef),
  replacedFiles: T.Array(ItemRef),
})

const conflictWords = ['REPLACE', 'RENAME_NEW', 'RENAME_EXISTING', 'DENY', 'RENAME'] as const
export const ConflictResolution = T.Enum([...conflictWords], {
  default: 'RENAME',
  description: 'What becomes of a taken name; RENAME is RENAME_NEW.',
})
export const strategies = {
  REPLACE: 'replace',
  RENAME_NEW: 'rename-new',
  RENAME: 'rename-new',
  RENAME_EXISTING: 'rename-existing',
  DENY: 'fail',
} as const satisfies Record<(typeof conflictWords)[number], string>

export function presentCreated(item: { uid: string; name: string }, { renamed, replaced }: Settled) {
  const refs = (all: readonly NodeRef[], kind: NodeRef['kind']) =>
    all.filter(ref => ref.kind === kind).map(({ uid }) => ({ id: uid }))
  return {
    id: item.uid,
    name: item.name,
    renamedFolders: refs(renamed, 'folder'),
    renamedFiles: refs(renamed, 'file'),
    replacedFolders: refs(replaced, 'folder'),
    replacedFiles: refs(replaced, 'file'),
  }
}

export const presentFolder = ({
  node,
  path,
  totals,
  deletedAt,
  contentPurgedAt,
}: FolderEntry): Static<typeof Folder> => ({
  id: node.uid,
  name: node.name,
  path,
  size: totals.bytes,
  created: presentTime(node.createdAt),
  ...presentEnd(deletedAt, contentPurgedAt),
})

const presentEnd = (deletedAt: number | null, purgedAt: number | null) => ({
  ...(deletedAt !== null && { deleted: presentTime(deletedAt) }),
  ...(purgedAt !== null && { contentDeleted: presentTime(purgedAt) }),
})

export interface SeenChecks {
  checks: ReadonlyMap<number, readonly Check[]>
  /** Whether the caller sees more than the verdicts. */
  withDetails: boolean
}

/** What engines said of these files, as far as the caller may see it. */
export async function loadSeenChecks(ctx: Ctx, records: readonly FileRecord[]): Promise<SeenChecks> {
  const ids = records.flatMap(record => ('version' in record ? [record.version.id] : []))
  return { checks: await loadChecks(ctx, ids), withDetails: await hasRight(ctx, 'screening.details') }
}

/** What can be asked of a file depends on this. */
export type FileState = Static<typeof File>['state']

export function stateOf(record: FileRecord): FileState {
  if (record.kind === 'cancelled') return 'CANCELED'
  return record.kind === 'uploading' ? 'UPLOADING' : versionState(record.version)
}

function versionState({ screening, releasedAt }: Version): FileState {
  if (screening === 'pending') return 'UPLOADED'
  return screening === 'clean' || releasedAt !== null ? 'CLEAN' : 'UNCLEAN'
}

export function presentFile(record: FileRecord, seen: SeenChecks): Static<typeof File> {
  if (record.kind === 'uploading' || record.kind === 'cancelled') return presentUpload(record)
  const { node, version, path } = record
  const checks = seen.checks.get(version.id) ?? []
  return {
    id: node.uid,
    name: node.name,
    path,
    size: version.sizeBytes,
    hash: version.sha256,
    mimeType: version.mediaType.slice(0, 100),
    state: stateOf(record),
    recheckInProgress: version.recheckAt !== null,
    created: presentTime(node.createdAt),
    uploaded: presentTime(version.createdAt),
    ...presentEnd(node.deletedAt, version.purgedAt),
    checks: checks.map(check => presentCheck(check, seen)),
    flags: flagsOf(version, checks),
  }
}

function presentUpload(record: Extract<FileRecord, { upload: unknown }>): Static<typeof File> {
  const { upload, path } = record
  return {
    id: upload.reservedUid ?? '',
    name: upload.name,
    path,
    size: upload.announcedBytes ?? 0,
    mimeType: upload.mediaType,
    state: stateOf(record),
    recheckInProgress: false,
    created: presentTime(upload.createdAt),
    checks: [],
    flags: [],
  }
}

const results: Record<Check['verdict'], string> = {
  clean: 'CLEAN',
  infected: 'VIRUS',
  matched: 'DLP_MATCHED',
  bomb: 'ARCHIVE_LIMIT_EXCEEDED',
  encrypted: 'ENCRYPTED_CONTENT',
  'too-large': 'TOO_LARGE_TO_CHECK',
  unavailable: 'ENGINE_UNAVAILABLE',
}

function presentCheck(check: Check, { withDetails }: SeenChecks): Static<typeof FileCheck> {
  const verdict = { detectionEngine: check.engine, result: results[check.verdict] }
  if (!withDetails) return verdict
  return {
    ...verdict,
    ...(check.name !== null && { detectionName: check.name }),
    ...(check.description !== null && { detectionDescription: check.description }),
    checkStarted: presentTime(check.startedAt),
    checkFinished: presentTime(check.finishedAt),
  }
}

function flagsOf({ releasedAt }: Version, checks: readonly Check[]): string[] {
  const found = (['matched', 'encrypted', 'too-large'] as const).filter(flag =>
    checks.some(({ verdict }) => verdict === flag),
  )
  return [...found, ...(releasedAt === null ? [] : (['released'] as const))].map(flag => shownFlags[flag])
}
