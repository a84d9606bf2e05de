/** `entrepot group …` */
import type { Command } from 'commander'
import { addMembers, createGroup, listGroups, listMembers, removeGroup, removeMembers } from '#core/groups.ts'
import { groupNamed, subjectId } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { print, printTable } from './terminal.ts'

export function addGroupCommands(group: Command): void {
  group.command('create <name>').description('make a group').action(create)
  group.command('list').description('list groups').option('--json', 'one JSON object per line').action(list)
  group
    .command('members <name>')
    .description('list direct members')
    .option('--json', 'one JSON object per line')
    .action(members)
  group.command('add <name> <members...>').description('add members: logins, or group:<name>').action(add)
  group.command('drop <name> <members...>').description('take members out').action(drop)
  group.command('remove <name>').description('remove a group').action(remove)
}

async function create(name: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await createGroup(ctx, { name })
    print(`created group ${name}`)
  })
}

async function list(options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const { rows } = await listGroups(ctx, { limit: 10_000 })
    printTable(
      rows.map(({ name, id }) => ({ name, id })),
      options,
    )
  })
}

async function members(name: string, options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const rows = await listMembers(ctx, { groupId: (await groupNamed(ctx, name)).id })
    printTable(
      rows.map(row => ({ kind: row.kind, login: row.login, name: row.name, level: row.level })),
      options,
    )
  })
}

async function add(name: string, texts: string[], options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const { id: groupId } = await groupNamed(ctx, name)
    await addMembers(ctx, { groupId, memberIds: await Promise.all(texts.map(text => subjectId(ctx, text))) })
    print(`changed members of ${name}`)
  })
}

async function drop(name: string, texts: string[], options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const { id: groupId } = await groupNamed(ctx, name)
    await removeMembers(ctx, { groupId, memberIds: await Promise.all(texts.map(text => subjectId(ctx, text))) })
    print(`changed members of ${name}`)
  })
}

async function remove(name: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await removeGroup(ctx, { groupId: (await groupNamed(ctx, name)).id })
    print(`removed group ${name}`)
  })
}
