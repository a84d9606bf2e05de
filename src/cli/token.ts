/** `entrepot token …` */
import type { Command } from 'commander'
import { actionSet } from '#core/permissions.ts'
import { createToken, listTokens, revokeToken } from '#core/tokens.ts'
import { actionsNamed, momentAfter, nodeAt, userNamed } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

interface CreateOptions extends TenantOption {
  expires?: string
  addresses?: string[]
  allow?: string[]
  in?: string
}

export function addTokenCommands(token: Command): void {
  token
    .command('create <login> <name>')
    .description('make an access token and print its secret, once')
    .option('--expires <duration>', 'such as 90d')
    .option('--addresses <ranges...>', 'only from these addresses, such as 10.0.0.0/8')
    .option('--allow <actions...>', 'only these actions')
    .option('--in <path>', 'only in this space or folder (with --allow)')
    .action(create)
  token.command('list <login>').description('list tokens').option('--json', 'one JSON object per line').action(list)
  token.command('revoke <login> <name>').description('revoke the tokens of that name').action(revoke)
}

async function create(login: string, name: string, options: CreateOptions): Promise<void> {
  if (options.in !== undefined && !options.allow) throw new CommandFailed('--in needs --allow')
  const actions = options.allow && actionSet(actionsNamed(options.allow))
  await withTenant(options, async ctx => {
    const nodeId = options.in === undefined ? undefined : (await nodeAt(ctx, options.in)).id
    const { secret } = await createToken(ctx, {
      principalId: (await userNamed(ctx, login)).id,
      name,
      ...(actions !== undefined && { scope: [{ actions, ...(nodeId !== undefined && { nodeId }) }] }),
      ...(options.addresses && { ipRanges: options.addresses }),
      ...(options.expires !== undefined && { expiresAt: momentAfter(ctx.clock(), options.expires) }),
    })
    print(`created token ${name} of ${login}`)
    print(`secret: ${secret}`)
    print(`as an API key: Authorization: apikey ${login}:${secret}`)
  })
}

async function list(login: string, options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const rows = await listTokens(ctx, { principalId: (await userNamed(ctx, login)).id })
    const shown = rows.map(row => ({
      name: row.name,
      secret: `${row.preview}…`,
      created: showTime(row.createdAt),
      expires: showTime(row.expiresAt),
      lastUsed: showTime(row.lastUsedAt),
    }))
    printTable(shown, options)
  })
}

async function revoke(login: string, name: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const tokens = await listTokens(ctx, { principalId: (await userNamed(ctx, login)).id })
    const named = tokens.filter(token => token.name === name)
    if (named.length === 0) throw new CommandFailed(`${login} has no token ${name}`)
    for (const { id } of named) await revokeToken(ctx, { tokenId: id })
    print(`revoked token ${name} of ${login}`)
  })
}
