/** The vitest fixture `world`: an installation of its own for each test, on the engine that the project runs on. */
import { randomUUIDv7 } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql, type RawBuilder } from 'kysely'
import { test as base } from 'vitest'
import { inTx, makeCtx, noProofs, systemActor, type Actor, type Ctx, type Deps } from '#core/ctx.ts'
import { hashPassword } from '#core/passwords.ts'
import { capacityOf } from '#core/principals.ts'
import type { ScreeningEngine } from '#core/ports.ts'
import { openReadLog } from '#core/reads.ts'
import { defaultSettings, type Settings } from '#core/settings.ts'
import { insertTenant, type Tenant } from '#core/tenants.ts'
import { insertUser, type NewUser, type User } from '#core/users.ts'
import type { Database } from '#db/database.ts'
import { openDatabase } from '#db/open.ts'
import { openPostgres } from '#db/postgres.ts'
import { decryptSmall, encryptSmall, storedSize } from '#platform/blobs/frames.ts'
import { memoryBlobStore, type MemoryBlobStore } from '#platform/blobs/memory.ts'
import { openKeyRing } from '#platform/key-ring.ts'
import { memoryMailer, type MemoryMailer } from '#platform/mail/memory.ts'

export interface World {
  deps: Deps & { blobs: MemoryBlobStore; mailer: MemoryMailer }
  /** The provider's tenant, the one that exists. */
  tenant: Tenant
  /** The server itself in that tenant. */
  system: Ctx
  /** A folder of the test's own, removed afterwards. */
  folder: string
  keyFile: string
  /** Lets the clock jump. Each reading lets it tick by one millisecond. */
  advance(ms: number): void
  ctx(actor: Actor): Ctx
  /** Makes an account with a password; one of another tenant when told so. */
  user(login?: string, options?: Partial<NewUser> & { tenant?: Tenant }): Promise<WorldUser>
  /** Makes a second tenant. */
  otherTenant(): Promise<Tenant>
  /** Types of the events so far, in order; refusals as `type refused`. What `world` itself made is not among them. */
  events(): Promise<string[]>
}

export interface WorldUser {
  user: User
  /** As if signed in. */
  ctx: Ctx
  password: string
}

const START = Date.UTC(2026, 0, 5, 8)
const PASSWORD = 'correct horse battery'

interface Fixtures {
  world: World
  /** Override to tune the tests of a `describe`: `test.override({ settings: { ... } })`. */
  settings: Partial<Settings>
  /** What looks into contents; nothing unless a test says so. */
  engines: readonly ScreeningEngine[]
  /** Opens the test's database, on whichever engine the project says. */
  open: (folder: string) => Promise<Database>
}

export const test = base.extend<Fixtures>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  settings: async ({}, use) => use({}),
  // oxlint-disable-next-line no-empty-pattern
  engines: async ({}, use) => use([]),
  open: [
    // oxlint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const { TEST_DATABASE_URL: url } = process.env
      const { open, drop } = url ? await makeSchema(url) : await makeTemplate()
      await use(open)
      await drop()
    },
    { scope: 'file' },
  ],
  world: async ({ settings, engines, open }, use) => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-test-'))
    const database = await open(folder)
    try {
      await use(await createWorld({ folder, database, settings: { ...defaultSettings, ...settings }, engines }))
    } finally {
      await database.close()
      rmSync(folder, { recursive: true })
    }
  },
})

interface Parts {
  folder: string
  database: Database
  settings: Settings
  engines: readonly ScreeningEngine[]
}

