/** `entrepot delivery …` and `entrepot approvals …` */
import type { Command } from 'commander'
import { decideApproval, listApprovers, listWaiting, setApprovers } from '#core/approvals.ts'
import { makeCtx, type Ctx } from '#core/ctx.ts'
import { getDeliverySpace, listDeliveries, setTags } from '#core/deliveries.ts'
import { reviveDelivery } from '#core/delivery-retention.ts'
import { findPrincipals } from '#core/principals.ts'
import { shredSpace } from '#core/shred.ts'
import { actorOfAddress } from '#core/signed-addresses.ts'
import { setSpaceState } from '#core/spaces.ts'
import { userNamed } from './names.ts'
import { withTenant, type TenantOption } from './open.ts'
import { CommandFailed, print, printTable, showTime } from './terminal.ts'

const states = ['active', 'deleted', 'archived', 'purged'] as const
const MAX_LISTED = 1000

interface ListOptions extends TenantOption {
  json?: boolean
  state?: string
}

export function addDeliveryCommands(delivery: Command): void {
  delivery
    .command('list')
    .description('list deliveries, latest first')
    .option('--state <state>', states.join(', '))
    .option('--json', 'one JSON object per line')
    .action(list)
  delivery
    .command('restore <id>')
    .description('bring back a deleted or archived delivery')
    .option('--days <n>', 'how long it can be fetched from now on')
    .action(restore)
  delivery.command('delete <id>').description('end a delivery; it can be restored').action(setState('deleted'))
  delivery
    .command('archive <id>')
    .description('put a delivery away; administrators still see it')
    .action(setState('archived'))
  delivery.command('shred <id>').description('destroy its content for good; what is known of it stays').action(shred)
  delivery.command('tag <id> [tags...]').description('set the words that it is found by').action(tag)
}

interface DecisionOptions extends TenantOption {
  as?: string
}

export function addApprovalCommands(approvals: Command): void {
  approvals
    .command('list')
    .description('list deliveries that wait for consent, oldest first')
    .option('--json', 'one JSON object per line')
    .action(waiting)
  for (const [name, decision, description] of [
    ['approve', 'approved', 'let a waiting delivery out'],
    ['refuse', 'refused', 'keep a waiting delivery in for good'],
  ] as const) {
    approvals
      .command(`${name} <id>`)
      .description(description)
      .option('--as <login>', 'whose decision it is (default: the server)')
      .action(decide(decision))
  }
  approvals
    .command('approvers <login> [approvers...]')
    .description('show, or set, who decides about what somebody sends; "none" for nobody in particular')
    .action(approvers)
}

async function list({ state, ...options }: ListOptions): Promise<void> {
  const known = states.find(name => name === state)
  if (state !== undefined && !known) throw new CommandFailed(`--state must be one of ${states.join(', ')}`)
  await withTenant(options, async ctx => {
    const rows = await listDeliveries(ctx, { state: known, limit: MAX_LISTED })
    const shown = rows.map(({ space, label, senderName, createdAt }) => ({
      id: space.uid,
      label,
      sender: senderName,
      access: space.deliveryAccess,
      state: space.state,
      approval: space.approval,
      created: showTime(createdAt),
      ends: space.deliveryPersistent ? 'never' : showTime(space.deliveryExpiresAt),
    }))
    printTable(shown, options)
  })
}

async function restore(id: string, { days, ...options }: TenantOption & { days?: string }): Promise<void> {
  if (days !== undefined && !/^[1-9]\d{0,4}$/.test(days))
    throw new CommandFailed('--days must be a whole number above 0')
  await withTenant(options, async ctx => {
    const { id: spaceId } = await getDeliverySpace(ctx, id)
    await reviveDelivery(ctx, { spaceId, ...(days !== undefined && { days: Number(days) }) })
    print(`delivery ${id} is active again`)
  })
}

const setState = (state: 'deleted' | 'archived') => async (id: string, options: TenantOption) => {
  await withTenant(options, async ctx => {
    await setSpaceState(ctx, { spaceId: (await getDeliverySpace(ctx, id)).id, state })
    print(`delivery ${id} is ${state}`)
  })
}

async function shred(id: string, options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await shredSpace(ctx, { spaceId: (await getDeliverySpace(ctx, id)).id })
    print(`the content of delivery ${id} is destroyed`)
  })
}

async function tag(id: string, tags: string[], options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    await setTags(ctx, { spaceId: (await getDeliverySpace(ctx, id)).id, tags })
    print(tags.length > 0 ? `delivery ${id} has the tags ${tags.join(', ')}` : `delivery ${id} has no tags`)
  })
}

async function waiting(options: TenantOption & { json?: boolean }): Promise<void> {
  await withTenant(options, async ctx => {
    const rows = await listWaiting(ctx, { offset: 0, limit: MAX_LISTED })
    const shown = rows.map(({ space, label, senderName, createdAt }) => ({
      id: space.uid,
      label,
      sender: senderName,
      access: space.deliveryAccess,
      waitingSince: showTime(createdAt),
    }))
    printTable(shown, options)
  })
}

const decide = (decision: 'approved' | 'refused') => async (id: string, options: DecisionOptions) => {
  await withTenant(options, async ctx => {
    const { id: spaceId } = await getDeliverySpace(ctx, id)
    await decideApproval(options.as === undefined ? ctx : await actingAs(ctx, options.as), { spaceId, decision })
    print(`delivery ${id} is ${decision}`)
  })
}

/** The same with the rights, and under the name, of an account. */
async function actingAs(ctx: Ctx, login: string): Promise<Ctx> {
  const { id: principalId } = await userNamed(ctx, login)
  const { tenantId, client, address } = ctx.actor
  return makeCtx(ctx, await actorOfAddress(ctx, { principalId, tenantId, client, address }), ctx.requestId)
}

async function approvers(login: string, names: string[], options: TenantOption): Promise<void> {
  await withTenant(options, async ctx => {
    const { id: principalId } = await userNamed(ctx, login)
    if (names.length > 0) {
      const chosen = names.length === 1 && names[0] === 'none' ? [] : names
      const approverIds: string[] = []
      for (const name of chosen) approverIds.push((await userNamed(ctx, name)).id)
      await setApprovers(ctx, { principalId, approverIds })
    }
    const ids = await listApprovers(ctx, { principalId })
    const known = await findPrincipals(ctx, ids)
    const logins = ids.map(id => known.get(id)?.login ?? id)
    print(`about ${login} decide: ${logins.length > 0 ? logins.join(', ') : 'those who decide about everybody'}`)
  })
}
