/** The first start: the provider's tenant and its administrator. Later starts: does the key ring fit the database? */
import { randomBytes } from 'node:crypto'
import type { Database } from '#db/database.ts'
import { inTx, makeCtx, systemActor, type Deps, type TxCtx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import { checkNewPassword, hashPassword } from './passwords.ts'
import { systemRights } from './roles.ts'
import { openSecret, putSecret } from './secrets.ts'
import { insertTenant } from './tenants.ts'
import { insertUser } from './users.ts'

const LOGIN = 'admin'
const KEY_CHECK = 'key-check'
const PASSWORD_BYTES = 15

export interface Initialised {
  created: boolean
  login: string
  /** Only when this start made it up. */
  password?: string
}

/** True once the first start is done: from then on a missing key ring is a loss, not a beginning. */
export async function isInitialised(database: Database): Promise<boolean> {
  return (await findProviderId(database.read)) !== undefined
}

/**
 * Makes the provider's tenant and an administrator with every right, unless they are there; several processes may call
 * it at once. Throws an Error when the key ring is not the one that this database was written with.
 */
export async function initialise(deps: Deps, { adminPassword }: { adminPassword?: string } = {}): Promise<Initialised> {
  const known = await findProviderId(deps.database.read)
  if (known !== undefined) {
    await checkKeys(deps, known)
    return { created: false, login: LOGIN }
  }
  if (adminPassword !== undefined) checkNewPassword(adminPassword, deps.settings)
  const password = adminPassword ?? randomBytes(PASSWORD_BYTES).toString('base64url')
  const passwordHash = await hashPassword(password)
  const tenantId = deps.newId()
  const ctx = makeCtx(deps, systemActor(tenantId, 'entrepot init'), deps.newId())
  const created = await inTx(ctx, async ctx => {
    await ctx.database.lock(ctx.db, 'initialise', 'exclusive')
    if ((await findProviderId(ctx.db)) !== undefined) return false
    await writeProvider(ctx, passwordHash)
    return true
  })
  if (!created) return initialise(deps)
  return { created, login: LOGIN, ...(adminPassword === undefined && { password }) }
}

async function writeProvider(ctx: TxCtx, passwordHash: string): Promise<void> {
  const { tenantId } = ctx.actor
  await insertTenant(ctx, { id: tenantId, name: 'Provider', isProvider: true })
  const admin = await insertUser(ctx, { login: LOGIN, name: 'Administrator', kind: 'administrator' }, passwordHash)
  const rights = systemRights.map(right => ({ principalId: admin.id, right }))
  await ctx.db.insertInto('principal_right').values(rights).execute()
  await ctx.emit({ type: 'right.changed', subject1: `user:${admin.id}`, facts: { rights: systemRights, held: true } })
  await putSecret(ctx, { purpose: KEY_CHECK, ownerId: tenantId, plain: KEY_CHECK })
}

async function checkKeys(deps: Deps, tenantId: string): Promise<void> {
  const ctx = makeCtx(deps, systemActor(tenantId, 'entrepot init'), deps.newId())
  try {
    await openSecret(ctx, { purpose: KEY_CHECK, ownerId: tenantId })
  } catch (error) {
    if (!isDomainError(error, 'content-damaged')) throw error
    throw new Error('The key ring does not fit the database: restore the one that was in use with it', { cause: error })
  }
}

async function findProviderId(db: Database['read']): Promise<string | undefined> {
  const row = await db.selectFrom('tenant').select('id').where('isProvider', '=', 1).executeTakeFirst()
  return row?.id
}
