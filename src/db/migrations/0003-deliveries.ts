/** Deliveries, screening, approval, mail: what makes a space a parcel, who looked into a content, and what people are told. */
import { sql, type Kysely } from 'kysely'
import { columns, type Columns, type Engine } from '#db/columns.ts'

export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const types = columns[engine]
  await extendSpaces(db, types)
  await createSpaceTexts(db, types)
  await moveDeliveryPolicies(db)
  await extendGrants(db, types)
  await extendVersions(db, types)
  await extendUploads(db, types)
  await extendWrappingKeys(db, types)
  await createScreening(db, types)
  await createPeople(db, types)
  await createMail(db, types)
  await giveNewRights(db)
}

/** The policy of a delivery in columns: lists filter by it. */
async function extendSpaces(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  const space = () => db.schema.alterTable('space')
  await space().addColumn('deliveryAccess', text).execute()
  await space().addColumn('deliveryExpiresAt', int).execute()
  await space()
    .addColumn('deliveryPersistent', int, c => c.notNull().defaultTo(0))
    .execute()
  await space().addColumn('accessLimit', int).execute()
  await space()
    .addColumn('passwordEncryption', int, c => c.notNull().defaultTo(0))
    .execute()
  await space()
    .addColumn('deliveryNotifies', int, c => c.notNull().defaultTo(0))
    .execute()
  await space().addColumn('approvalDecidedAt', int).execute()
  await space().addColumn('approvalDecidedBy', text).execute()
  await space().addColumn('stateChangedAt', int).execute()
  await space().addColumn('contentPurgedAt', int).execute()
  await db.schema
    .createIndex('space_deliveryExpiresAt')
    .on('space')
    .columns(['deliveryExpiresAt'])
    .where(sql<boolean>`"deliveryExpiresAt" is not null and state = 'active'`)
    .execute()
  await db.schema
    .createIndex('space_deliveries_ownerId')
    .on('space')
    .columns(['ownerId', 'id'])
    .where(sql<boolean>`"deliveryAccess" is not null`)
    .execute()
  await db.schema
    .createIndex('space_deliveries_state')
    .on('space')
    .columns(['tenantId', 'state', 'stateChangedAt'])
    .where(sql<boolean>`"deliveryAccess" is not null`)
    .execute()
  await db.schema
    .createIndex('space_waiting')
    .on('space')
    .columns(['tenantId', 'id'])
    .where(sql<boolean>`approval = 'waiting'`)
    .execute()
  // Words that a delivery is found by.
  await db.schema
    .createTable('node_tag')
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('tag', text, c => c.notNull())
    .addPrimaryKeyConstraint('node_tag_pk', ['nodeId', 'tag'])
    .execute()
}

/** What a space is called and what is noted about it without case: a label may differ from the name that is folded already. */
async function createSpaceTexts(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  await db.schema
    .createTable('space_text')
    .addColumn('nodeId', int, c => c.notNull().references('node.id'))
    .addColumn('labelFold', text, c => c.notNull())
    .addColumn('notesFold', text)
    .addPrimaryKeyConstraint('space_text_pk', ['nodeId'])
    .execute()
  const { rows } = await sql<{ id: number; label: string; notes: string | null }>`
    select id, label, notes from node where kind = 'space'`.execute(db)
  for (const { id, label, notes } of rows)
    await sql`insert into space_text ("nodeId", "labelFold", "notesFold")
      values (${id}, ${folded(label)}, ${notes === null ? null : folded(notes)})`.execute(db)
}

const folded = (words: string) => words.normalize('NFKC').toLocaleLowerCase('und').normalize('NFC')

interface OldPolicy {
  accessType: string
  accessLimit: number | null
  expiresAt: number | null
  persistent: boolean
}

