/**
 * The tables, as Kysely sees them. Times are epoch milliseconds, JSON is text, booleans are 0 and 1, digests are lower-case
 * hex, action sets are bit masks (core/permissions.ts). The comments of `migrations/` say what each table is for.
 */
import type { Generated } from 'kysely'
import type {
  ContactTable,
  MailTable,
  MessageTable,
  PasswordLinkTable,
  PrincipalTable,
  ProfileTable,
  SecretTable,
  SessionTable,
  SignInFlowTable,
  TenantTable,
  TokenTable,
  WrappingKeyTable,
} from './schema-people.ts'

export type * from './schema-people.ts'

export interface Schema {
  id_sequence: { name: string; value: number }
  tenant: TenantTable
  tenant_host: { host: string; tenantId: string }
  principal: PrincipalTable
  group_member: { groupId: string; memberId: string; level: 'member' | 'manager'; joinedAt: number }
  group_closure: { groupId: string; principalId: string }
  role: { id: string; tenantId: string; name: string; createdAt: number }
  role_right: { roleId: string; right: string }
  role_holder: { roleId: string; principalId: string }
  principal_right: { principalId: string; right: string }
  session: SessionTable
  token: TokenTable
  sign_in_flow: SignInFlowTable
  throttle: { key: string; failures: number; lastFailureAt: number; blockedUntil: number }
  secret: SecretTable
  wrapping_key: WrappingKeyTable
  space: SpaceTable
  node: NodeTable
  node_total: NodeTotalTable
  node_metadata: { nodeId: number; namespace: string; key: string; value: string }
  node_lock: NodeLockTable
  version: VersionTable
  /** Of versions that somebody has read. */
  version_read: { versionId: number; firstReadAt: number; lastReadAt: number }
  version_key: { versionId: number; holder: string; algorithm: string; wrappedKey: string; createdAt: number }
  deletion: {
    id: string
    tenantId: string
    nodeId: number
    deletedAt: number
    deletedBy: string
    undoneAt: number | null
  }
  blob: BlobTable
  segment: SegmentTable
  upload: UploadTable
  access_grant: GrantTable
  grant_member: { grantId: string; principalId: string; state: 'waiting' | 'accepted' | 'denied'; changedAt: number }
  share: ShareTable
  share_node: { shareId: string; nodeId: number; chainId: number | null }
  event: EventTable
  audit_batch: AuditBatchTable
  message: MessageTable
  contact: ContactTable
  favourite: { principalId: string; nodeId: number; createdAt: number }
  node_tag: { nodeId: number; tag: string }
  space_text: { nodeId: number; labelFold: string; notesFold: string | null }
  screening_check: ScreeningCheckTable
  content_rule: ContentRuleTable
  profile: ProfileTable
  group_profile: { groupId: string; reach: 'public' | 'internal' | 'private'; isDistribution: number }
  approver: { principalId: string; approverId: string }
  password_link: PasswordLinkTable
  mail: MailTable
  job: JobTable
}

export interface SpaceTable {
  /** The id of the space's root node. */
  id: number
  uid: string
  tenantId: string
  parentSpaceId: number | null
  ownerId: string
  state: 'active' | 'deleted' | 'archived' | 'purged'
  inheritsGrants: number
  sumRule: 'union' | 'own-first'
  caseRule: 'exact' | 'folded'
  keepManager: 'none' | 'user' | 'user-or-group'
  lastMemberLeaves: 'keep' | 'delete' | 'refuse'
  quotaBytes: number | null
  trashRetentionMs: number | null
  fileExpiryMs: number | null
  versionRetention: number | null
  clientEncryption: number
  readProtection: number
  defaultClassification: number | null
  approval: 'none' | 'required' | 'waiting' | 'approved' | 'refused'
  externalSharing: number
  unscreenedDownloads: number
  visibleElsewhere: number
  /** Who may open a delivery; null for a space that is none. */
  deliveryAccess: 'public' | 'internal' | 'private' | null
  deliveryExpiresAt: number | null
  deliveryPersistent: number
  deliveryPasswordHash: string | null
  /** Its recipients are told by mail. */
  deliveryNotifies: number
  /** What is in the space opens with its password only. */
  passwordEncryption: Generated<number>
  /** Accesses after which nobody gets in any more; null for no limit. */
  accessLimit: number | null
  accessCount: number
  approvalDecidedAt: number | null
  approvalDecidedBy: string | null
  stateChangedAt: number | null
  /** When all content in it was destroyed. */
  contentPurgedAt: number | null
  wrappingKey: string | null
  lastLogAt: number
  changedAt: number
}

export type NodeKind = 'root' | 'space' | 'folder' | 'file'

export interface NodeTable {
  id: number
  uid: string
  tenantId: string
  kind: NodeKind
  parentId: number | null
  spaceId: number | null
  /** The nearest node at or above that holds grants or a mask. */
  accessId: number
  name: string
  /** What must be unique among siblings; null for a node that is not live, so that its name is free. */
  nameKey: string | null
  nameFold: string
  label: string
  title: string | null
  revision: number
  snapshotUid: string
  currentVersionId: number | null
  /** `reserved`: held by an upload, seen only through it. */
  state: 'live' | 'reserved' | 'deleted' | 'purged'
  deletedAt: number | null
  deletedBy: string | null
  deletionId: string | null
  classification: number | null
  notes: string | null
  expiresAt: number | null
  writeProtected: number
  readProtected: number
  clientCreatedAt: number | null
  clientModifiedAt: number | null
  createdAt: number
  createdBy: string
  changedAt: number
  changedBy: string
}

export interface NodeTotalTable {
  nodeId: number
  files: number
  folders: number
  bytes: number
  binBytes: number
  changedAt: number
}

