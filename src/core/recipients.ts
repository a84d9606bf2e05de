/** Who a delivery is for: accounts, and addresses without one. Each recipient is a grant at the root of its space. */
import type { Selectable } from 'kysely'
import type { GrantTable, PrincipalTable } from '#db/schema.ts'
import { signedInId } from './access.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { setGrantRow } from './grants.ts'
import { queueMail } from './mail.ts'
import { fold } from './names.ts'
import { actionSet, allActions, type ActionSet } from './permissions.ts'
import { accountKinds, chunked, findOrCreateAddress, isAccountKind, MAX_IDS } from './principals.ts'
import { holdersAmong } from './roles.ts'
import type { Space } from './space-rows.ts'

/** `blind` ones are hidden from the others; `contributor`s may change what is in the delivery. */
export type RecipientType = NonNullable<GrantTable['recipient']>

export interface NewRecipient {
  type: RecipientType
  address: string
}

export interface Recipient {
  grantId: string
  spaceId: number
  principalId: string
  type: RecipientType
  /** Internal ones have an account. */
  class: 'internal' | 'external'
  address: string
}

/** A recipient as the address stands for it: an account, or nobody that we know. */
export interface ResolvedRecipient {
  type: RecipientType
  address: string
  /** Undefined for an address without an account. */
  principalId: string | undefined
}

/** Where one is named twice, the stronger type counts. */
const strength: Record<RecipientType, number> = { blind: 0, regular: 1, contributor: 2 }

const actionsOf: Record<RecipientType, ActionSet> = {
  regular: actionSet(['list', 'read']),
  blind: actionSet(['list', 'read']),
  contributor: actionSet(['list', 'read', 'create', 'write', 'change', 'delete']),
}

/**
 * Whom the addresses stand for; that of a distribution group stands for its members, now. Throws `recipient-refused` for a
 * contributor without an account, for who may not receive deliveries, and for a group that the sender may not write to.
 */
export async function resolveRecipients(ctx: Ctx, wanted: readonly NewRecipient[]): Promise<ResolvedRecipient[]> {
  const known = await principalsByAddress(
    ctx,
    wanted.map(({ address }) => address),
  )
  const found: ResolvedRecipient[] = []
  for (const { type, address } of wanted) {
    const here = known.get(fold(address)) ?? []
    const group = here.find(({ kind, isDistribution }) => kind === 'group' && isDistribution === 1)
    const account = here.find(({ kind }) => isAccountKind(kind))
    if (account) found.push({ type, address: account.email ?? address, principalId: account.id })
    else if (group) found.push(...(await membersOf(ctx, group, type)))
    else if (type === 'contributor') throw new DomainError('recipient-refused', { address, rule: 'no-account' })
    else found.push({ type, address, principalId: undefined })
  }
  const strongest = onePerPerson(found)
  await requireReceivers(ctx, strongest)
  return strongest
}

type AddressedPrincipal = Pick<PrincipalTable, 'id' | 'kind' | 'email' | 'emailKey'> & {
  isDistribution: number | null
  reach: 'public' | 'internal' | 'private' | null
}

async function principalsByAddress(ctx: Ctx, addresses: readonly string[]): Promise<Map<string, AddressedPrincipal[]>> {
  const rows: AddressedPrincipal[] = []
  for (const some of chunked([...new Set(addresses.map(fold))], MAX_IDS)) {
    rows.push(
      ...(await ctx.db
        .selectFrom('principal')
        .leftJoin('group_profile', 'group_profile.groupId', 'principal.id')
        .select(['id', 'kind', 'email', 'emailKey', 'isDistribution', 'reach'])
        .where('tenantId', '=', ctx.actor.tenantId)
        .where('emailKey', 'in', some)
        .where('state', '=', 'active')
        .where('kind', 'in', [...accountKinds, 'group'])
        .orderBy('id')
        .execute()),
    )
  }
  return Map.groupBy(rows, row => row.emailKey ?? '')
}

/** Members of a group that can be told. A private one may be written to by its own only. */
async function membersOf(ctx: Ctx, group: AddressedPrincipal, type: RecipientType): Promise<ResolvedRecipient[]> {
  const members = await ctx.db
    .selectFrom('group_closure')
    .innerJoin('principal', 'principal.id', 'group_closure.principalId')
    .select(['principal.id', 'principal.email'])
    .where('group_closure.groupId', '=', group.id)
    .where('principal.kind', 'in', accountKinds)
    .where('principal.state', '=', 'active')
    .where('principal.email', 'is not', null)
    .orderBy('principal.id')
    .execute()
  const { actor } = ctx
  const isOwn = actor.kind === 'system' || actor.capacity === 'administrator'
  if (group.reach === 'private' && !isOwn && !members.some(({ id }) => id === actor.principalId)) {
    throw new DomainError('recipient-refused', { address: group.email ?? '', rule: 'may-not-be-addressed' })
  }
  return members.map(({ id, email }) => ({ type, address: email ?? '', principalId: id }))
}

function onePerPerson(recipients: readonly ResolvedRecipient[]): ResolvedRecipient[] {
  const byPerson = new Map<string, ResolvedRecipient>()
  for (const recipient of recipients) {
    const key = recipient.principalId ?? `address:${fold(recipient.address)}`
    const before = byPerson.get(key)
    if (!before || strength[before.type] < strength[recipient.type]) byPerson.set(key, recipient)
  }
  return [...byPerson.values()]
}

