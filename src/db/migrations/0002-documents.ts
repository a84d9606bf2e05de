/** What people add to files from outside the tree: contacts, favourites, comments that remember a version; and lists across spaces. */
import { sql, type Kysely } from 'kysely'
import { columns, type Columns, type Engine } from '#db/columns.ts'

export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const types = columns[engine]
  await createContacts(db, types)
  await createFavourites(db, types)
  await extendMessages(db, types)
  await indexNodes(db)
  await indexTitles(db)
}

async function createContacts(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  // A person or organisation that files are about. It cannot sign in and holds no rights.
  await db.schema
    .createTable('contact')
    .addColumn('id', text, c => c.notNull())
    .addColumn('tenantId', text, c => c.notNull().references('tenant.id'))
    .addColumn('title', text, c => c.notNull())
    .addColumn('identifier', text, c => c.notNull())
    .addColumn('attributes', text, c => c.notNull())
    .addColumn('revision', int, c => c.notNull())
    .addColumn('snapshotUid', text, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addColumn('createdBy', text, c => c.notNull())
    .addColumn('changedAt', int, c => c.notNull())
    .addColumn('changedBy', text, c => c.notNull())
    .addPrimaryKeyConstraint('contact_pk', ['id'])
    .execute()
  await db.schema
    .createIndex('contact_tenantId_createdAt')
    .on('contact')
    .columns(['tenantId', 'createdAt', 'id'])
    .execute()
  await db.schema.createIndex('contact_tenantId_title').on('contact').columns(['tenantId', 'title']).execute()
  await db.schema.createIndex('contact_tenantId_identifier').on('contact').columns(['tenantId', 'identifier']).execute()
}

async function createFavourites(db: Kysely<unknown>, { text, int }: Columns): Promise<void> {
  await db.schema
    .createTable('favourite')
    .addColumn('principalId', text, c => c.notNull().references('principal.id'))
    .addColumn('nodeId', int, c => c.notNull())
    .addColumn('createdAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('favourite_pk', ['principalId', 'nodeId'])
    .execute()
  await db.schema.createIndex('favourite_nodeId').on('favourite').columns(['nodeId']).execute()
}

async function extendMessages(db: Kysely<unknown>, { int }: Columns): Promise<void> {
  // A message about a file is a comment; it remembers which content its author saw.
  await db.schema.alterTable('message').addColumn('versionId', int).execute()
  const standing = sql<boolean>`"nodeId" is not null and "deletedAt" is null`
  await db.schema
    .createIndex('message_nodeId_spaceTime')
    .on('message')
    .columns(['nodeId', 'spaceTime', 'id'])
    .where(standing)
    .execute()
  await db.schema
    .createIndex('message_tenantId_spaceTime')
    .on('message')
    .columns(['tenantId', 'spaceTime', 'id', 'nodeId'])
    .where(standing)
    .execute()
}

/**
 * Lists across spaces go by age, which is the order of ids. Each index holds all that tells whether an entry shows, so
 * that only the rows of the page are read.
 */
async function indexNodes(db: Kysely<unknown>): Promise<void> {
  const live = sql<boolean>`state = 'live'`
  const lists = {
    node_tenantId_live: ['tenantId', 'kind', 'id', 'spaceId', 'accessId'],
    node_spaceId_live: ['spaceId', 'kind', 'id', 'accessId'],
    node_parentId_live: ['parentId', 'kind', 'id'],
  } as const
  for (const [name, names] of Object.entries(lists)) {
    await db.schema
      .createIndex(name)
      .on('node')
      .columns([...names])
      .where(live)
      .execute()
  }
  // Spaces by the grants that count in them, and folders that hold a mask.
  await db.schema
    .createIndex('node_accessId_spaces')
    .on('node')
    .columns(['accessId'])
    .where(sql<boolean>`kind = 'space'`)
    .execute()
  await db.schema
    .createIndex('node_spaceId_masks')
    .on('node')
    .columns(['spaceId'])
    .where(sql<boolean>`kind = 'folder' and "accessId" = id`)
    .execute()
}

/** A file goes by its title, and one without by its label: one after the other in one index. */
async function indexTitles(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropIndex('node_tenantId_title').execute()
  await db.schema
    .createIndex('node_tenantId_title')
    .on('node')
    .columns(['tenantId', 'kind', 'title', 'label', 'id', 'spaceId', 'accessId'])
    .where(sql<boolean>`state = 'live'`)
    .execute()
}
