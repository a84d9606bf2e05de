/** Tenants: who they are, which hosts select them, and what each has from its first moment on. */
import { remembered } from '#db/prepared.ts'
import type { TenantTable } from '#db/schema.ts'
import { signedInId } from './access.ts'
import { inTx, type Ctx, type Deps, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { requireRight } from './roles.ts'

export interface Tenant {
  id: string
  name: string
  isProvider: boolean
  rootNodeId: number
  state: TenantTable['state']
  /** Null for no limit. */
  quotaBytes: number | null
}

interface NewTenant {
  name: string
  hosts?: readonly string[]
  quotaBytes?: number | null
}

const MAX_NAME_LENGTH = 200

/** Only for the provider. Throws `invalid-input` for a host that another tenant has. */
export async function createTenant(ctx: Ctx, input: NewTenant): Promise<Tenant> {
  await requireProvider(ctx)
  return inTx(ctx, ctx => insertTenant(ctx, { id: ctx.newId(), isProvider: false, ...input }))
}

/** Writes a tenant with its root node and its `signed-in` subject. Authorises nothing: for `createTenant` and the first start. */
export async function insertTenant(
  ctx: TxCtx,
  { id, name, isProvider, hosts = [], quotaBytes = null }: NewTenant & { id: string; isProvider: boolean },
): Promise<Tenant> {
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH)
    throw new DomainError('invalid-input', { field: 'name', rule: 'length' })
  const [rootNodeId] = await ctx.database.nextIds(ctx.db, 1)
  if (rootNodeId === undefined) throw new Error('The id sequence gave no id')
  const tenant: Tenant = { id, name, isProvider, rootNodeId, state: 'active', quotaBytes }
  await ctx.db
    .insertInto('tenant')
    .values({ ...tenant, isProvider: isProvider ? 1 : 0, createdAt: ctx.clock() })
    .execute()
  await insertRootNode(ctx, tenant)
  await insertSignedIn(ctx, tenant)
  await insertHosts(ctx, id, hosts)
  await ctx.emit({ type: 'tenant.created', subject1: `tenant:${id}`, facts: { rootNodeId, quotaBytes } })
  return tenant
}

async function insertRootNode(ctx: TxCtx, tenant: Tenant): Promise<void> {
  const now = ctx.clock()
  await ctx.db
    .insertInto('node')
    .values({
      id: tenant.rootNodeId,
      uid: ctx.newId(),
      tenantId: tenant.id,
      kind: 'root',
      accessId: tenant.rootNodeId,
      name: '',
      nameFold: '',
      label: '',
      revision: 1,
      snapshotUid: ctx.newId(),
      state: 'live',
      writeProtected: 0,
      readProtected: 0,
      createdAt: now,
      createdBy: ctx.actor.principalId,
      changedAt: now,
      changedBy: ctx.actor.principalId,
    })
    .execute()
  const nothing = { files: 0, folders: 0, bytes: 0, binBytes: 0 }
  await ctx.db
    .insertInto('node_total')
    .values({ nodeId: tenant.rootNodeId, ...nothing, changedAt: now })
    .execute()
}

async function insertSignedIn(ctx: TxCtx, tenant: Tenant): Promise<void> {
  const now = ctx.clock()
  await ctx.db
    .insertInto('principal')
    .values({
      id: signedInId(tenant.id),
      tenantId: tenant.id,
      kind: 'signed-in',
      name: 'signed-in',
      nameFold: 'signed-in',
      state: 'active',
      onExpiry: 'block',
      createdAt: now,
      createdBy: ctx.actor.principalId,
      changedAt: now,
    })
    .execute()
}

const columns = ['id', 'name', 'isProvider', 'rootNodeId', 'state', 'quotaBytes'] as const

const selectByHost = remembered<{ host: string }, Pick<TenantTable, (typeof columns)[number]>>((db, arg) =>
  db
    .selectFrom('tenant')
    .select(columns)
    .where(eb =>
      eb.or([
        eb('isProvider', '=', 1),
        eb('id', 'in', eb.selectFrom('tenant_host').select('tenantId').where('host', '=', arg('host'))),
      ]),
    )
    .orderBy('isProvider')
    .limit(1),
)

/** How long a process goes by what it knows of hosts; a change elsewhere counts at the latest then. */
const HOSTS_KNOWN_MS = 1_000
const MAX_KNOWN_HOSTS = 1_000
const knownHosts = new WeakMap<Deps['database'], Map<string, { tenant: Tenant; until: number }>>()

