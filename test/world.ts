/** The vitest fixture `world`: an installation of its own for each test, on the engine that the project runs on. */
import { randomUUIDv7 } from 'node:crypto'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { test as base } from 'vitest'
import { inTx, makeCtx, noProofs, systemActor, type Actor, type Ctx, type Deps } from '#core/ctx.ts'
import { hashPassword } from '#core/passwords.ts'
import { capacityOf } from '#core/principals.ts'
import { openReadLog } from '#core/reads.ts'
import { defaultSettings, type Settings } from '#core/settings.ts'
import { insertTenant, type Tenant } from '#core/tenants.ts'
import { insertUser, type NewUser, type User } from '#core/users.ts'
import type { Database } from '#db/database.ts'
import { openDatabase } from '#db/open.ts'
import { decryptSmall, encryptSmall } from '#platform/blobs/frames.ts'
import { memoryBlobStore, type MemoryBlobStore } from '#platform/blobs/memory.ts'
import { openKeyRing } from '#platform/key-ring.ts'

export interface World {
  deps: Deps & { blobs: MemoryBlobStore }
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

export const test = base.extend<{ world: World; settings: Partial<Settings> }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  settings: async ({}, use) => use({}),
  world: async ({ settings }, use) => {
    const folder = mkdtempSync(join(tmpdir(), 'entrepot-test-'))
    const { database, drop } = await openTestDatabase(folder)
    try {
      await use(await createWorld(folder, database, { ...defaultSettings, ...settings }))
    } finally {
      await drop()
      rmSync(folder, { recursive: true })
    }
  },
})

async function createWorld(folder: string, database: Database, settings: Settings): Promise<World> {
  let now = START
  const clock = () => (now += 1)
  const keyFile = join(folder, 'master-key.json')
  const parts = {
    database,
    blobs: memoryBlobStore({ clock }),
    inline: { encrypt: encryptInline, decrypt: decryptInline },
    keys: await openKeyRing(keyFile, { create: true }),
    clock,
    newId: () => randomUUIDv7(),
    settings,
  }
  const reads = openReadLog(parts, error => {
    throw error
  })
  const deps = { ...parts, reads }
  const ctx = (actor: Actor) => makeCtx(deps, actor, 'test')
  const makeTenant = (isProvider: boolean) => {
    const id = deps.newId()
    return inTx(ctx(worldActor(id)), ctx => insertTenant(ctx, { id, name: isProvider ? 'Provider' : 'Other', isProvider }))
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
      const rows = await database.read.selectFrom('event').select(['type', 'outcome']).where('client', '!=', WORLD).orderBy('id').execute()
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

interface TestDatabase {
  database: Database
  drop(): Promise<void>
}

function openTestDatabase(folder: string): Promise<TestDatabase> {
  const { TEST_DATABASE_URL } = process.env
  return TEST_DATABASE_URL ? openSchema(TEST_DATABASE_URL) : openCopy(folder)
}

/** A PostgreSQL schema of its own. */
async function openSchema(url: string): Promise<TestDatabase> {
  const schema = `test_${randomUUIDv7().replaceAll('-', '')}`
  await withServer(url, `create schema ${schema}`)
  const database = await openDatabase({ url, schema, poolSize: 4 })
  return {
    database,
    async drop() {
      await database.close()
      await withServer(url, `drop schema ${schema} cascade`)
    },
  }
}

async function withServer(url: string, statement: string): Promise<void> {
  const { openPostgres } = await import('#db/postgres.ts')
  const server = openPostgres({ url, poolSize: 1 })
  await sql.raw(statement).execute(server.read)
  await server.close()
}

/** A copy of a database that this worker has migrated once. */
async function openCopy(folder: string): Promise<TestDatabase> {
  const file = join(folder, 'entrepot.db')
  copyFileSync(await (template ??= migrateTemplate()), file)
  const database = await openDatabase({ url: file })
  return { database, drop: () => database.close() }
}

let template: Promise<string> | undefined

async function migrateTemplate(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-template-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'entrepot.db')
  const database = await openDatabase({ url: file })
  await database.close()
  if (existsSync(`${file}-wal`)) throw new Error('The template was not closed cleanly')
  return file
}
