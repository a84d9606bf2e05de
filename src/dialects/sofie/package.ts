/** Packages as this API shows them, and their recipients. */
import { Type as T, type Static } from 'typebox'
import type { OpenDelivery } from '#core/delivery-access.ts'
import type { DeliveryEntry } from '#core/delivery-list.ts'
import type { Recipient as CoreRecipient, RecipientType } from '#core/recipients.ts'
import { documentedAs } from '#http/openapi.ts'
import { DateTime, Email, presentTime, Uuid } from './schemas.ts'

export const accessTypes = ['PUBLIC', 'PRIVATE', 'INTERNAL'] as const
export type AccessType = (typeof accessTypes)[number]
export const AccessType = T.Enum([...accessTypes], { description: 'Who may open the package.' })

export const coreAccess = { PUBLIC: 'public', PRIVATE: 'private', INTERNAL: 'internal' } as const
export const shownAccess = { public: 'PUBLIC', private: 'PRIVATE', internal: 'INTERNAL' } as const

const recipientTypes = ['REGULAR', 'BLIND', 'CONTRIBUTOR'] as const
const coreTypes = { REGULAR: 'regular', BLIND: 'blind', CONTRIBUTOR: 'contributor' } as const
const shownTypes: Record<RecipientType, (typeof recipientTypes)[number]> = {
  regular: 'REGULAR',
  blind: 'BLIND',
  contributor: 'CONTRIBUTOR',
}

const RecipientTypeShape = T.Enum([...recipientTypes], { description: 'What the recipient may do and who sees him.' })
const MAX_ADDRESS = 100
const ADDRESS = '^[^\\s@\\u0000-\\u001f\\u007f]+@[^\\s@\\u0000-\\u001f\\u007f]+$'

export const RecipientInput = T.Object({
  type: RecipientTypeShape,
  email: documentedAs(
    Email('E-mail address.', { maxLength: MAX_ADDRESS }),
    T.String({ maxLength: MAX_ADDRESS, pattern: ADDRESS }),
  ),
})

export const Recipient = T.Object(
  {
    id: Uuid('Recipient.'),
    class: T.Enum(['INTERNAL', 'EXTERNAL'], { description: 'Whether the address belongs to an account.' }),
    type: RecipientTypeShape,
    email: Email('E-mail address.', { maxLength: MAX_ADDRESS }),
  },
  { title: 'Recipient' },
)

export const readRecipients = (inputs: readonly Static<typeof RecipientInput>[]) =>
  inputs.map(({ type, email }) => ({ type: coreTypes[type], address: email }))

export const presentRecipient = (recipient: CoreRecipient): Static<typeof Recipient> => ({
  id: recipient.grantId,
  class: recipient.class === 'internal' ? 'INTERNAL' : 'EXTERNAL',
  type: shownTypes[recipient.type],
  email: recipient.address,
})

export const workflowStates = {
  active: 'ACTIVE',
  deleted: 'DELETED',
  archived: 'ARCHIVED',
  purged: 'SHREDDED',
} as const
export const checkStates = { pending: 'UNKNOWN', clean: 'CLEAN', quarantined: 'QUARANTINED' } as const
export const integrities = {
  unknown: 'UNKNOWN',
  ok: 'OK',
  corrupted: 'CORRUPTED',
  inaccessible: 'INACCESSIBLE',
} as const
export const encryptionTypes = { none: 'NONE', server: 'SERVER_KEY', password: 'PASSWORD' } as const
/** Also what single files are marked with. */
export const shownFlags: Record<DeliveryEntry['flags'][number], string> = {
  matched: 'DLP_MATCHED',
  encrypted: 'ENCRYPTED_CONTENT',
  'too-large': 'TOO_LARGE_TO_CHECK',
  released: 'RELEASED_FROM_QUARANTINE',
}

