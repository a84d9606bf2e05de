/** How a command gets at the installation: beside a running server, in one tenant, as the system. */
import { openInstallation, type Installation } from '#app'
import { expectedUrl, readConfig, type Config } from '#config'
import { makeCtx, systemActor, type Ctx } from '#core/ctx.ts'
import { listTenants } from '#core/tenants.ts'
import { createLog } from '#platform/log.ts'
import { greeting } from './greeting.ts'
import { CommandFailed, print } from './terminal.ts'

export interface TenantOption {
  tenant?: string
}

/** Runs `work` on the opened installation and closes it again. A first start says how to sign in. */
export async function withInstallation<T>(
  work: (installation: Installation, config: Config) => Promise<T>,
): Promise<T> {
  const config = readConfig(process.env)
  const installation = await openInstallation(config, createLog({ level: config.logLevel, format: config.logFormat }))
  try {
    if (installation.signIn)
      print(greeting(installation.signIn, { baseUrl: expectedUrl(config), dialects: config.dialects }))
    return await work(installation, config)
  } finally {
    await installation.close()
  }
}

/** Runs `work` in the named tenant, or in the provider's. */
export function withTenant<T>({ tenant }: TenantOption, work: (ctx: Ctx, config: Config) => Promise<T>): Promise<T> {
  return withInstallation(async (installation, config) => {
    const ctx = systemCtx(installation)
    return work(tenant === undefined ? ctx : await inTenant(ctx, tenant), config)
  })
}

export function systemCtx({ deps, providerTenantId }: Installation): Ctx {
  return makeCtx(deps, systemActor(providerTenantId, 'command line'), deps.newId())
}

async function inTenant(ctx: Ctx, name: string): Promise<Ctx> {
  const tenant = (await listTenants(ctx)).find(candidate => candidate.name === name || candidate.id === name)
  if (!tenant) throw new CommandFailed(`There is no tenant ${name}`)
  return makeCtx(ctx, systemActor(tenant.id, ctx.actor.client), ctx.requestId)
}
