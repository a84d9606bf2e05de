/** Deliveries: spaces that somebody sends to others, with an end, maybe a password, a limit of accesses and consent. */
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { askForApproval, needsApproval } from './approvals.ts'
import { authorize } from './access.ts'
import { recordRefusal } from './events.ts'
import { DomainError } from './errors.ts'
import { getNodeRow, holdNode, holdStructure, updateNodeRow, type Node } from './nodes.ts'
import { hashPassword } from './passwords.ts'
import {
  grantEverybody,
  grantRecipients,
  recipientsOf,
  resolveRecipients,
  tellRecipients,
  type NewRecipient,
  type ResolvedRecipient,
} from './recipients.ts'
import { isSwitchedOn, requireRight } from './roles.ts'
import { insertSpaceKey, prepareSpaceKey } from './space-keys.ts'
import { findDelivery, getSpaceRow, type DeliveryPolicy, type Space } from './space-rows.ts'
import { writeSpaceText } from './space-texts.ts'
import { createSpace, setSpaceState, updateSpacePolicy, type SpacePolicy } from './spaces.ts'
import { requireAccount } from './visibility.ts'

export interface NewDelivery {
  /** What its recipients see; may repeat and may be empty. */
  label: string
  note: string
  accessType: DeliveryPolicy['accessType']
  recipients: readonly NewRecipient[]
  /** Asked before anybody but the sender gets in. */
  password?: string
  /** Encrypts the content with the password, so that nobody reads it without. */
  encrypt: boolean
  /** Whole days; the server's default where absent. */
  days?: number
  /** It does not end by itself. */
  persistent: boolean
  accessLimit: number | null
  /** Recipients are told by mail. */
  notify: boolean
}

export const DAY_MS = 86_400_000
const MAX_LABEL_LENGTH = 100
const MAX_NOTE_LENGTH = 10_000
/** Of the label in the name that path views show, in characters. */
const SHOWN_LENGTH = 50

/** The server's own rights under the name of who acts: for those whom a delivery's rules, not its grants, let do something. */
export const withServerRights = <C extends Ctx>(ctx: C): C => ({ ...ctx, actor: { ...ctx.actor, kind: 'system' } })

/**
 * Sends. Throws `forbidden` for who may not send like this, `recipient-refused`, `invalid-input` (label, note, days, password),
 * `password-refused`.
 */
export async function createDelivery(ctx: Ctx, input: NewDelivery): Promise<Space & { node: Node }> {
  requireAccount(ctx, 'send')
  checkTexts(input)
  const recipients = await resolveRecipients(ctx, input.recipients)
  await requireMaySend(ctx, input, recipients)
  const policy = await newPolicy(ctx, input)
  const key = input.encrypt ? await prepareSpaceKey(input.password ?? '') : undefined
  return inTx(ctx, async ctx => {
    const sent = await createSpace(withServerRights(ctx), {
      name: shownName(ctx, input.label),
      managerIds: [ctx.actor.principalId],
      policy,
    })
    if (key) await insertSpaceKey(ctx, { spaceId: sent.id, prepared: key })
    const columns = { label: input.label, notes: input.note === '' ? null : input.note }
    await ctx.db.updateTable('node').set(columns).where('id', '=', sent.id).execute()
    await writeSpaceText(ctx, { id: sent.id, ...columns })
    await grantEverybody(ctx, sent, input.accessType)
    const named = await grantRecipients(ctx, sent, recipients)
    if (policy.approval === 'waiting') await askForApproval(ctx, sent)
    else if (input.notify) await tellRecipients(ctx, sent, named)
    return { ...(await getSpaceRow(ctx, sent.id)), node: { ...sent.node, ...columns } }
  })
}

function checkTexts({ label, note }: Partial<Pick<NewDelivery, 'label' | 'note'>>): void {
  for (const [field, text, limit] of [
    ['label', label, MAX_LABEL_LENGTH],
    ['note', note, MAX_NOTE_LENGTH],
  ] as const) {
    const rule = text === undefined ? undefined : textRule(text, limit)
    if (rule) throw new DomainError('invalid-input', { field, rule })
  }
}

function textRule(text: string, limit: number): string | undefined {
  if (Array.from(text).length > limit) return `at most ${limit} characters`
  return text.isWellFormed() && !text.includes('\0') ? undefined : 'forbidden-character'
}

/** Unique among the names of top-level spaces, and no longer than a name may be. */
function shownName(ctx: Ctx, label: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const plain = label.replaceAll(/[/\\\u0000-\u001f\u007f-\u009f]/g, '_').trim()
  const start = Array.from(plain).slice(0, SHOWN_LENGTH).join('').trim()
  return `${start === '' ? 'Delivery' : start} ~${ctx.newId().slice(-8)}`
}

