/** First and last reads in a table of their own: versions do not change, and a row is rewritten whole however little of it does. */
import { sql, type Kysely } from 'kysely'
import { columns, type Engine } from '#db/columns.ts'

export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const { int } = columns[engine]
  await db.schema
    .createTable('version_read')
    .addColumn('versionId', int, c => c.notNull().references('version.id'))
    .addColumn('firstReadAt', int, c => c.notNull())
    .addColumn('lastReadAt', int, c => c.notNull())
    .addPrimaryKeyConstraint('version_read_pk', ['versionId'])
    .execute()
  await sql`insert into version_read ("versionId", "firstReadAt", "lastReadAt")
    select id, "firstReadAt", "lastReadAt" from version where "lastReadAt" is not null`.execute(db)
  await db.schema.alterTable('version').dropColumn('firstReadAt').execute()
  await db.schema.alterTable('version').dropColumn('lastReadAt').execute()
}