export interface NodeLockTable {
  nodeId: number
  versionId: number | null
  holderId: string
  sessionId: string | null
  createdAt: number
  expiresAt: number | null
}

export interface VersionTable {
  id: number
  tenantId: string
  nodeId: number
  chainId: number
  blobId: string
  wrappedKey: Uint8Array | null
  keyName: string | null
  sizeBytes: number
  sha256: string
  md5: string | null
  mediaType: string
  createdAt: number
  createdBy: string
  writeStartedAt: number
  writeEndedAt: number
  screening: 'pending' | 'clean' | 'quarantined' | 'failed' | 'not-examinable'
  screenedAt: number | null
  /** Since when a repeated screening runs; `screening` stands until it ends. */
  recheckAt: number | null
  releasedAt: number | null
  releasedBy: string | null
  /** What reading it back showed last. */
  integrity: Generated<'unknown' | 'ok' | 'corrupted' | 'inaccessible'>
  integrityAt: number | null
  /** Snapshot of where it was, kept when it is superseded or deleted: these rows are the space's bin. */
  deletedAt: number | null
  deletedBy: string | null
  deletionId: string | null
  deletedCause: 'superseded' | 'deleted' | null
  deletedSpaceId: number | null
  deletedParentId: number | null
  deletedPath: string | null
  deletedName: string | null
  deletedNotes: string | null
  deletedClassification: number | null
  deletedExpiresAt: number | null
  purgedAt: number | null
}

export interface BlobTable {
  id: string
  tenantId: string
  encryption: 'frames-1' | 'none'
  sizeBytes: number
  sha256: string | null
  md5: string | null
  createdAt: number
  sealedAt: number | null
}

export interface SegmentTable {
  id: string
  blobId: string
  startByte: number
  partNumber: number | null
  /** Plain bytes stored. */
  sizeBytes: number
  /** Plain bytes that count, from the first: a resend may cut the rest off. */
  usedBytes: number
  sha256: string
  md5: string | null
  /** Framed and encrypted bytes of a small segment; null when the blob store has it. */
  inlineBytes: Uint8Array | null
  createdAt: number
}

export type UploadState = 'open' | 'receiving' | 'sealed' | 'stored' | 'failed' | 'cancelled' | 'expired'

export interface UploadTable {
  id: string
  tenantId: string
  principalId: string
  shareId: string | null
  parentId: number
  name: string
  targetNodeId: number | null
  reservedNodeId: number | null
  reservedUid: string | null
  onConflict: ConflictStrategy
  expectedRevision: number | null
  state: UploadState
  blobId: string
  wrappedKey: Uint8Array
  keyName: string
  announcedBytes: number | null
  receivedBytes: number
  expectedSha256: string | null
  expectedMd5: string | null
  mediaType: string
  /** JSON of UploadAttributes (core/uploads.ts). */
  attributes: string
  failureCode: string | null
  failureDetails: string | null
  versionId: number | null
  createdAt: number
  changedAt: number
  expiresAt: number
  endedAt: number | null
}

export type ConflictStrategy = 'fail' | 'new-version' | 'replace' | 'rename-new' | 'rename-existing'

export interface GrantTable {
  id: string
  tenantId: string
  nodeId: number
  subjectId: string
  actions: number
  holdLaterMembers: number
  hidden: number
  /** As whom it names somebody in a delivery; null for everybody else, the sender among them. */
  recipient: 'regular' | 'blind' | 'contributor' | null
  createdAt: number
  createdBy: string
}

export interface ShareTable {
  id: string
  tenantId: string
  kind: 'download' | 'upload'
  spaceId: number
  ownerId: string
  keyLookup: string
  sealedKey: Uint8Array
  sealedBy: string
  passwordHash: string | null
  scope: string
  onNewVersion: 'follow' | 'die'
  maxUses: number | null
  uses: number
  validFrom: number | null
  expiresAt: number | null
  createdAt: number
  endedAt: number | null
}

export interface EventTable {
  id: Generated<number>
  tenantId: string
  type: string
  outcome: 'done' | 'refused'
  at: number
  actorId: string
  actorName: string
  impersonatorId: string | null
  impersonatorName: string | null
  client: string
  address: string
  requestId: string
  spaceId: number | null
  spaceTime: number | null
  subject1: string | null
  subject2: string | null
  /** JSON of ids before and after, never free text. */
  facts: string | null
  batchId: number | null
}

export interface AuditBatchTable {
  id: Generated<number>
  firstEventId: number
  lastEventId: number
  events: number
  previousHash: string
  hash: string
  sealedAt: number
  droppedAt: number | null
}

export interface ScreeningCheckTable {
  versionId: number
  engine: string
  verdict: 'clean' | 'infected' | 'matched' | 'bomb' | 'encrypted' | 'too-large' | 'unavailable'
  /** What was found, in the engine's words. */
  name: string | null
  description: string | null
  startedAt: number
  finishedAt: number
}

export interface ContentRuleTable {
  id: string
  tenantId: string
  name: string
  kind: 'pattern' | 'keywords' | 'card-number' | 'bank-account'
  /** JSON list: patterns or words; empty for numbers. */
  terms: string
  minMatches: number
  effect: 'flag' | 'quarantine'
  createdAt: number
}

export interface JobTable {
  id: Generated<number>
  tenantId: string | null
  kind: string
  payload: string
  dedupKey: string | null
  state: 'ready' | 'running' | 'done' | 'dead'
  runAt: number
  attempts: number
  maxAttempts: number
  leasedBy: string | null
  leasedUntil: number | null
  lastError: string | null
  createdAt: number
  endedAt: number | null
}
