/** `entrepot space …` and `entrepot grant …` */
import type { Command } from 'commander'
import { listGrants, removeGrant, setGrant } from '#core/grants.ts'
import { pathText } from '#core/node-paths.ts'
import { createFolder } from '#core/nodes.ts'
import { findPrincipals } from '#core/principals.ts'
import { createSpace, listSpaces, setSpaceState } from '#core/spaces.ts'
import { getTotals } from '#core/totals.ts'
import { parseSize, showSize, sizeHint } from '#platform/units.ts'
import { actionsNamed, findNode, nodeAt, spaceAt, subjectId, userNamed } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable } from './terminal.ts'

interface CreateOptions extends TenantOption {
  owner?: string
  quota?: string
}

export function addSpaceCommands(space: Command): void {
  space
    .command('create <path>')
    .description('make a space; a path with slashes makes it inside the space before the last one')
    .option('--owner <login>', 'owner (default: the administrator of the first start)')
    .option('--quota <size>', 'such as 10GiB')
    .action(create)
  space
    .command('list')
    .description('list spaces with what they hold')
    .option('--json', 'one JSON object per line')
    .action(list)
  space.command('folder <path>').description('make a folder and those above it').action(folder)
  space
    .command('archive <path>')
    .description('take a space out of use, keeping everything')
    .action(setState('archived'))
  space.command('delete <path>').description('delete a space; it can be taken back').action(setState('deleted'))
}

export function addGrantCommands(grant: Command): void {
  grant
    .command('set <path> <subject> <actions...>')
    .description('say what a subject may do in a space, or narrow it in a folder; replaces what was set')
    .action(set)
  grant
    .command('list <path>')
    .description('list grants of a space or folder')
    .option('--json', 'one JSON object per line')
    .action(grants)
  grant.command('remove <path> <subject>').description('take a grant away').action(removeOne)
  grant.addHelpText('after', '\nA subject is a login, group:<name>, or signed-in for everybody.')
}

async function create(path: string, options: CreateOptions): Promise<void> {
  const quotaBytes = options.quota === undefined ? null : parseSize(options.quota)
  if (quotaBytes === undefined) throw new CommandFailed(`--quota must be ${sizeHint}`)
  await withTenant(options, async ctx => {
    const names = path.split('/').filter(part => part !== '')
    const name = names.pop()
    if (name === undefined) throw new CommandFailed('A space needs a name')
    const parent = names.length > 0 ? await spaceAt(ctx, names.join('/')) : undefined
    const ownerId = options.owner === undefined ? undefined : (await userNamed(ctx, options.owner)).id
    await createSpace(ctx, {
      name,
      policy: { quotaBytes },
      ...(parent && { parentSpaceId: parent.id }),
      ...(ownerId !== undefined && { ownerId }),
    })
    print(`created space ${path}`)
  })
}

async function list(options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const rows = []
    for (const space of await listSpaces(ctx)) {
      const { files, bytes, binBytes } = await getTotals(ctx, space.id)
      const path = await pathText(ctx, space.id)
      rows.push({ path, state: space.state, files, size: showSize(bytes), trash: showSize(binBytes) })
    }
    printTable(rows, options)
  })
}

async function folder(path: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const names = path.split('/').filter(part => part !== '')
    let parent = await spaceAt(ctx, names[0] ?? '')
    for (const [index, name] of names.entries()) {
      if (index === 0) continue
      const known = await findNode(ctx, names.slice(0, index + 1).join('/'))
      parent = known ?? (await createFolder(ctx, { parentId: parent.id, name }))
    }
    print(`folder ${path} is there`)
  })
}

const setState = (state: 'archived' | 'deleted') => async (path: string, options: TenantOption) => {
  await withTenant(options, async ctx => {
    await setSpaceState(ctx, { spaceId: (await spaceAt(ctx, path)).id, state })
    print(`${path} is ${state}`)
  })
}

async function set(path: string, subject: string, words: string[], options: TenantOption): Promise<void> {
  const actions = actionsNamed(words)
  await withTenant(options, async ctx => {
    await setGrant(ctx, { nodeId: (await nodeAt(ctx, path)).id, subjectId: await subjectId(ctx, subject), actions })
    print(`set grant of ${subject} on ${path}: ${actions.join(', ')}`)
  })
}

async function grants(path: string, options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const rows = await listGrants(ctx, { nodeId: (await nodeAt(ctx, path)).id })
    const subjects = await findPrincipals(
      ctx,
      rows.map(row => row.subjectId),
    )
    const shown = rows.map(row => {
      const subject = subjects.get(row.subjectId)
      return {
        kind: subject?.kind ?? '',
        subject: subject?.login ?? subject?.name ?? row.subjectId,
        allow: row.names.join(','),
      }
    })
    printTable(shown, options)
  })
}

async function removeOne(path: string, subject: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await removeGrant(ctx, { nodeId: (await nodeAt(ctx, path)).id, subjectId: await subjectId(ctx, subject) })
    print(`removed grant of ${subject} on ${path}`)
  })
}