async function requireReceivers(ctx: Ctx, recipients: readonly ResolvedRecipient[]): Promise<void> {
  const accounts = recipients.filter(({ principalId }) => principalId !== undefined)
  const ids = accounts.flatMap(({ principalId }) => principalId ?? [])
  const receivers = await holdersAmong(ctx, { right: 'deliveries.receive', principalIds: ids })
  const other = accounts.find(({ principalId }) => principalId !== undefined && !receivers.has(principalId))
  if (other) throw new DomainError('recipient-refused', { address: other.address, rule: 'may-not-receive' })
}

/**
 * Names them in the delivery; who is there already keeps the stronger type. Answers all that were asked for. The caller has
 * asked for the right.
 */
export async function grantRecipients(
  ctx: TxCtx,
  space: Pick<Space, 'id' | 'uid' | 'ownerId'>,
  recipients: readonly ResolvedRecipient[],
): Promise<Recipient[]> {
  const before = new Map((await recipientsOf(ctx, [space.id])).map(known => [known.principalId, known]))
  const principalIds: string[] = []
  for (const { type, address, principalId } of recipients) {
    const subjectId = principalId ?? (await findOrCreateAddress(ctx, address)).id
    principalIds.push(subjectId)
    const known = before.get(subjectId)
    if (known && strength[known.type] >= strength[type]) continue
    const actions = subjectId === space.ownerId ? allActions : actionsOf[type]
    await setGrantRow(ctx, {
      nodeId: space.id,
      subjectId,
      actions,
      hidden: type === 'blind',
      recipient: type,
    })
    await ctx.emit({
      type: 'recipient.added',
      spaceId: space.id,
      subject1: `node:${space.id}`,
      subject2: `principal:${subjectId}`,
      facts: { type },
    })
  }
  const after = new Map((await recipientsOf(ctx, [space.id])).map(known => [known.principalId, known]))
  return principalIds.flatMap(id => after.get(id) ?? [])
}

/** Tells recipients by mail that there is something for them; nobody is told twice. */
export async function tellRecipients(
  ctx: TxCtx,
  space: Pick<Space, 'uid' | 'ownerId'>,
  recipients: readonly Recipient[],
): Promise<void> {
  for (const { principalId } of recipients) {
    if (principalId === space.ownerId) continue
    await queueMail(ctx, { kind: 'delivery-arrived', recipientId: principalId, subjectId: space.uid, occasion: 'sent' })
  }
}

/** Takes a recipient with an account out. Throws `not-found`, `recipient-fixed`. The caller has asked for the right. */
export async function revokeRecipient(ctx: TxCtx, space: Space, grantId: string): Promise<void> {
  const recipient = (await recipientsOf(ctx, [space.id])).find(known => known.grantId === grantId)
  if (!recipient) throw new DomainError('not-found', { what: 'recipient', id: grantId })
  if (recipient.class === 'external') throw new DomainError('recipient-fixed', { grantId })
  const { principalId } = recipient
  // A sender among his recipients stays its owner.
  if (principalId === space.ownerId)
    await ctx.db.updateTable('access_grant').set({ recipient: null, hidden: 0 }).where('id', '=', grantId).execute()
  else await ctx.db.deleteFrom('access_grant').where('id', '=', grantId).execute()
  await ctx.emit({
    type: 'recipient.removed',
    spaceId: space.id,
    subject1: `node:${space.id}`,
    subject2: `principal:${principalId}`,
  })
}

/** Lets everybody signed in open the delivery who knows its id, or only those named. */
export async function grantEverybody(ctx: TxCtx, space: Space, access: 'public' | 'internal' | 'private') {
  const subjectId = signedInId(ctx.actor.tenantId)
  if (access !== 'private')
    return setGrantRow(ctx, { nodeId: space.id, subjectId, actions: actionSet(['list', 'read']), hidden: true })
  await ctx.db.deleteFrom('access_grant').where('nodeId', '=', space.id).where('subjectId', '=', subjectId).execute()
}

type RecipientRow = Pick<Selectable<GrantTable>, 'id' | 'nodeId' | 'subjectId' | 'recipient'> &
  Pick<PrincipalTable, 'kind' | 'email' | 'name'>

/** Recipients of several deliveries, in the order in which they were named. Authorises nothing. */
export async function recipientsOf(ctx: Ctx, spaceIds: readonly number[]): Promise<Recipient[]> {
  const rows: RecipientRow[] = []
  for (const some of chunked(spaceIds, MAX_IDS)) {
    rows.push(
      ...(await ctx.db
        .selectFrom('access_grant')
        .innerJoin('principal', 'principal.id', 'access_grant.subjectId')
        .select(['access_grant.id', 'nodeId', 'subjectId', 'recipient', 'kind', 'email', 'name'])
        .where('nodeId', 'in', some)
        .where('recipient', 'is not', null)
        .orderBy('access_grant.createdAt')
        .orderBy('access_grant.id')
        .execute()),
    )
  }
  return rows.map(({ id, nodeId, subjectId, recipient, kind, email, name }) => ({
    grantId: id,
    spaceId: nodeId,
    principalId: subjectId,
    type: recipient ?? 'regular', // only rows that have one were asked for
    class: isAccountKind(kind) ? 'internal' : 'external',
    address: email ?? name,
  }))
}

/** What one may see of them: blind ones only by themselves, the sender and administrators. */
export const visibleRecipients = (
  ctx: Ctx,
  { recipients, seesAll }: { recipients: readonly Recipient[]; seesAll: boolean },
): Recipient[] =>
  recipients.filter(({ type, principalId }) => seesAll || type !== 'blind' || principalId === ctx.actor.principalId)
