import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql, type Kysely } from 'kysely'
import { expect, test } from 'vitest'
import type { Database } from './database.ts'
import { migrations } from './migrations/index.ts'
import { openDatabase } from './open.ts'
import { openPostgres } from './postgres.ts'
import { openSqlite } from './sqlite.ts'

/** A database as a version before deliveries left it. `reopen` opens it as the server does. */
async function oldDatabase(): Promise<{ fill: Database; reopen: () => Promise<Database>; drop: () => Promise<void> }> {
  const { TEST_DATABASE_URL: url } = process.env
  if (url) {
    const schema = `test_migrations_${process.pid}`
    const admin = openPostgres({ url, poolSize: 1 })
    await sql`create schema ${sql.id(schema)}`.execute(admin.read)
    const options = { url, schema, poolSize: 2 }
    return {
      fill: openPostgres(options),
      reopen: () => openDatabase(options),
      async drop() {
        await sql`drop schema ${sql.id(schema)} cascade`.execute(admin.read)
        await admin.close()
      },
    }
  }
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-old-'))
  const file = join(folder, 'entrepot.db')
  return {
    fill: openSqlite(file),
    reopen: () => openDatabase({ url: file }),
    drop: async () => rmSync(folder, { recursive: true }),
  }
}

async function bringTo(database: Database, last: string): Promise<void> {
  await database.transaction(async tx => {
    await sql`create table migration (name text primary key, "appliedAt" bigint not null)`.execute(tx)
    for (const migration of migrations) {
      const { name } = migration
      await migration.up(tx as unknown as Kysely<unknown>, database.engine) // migrations know no Schema
      await sql`insert into migration values (${name}, 0)`.execute(tx)
      if (name === last) return
    }
  })
}

const policy = (
  delivery: string | null,
) => sql`'t', null, 'p', 'active', 0, 'union', 'exact', 'none', 'keep', null, null,
  null, null, 0, 0, null, 'none', 1, 1, 1, ${delivery}, null, 0, null, 0, 0`

async function fillOld(database: Database): Promise<void> {
  await database.transaction(async tx => {
    await sql`insert into tenant (id, name, "isProvider", "rootNodeId", state, "createdAt")
      values ('t', 'T', 1, 1, 'active', 0)`.execute(tx)
    await sql`insert into principal (id, "tenantId", kind, name, "nameFold", state, "onExpiry", "createdAt", "createdBy",
      "changedAt") values ('p', 't', 'administrator', 'P', 'p', 'active', 'block', 0, 'p', 0)`.execute(tx)
    await sql`insert into principal_right ("principalId", "right") values ('p', 'tenants.manage')`.execute(tx)
    for (const [id, delivery] of [
      [2, JSON.stringify({ accessType: 'internal', accessLimit: 5, expiresAt: 99, persistent: true })],
      [3, null],
    ] as const) {
      await sql`insert into node (id, uid, "tenantId", kind, "parentId", "spaceId", "accessId", name, "nameKey", "nameFold",
        label, revision, "snapshotUid", state, "writeProtected", "readProtected", "createdAt", "createdBy", "changedAt",
        "changedBy") values (${id}, ${`n${id}`}, 't', 'space', 1, ${id}, ${id}, ${`S${id}`}, ${`S${id}`}, ${`s${id}`},
        ${`ÄS${id}`}, 1, 's', 'live', 0, 0, 0, 'p', 0, 'p')`.execute(tx)
      await sql`insert into space values (${id}, ${`s${id}`}, ${policy(delivery)})`.execute(tx)
    }
    await sql`insert into blob (id, "tenantId", encryption, "sizeBytes", "createdAt")
      values ('b', 't', 'frames-1', 0, 0)`.execute(tx)
    for (const [id, first, last] of [
      [10, 5, 7],
      [11, null, null],
    ] as const)
      await sql`insert into version (id, "tenantId", "nodeId", "chainId", "blobId", "sizeBytes", sha256, "mediaType",
        "createdAt", "createdBy", "writeStartedAt", "writeEndedAt", screening, "firstReadAt", "lastReadAt")
        values (${id}, 't', 2, 10, 'b', 0, '', '', ${id}, 'p', 0, 0, 'clean', ${first}, ${last})`.execute(tx)
  })
}

test('a database of an earlier version keeps its deliveries, spaces, administrators and reads', async () => {
  const { fill, reopen, drop } = await oldDatabase()
  try {
    await bringTo(fill, '0002-documents')
    await fillOld(fill)
    await fill.close()
    const database = await reopen()
    const spaces = await database.read.selectFrom('space').selectAll().orderBy('id').execute()
    expect(spaces).toMatchObject([
      { id: 2, deliveryAccess: 'internal', accessLimit: 5, deliveryExpiresAt: 99, deliveryPersistent: 1 },
      { id: 3, deliveryAccess: null, accessLimit: null, deliveryExpiresAt: null, deliveryPersistent: 0 },
    ])
    expect(spaces[0]).not.toHaveProperty('delivery')
    const rights = await database.read.selectFrom('principal_right').select('right').execute()
    expect(rights.map(row => row.right)).toEqual(expect.arrayContaining(['tenants.manage', 'deliveries.manage']))
    expect(await database.read.selectFrom('space_text').selectAll().orderBy('nodeId').execute()).toMatchObject([
      { nodeId: 2, labelFold: 'äs2' },
      { nodeId: 3, labelFold: 'äs3' },
    ])
    expect(await database.read.selectFrom('version_read').selectAll().execute()).toEqual([
      { versionId: 10, firstReadAt: 5, lastReadAt: 7 },
    ])
    await database.close()
  } finally {
    await drop()
  }
})
