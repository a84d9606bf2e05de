/**
 * Spaces whose content opens with a password only. Each has a key pair: once screening has seen a content, its data key is sealed
 * to the public half; the private half is wrapped by the password, which nobody keeps.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt, type ScryptOptions } from 'node:crypto'
import { promisify } from 'node:util'
import { TransactionLost } from '#db/database.ts'
import type { BlobTable, VersionTable } from '#db/schema.ts'
import { keyContext, unwrapKey } from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { DomainError } from './errors.ts'
import { enqueue } from './jobs.ts'
import { holdStructure } from './nodes.ts'
import { inHashSlot } from './passwords.ts'
import { makeKeyPair, sealTo, spaceKeyName, spaceOfKey } from './sealed-keys.ts'
import { getSpaceRow, type Space } from './space-rows.ts'

/** OWASP's recommendation; one computation takes 128 MiB. */
const COST = { N: 2 ** 17, r: 8, p: 1 }
const SALT_BYTES = 16
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Says in `wrapping_key.sealedBy` that no key of the server opens it. */
const BY_PASSWORD = 'password'

/** A key pair that belongs to no space yet. */
export interface PreparedSpaceKey {
  publicKey: Buffer
  sealedKey: Buffer
  derivation: string
}

/** Makes a key pair under a password. Takes half a second, so it is done before the transaction. Throws `busy`. */
export async function prepareSpaceKey(password: string): Promise<PreparedSpaceKey> {
  const { publicKey, privateKey } = makeKeyPair()
  const derivation: Derivation = { ...COST, salt: randomBytes(SALT_BYTES).toString('base64') }
  const key = await inHashSlot(() => derive(password, derivation))
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(publicKey)
  const sealedKey = Buffer.concat([nonce, cipher.update(privateKey), cipher.final(), cipher.getAuthTag()])
  return { publicKey, sealedKey, derivation: JSON.stringify(derivation) }
}

/** Gives a space its key pair: from here on its content is sealed. The event is the caller's. */
export async function insertSpaceKey(
  ctx: TxCtx,
  { spaceId, prepared }: { spaceId: number; prepared: PreparedSpaceKey },
): Promise<void> {
  const name = spaceKeyName(spaceId)
  const { tenantId } = ctx.actor
  await ctx.db
    .insertInto('wrapping_key')
    .values({ ...prepared, name, tenantId, spaceId, sealedBy: BY_PASSWORD, createdAt: ctx.clock() })
    .execute()
  await ctx.db
    .updateTable('space')
    .set({ wrappingKey: name, passwordEncryption: 1 })
    .where('id', '=', spaceId)
    .execute()
}

/** Destroys the key pair: nothing sealed to it opens again, whoever knows the password. The caller has asked for the right. */
export async function removeSpaceKey(ctx: TxCtx, { spaceId }: { spaceId: number }): Promise<void> {
  await ctx.db.updateTable('space').set({ wrappingKey: null }).where('id', '=', spaceId).execute()
  const removed = await ctx.db
    .deleteFrom('wrapping_key')
    .where('name', '=', spaceKeyName(spaceId))
    .where('tenantId', '=', ctx.actor.tenantId)
    .returning('name')
    .executeTakeFirst()
  if (removed) await enqueueScrub(ctx)
}

/**
 * The private key of a space, for `actor.proofs.spaceKeys`. Whoever asks has held back guesses. Throws `wrong-proof`, `busy`, and
 * `wrong-state` for a space without a key pair.
 */
