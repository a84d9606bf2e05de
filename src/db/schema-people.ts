/** Tables of tenants, of those who act in them, what they prove themselves with, and what they are told. See `schema.ts`. */

export interface TenantTable {
  id: string
  name: string
  isProvider: number
  rootNodeId: number
  quotaBytes: number | null
  state: 'active' | 'locked'
  createdAt: number
}

export type PrincipalKind = 'user' | 'guest' | 'address' | 'administrator' | 'group' | 'service' | 'signed-in'

export interface PrincipalTable {
  id: string
  tenantId: string
  kind: PrincipalKind
  /** Null once removed, so that the login is free again; `name` keeps showing who it was. */
  login: string | null
  loginKey: string | null
  handle: string | null
  name: string
  nameFold: string
  email: string | null
  emailKey: string | null
  passwordHash: string | null
  passwordChangedAt: number | null
  state: 'active' | 'blocked' | 'removed'
  expiresAt: number | null
  onExpiry: 'block' | 'remove'
  homeNodeId: number | null
  ipRanges: string | null
  createdAt: number
  createdBy: string
  changedAt: number
  lastSignInAt: number | null
}

export interface SessionTable {
  id: string
  tokenHash: string
  tenantId: string
  principalId: string
  /** JSON: factor -> epoch milliseconds of its last proof. */
  factors: string
  client: string
  address: string
  createdAt: number
  lastSeenAt: number
  idleTimeoutMs: number
  expiresAt: number
  endedAt: number | null
}

export interface TokenTable {
  id: string
  secretHash: string
  tenantId: string
  principalId: string
  name: string
  preview: string
  scope: string | null
  ipRanges: string | null
  createdAt: number
  createdBy: string
  expiresAt: number | null
  lastUsedAt: number | null
  revokedAt: number | null
}

export interface SignInFlowTable {
  id: string
  tokenHash: string
  tenantId: string
  principalId: string
  pending: string
  proven: string
  client: string
  address: string
  createdAt: number
  expiresAt: number
  endedAt: number | null
}

export interface SecretTable {
  id: string
  tenantId: string
  purpose: string
  ownerId: string
  sealed: Uint8Array
  sealedBy: string
  lookup: string | null
  createdAt: number
}

/** A master key wraps it, or for a key pair of a space a password (then `derivation` says how). */
export interface WrappingKeyTable {
  name: string
  tenantId: string
  sealedKey: Uint8Array
  sealedBy: string
  createdAt: number
  spaceId: number | null
  publicKey: Uint8Array | null
  /** JSON: salt and cost of what makes a key of the password. */
  derivation: string | null
}

export interface ProfileTable {
  principalId: string
  givenName: string | null
  familyName: string | null
  company: string | null
  phone: string | null
  language: string | null
  sshKeys: string | null
  sftpSpaceUid: string | null
}

export interface PasswordLinkTable {
  id: string
  tokenHash: string
  tenantId: string
  principalId: string
  createdAt: number
  expiresAt: number
  usedAt: number | null
}

export interface ContactTable {
  id: string
  tenantId: string
  title: string
  identifier: string
  /** JSON of ContactAttributes (core/contacts.ts). */
  attributes: string
  revision: number
  snapshotUid: string
  createdAt: number
  createdBy: string
  changedAt: number
  changedBy: string
}

export interface MailTable {
  id: string
  tenantId: string
  dedupKey: string
  kind: string
  recipientId: string
  /** What it is about: the uid of a space, or the id of a password link. */
  subjectId: string | null
  state: 'waiting' | 'sent' | 'spooled' | 'failed'
  createdAt: number
  sentAt: number | null
}

export interface MessageTable {
  id: string
  tenantId: string
  spaceId: number
  nodeId: number | null
  versionId: number | null
  authorId: string
  text: string
  spaceTime: number
  editedAt: number | null
  deletedAt: number | null
}
