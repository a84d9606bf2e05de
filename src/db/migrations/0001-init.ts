/** The first migration: every table that the decisions of the design need, for both engines. */
import { sql, type Kysely } from 'kysely'
import { columns, type Columns, type Engine } from '#db/columns.ts'

export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const types = columns[engine]
  await createTenants(db, types)
  await createPrincipals(db, types)
  await createSignIn(db, types)
  await createSecrets(db, types)
  await createSpaces(db, types)
  await createNodes(db, types)
  await createNodeDetails(db, types)
  await createBlobs(db, types)
  await createVersions(db, types)
  await createVersionDetails(db, types)
  await createUploads(db, types)
  await createAccess(db, types)
  await createLog(db, types)
  await createJobs(db, types)
  if (engine === 'sqlite') await sql`insert into id_sequence (name, value) values ('node', 0)`.execute(db)
  else await sql`create sequence node_id`.execute(db)
}

async function createTenants(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // One ascending sequence for space roots, folders, files and versions.
  await db.schema
    .createTable('id_sequence')
    .addColumn('name', text, c => c.notNull())
    .addColumn('value', int, c => c.notNull())
    .addPrimaryKeyConstraint('id_sequence_pk', ['name'])
    .execute()

  // One customer organisation. The provider tenant holds system configuration.
  await db.schema
    .createTable('tenant')
    .addColumn('id', text, c => c.notNull())
    .addColumn('name', text, c => c.notNull())
    .addColumn('isProvider', int, c => c.notNull())
    .addColumn('rootNodeId', int, c => c.notNull())
    .addColumn('quotaBytes', int)
    .addColumn('state', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('tenant_pk', ['id'])
    .execute()

  // Host names that select a tenant.
  await db.schema
    .createTable('tenant_host')
    .addColumn('host', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addPrimaryKeyConstraint('tenant_host_pk', ['host'])
    .execute()
}

async function createPrincipals(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Everybody and everything that can hold a right. Rows are never deleted.
  await db.schema
    .createTable('principal')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('kind', text, c => c.notNull())
    .addColumn('login', text)
    .addColumn('loginKey', text)
    .addColumn('handle', text)
    .addColumn('name', text, c => c.notNull())
    .addColumn('nameFold', text, c => c.notNull())
    .addColumn('email', text)
    .addColumn('emailKey', text)
    .addColumn('passwordHash', text)
    .addColumn('passwordChangedAt', int)
    .addColumn('state', text, c => c.notNull())
    .addColumn('expiresAt', int)
    .addColumn('onExpiry', text, c => c.notNull())
    .addColumn('homeNodeId', int)
    .addColumn('ipRanges', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addColumn('lastSignInAt', int)
    .addPrimaryKeyConstraint('principal_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('principal_tenantId_loginKey')
    .on('principal')
    .columns(['tenantId', 'loginKey'])
    .unique()
    .execute()
  await db.schema
    .createIndex('principal_tenantId_handle')
    .on('principal')
    .columns(['tenantId', 'handle'])
    .unique()
    .execute()
  await db.schema
    .createIndex('principal_tenantId_kind_nameFold')
    .on('principal')
    .columns(['tenantId', 'kind', 'nameFold'])
    .execute()
  await db.schema.createIndex('principal_tenantId_emailKey').on('principal').columns(['tenantId', 'emailKey']).execute()
  await db.schema
    .createIndex('principal_expiresAt')
    .on('principal')
    .columns(['expiresAt'])
    .where(sql.ref('expiresAt'), 'is not', null)
    .execute()

  // Direct membership; a member may be a group.
  await db.schema
    .createTable('group_member')
    .addColumn('groupId', text, c => c.notNull().references('principal.id'))
    .addColumn('memberId', text, c => c.notNull().references('principal.id'))
    .addColumn('level', text, c => c.notNull())
    .addColumn('joinedAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('group_member_pk', ['groupId', 'memberId'])
    .execute()
  await db.schema.createIndex('group_member_memberId').on('group_member').columns(['memberId']).execute()

  // Transitive membership, kept with group_member: one lookup gives all groups of a principal.
  await db.schema
    .createTable('group_closure')
    .addColumn('groupId', text, c => c.notNull().references('principal.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addPrimaryKeyConstraint('group_closure_pk', ['principalId', 'groupId'])
    .execute()
  await db.schema.createIndex('group_closure_groupId').on('group_closure').columns(['groupId']).execute()

  // Named bundles of system rights.
  await db.schema
    .createTable('role')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('name', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('role_pk', ['id'])
    .execute()
  await db.schema.createIndex('role_tenantId_name').on('role').columns(['tenantId', 'name']).unique().execute()

  await db.schema
    .createTable('role_right')
    .addColumn('roleId', text, c => c.notNull().references('role.id'))
    .addColumn('right', text, c => c.notNull())
    .addPrimaryKeyConstraint('role_right_pk', ['roleId', 'right'])
    .execute()

  await db.schema
    .createTable('role_holder')
    .addColumn('roleId', text, c => c.notNull().references('role.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addPrimaryKeyConstraint('role_holder_pk', ['roleId', 'principalId'])
    .execute()
  await db.schema.createIndex('role_holder_principalId').on('role_holder').columns(['principalId']).execute()

  // System rights held directly.
  await db.schema
    .createTable('principal_right')
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('right', text, c => c.notNull())
    .addPrimaryKeyConstraint('principal_right_pk', ['principalId', 'right'])
    .execute()
}

async function createSignIn(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Sign-ins. Only a hash of the secret is kept.
  await db.schema
    .createTable('session')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tokenHash', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('factors', text, c => c.notNull())
    .addColumn('client', text, c => c.notNull())
    .addColumn('address', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('lastSeenAt', int, c => c.notNull())
    .addColumn('idleTimeoutMs', int, c => c.notNull())
    .addColumn('expiresAt', int, c => c.notNull())
    .addColumn('endedAt', int)
    .addPrimaryKeyConstraint('session_pk', ['id'])
    .execute()
  await db.schema.createIndex('session_tokenHash').on('session').columns(['tokenHash']).unique().execute()
  await db.schema.createIndex('session_principalId').on('session').columns(['principalId']).execute()
  await db.schema.createIndex('session_expiresAt').on('session').columns(['expiresAt']).execute()

  // API keys and access tokens. Only a hash of the secret is kept.
  await db.schema
    .createTable('token')
    .addColumn('id', text, c => c.notNull())
    .addColumn('secretHash', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('name', text, c => c.notNull())
    .addColumn('preview', text, c => c.notNull())
    .addColumn('scope', text)
    .addColumn('ipRanges', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addColumn('expiresAt', int)
    .addColumn('lastUsedAt', int)
    .addColumn('revokedAt', int)
    .addPrimaryKeyConstraint('token_pk', ['id'])
    .execute()
  await db.schema.createIndex('token_secretHash').on('token').columns(['secretHash']).unique().execute()
  await db.schema.createIndex('token_principalId').on('token').columns(['principalId']).execute()

  // Sign-ins that still lack a factor; resumable on any process.
  await db.schema
    .createTable('sign_in_flow')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tokenHash', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('pending', text, c => c.notNull())
    .addColumn('proven', text, c => c.notNull())
    .addColumn('client', text, c => c.notNull())
    .addColumn('address', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('expiresAt', int, c => c.notNull())
    .addColumn('endedAt', int)
    .addPrimaryKeyConstraint('sign_in_flow_pk', ['id'])
    .execute()
  await db.schema.createIndex('sign_in_flow_tokenHash').on('sign_in_flow').columns(['tokenHash']).unique().execute()
  await db.schema.createIndex('sign_in_flow_expiresAt').on('sign_in_flow').columns(['expiresAt']).execute()

  // Failed attempts per account and per address.
  await db.schema
    .createTable('throttle')
    .addColumn('key', text, c => c.notNull())
    .addColumn('failures', int, c => c.notNull())
    .addColumn('lastFailureAt', int, c => c.notNull())
    .addColumn('blockedUntil', int, c => c.notNull())
    .addPrimaryKeyConstraint('throttle_pk', ['key'])
    .execute()
  await db.schema.createIndex('throttle_lastFailureAt').on('throttle').columns(['lastFailureAt']).execute()
}

async function createSecrets(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  // The vault: secrets that must be shown or used again, sealed with the master key.
  await db.schema
    .createTable('secret')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('purpose', text, c => c.notNull())
    .addColumn('ownerId', text, c => c.notNull())
    .addColumn('sealed', bytes, c => c.notNull())
    .addColumn('sealedBy', text, c => c.notNull())
    .addColumn('lookup', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('secret_pk', ['id'])
    .execute()
  await db.schema.createIndex('secret_purpose_lookup').on('secret').columns(['purpose', 'lookup']).unique().execute()
  await db.schema.createIndex('secret_ownerId').on('secret').columns(['ownerId']).execute()

  // Keys of single spaces that wrap data keys, themselves sealed with the master key.
  await db.schema
    .createTable('wrapping_key')
    .addColumn('name', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('sealedKey', bytes, c => c.notNull())
    .addColumn('sealedBy', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('wrapping_key_pk', ['name'])
    .execute()
}

async function createSpaces(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Policy of a tree root. Its id is that of its root node.
  await db.schema
    .createTable('space')
    .addColumn('id', int, c => c.notNull())
    .addColumn('uid', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('parentSpaceId', int)
    .addColumn('ownerId', text, c => c.notNull())
    .addColumn('state', text, c => c.notNull())
    .addColumn('inheritsGrants', int, c => c.notNull())
    .addColumn('sumRule', text, c => c.notNull())
    .addColumn('caseRule', text, c => c.notNull())
    .addColumn('keepManager', text, c => c.notNull())
    .addColumn('lastMemberLeaves', text, c => c.notNull())
    .addColumn('quotaBytes', int)
    .addColumn('trashRetentionMs', int)
    .addColumn('fileExpiryMs', int)
    .addColumn('versionRetention', int)
    .addColumn('clientEncryption', int, c => c.notNull())
    .addColumn('readProtection', int, c => c.notNull())
    .addColumn('defaultClassification', int)
    .addColumn('approval', text, c => c.notNull())
    .addColumn('externalSharing', int, c => c.notNull())
    .addColumn('unscreenedDownloads', int, c => c.notNull())
    .addColumn('visibleElsewhere', int, c => c.notNull())
    .addColumn('delivery', text)
    .addColumn('deliveryPasswordHash', text)
    .addColumn('accessCount', int, c => c.notNull())
    .addColumn('wrappingKey', text)
    .addColumn('lastLogAt', int, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('space_pk', ['id'])
    .execute()
  await db.schema.createIndex('space_uid').on('space').columns(['uid']).unique().execute()
  await db.schema.createIndex('space_tenantId_state').on('space').columns(['tenantId', 'state']).execute()
  await db.schema.createIndex('space_parentSpaceId').on('space').columns(['parentSpaceId']).execute()
  await db.schema.createIndex('space_ownerId').on('space').columns(['ownerId']).execute()
}

async function createNodes(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Places in the tree. nameKey is null for what is not live, so a deleted name is free.
  await db.schema
    .createTable('node')
    .addColumn('id', int, c => c.notNull())
    .addColumn('uid', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('kind', text, c => c.notNull())
    .addColumn('parentId', int)
    .addColumn('spaceId', int)
    .addColumn('accessId', int, c => c.notNull())
    .addColumn('name', text, c => c.notNull())
    .addColumn('nameKey', text)
    .addColumn('nameFold', text, c => c.notNull())
    .addColumn('label', text, c => c.notNull())
    .addColumn('title', text)
    .addColumn('revision', int, c => c.notNull())
    .addColumn('snapshotUid', text, c => c.notNull())
    .addColumn('currentVersionId', int)
    .addColumn('state', text, c => c.notNull())
    .addColumn('deletedAt', int)
    .addColumn('deletedBy', text)
    .addColumn('deletionId', text)
    .addColumn('classification', int)
    .addColumn('notes', text)
    .addColumn('expiresAt', int)
    .addColumn('writeProtected', int, c => c.notNull())
    .addColumn('readProtected', int, c => c.notNull())
    .addColumn('clientCreatedAt', int)
    .addColumn('clientModifiedAt', int)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addColumn('changedBy', text, c => c.notNull())
    .addPrimaryKeyConstraint('node_pk', ['id'])
    .execute()
  await db.schema.createIndex('node_uid').on('node').columns(['uid']).unique().execute()
  await db.schema.createIndex('node_parentId_nameKey').on('node').columns(['parentId', 'nameKey']).unique().execute()
  await db.schema.createIndex('node_parentId_state_name').on('node').columns(['parentId', 'state', 'name']).execute()
  await db.schema
    .createIndex('node_deletionId')
    .on('node')
    .columns(['deletionId'])
    .where(sql.ref('deletionId'), 'is not', null)
    .execute()
  await db.schema
    .createIndex('node_expiresAt')
    .on('node')
    .columns(['expiresAt'])
    .where(sql.ref('expiresAt'), 'is not', null)
    .execute()
  await db.schema
    .createIndex('node_tenantId_title')
    .on('node')
    .columns(['tenantId', 'title'])
    .where(sql.ref('title'), 'is not', null)
    .execute()
}

async function createNodeDetails(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Recursive totals of live content per container, and of its bin.
  await db.schema
    .createTable('node_total')
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('files', int, c => c.notNull())
    .addColumn('folders', int, c => c.notNull())
    .addColumn('bytes', int, c => c.notNull())
    .addColumn('binBytes', int, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('node_total_pk', ['nodeId'])
    .execute()

  // Names and values that clients attach, in a namespace per dialect.
  await db.schema
    .createTable('node_metadata')
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('namespace', text, c => c.notNull())
    .addColumn('key', text, c => c.notNull())
    .addColumn('value', text, c => c.notNull())
    .addPrimaryKeyConstraint('node_metadata_pk', ['nodeId', 'namespace', 'key'])
    .execute()

  // Who holds a file against changes by others.
  await db.schema
    .createTable('node_lock')
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('versionId', int)
    .addColumn('holderId', text, c => c.notNull().references('principal.id'))
    .addColumn('sessionId', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('expiresAt', int)
    .addPrimaryKeyConstraint('node_lock_pk', ['nodeId'])
    .execute()
}

async function createBlobs(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  // Stored content: its segments in order. Immutable once sealed.
  await db.schema
    .createTable('blob')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('encryption', text, c => c.notNull())
    .addColumn('sizeBytes', int, c => c.notNull())
    .addColumn('sha256', text)
    .addColumn('md5', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('sealedAt', int)
    .addPrimaryKeyConstraint('blob_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('blob_unsealed')
    .on('blob')
    .columns(['createdAt'])
    .where(sql.ref('sealedAt'), 'is', null)
    .execute()

  // One piece of a blob, in the blob store or (small ones) inline, encrypted either way.
  await db.schema
    .createTable('segment')
    .addColumn('id', text, c => c.notNull())
    .addColumn('blobId', text, c => c.notNull().references('blob.id'))
    .addColumn('startByte', int, c => c.notNull())
    .addColumn('partNumber', int)
    .addColumn('sizeBytes', int, c => c.notNull())
    .addColumn('usedBytes', int, c => c.notNull())
    .addColumn('sha256', text, c => c.notNull())
    .addColumn('md5', text)
    .addColumn('inlineBytes', bytes)
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('segment_pk', ['id'])
    .execute()
  await db.schema.createIndex('segment_blobId_startByte').on('segment').columns(['blobId', 'startByte']).execute()
}

async function createVersions(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  // Immutable content of a file. Draws its id from id_sequence.
  await db.schema
    .createTable('version')
    .addColumn('id', int, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('chainId', int, c => c.notNull())
    .addColumn('blobId', text, c => c.notNull().references('blob.id'))
    .addColumn('wrappedKey', bytes)
    .addColumn('keyName', text)
    .addColumn('sizeBytes', int, c => c.notNull())
    .addColumn('sha256', text, c => c.notNull())
    .addColumn('md5', text)
    .addColumn('mediaType', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addColumn('writeStartedAt', int, c => c.notNull())
    .addColumn('writeEndedAt', int, c => c.notNull())
    .addColumn('screening', text, c => c.notNull())
    .addColumn('releasedAt', int)
    .addColumn('releasedBy', text)
    .addColumn('firstReadAt', int)
    .addColumn('lastReadAt', int)
    .addColumn('deletedAt', int)
    .addColumn('deletedBy', text)
    .addColumn('deletionId', text)
    .addColumn('deletedCause', text)
    .addColumn('deletedSpaceId', int)
    .addColumn('deletedParentId', int)
    .addColumn('deletedPath', text)
    .addColumn('deletedName', text)
    .addColumn('deletedNotes', text)
    .addColumn('deletedClassification', int)
    .addColumn('deletedExpiresAt', int)
    .addColumn('purgedAt', int)
    .addPrimaryKeyConstraint('version_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('version_nodeId_createdAt')
    .on('version')
    .columns(['nodeId', 'createdAt'])
    .unique()
    .execute()
  await db.schema.createIndex('version_blobId').on('version').columns(['blobId']).execute()
  await db.schema
    .createIndex('version_deletedSpaceId_deletedParentId_deletedName')
    .on('version')
    .columns(['deletedSpaceId', 'deletedParentId', 'deletedName'])
    .where(sql.ref('deletedSpaceId'), 'is not', null)
    .execute()
  await db.schema
    .createIndex('version_deletionId')
    .on('version')
    .columns(['deletionId'])
    .where(sql.ref('deletionId'), 'is not', null)
    .execute()
}

async function createVersionDetails(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // File keys of client-side encryption, one per holder. The server never sees the plain key.
  await db.schema
    .createTable('version_key')
    .addColumn('versionId', int, c => c.notNull().references('version.id'))
    .addColumn('holder', text, c => c.notNull())
    .addColumn('algorithm', text, c => c.notNull())
    .addColumn('wrappedKey', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('version_key_pk', ['versionId', 'holder'])
    .execute()

  // One act of deleting, so that it can be undone as one.
  await db.schema
    .createTable('deletion')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('nodeId', int, c => c.notNull())
    .addColumn('deletedAt', int, c => c.notNull())
    .addColumn('deletedBy', text, c => c.notNull())
    .addColumn('undoneAt', int)
    .addPrimaryKeyConstraint('deletion_pk', ['id'])
    .execute()
  await db.schema.createIndex('deletion_nodeId').on('deletion').columns(['nodeId']).execute()
}

async function createUploads(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  // Transfers in progress, and for a day the ended ones.
  await db.schema
    .createTable('upload')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('shareId', text)
    .addColumn('parentId', int, c => c.notNull())
    .addColumn('name', text, c => c.notNull())
    .addColumn('targetNodeId', int)
    .addColumn('reservedNodeId', int)
    .addColumn('onConflict', text, c => c.notNull())
    .addColumn('expectedRevision', int)
    .addColumn('state', text, c => c.notNull())
    .addColumn('blobId', text, c => c.notNull().references('blob.id'))
    .addColumn('wrappedKey', bytes, c => c.notNull())
    .addColumn('keyName', text, c => c.notNull())
    .addColumn('announcedBytes', int)
    .addColumn('receivedBytes', int, c => c.notNull())
    .addColumn('expectedSha256', text)
    .addColumn('expectedMd5', text)
    .addColumn('mediaType', text, c => c.notNull())
    .addColumn('attributes', text, c => c.notNull())
    .addColumn('failureCode', text)
    .addColumn('failureDetails', text)
    .addColumn('versionId', int)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addColumn('expiresAt', int, c => c.notNull())
    .addColumn('endedAt', int)
    .addPrimaryKeyConstraint('upload_pk', ['id'])
    .execute()
  await db.schema.createIndex('upload_state_expiresAt').on('upload').columns(['state', 'expiresAt']).execute()
  await db.schema.createIndex('upload_principalId').on('upload').columns(['principalId']).execute()
  await db.schema.createIndex('upload_blobId').on('upload').columns(['blobId']).execute()
}

async function createAccess(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  // Rights of a subject at a space root, or a mask at a folder.
  await db.schema
    .createTable('access_grant')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('subjectId', text, c => c.notNull().references('principal.id'))
    .addColumn('actions', int, c => c.notNull())
    .addColumn('holdLaterMembers', int, c => c.notNull())
    .addColumn('hidden', int, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addPrimaryKeyConstraint('access_grant_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('access_grant_nodeId_subjectId')
    .on('access_grant')
    .columns(['nodeId', 'subjectId'])
    .unique()
    .execute()
  await db.schema.createIndex('access_grant_subjectId').on('access_grant').columns(['subjectId']).execute()

  // Members that a group's grant holds back, or has admitted.
  await db.schema
    .createTable('grant_member')
    .addColumn('grantId', text, c => c.notNull().references('access_grant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('state', text, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('grant_member_pk', ['grantId', 'principalId'])
    .execute()

  // Access for outsiders by link.
  await db.schema
    .createTable('share')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('kind', text, c => c.notNull())
    .addColumn('spaceId', int, c => c.notNull())
    .addColumn('ownerId', text, c => c.notNull().references('principal.id'))
    .addColumn('keyLookup', text, c => c.notNull())
    .addColumn('sealedKey', bytes, c => c.notNull())
    .addColumn('sealedBy', text, c => c.notNull())
    .addColumn('passwordHash', text)
    .addColumn('scope', text, c => c.notNull())
    .addColumn('onNewVersion', text, c => c.notNull())
    .addColumn('maxUses', int)
    .addColumn('uses', int, c => c.notNull())
    .addColumn('validFrom', int)
    .addColumn('expiresAt', int)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('endedAt', int)
    .addPrimaryKeyConstraint('share_pk', ['id'])
    .execute()
  await db.schema.createIndex('share_keyLookup').on('share').columns(['keyLookup']).unique().execute()
  await db.schema.createIndex('share_spaceId').on('share').columns(['spaceId']).execute()
  await db.schema.createIndex('share_expiresAt').on('share').columns(['expiresAt']).execute()

  await db.schema
    .createTable('share_node')
    .addColumn('shareId', text, c => c.notNull().references('share.id'))
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('chainId', int)
    .addPrimaryKeyConstraint('share_node_pk', ['shareId', 'nodeId'])
    .execute()
}

async function createLog(db: Kysely<unknown>, { text, int, serial }: Columns): Promise<void> {
  // The audit log: append only. batchId is null until its batch is sealed.
  await db.schema
    .createTable('event')
    .addColumn('id', serial)
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('type', text, c => c.notNull())
    .addColumn('outcome', text, c => c.notNull())
    .addColumn('at', int, c => c.notNull())
    .addColumn('actorId', text, c => c.notNull())
    .addColumn('actorName', text, c => c.notNull())
    .addColumn('impersonatorId', text)
    .addColumn('impersonatorName', text)
    .addColumn('client', text, c => c.notNull())
    .addColumn('address', text, c => c.notNull())
    .addColumn('requestId', text, c => c.notNull())
    .addColumn('spaceId', int)
    .addColumn('spaceTime', int)
    .addColumn('subject1', text)
    .addColumn('subject2', text)
    .addColumn('facts', text)
    .addColumn('batchId', int)
    .execute()
  await db.schema
    .createIndex('event_spaceId_spaceTime')
    .on('event')
    .columns(['spaceId', 'spaceTime'])
    .unique()
    .execute()
  await db.schema
    .createIndex('event_unsealed')
    .on('event')
    .columns(['id'])
    .where(sql.ref('batchId'), 'is', null)
    .execute()
  await db.schema.createIndex('event_tenantId_at').on('event').columns(['tenantId', 'at']).execute()

  // Hash chain over sealed batches of events.
  await db.schema
    .createTable('audit_batch')
    .addColumn('id', serial)
    .addColumn('firstEventId', int, c => c.notNull())
    .addColumn('lastEventId', int, c => c.notNull())
    .addColumn('events', int, c => c.notNull())
    .addColumn('previousHash', text, c => c.notNull())
    .addColumn('hash', text, c => c.notNull())
    .addColumn('sealedAt', int, c => c.notNull())
    .addColumn('droppedAt', int)
    .execute()
  await db.schema.createIndex('audit_batch_previousHash').on('audit_batch').columns(['previousHash']).unique().execute()

  // What people write into a space. Editable, unlike events.
  await db.schema
    .createTable('message')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('spaceId', int, c => c.notNull())
    .addColumn('nodeId', int)
    .addColumn('authorId', text, c => c.notNull().references('principal.id'))
    .addColumn('text', text, c => c.notNull())
    .addColumn('spaceTime', int, c => c.notNull())
    .addColumn('editedAt', int)
    .addColumn('deletedAt', int)
    .addPrimaryKeyConstraint('message_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('message_spaceId_spaceTime')
    .on('message')
    .columns(['spaceId', 'spaceTime'])
    .unique()
    .execute()
}

async function createJobs(db: Kysely<unknown>, { text, int, serial }: Columns): Promise<void> {
  // Work to do, leased by workers. Dead ones stay visible.
  await db.schema
    .createTable('job')
    .addColumn('id', serial)
    .addColumn('tenantId', text)
    .addColumn('kind', text, c => c.notNull())
    .addColumn('payload', text, c => c.notNull())
    .addColumn('dedupKey', text)
    .addColumn('state', text, c => c.notNull())
    .addColumn('runAt', int, c => c.notNull())
    .addColumn('attempts', int, c => c.notNull())
    .addColumn('maxAttempts', int, c => c.notNull())
    .addColumn('leasedBy', text)
    .addColumn('leasedUntil', int)
    .addColumn('lastError', text)
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('endedAt', int)
    .execute()
  await db.schema.createIndex('job_dedupKey').on('job').columns(['dedupKey']).unique().execute()
  await db.schema.createIndex('job_state_runAt').on('job').columns(['state', 'runAt']).execute()
}
