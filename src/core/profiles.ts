/** What is known of a person beyond the account. */
import type { ProfileTable } from '#db/schema.ts'
import type { Ctx, TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { languages, type Language } from './languages.ts'
import { checkText } from './principal-fields.ts'
import { chunked, MAX_IDS } from './principals.ts'
import { requireRight } from './roles.ts'
import { checkSshKeys } from './ssh-keys.ts'

export interface Profile {
  givenName: string | null
  familyName: string | null
  company: string | null
  phone: string | null
  language: Language | null
  /** Lines as OpenSSH writes them. */
  sshKeys: string | null
  /** The space that opens over SFTP when none is named. */
  sftpSpaceUid: string | null
}

/** An empty text takes away what was there. */
export type ProfileChanges = Partial<Profile>

const MAX_LENGTH = 254

export const emptyProfile: Profile = {
  givenName: null,
  familyName: null,
  company: null,
  phone: null,
  language: null,
  sshKeys: null,
  sftpSpaceUid: null,
}

/** Profiles of those of the accounts that have one; one's own, or with the right to read accounts anybody's. */
export async function findProfiles(ctx: Ctx, userIds: readonly string[]): Promise<Map<string, Profile>> {
  if (userIds.some(id => id !== ctx.actor.principalId)) await requireRight(ctx, 'users.read', 'users.manage')
  const profiles = new Map<string, Profile>()
  for (const some of chunked(userIds, MAX_IDS)) {
    const rows = await ctx.db
      .selectFrom('profile')
      .innerJoin('principal', 'principal.id', 'profile.principalId')
      .select(['profile.principalId', ...columns.map(column => `profile.${column}` as const)])
      .where('principal.tenantId', '=', ctx.actor.tenantId)
      .where('profile.principalId', 'in', some)
      .execute()
    for (const { principalId, ...row } of rows) profiles.set(principalId, present(row))
  }
  return profiles
}

/**
 * Changes what is named, and answers the whole profile. Authorises nothing: part of changing the account. Throws
 * `invalid-input`.
 */
export async function writeProfile(
  ctx: TxCtx,
  { principalId, ...changes }: ProfileChanges & { principalId: string },
): Promise<Profile> {
  const values = checkProfile(changes)
  if (values.sftpSpaceUid) await requireDelivery(ctx, values.sftpSpaceUid)
  const row = await ctx.db
    .insertInto('profile')
    .values({ ...emptyProfile, ...values, principalId })
    .onConflict(clash => clash.column('principalId').doUpdateSet({ principalId, ...values }))
    .returning(columns)
    .executeTakeFirstOrThrow()
  await ctx.emit({ type: 'profile.changed', subject1: `user:${principalId}`, facts: { fields: Object.keys(values) } })
  return present(row)
}

/** Forgets a person whose account goes. */
export async function removeProfile(ctx: TxCtx, principalId: string): Promise<void> {
  await ctx.db.deleteFrom('profile').where('principalId', '=', principalId).execute()
}

/** What a person is called after it; undefined where it has no name. */
export const nameIn = ({ givenName, familyName }: Pick<Profile, 'givenName' | 'familyName'>): string | undefined =>
  [givenName, familyName].filter(part => part !== null).join(' ') || undefined

function checkProfile({ language, sshKeys, sftpSpaceUid, ...texts }: ProfileChanges): ProfileChanges {
  const checked = Object.entries(texts).map(([field, text]) => [
    field,
    text ? checkText(field, text, MAX_LENGTH) : null,
  ])
  return {
    ...(Object.fromEntries(checked) as Partial<typeof texts>), // fields as they came
    ...(language !== undefined && { language }),
    ...(sshKeys !== undefined && { sshKeys: sshKeys && (checkSshKeys(sshKeys).join('\n') || null) }),
    ...(sftpSpaceUid !== undefined && { sftpSpaceUid: sftpSpaceUid || null }),
  }
}

async function requireDelivery(ctx: Ctx, uid: string): Promise<void> {
  const space = await ctx.db
    .selectFrom('space')
    .select('id')
    .where('uid', '=', uid)
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('deliveryAccess', 'is not', null)
    .where('state', '=', 'active')
    .executeTakeFirst()
  if (!space) throw new DomainError('invalid-input', { field: 'sftpSpaceUid', rule: 'unknown' })
}

const columns = ['givenName', 'familyName', 'company', 'phone', 'language', 'sshKeys', 'sftpSpaceUid'] as const

const present = (row: Pick<ProfileTable, (typeof columns)[number]>): Profile => ({
  ...row,
  language: languages.find(known => known === row.language) ?? null,
})
