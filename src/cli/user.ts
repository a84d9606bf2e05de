/** `entrepot user …` */
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { sendPasswordLink } from '#core/password-links.ts'
import { accountKinds, type AccountKind } from '#core/principals.ts'
import { createUser, listUsers, removeUser, setPassword, updateUser } from '#core/users.ts'
import { nodeAt, userNamed } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, readLine, showTime } from './terminal.ts'

interface PasswordOption {
  passwordStdin?: boolean
}

interface CreateOptions extends TenantOption, PasswordOption {
  name?: string
  email?: string
  handle?: string
  kind: string
  home?: string
}

export function addUserCommands(user: Command): void {
  user
    .command('create <login>')
    .description('make an account; without --password-stdin a password is made up and printed')
    .option('--password-stdin', 'take the password from standard input')
    .option('--name <text>', 'name that others see')
    .option('--email <address>')
    .option('--handle <text>', 'second name of A-Z a-z 0-9 . _ -')
    .option('--kind <kind>', accountKinds.join(', '), 'user')
    .option('--home <path>', 'space or folder that path views show as /')
    .action(create)
  user
    .command('list')
    .description('list accounts')
    .option('--search <text>')
    .option('--json', 'one JSON object per line')
    .action(list)
  user
    .command('password <login>')
    .description('set a new password and end all sessions')
    .option('--password-stdin', 'take it from standard input')
    .action(password)
  user
    .command('link <login>')
    .description('mail a link with which the user chooses a password; earlier links end')
    .action(link)
  user.command('home <login> <path>').description('set the home space; - for none').action(home)
  user.command('block <login>').description('refuse sign-ins').action(setState('blocked'))
  user.command('unblock <login>').description('allow sign-ins again').action(setState('active'))
  user.command('remove <login>').description('remove an account; what it made stays').action(remove)
}

async function create(login: string, options: CreateOptions): Promise<void> {
  const kind = accountKinds.find(known => known === options.kind)
  if (!kind) throw new CommandFailed(`--kind must be one of ${accountKinds.join(', ')}`)
  const given = options.passwordStdin ? await readLine() : undefined
  await withTenant(options, async ctx => {
    const homeNodeId = options.home === undefined ? null : (await nodeAt(ctx, options.home)).id
    const secret = given ?? newPassword()
    await createUser(ctx, { login, password: secret, ...account(options, kind), homeNodeId })
    print(`created user ${login}`)
    if (given === undefined) print(`password: ${secret}`)
  })
}

const account = ({ name, email, handle }: CreateOptions, kind: AccountKind) => ({
  kind,
  ...(name !== undefined && { name }),
  ...(email !== undefined && { email }),
  ...(handle !== undefined && { handle }),
})

const newPassword = () => randomBytes(15).toString('base64url')

async function list(options: TenantOption & { search?: string; json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const { rows } = await listUsers(ctx, { search: options.search ?? '', offset: 0, limit: 10_000 })
    const shown = rows.map(({ login, name, kind, state, email, lastSignInAt }) => ({
      login,
      name,
      kind,
      state,
      email,
      lastSignIn: showTime(lastSignInAt),
    }))
    printTable(shown, options)
  })
}

async function password(login: string, options: TenantOption & PasswordOption): Promise<void> {
  const given = options.passwordStdin ? await readLine() : undefined
  await withTenant(options, async ctx => {
    const { id } = await userNamed(ctx, login)
    const secret = given ?? newPassword()
    await setPassword(ctx, { userId: id, password: secret })
    print(`changed password of ${login}`)
    if (given === undefined) print(`password: ${secret}`)
  })
}

async function link(login: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const { email, id } = await userNamed(ctx, login)
    const { expiresAt } = await sendPasswordLink(ctx, { userId: id })
    print(`a link is on its way to ${email}, valid until ${showTime(expiresAt)}`)
  })
}

async function home(login: string, path: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const { id } = await userNamed(ctx, login)
    await updateUser(ctx, { userId: id, homeNodeId: path === '-' ? null : (await nodeAt(ctx, path)).id })
    print(`changed home of ${login}`)
  })
}

const setState = (state: 'active' | 'blocked') => async (login: string, options: TenantOption) => {
  await withTenant(options, async ctx => {
    await updateUser(ctx, { userId: (await userNamed(ctx, login)).id, state })
    print(`${login} is ${state}`)
  })
}

async function remove(login: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await removeUser(ctx, { userId: (await userNamed(ctx, login)).id })
    print(`removed user ${login}`)
  })
}
