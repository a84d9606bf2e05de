/** `entrepot apply FILE`: brings the installation to the state that a file describes, all of it or nothing. */
import { readFile } from 'node:fs/promises'
import { withInstallation, systemCtx } from '#cli/open.ts'
import { CommandFailed, print } from '#cli/terminal.ts'
import { inTx, makeCtx, systemActor, type Ctx, type TxCtx } from '#core/ctx.ts'
import { recordEvent } from '#core/events.ts'
import { createTenant, hostKey, listTenants, setTenantHosts, updateTenant, type Tenant } from '#core/tenants.ts'
import { applyGroup, applyHome, applyMembers, applyRights, applyRole, applyToken, applyUser } from './accounts.ts'
import { checkDescription } from './check.ts'
import { applyContentRules } from './content-rules.ts'
import { description, type Contents, type Description, type TenantEntry } from './description.ts'
import { hashPasswords, type NewHashes } from './passwords.ts'
import { BadFile, readYaml } from './read-yaml.ts'
import { applySpace } from './spaces.ts'
import { differences, given, note, placed, type Report, type Work } from './work.ts'

export async function apply(path: string, { dryRun = false }: { dryRun?: boolean }): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new CommandFailed(`${path} cannot be read`)
  })
  try {
    // The file is read before anything is opened: a bad one leaves no trace.
    const wanted = readDescription(text)
    await withInstallation(async installation => {
      const report = await applyDescription(systemCtx(installation), wanted, { dryRun })
      for (const line of report.changes) print(line)
      for (const line of report.secrets) print(line)
      print(
        `${report.changes.length} changed, ${report.unchanged} unchanged${dryRun ? ' (dry run: nothing was done)' : ''}`,
      )
    })
  } catch (error) {
    if (!(error instanceof BadFile)) throw error
    throw new CommandFailed(error.message.replace(/^/gm, `${path}:`))
  }
}

/** Throws BadFile. */
export function readDescription(text: string): Description {
  const wanted = readYaml(text, description)
  checkDescription(wanted)
  return wanted
}

/** Thrown to take back what a dry run did. */
class DryRun extends Error {
  readonly report: Report

  constructor(report: Report) {
    super('dry run')
    this.report = report
  }
}

/** Does it in one transaction of the provider's tenant. Throws BadFile; then nothing was changed. */
export async function applyDescription(ctx: Ctx, wanted: Description, { dryRun = false } = {}): Promise<Report> {
  const hashes = await hashPasswords(ctx, await partsOf(ctx, wanted))
  try {
    return await inTx(ctx, async ctx => {
      const report = await applyAll(ctx, wanted, hashes)
      if (dryRun) throw new DryRun({ ...report, secrets: [] })
      return report
    })
  } catch (error) {
    if (error instanceof DryRun) return error.report
    throw error
  }
}

/** The contents of each tenant, with a context in it where it exists. */
async function partsOf(ctx: Ctx, wanted: Description) {
  const tenants = await listTenants(ctx)
  const others = (wanted.tenants ?? []).map(contents => {
    const known = tenants.find(tenant => tenant.name === contents.name)
    return { contents, tenantCtx: known && makeCtx(ctx, systemActor(known.id, ctx.actor.client), ctx.requestId) }
  })
  return [{ contents: wanted, tenantCtx: ctx }, ...others]
}

async function applyAll(ctx: TxCtx, wanted: Description, hashes: NewHashes): Promise<Report> {
  const report: Report = { changes: [], unchanged: 0, secrets: [] }
  const work: Work = { ctx, report, hashes }
  for (const entry of wanted.tenants ?? []) {
    const tenant = await placed(entry.at, () => applyTenant(work, entry))
    await applyContents({ ...work, ctx: inTenant(ctx, tenant.id) }, entry)
  }
  await applyContents(work, wanted)
  return report
}

/** The same transaction, with events that belong to the tenant. */
function inTenant(ctx: TxCtx, tenantId: string): TxCtx {
  const tenantCtx: TxCtx = {
    ...ctx,
    actor: systemActor(tenantId, ctx.actor.client),
    emit: event => recordEvent(tenantCtx, event),
  }
  return tenantCtx
}

async function applyTenant(work: Work, { name, hosts, quota }: TenantEntry): Promise<Tenant> {
  const { ctx } = work
  const known = (await listTenants(ctx)).find(tenant => tenant.name === name)
  if (!known) {
    const tenant = await createTenant(ctx, { name, ...given({ hosts, quotaBytes: quota }) })
    note(work, `created tenant ${name}`)
    return tenant
  }
  const changes = differences(known, given({ quotaBytes: quota }))
  if (Object.keys(changes).length > 0) await updateTenant(ctx, { tenantId: known.id, ...changes })
  const newHosts = hosts && !(await hasHosts(ctx, known.id, hosts))
  if (newHosts) await setTenantHosts(ctx, { tenantId: known.id, hosts })
  const fields = [...Object.keys(changes), ...(newHosts ? ['hosts'] : [])]
  note(work, fields.length > 0 ? `changed tenant ${name} (${fields.join(', ')})` : undefined)
  return known
}

async function hasHosts({ db }: TxCtx, tenantId: string, hosts: readonly string[]): Promise<boolean> {
  const rows = await db.selectFrom('tenant_host').select('host').where('tenantId', '=', tenantId).execute()
  const wanted = new Set(hosts.map(hostKey))
  return wanted.symmetricDifference(new Set(rows.map(row => row.host))).size === 0
}

/** In an order in which everything that is named is there already. */
async function applyContents(work: Work, contents: Contents): Promise<void> {
  const { users, groups } = contents
  await each(contents.roles, role => applyRole(work, role))
  await each(users, user => applyUser(work, user))
  await each(groups, group => applyGroup(work, group))
  await each(groups, group => applyMembers(work, group))
  await applyRights(work, contents)
  await each(contents.spaces, space => applySpace(work, space))
  await each(users, user => applyHome(work, user))
  await each(contents.tokens, token => applyToken(work, token))
  await applyContentRules(work, contents)
}

/** One after the other: they share a transaction. */
async function each<T>(entries: readonly T[] = [], act: (entry: T) => Promise<void>): Promise<void> {
  for (const entry of entries) await act(entry)
}
