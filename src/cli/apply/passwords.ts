/** Hashes what must be hashed before the transaction begins, and leaves passwords alone that are right already. */
import { findNode } from '#cli/names.ts'
import type { Ctx } from '#core/ctx.ts'
import { fold } from '#core/names.ts'
import { checkNewPassword, hashPassword, verifyPassword } from '#core/passwords.ts'
import { getSpaceRow } from '#core/space-rows.ts'
import type { Contents, SpaceEntry, UserEntry } from './description.ts'
import { placed } from './work.ts'

/** Hashes for the entries whose password differs from what is stored. */
export type NewHashes = ReadonlyMap<UserEntry | SpaceEntry, string>

/** `ctx` is of the tenant; undefined for one that does not exist yet. */
export async function hashPasswords(
  ctx: Ctx,
  parts: readonly { contents: Contents; tenantCtx: Ctx | undefined }[],
): Promise<NewHashes> {
  const hashes = new Map<UserEntry | SpaceEntry, string>()
  for (const { contents, tenantCtx } of parts) {
    for (const user of contents.users ?? []) {
      const { password } = user
      if (password === undefined) continue
      await placed(user.at, async () => checkNewPassword(password, ctx.settings))
      const stored = tenantCtx && (await hashOfUser(tenantCtx, user.username))
      if (!(await matches(password, stored))) hashes.set(user, await hashPassword(password))
    }
    await hashDeliveryPasswords({ tenantCtx, hashes }, contents.spaces, '')
  }
  return hashes
}

async function hashDeliveryPasswords(
  { tenantCtx, hashes }: { tenantCtx: Ctx | undefined; hashes: Map<UserEntry | SpaceEntry, string> },
  spaces: readonly SpaceEntry[] | undefined,
  above: string,
): Promise<void> {
  for (const space of spaces ?? []) {
    const path = `${above}${space.name}`
    const password = space.delivery?.password
    if (password) {
      const node = tenantCtx && (await findNode(tenantCtx, path))
      const stored =
        tenantCtx && node?.kind === 'space' ? (await getSpaceRow(tenantCtx, node.id)).deliveryPasswordHash : null
      if (!(await matches(password, stored))) hashes.set(space, await hashPassword(password))
    }
    await hashDeliveryPasswords({ tenantCtx, hashes }, space.spaces, `${path}/`)
  }
}

const matches = async (password: string, stored: string | null | undefined) =>
  Boolean(stored) && verifyPassword(password, stored!)

async function hashOfUser(ctx: Ctx, login: string): Promise<string | null | undefined> {
  const row = await ctx.db
    .selectFrom('principal')
    .select('passwordHash')
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('loginKey', '=', fold(login))
    .executeTakeFirst()
  return row?.passwordHash
}