async function requireMaySend(ctx: Ctx, input: NewDelivery, recipients: readonly ResolvedRecipient[]): Promise<void> {
  const { settings, actor } = ctx
  const isToSelf = recipients.some(({ principalId }) => principalId === actor.principalId)
  if (input.accessType === 'private' && recipients.length === 0)
    throw new DomainError('recipient-refused', { address: '', rule: 'missing' })
  if (input.accessType === 'private' && isToSelf && recipients.length === 1) {
    await requireSwitch(ctx, settings.deliverySendOwn, 'deliveries.send.own')
  } else {
    await requireRight(ctx, `deliveries.send.${input.accessType}`)
    if (isToSelf) await requireSwitch(ctx, settings.deliverySendSelf, 'deliveries.send.self')
  }
  await requireMayName(ctx, recipients)
  if (input.encrypt) await requireSwitch(ctx, settings.deliveryEncrypt, 'deliveries.encrypt')
  if (input.persistent) await requireRight(ctx, 'deliveries.persistent')
}

async function requireMayName(ctx: Ctx, recipients: readonly { type: NewRecipient['type'] }[]): Promise<void> {
  if (recipients.some(({ type }) => type === 'contributor'))
    await requireSwitch(ctx, ctx.settings.deliveryContributors, 'deliveries.contributors')
}

async function requireSwitch(ctx: Ctx, ...[setting, right]: SwitchOf): Promise<void> {
  if (await isSwitchedOn(ctx, setting, right)) return
  await recordRefusal(ctx, { type: 'access.refused', facts: { right } })
  throw new DomainError('forbidden', { action: right })
}
type SwitchOf = [Parameters<typeof isSwitchedOn>[1], Parameters<typeof isSwitchedOn>[2]]

async function newPolicy(ctx: Ctx, input: NewDelivery): Promise<Partial<SpacePolicy>> {
  const { settings } = ctx
  const days = input.days ?? settings.deliveryDays
  if (days > settings.deliveryMaxDays && !input.persistent)
    throw new DomainError('invalid-input', { field: 'days', rule: `at most ${settings.deliveryMaxDays}` })
  if (input.encrypt && !input.password)
    throw new DomainError('invalid-input', { field: 'password', rule: 'needed for encryption' })
  return {
    delivery: {
      accessType: input.accessType,
      accessLimit: input.accessLimit,
      expiresAt: input.persistent ? null : ctx.clock() + days * DAY_MS,
      persistent: input.persistent,
    },
    deliveryPasswordHash: input.password ? await hashPassword(input.password) : null,
    deliveryNotifies: input.notify,
    approval: (await needsApproval(ctx)) ? 'waiting' : 'none',
    // What has not been looked into goes to nobody.
    unscreenedDownloads: false,
    visibleElsewhere: settings.deliveriesElsewhere,
    externalSharing: false,
  }
}

export interface DeliveryChanges {
  label?: string
  note?: string
  accessType?: DeliveryPolicy['accessType']
  /** Empty: none any more. */
  password?: string
  /** Epoch milliseconds. */
  expiresAt?: number
  persistent?: boolean
}

/**
 * Changes what is named; the caller has opened the delivery as one who may (delivery-access.ts). Throws `invalid-input`,
 * `password-fixed`, `recipient-refused` (private without any recipient), `forbidden`.
 */
export async function updateDelivery(ctx: Ctx, space: Space, changes: DeliveryChanges): Promise<void> {
  checkTexts(changes)
  const isAdministrator = ctx.actor.kind === 'system'
  if (changes.password !== undefined && space.passwordEncryption === 1)
    throw new DomainError('password-fixed', { spaceId: space.id })
  if (changes.persistent === true && !isAdministrator) await requireRight(ctx, 'deliveries.persistent')
  if (changes.accessType !== undefined && changes.accessType !== space.deliveryAccess)
    await requireMayOpenTo(ctx, space, changes.accessType)
  const delivery = changedDelivery(ctx, space, changes)
  const policy: Partial<SpacePolicy> = {
    ...(delivery && { delivery }),
    ...(changes.password !== undefined && {
      deliveryPasswordHash: changes.password === '' ? null : await hashPassword(changes.password),
    }),
  }
  await inTx(ctx, async ctx => {
    if (Object.keys(policy).length > 0) await updateSpacePolicy(withServerRights(ctx), { spaceId: space.id, policy })
    if (changes.accessType !== undefined) await grantEverybody(ctx, space, changes.accessType)
    await changeTexts(ctx, space.id, changes)
  })
}

async function requireMayOpenTo(ctx: Ctx, space: Space, accessType: DeliveryPolicy['accessType']): Promise<void> {
  if (ctx.actor.kind !== 'system') await requireRight(ctx, `deliveries.send.${accessType}`)
  if (accessType === 'private' && (await recipientsOf(ctx, [space.id])).length === 0)
    throw new DomainError('recipient-refused', { address: '', rule: 'missing' })
}