export async function openSpaceKey(
  ctx: Ctx,
  { space, password }: { space: Pick<Space, 'id' | 'wrappingKey'>; password: string },
): Promise<Uint8Array> {
  const { publicKey, sealedKey, derivation } = await getKeyRow(ctx, space)
  const key = await inHashSlot(() => derive(password, JSON.parse(derivation) as Derivation)) // written by us
  try {
    const nonce = sealedKey.subarray(0, NONCE_BYTES)
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(publicKey).setAuthTag(sealedKey.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(sealedKey.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch {
    throw new DomainError('wrong-proof', { proof: 'password' })
  }
}

interface Derivation {
  N: number
  r: number
  p: number
  /** Base64. */
  salt: string
}

const deriveKey = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt)

/** Composed, so that the same password typed on another system gives the same bytes. */
function derive(password: string, { N, r, p, salt }: Derivation): Promise<Buffer> {
  // Node refuses what needs more than its default of 32 MiB; twice the need leaves room for what it adds.
  const maxmem = 2 * 128 * N * r
  return deriveKey(password.normalize('NFC'), Buffer.from(salt, 'base64'), KEY_BYTES, { N, r, p, maxmem })
}

async function getKeyRow(ctx: Ctx, { id, wrappingKey }: Pick<Space, 'id' | 'wrappingKey'>) {
  const row =
    wrappingKey === null
      ? undefined
      : await ctx.db
          .selectFrom('wrapping_key')
          .select(['name', 'publicKey', 'sealedKey', 'derivation'])
          .where('name', '=', wrappingKey)
          .where('spaceId', '=', id)
          .executeTakeFirst()
  if (!row?.publicKey || row.derivation === null)
    throw new DomainError('wrong-state', { what: 'space', state: 'without a key', needed: 'with a key' })
  return { name: row.name, publicKey: row.publicKey, sealedKey: row.sealedKey, derivation: row.derivation }
}

/**
 * Wraps the key of a version as the space that it is in wants it: sealed to its public key, or by the master key where the space
 * has none. For after its screening, and for a version that came from another space. Does nothing where that is so already, or the
 * version is gone. A content that is not screened yet keeps the wrap that screening can open.
 *
 * Throws `proof-required` where it is sealed to another space whose key the actor does not hold, and `encryption-required` for
 * a content that lies in the store as it is.
 */
export function sealVersionKeys(ctx: Ctx, { versionId }: { versionId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared') // nothing moves into another space meanwhile
    const row = await placedVersions(ctx).where('version.id', '=', versionId).executeTakeFirst()
    if (row && row.spaceId !== null) await settleWraps(ctx, row.spaceId, [row])
  })
}

/** The same for everything that is in a space, its bin included. */
export function sealSpaceVersions(ctx: Ctx, { spaceId }: { spaceId: number }): Promise<void> {
  return inTx(ctx, async ctx => {
    await holdStructure(ctx, 'shared')
    const rows = await placedVersions(ctx)
      .where(eb =>
        eb.or([
          eb('version.deletedSpaceId', '=', spaceId),
          eb.and([eb('version.deletedSpaceId', 'is', null), eb('node.spaceId', '=', spaceId)]),
        ]),
      )
      .orderBy('version.id')
      .execute()
    await settleWraps(ctx, spaceId, rows)
  })
}

type Placed = Pick<VersionTable, 'id' | 'blobId' | 'wrappedKey' | 'keyName' | 'screening'> &
  Pick<BlobTable, 'encryption'>

/** Versions that still have a key, with the space that they are in; one in a bin belongs to the space of the bin. */
const placedVersions = (ctx: Ctx) =>
  ctx.db
    .selectFrom('version')
    .innerJoin('node', 'node.id', 'version.nodeId')
    .innerJoin('blob', 'blob.id', 'version.blobId')
    .select([
      'version.id',
      'version.blobId',
      'version.wrappedKey',
      'version.keyName',
      'version.screening',
      'blob.encryption',
    ])
    .select(eb => eb.fn.coalesce('version.deletedSpaceId', 'node.spaceId').as('spaceId'))
    .where('version.purgedAt', 'is', null)
    .where('version.keyName', 'is not', null)

async function settleWraps(ctx: TxCtx, spaceId: number, rows: readonly Placed[]): Promise<void> {
  const space = await getSpaceRow(ctx, spaceId)
  const key = space.wrappingKey === null ? undefined : await getKeyRow(ctx, space)
  let settled = 0
  for (const row of rows) {
    if (key && row.encryption === 'none') throw new DomainError('encryption-required', { spaceId })
    const wrap = wrapFor(ctx, row, key)
    if (!wrap) continue
    await replaceWrap(ctx, row, wrap)
    settled += 1
  }
  if (settled === 0) return
  await enqueueScrub(ctx)
  if (key)
    await ctx.emit({ type: 'space.encrypted', spaceId, subject1: `node:${spaceId}`, facts: { versions: settled } })
}

type Wrap = { wrappedKey: Uint8Array; keyName: string }

/** Undefined where the wrap may stay. */
function wrapFor(ctx: Ctx, row: Placed, key: { name: string; publicKey: Uint8Array } | undefined): Wrap | undefined {
  if (row.keyName === key?.name) return undefined
  const context = keyContext(row.blobId)
  if (key && row.screening !== 'pending')
    return { keyName: key.name, wrappedKey: sealTo(key.publicKey, unwrapKey(ctx, row), context) }
  if (row.keyName !== null && spaceOfKey(row.keyName) === undefined) return undefined
  const keyName = ctx.keys.current
  return { keyName, wrappedKey: ctx.keys.seal(unwrapKey(ctx, row), context, keyName) }
}

/** Only where nothing has changed since: a version that was purged meanwhile must not get its key back. */
async function replaceWrap(ctx: TxCtx, row: Placed, wrap: Wrap): Promise<void> {
  const replaced = await ctx.db
    .updateTable('version')
    .set(wrap)
    .where('id', '=', row.id)
    .where('keyName', '=', row.keyName)
    .where('purgedAt', 'is', null)
    .returning('id')
    .executeTakeFirst()
  if (!replaced) throw new TransactionLost()
}

/** The wrap that was there must not linger in free pages or the log. */
const enqueueScrub = (ctx: TxCtx) => enqueue(ctx, { kind: 'database.scrub', payload: {}, dedupKey: 'database.scrub' })