async function createWorld({ folder, database, settings, engines }: Parts): Promise<World> {
  let now = START
  const clock = () => (now += 1)
  const keyFile = join(folder, 'master-key.json')
  const parts = {
    database,
    blobs: memoryBlobStore({ clock }),
    inline: { encrypt: encryptInline, decrypt: decryptInline, storedSize },
    keys: await openKeyRing(keyFile, { create: true }),
    clock,
    newId: () => randomUUIDv7(),
    settings,
    engines,
    mailer: memoryMailer(),
  }
  const reads = openReadLog(parts, error => {
    throw error
  })
  const deps = { ...parts, reads }
  const ctx = (actor: Actor) => makeCtx(deps, actor, 'test')
  const makeTenant = (isProvider: boolean) => {
    const id = deps.newId()
    return inTx(ctx(worldActor(id)), ctx =>
      insertTenant(ctx, { id, name: isProvider ? 'Provider' : 'Other', isProvider }),
    )
  }
  const tenant = await makeTenant(true)
  let logins = 0
  return {
    deps,
    tenant,
    system: ctx(systemActor(tenant.id, 'test')),
    folder,
    keyFile,
    advance: ms => void (now += ms),
    ctx,
    async user(login = `user${(logins += 1)}`, { tenant: home = tenant, ...account } = {}) {
      const passwordHash = await sharedHash()
      const user = await inTx(ctx(worldActor(home.id)), ctx => insertUser(ctx, { login, ...account }, passwordHash))
      return { user, ctx: ctx(actorFor(user)), password: PASSWORD }
    },
    otherTenant: () => makeTenant(false),
    async events() {
      const rows = await database.read
        .selectFrom('event')
        .select(['type', 'outcome'])
        .where('client', '!=', WORLD)
        .orderBy('id')
        .execute()
      return rows.map(({ type, outcome }) => (outcome === 'refused' ? `${type} refused` : type))
    },
  }
}

/** Marks the events of the fixture itself. */
const WORLD = 'world'
const worldActor = (tenantId: string) => systemActor(tenantId, WORLD)

const encryptInline: Deps['inline']['encrypt'] = ({ segmentId, key, plain }) => encryptSmall(key, segmentId, plain)
const decryptInline: Deps['inline']['decrypt'] = ({ segmentId, key, stored }) => decryptSmall(key, segmentId, stored)

/** Hashing takes longer than most tests, so all accounts of a worker share one. */
let hash: Promise<string> | undefined
const sharedHash = () => (hash ??= hashPassword(PASSWORD))

function actorFor({ id, tenantId, name, kind }: User): Actor {
  const capacity = capacityOf(kind)
  return { principalId: id, tenantId, name, kind, capacity, client: 'test', address: '127.0.0.1', proofs: noProofs }
}

interface Source {
  open: (folder: string) => Promise<Database>
  drop: () => Promise<void>
}

/** A database file that is migrated once for a test file; each test gets a copy. */
async function makeTemplate(): Promise<Source> {
  const home = mkdtempSync(join(tmpdir(), 'entrepot-template-'))
  const template = join(home, 'entrepot.db')
  const database = await openDatabase({ url: template })
  await database.close() // which also brings everything from the log into the file
  return {
    open(folder) {
      const file = join(folder, 'entrepot.db')
      copyFileSync(template, file)
      return openDatabase({ url: file })
    },
    drop: async () => rmSync(home, { recursive: true }),
  }
}

/** A PostgreSQL schema, made once for a test file and emptied for each test: making one takes a third of a second. */
async function makeSchema(url: string): Promise<Source> {
  const schema = `test_${randomUUIDv7().replaceAll('-', '')}`
  await onServer(url, sql`create schema ${sql.id(schema)}`)
  return {
    async open() {
      const database = await openDatabase({ url, schema, poolSize: 4 })
      await emptySchema(database, schema)
      return database
    },
    drop: () => onServer(url, sql`drop schema ${sql.id(schema)} cascade`),
  }
}

async function onServer(url: string, statement: RawBuilder<unknown>): Promise<void> {
  const server = openPostgres({ url, poolSize: 1 })
  await statement.execute(server.read)
  await server.close()
}

async function emptySchema(database: Database, schema: string): Promise<void> {
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = ${schema} and tablename <> 'migration'`.execute(
    database.read,
  )
  await database.transaction(async tx => {
    // Without its triggers a foreign key asks for no order.
    const statements = ['set local session_replication_role = replica', ...rows.map(row => `delete from "${row.name}"`)]
    await sql.raw(statements.join(';')).execute(tx)
    await sql`
      select setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
      from pg_sequences where schemaname = ${schema}`.execute(tx)
  })
}