/** The tenant of a `Host` header (port and case are no matter), else the provider. Every request asks, so it is remembered. */
export async function findTenantByHost(deps: Pick<Deps, 'database' | 'clock'>, host: string): Promise<Tenant> {
  const known = knownHosts.get(deps.database) ?? new Map<string, { tenant: Tenant; until: number }>()
  const now = deps.clock()
  const remembered = known.get(host)
  if (remembered && remembered.until > now) return remembered.tenant
  const [row] = await selectByHost(deps.database.read, { host: hostKey(host) })
  if (!row) throw new DomainError('not-found', { what: 'tenant', id: host })
  const tenant = present(row)
  if (known.size >= MAX_KNOWN_HOSTS) known.clear()
  knownHosts.set(deps.database, known.set(host, { tenant, until: now + HOSTS_KNOWN_MS }))
  return tenant
}

/** Everybody may ask for his own tenant, the provider for every one. */
export async function getTenant(ctx: Ctx, { tenantId }: { tenantId: string }): Promise<Tenant> {
  if (tenantId !== ctx.actor.tenantId) await requireProvider(ctx)
  const row = await ctx.db.selectFrom('tenant').select(columns).where('id', '=', tenantId).executeTakeFirst()
  if (!row) throw new DomainError('not-found', { what: 'tenant', id: tenantId })
  return present(row)
}

/** All tenants, by name. Only for the provider. */
export async function listTenants(ctx: Ctx): Promise<Tenant[]> {
  await requireProvider(ctx)
  const rows = await ctx.db.selectFrom('tenant').select(columns).orderBy('name').orderBy('id').execute()
  return rows.map(present)
}

/** Replaces the hosts that select the tenant. Only for the provider. */
export async function setTenantHosts(
  ctx: Ctx,
  { tenantId, hosts }: { tenantId: string; hosts: readonly string[] },
): Promise<void> {
  await requireProvider(ctx)
  await inTx(ctx, async ctx => {
    await getTenant(ctx, { tenantId })
    await ctx.db.deleteFrom('tenant_host').where('tenantId', '=', tenantId).execute()
    await insertHosts(ctx, tenantId, hosts)
    await ctx.emit({ type: 'tenant.changed', subject1: `tenant:${tenantId}`, facts: { hosts: hosts.length } })
  })
  knownHosts.delete(ctx.database)
}

/** Changes what is named. A locked tenant lets nobody in. Only for the provider. */
export async function updateTenant(
  ctx: Ctx,
  { tenantId, ...changes }: { tenantId: string; state?: Tenant['state']; quotaBytes?: number | null },
): Promise<Tenant> {
  await requireProvider(ctx)
  return inTx(ctx, async ctx => {
    const before = await getTenant(ctx, { tenantId })
    if (before.isProvider && changes.state === 'locked')
      throw new DomainError('invalid-input', { field: 'state', rule: 'provider' })
    const after = { ...before, ...changes }
    const { state, quotaBytes } = after
    await ctx.db.updateTable('tenant').set({ state, quotaBytes }).where('id', '=', tenantId).execute()
    const facts = { stateBefore: before.state, state, quotaBytesBefore: before.quotaBytes, quotaBytes }
    await ctx.emit({ type: 'tenant.changed', subject1: `tenant:${tenantId}`, facts })
    return after
  })
}

async function insertHosts(ctx: TxCtx, tenantId: string, hosts: readonly string[]): Promise<void> {
  for (const host of new Set(hosts.map(hostKey))) {
    const row = await ctx.db
      .insertInto('tenant_host')
      .values({ host, tenantId })
      .onConflict(clash => clash.column('host').doNothing())
      .returning('host')
      .executeTakeFirst()
    if (!row || host === '')
      throw new DomainError('invalid-input', { field: 'hosts', rule: host === '' ? 'empty' : 'taken' })
  }
}

/** The form in which hosts are stored and compared: without port, case and final dot. */
export const hostKey = (host: string) => host.trim().toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '')

/** Rights over tenants count only in the provider's tenant. */
async function requireProvider(ctx: Ctx): Promise<void> {
  await requireRight(ctx, 'tenants.manage')
  const own = await ctx.db
    .selectFrom('tenant')
    .select('isProvider')
    .where('id', '=', ctx.actor.tenantId)
    .executeTakeFirst()
  if (own?.isProvider !== 1) throw new DomainError('forbidden', { action: 'tenants.manage' })
}

const present = (row: Omit<Tenant, 'isProvider'> & { isProvider: number }): Tenant => ({
  ...row,
  isProvider: row.isProvider === 1,
})