async function moveDeliveryPolicies(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ id: number; delivery: string }>`
    select id, delivery from space where delivery is not null`.execute(db)
  for (const { id, delivery } of rows) {
    const { accessType, accessLimit, expiresAt, persistent } = JSON.parse(delivery) as OldPolicy // written by us
    await sql`update space set "deliveryAccess" = ${accessType}, "accessLimit" = ${accessLimit},
      "deliveryExpiresAt" = ${expiresAt}, "deliveryPersistent" = ${Number(persistent)} where id = ${id}`.execute(db)
  }
  await db.schema.alterTable('space').dropColumn('delivery').execute()
}

/** As whom a grant names somebody in a delivery; null for everybody else, its sender among them. */
async function extendGrants(db: Kysely<unknown>, { text }: Columns): Promise<void> {
  await db.schema.alterTable('access_grant').addColumn('recipient', text).execute()
  await db.schema
    .createIndex('access_grant_recipients')
    .on('access_grant')
    .columns(['subjectId', 'nodeId'])
    .where(sql<boolean>`recipient is not null`)
    .execute()
}

async function extendVersions(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  const version = () => db.schema.alterTable('version')
  await version().addColumn('screenedAt', int).execute()
  // A repeated screening runs; the verdict stands until it ends.
  await version().addColumn('recheckAt', int).execute()
  await version()
    .addColumn('integrity', text, c => c.notNull().defaultTo('unknown'))
    .execute()
  await version().addColumn('integrityAt', int).execute()
  await db.schema
    .createIndex('version_unscreened')
    .on('version')
    .columns(['id'])
    .where(sql<boolean>`screening = 'pending' and "purgedAt" is null`)
    .execute()
  await db.schema
    .createIndex('version_quarantined')
    .on('version')
    .columns(['tenantId', 'id'])
    .where(sql<boolean>`screening in ('quarantined', 'failed', 'not-examinable') and "purgedAt" is null`)
    .execute()
  await db.schema
    .createIndex('version_rechecks')
    .on('version')
    .columns(['id'])
    .where(sql<boolean>`"recheckAt" is not null and "purgedAt" is null`)
    .execute()
  // Tells quickly whether a content that waits has a job.
  await db.schema
    .createIndex('job_screenings')
    .on('job')
    .columns(['payload'])
    .where(sql<boolean>`kind = 'version.screen' and state in ('ready', 'running')`)
    .execute()
}

/** The uid of the node that an upload held, for those who ask for it after the upload was cancelled. */
async function extendUploads(db: Kysely<unknown>, { text }: Columns): Promise<void> {
  await db.schema.alterTable('upload').addColumn('reservedUid', text).execute()
  await sql`update upload set "reservedUid" = (select uid from node where node.id = upload."reservedNodeId")
    where "reservedNodeId" is not null`.execute(db)
  await db.schema
    .createIndex('upload_reservedUid')
    .on('upload')
    .columns(['reservedUid'])
    .where(sql<boolean>`"reservedUid" is not null`)
    .execute()
}

/** A space's own key pair: content is sealed to the public half, the private one opens with a password. */
async function extendWrappingKeys(db: Kysely<unknown>, { text, int, bytes }: Columns): Promise<void> {
  const key = () => db.schema.alterTable('wrapping_key')
  await key().addColumn('spaceId', int).execute()
  await key().addColumn('publicKey', bytes).execute()
  await key().addColumn('derivation', text).execute()
}

