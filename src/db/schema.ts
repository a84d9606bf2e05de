/**
 * The tables, as Kysely sees them. Times are epoch milliseconds, JSON is text, booleans are 0 and 1, digests are lower-case
 * hex, action sets are bit masks (core/permissions.ts). The comments of `migrations/` say what each table is for.
 */
import type { Generated } from 'kysely'

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
  wrapping_key: { name: string; tenantId: string; sealedKey: Uint8Array; sealedBy: string; createdAt: number }
  space: SpaceTable
  node: NodeTable
  node_total: NodeTotalTable
  node_metadata: { nodeId: number; namespace: string; key: string; value: string }
  node_lock: NodeLockTable
  version: VersionTable
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
  job: JobTable
}

export interface TenantTable {
  id: string
  name: string
  isProvider: number
  rootNodeId: number
  quotaBytes: number | null
  state: 'active' | 'locked'
  createdAt: number
}

export type PrincipalKind = 'user' | 'guest' | 'address' | 'administrator' | 'group' | 'service' | 'signed-in'

export interface PrincipalTable {
  id: string
  tenantId: string
  kind: PrincipalKind
  /** Null once removed, so that the login is free again; `name` keeps showing who it was. */
  login: string | null
  loginKey: string | null
  handle: string | null
  name: string
  nameFold: string
  email: string | null
  emailKey: string | null
  passwordHash: string | null
  passwordChangedAt: number | null
  state: 'active' | 'blocked' | 'removed'
  expiresAt: number | null
  onExpiry: 'block' | 'remove'
  homeNodeId: number | null
  ipRanges: string | null
  createdAt: number
  createdBy: string
  changedAt: number
  lastSignInAt: number | null
}

export interface SessionTable {
  id: string
  tokenHash: string
  tenantId: string
  principalId: string
  /** JSON: factor -> epoch milliseconds of its last proof. */
  factors: string
  client: string
  address: string
  createdAt: number
  lastSeenAt: number
  idleTimeoutMs: number
  expiresAt: number
  endedAt: number | null
}

export interface TokenTable {
  id: string
  secretHash: string
  tenantId: string
  principalId: string
  name: string
  preview: string
  scope: string | null
  ipRanges: string | null
  createdAt: number
  createdBy: string
  expiresAt: number | null
  lastUsedAt: number | null
  revokedAt: number | null
}

export interface SignInFlowTable {
  id: string
  tokenHash: string
  tenantId: string
  principalId: string
  pending: string
  proven: string
  client: string
  address: string
  createdAt: number
  expiresAt: number
  endedAt: number | null
}

export interface SecretTable {
  id: string
  tenantId: string
  purpose: string
  ownerId: string
  sealed: Uint8Array
  sealedBy: string
  lookup: string | null
  createdAt: number
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
  /** JSON of a delivery policy (core/spaces.ts), null for a space that is no delivery. */
  delivery: string | null
  deliveryPasswordHash: string | null
  accessCount: number
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
  releasedAt: number | null
  releasedBy: string | null
  firstReadAt: number | null
  lastReadAt: number | null
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

export interface MessageTable {
  id: string
  tenantId: string
  spaceId: number
  nodeId: number | null
  versionId: number | null
  authorId: string
  text: string
  spaceTime: number
  editedAt: number | null
  deletedAt: number | null
}

export interface ContactTable {
  id: string
  tenantId: string
  title: string
  identifier: string
  /** JSON of ContactAttributes (core/contacts.ts). */
  attributes: string
  revision: number
  snapshotUid: string
  createdAt: number
  createdBy: string
  changedAt: number
  changedBy: string
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