/** The policy as the changes make it; undefined where they leave it alone. */
function changedDelivery(
  ctx: Ctx,
  space: Space,
  { accessType, expiresAt, persistent }: DeliveryChanges,
): DeliveryPolicy | undefined {
  if (accessType === undefined && expiresAt === undefined && persistent === undefined) return undefined
  const stays = persistent ?? space.deliveryPersistent === 1
  if (stays && expiresAt !== undefined)
    throw new DomainError('invalid-input', { field: 'expiresAt', rule: 'a persistent delivery has no end' })
  return {
    accessType: accessType ?? space.deliveryAccess ?? 'private',
    accessLimit: space.accessLimit,
    persistent: stays,
    expiresAt: stays ? null : expiresAt === undefined ? keptEnd(ctx, space) : checkEnd(ctx, expiresAt),
  }
}

/** The server's default, from now on, for one that had no end. */
const keptEnd = (ctx: Ctx, { deliveryExpiresAt }: Space): number =>
  deliveryExpiresAt ?? ctx.clock() + ctx.settings.deliveryDays * DAY_MS

function checkEnd(ctx: Ctx, expiresAt: number): number {
  const now = ctx.clock()
  if (expiresAt <= now) throw new DomainError('invalid-input', { field: 'expiresAt', rule: 'in the past' })
  if (ctx.actor.kind !== 'system' && expiresAt > now + ctx.settings.deliveryMaxDays * DAY_MS)
    throw new DomainError('invalid-input', {
      field: 'expiresAt',
      rule: `at most ${ctx.settings.deliveryMaxDays} days from now`,
    })
  return expiresAt
}

async function changeTexts(ctx: TxCtx, spaceId: number, { label, note }: DeliveryChanges): Promise<void> {
  if (label === undefined && note === undefined) return
  const node = await holdNode(ctx, spaceId)
  await updateNodeRow(ctx, node, {
    ...(label !== undefined && { label }),
    ...(note !== undefined && { notes: note === '' ? null : note }),
  })
  await ctx.emit({ type: 'node.changed', spaceId, subject1: `node:${spaceId}` })
}

/** Adds recipients, and tells them where the sender wanted that. Throws `recipient-refused`, `forbidden`. */
export async function addRecipients(ctx: Ctx, space: Space, wanted: readonly NewRecipient[]) {
  const recipients = await resolveRecipients(ctx, wanted)
  if (ctx.actor.kind !== 'system') {
    await requireMayName(ctx, recipients)
    if (recipients.some(({ principalId }) => principalId === ctx.actor.principalId))
      await requireSwitch(ctx, ctx.settings.deliverySendSelf, 'deliveries.send.self')
  }
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'exclusive')
    const named = await grantRecipients(ctx, space, recipients)
    const isOut = space.approval === 'none' || space.approval === 'approved'
    if (isOut && space.deliveryNotifies) await tellRecipients(ctx, space, named)
    return named
  })
}

/** Takes a delivery out of everybody's reach; who looks after deliveries can bring it back. Throws `wrong-state`. */
export function deleteDelivery(ctx: Ctx, space: Space): Promise<Space> {
  return setSpaceState(withServerRights(ctx), { spaceId: space.id, state: 'deleted' })
}

/** Words by which a delivery is found. Needs `manage`. */
export function setTags(ctx: Ctx, { spaceId, tags }: { spaceId: number; tags: readonly string[] }): Promise<void> {
  return inTx(ctx, async ctx => {
    await authorize(ctx, 'manage', await getNodeRow(ctx, spaceId))
    await ctx.db.deleteFrom('node_tag').where('nodeId', '=', spaceId).execute()
    const rows = [...new Set(tags)].map(tag => ({ nodeId: spaceId, tag }))
    if (rows.length > 0) await ctx.db.insertInto('node_tag').values(rows).execute()
    await ctx.emit({ type: 'space.changed', spaceId, subject1: `node:${spaceId}`, facts: { fields: ['tags'] } })
  })
}

export interface ListedDelivery {
  space: Space
  label: string
  senderName: string
  createdAt: number
}

/** All deliveries of the tenant in a state, latest first, for who looks after them (`deliveries.manage`). */
export async function listDeliveries(
  ctx: Ctx,
  { state, limit }: { state?: Space['state'] | undefined; limit: number },
): Promise<ListedDelivery[]> {
  await requireRight(ctx, 'deliveries.manage')
  const rows = await ctx.db
    .selectFrom('space')
    .innerJoin('node', 'node.id', 'space.id')
    .innerJoin('principal', 'principal.id', 'space.ownerId')
    .selectAll('space')
    .select(['node.label', 'node.createdAt', 'principal.name as senderName'])
    .where('space.tenantId', '=', ctx.actor.tenantId)
    .where('space.deliveryAccess', 'is not', null)
    .$if(state !== undefined, query => query.where('space.state', '=', state!))
    .orderBy('space.id', 'desc')
    .limit(limit)
    .execute()
  return rows.map(({ label, senderName, createdAt, ...space }) => ({ space, label, senderName, createdAt }))
}

/** The delivery of that uid in whatever state, for who looks after them. Throws `not-found`. */
export async function getDeliverySpace(ctx: Ctx, uid: string): Promise<Space> {
  await requireRight(ctx, 'deliveries.manage', 'approvals.decide')
  const space = await findDelivery(ctx, uid)
  if (!space) throw new DomainError('not-found', { what: 'delivery', id: uid })
  return space
}
