/** The vault: secrets that must be shown or used again, sealed with the master key, found by a keyed hash if need be. */
import type { Ctx, TxCtx } from './ctx.ts'

interface SecretPlace {
  /** What it is for, such as `otp-seed`. */
  purpose: string
  /** The row that it belongs to. */
  ownerId: string
}

/** What a secret is bound to, so that a sealed value put into another row does not open. */
export const secretContext = (secretId: string) => `secret:${secretId}`

/**
 * Keeps a secret in place of the owner's earlier one for the purpose. `findable` ones can be found by
 * `findSecretByLookup` and must differ from all others of their purpose. The event is the caller's.
 */
export async function putSecret(
  ctx: TxCtx,
  { purpose, ownerId, plain, findable = false }: SecretPlace & { plain: string; findable?: boolean },
): Promise<string> {
  const id = ctx.newId()
  const sealedBy = ctx.keys.current
  await ofOwner(ctx, { purpose, ownerId }).execute()
  await ctx.db
    .insertInto('secret')
    .values({
      id,
      tenantId: ctx.actor.tenantId,
      purpose,
      ownerId,
      sealed: ctx.keys.seal(Buffer.from(plain), secretContext(id), sealedBy),
      sealedBy,
      lookup: findable ? lookupOf(ctx, purpose, plain) : null,
      createdAt: ctx.clock(),
    })
    .execute()
  return id
}

/** Undefined when there is none. Throws `content-damaged` when it cannot be opened. */
export async function openSecret(ctx: Ctx, { purpose, ownerId }: SecretPlace): Promise<string | undefined> {
  const row = await ctx.db
    .selectFrom('secret')
    .select(['id', 'sealed', 'sealedBy'])
    .where('tenantId', '=', ctx.actor.tenantId)
    .where('ownerId', '=', ownerId)
    .where('purpose', '=', purpose)
    .executeTakeFirst()
  return row && Buffer.from(ctx.keys.open(row.sealed, secretContext(row.id), row.sealedBy)).toString()
}

/** The owner of a findable secret. */
export async function findSecretByLookup(
  ctx: Ctx,
  { purpose, plain }: { purpose: string; plain: string },
): Promise<{ secretId: string; ownerId: string } | undefined> {
  return ctx.db
    .selectFrom('secret')
    .select(['id as secretId', 'ownerId'])
    .where('purpose', '=', purpose)
    .where('lookup', '=', lookupOf(ctx, purpose, plain))
    .where('tenantId', '=', ctx.actor.tenantId)
    .executeTakeFirst()
}

/** Removes the owner's secrets, of one purpose if one is named. */
export async function removeSecrets(
  ctx: TxCtx,
  { purpose, ownerId }: { purpose?: string; ownerId: string },
): Promise<void> {
  await ofOwner(ctx, { ownerId, ...(purpose !== undefined && { purpose }) }).execute()
}

const lookupOf = (ctx: Ctx, purpose: string, plain: string) =>
  ctx.keys.lookup(`${ctx.actor.tenantId}:${purpose}:${plain}`)

function ofOwner(ctx: TxCtx, { purpose, ownerId }: { purpose?: string; ownerId: string }) {
  const owned = ctx.db.deleteFrom('secret').where('tenantId', '=', ctx.actor.tenantId).where('ownerId', '=', ownerId)
  return purpose === undefined ? owned : owned.where('purpose', '=', purpose)
}