async function createScreening(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // The last verdict of each engine on each content.
  await db.schema
    .createTable('screening_check')
    .addColumn('versionId', int, c => c.notNull().references('version.id'))
    .addColumn('engine', text, c => c.notNull())
    .addColumn('verdict', text, c => c.notNull())
    .addColumn('name', text)
    .addColumn('description', text)
    .addColumn('startedAt', int, c => c.notNull())
    .addColumn('finishedAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('screening_check_pk', ['versionId', 'engine'])
    .execute()

  // What a tenant does not want to leave: patterns, words, numbers of cards and accounts.
  await db.schema
    .createTable('content_rule')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('name', text, c => c.notNull())
    .addColumn('kind', text, c => c.notNull())
    .addColumn('terms', text, c => c.notNull())
    .addColumn('minMatches', int, c => c.notNull())
    .addColumn('effect', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('content_rule_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('content_rule_tenantId_name')
    .on('content_rule')
    .columns(['tenantId', 'name'])
    .unique()
    .execute()
}

async function createPeople(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // What is known of a person beyond the account.
  await db.schema
    .createTable('profile')
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('givenName', text)
    .addColumn('familyName', text)
    .addColumn('company', text)
    .addColumn('phone', text)
    .addColumn('language', text)
    .addColumn('sshKeys', text)
    .addColumn('sftpSpaceUid', text)
    .addPrimaryKeyConstraint('profile_pk', ['principalId'])
    .execute()

  // Groups as addresses: who may write to them, and whether that means their members.
  await db.schema
    .createTable('group_profile')
    .addColumn('groupId', text, c => c.notNull().references('principal.id'))
    .addColumn('reach', text, c => c.notNull())
    .addColumn('isDistribution', int, c => c.notNull())
    .addPrimaryKeyConstraint('group_profile_pk', ['groupId'])
    .execute()

  // Who decides about what somebody sends.
  await db.schema
    .createTable('approver')
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('approverId', text, c => c.notNull().references('principal.id'))
    .addPrimaryKeyConstraint('approver_pk', ['principalId', 'approverId'])
    .execute()
  await db.schema.createIndex('approver_approverId').on('approver').columns(['approverId']).execute()

  // Mailed links with which somebody chooses a password, once.
  await db.schema
    .createTable('password_link')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tokenHash', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('expiresAt', int, c => c.notNull())
    .addColumn('usedAt', int)
    .addPrimaryKeyConstraint('password_link_pk', ['id'])
    .execute()
  await db.schema.createIndex('password_link_tokenHash').on('password_link').columns(['tokenHash']).unique().execute()
}

async function createMail(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // Mails to send and sent. `dedupKey` names the occasion: nobody is told the same thing twice.
  await db.schema
    .createTable('mail')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('dedupKey', text, c => c.notNull())
    .addColumn('kind', text, c => c.notNull())
    .addColumn('recipientId', text, c => c.notNull().references('principal.id'))
    .addColumn('subjectId', text)
    .addColumn('state', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('sentAt', int)
    .addPrimaryKeyConstraint('mail_pk', ['id'])
    .execute()
  await db.schema.createIndex('mail_tenantId_dedupKey').on('mail').columns(['tenantId', 'dedupKey']).unique().execute()
}

/** Rights that are new with this version; who could make others administrators before can go on doing so. */
const newRights = [
  'deliveries.use',
  'deliveries.receive',
  'deliveries.send.public',
  'deliveries.send.internal',
  'deliveries.send.private',
  'deliveries.send.own',
  'deliveries.send.self',
  'deliveries.send.unapproved',
  'deliveries.encrypt',
  'deliveries.contributors',
  'deliveries.persistent',
  'deliveries.read-sent',
  'deliveries.manage',
  'links.create.public',
  'links.create.internal',
  'links.create.private',
  'approvals.decide',
  'approvals.all',
  'approvals.choose',
  'quarantine.add',
  'quarantine.delete',
  'quarantine.release',
  'screening.details',
  'downloads.without-password',
  'sign-in.single-factor',
  'account.persistent',
  'password.recover',
  'sftp.use',
  'log.read',
  'log.read-all',
]

async function giveNewRights(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ principalId: string }>`
    select "principalId" from principal_right where "right" = 'tenants.manage'`.execute(db)
  for (const { principalId } of rows) {
    for (const right of newRights)
      await sql`insert into principal_right ("principalId", "right") values (${principalId}, ${right})`.execute(db)
  }
}