const fields = {
  id: Uuid('Package.'),
  workflowState: T.Enum(['REQUESTED', 'UPLOADING', 'ACTIVE', 'DELETED', 'ARCHIVED', 'SHREDDED']),
  checkState: T.Enum(['UNKNOWN', 'CLEAN', 'QUARANTINED']),
  recheckInProgress: T.Boolean({ description: 'A repeated check is running.' }),
  created: DateTime('When it was sent.'),
  uploaded: T.Optional(DateTime('When the last upload ended; absent before the first one.')),
  name: T.Optional(T.String({ maxLength: 100 })),
  note: T.Optional(T.String({ maxLength: 10_000 })),
  rootFolderId: Uuid('Root folder.'),
  downloadPasswordProtected: T.Boolean(),
  size: T.Integer({ minimum: 0, format: 'int64', description: 'Bytes of all files.' }),
  recipients: T.Array(Recipient, {
    description: 'BLIND ones are shown to the sender, administrators and themselves only.',
  }),
  flags: T.Array(T.String()),
  accessType: AccessType,
  encryptionStatus: T.Enum(['NOT_ENCRYPTED', 'ENCRYPTING', 'ENCRYPTED', 'DECRYPTING', 'FAILED']),
  encryptionType: T.Enum(['NONE', 'SERVER_KEY', 'PASSWORD']),
  dataIntegrity: T.Enum(['UNKNOWN', 'OK', 'CORRUPTED', 'INACCESSIBLE']),
  approveRequired: T.Boolean({ description: 'Sending needs the consent of an approver.' }),
  approved: T.Optional(DateTime('When an approver agreed.')),
  disapproved: T.Optional(DateTime('When an approver refused.')),
  limitAccessCount: T.Integer({ minimum: 0, description: 'Accesses at most; 0 for any number.' }),
  accessCount: T.Integer({ minimum: 0, description: 'Accesses so far.' }),
  tags: T.Optional(T.Array(T.String(), { description: 'Words that filters find it by.' })),
}

export const Package = T.Object(fields, { title: 'Package' })

export const PasswordToken = T.Object({
  passwordToken: T.String({ maxLength: 1_000, description: 'For the header X-Sofie-Password-Token.' }),
  expiresAt: DateTime('Until when it works.'),
})

export const PackageDetail = T.Object(
  {
    ...fields,
    passwordToken: T.Optional(PasswordToken),
    downloadExpiration: T.Optional(DateTime('End of validity; absent for persistent packages.')),
    persistent: T.Optional(T.Boolean({ description: 'It does not end by itself.' })),
  },
  { title: 'PackageDetail' },
)

/** `recipients`: those that the caller may see. */
export function presentPackage(entry: DeliveryEntry, recipients: readonly CoreRecipient[]): Static<typeof Package> {
  const { space, node, uploadedAt, tags } = entry
  return {
    id: space.uid,
    workflowState: workflowStates[space.state],
    checkState: checkStates[entry.check],
    recheckInProgress: entry.isRechecked,
    created: presentTime(node.createdAt),
    ...(uploadedAt !== null && { uploaded: presentTime(uploadedAt) }),
    ...(node.label !== '' && { name: node.label }),
    ...(node.notes !== null && { note: node.notes }),
    rootFolderId: node.uid,
    downloadPasswordProtected: space.deliveryPasswordHash !== null,
    size: entry.sizeBytes,
    recipients: recipients.map(presentRecipient),
    flags: entry.flags.map(flag => shownFlags[flag]),
    accessType: shownAccess[space.deliveryAccess ?? 'private'],
    encryptionStatus: encryptionStatus(entry),
    encryptionType: encryptionTypes[entry.encryption],
    dataIntegrity: integrities[entry.integrity],
    ...presentApproval(space),
    limitAccessCount: space.accessLimit ?? 0,
    accessCount: space.accessCount,
    ...(tags.length > 0 && { tags }),
  }
}

/** Contents are encrypted with the password once they are checked. */
function encryptionStatus({ encryption, check }: DeliveryEntry) {
  if (encryption === 'none') return 'NOT_ENCRYPTED'
  return encryption === 'password' && check === 'pending' ? 'ENCRYPTING' : 'ENCRYPTED'
}

function presentApproval({ approval, approvalDecidedAt: at }: DeliveryEntry['space']) {
  const approveRequired = approval !== 'none' && approval !== 'required'
  if (at === null) return { approveRequired }
  return { approveRequired, [approval === 'approved' ? 'approved' : 'disapproved']: presentTime(at) }
}

export const presentDetail = (
  entry: DeliveryEntry,
  recipients: readonly CoreRecipient[],
): Static<typeof PackageDetail> => ({
  ...presentPackage(entry, recipients),
  ...presentEnd(entry.space),
})

function presentEnd({ deliveryExpiresAt, deliveryPersistent }: OpenDelivery['space']) {
  if (deliveryPersistent === 1 || deliveryExpiresAt === null) return { persistent: deliveryPersistent === 1 }
  return { persistent: false, downloadExpiration: presentTime(deliveryExpiresAt) }
}
