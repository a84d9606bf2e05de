/** Rotation of the master key: everything it wraps is wrapped anew, the content itself is not touched. */
import { sql } from 'kysely'
import { keyContext } from './content.ts'
import { inTx, type Ctx, type TxCtx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import { requireRight } from './roles.ts'
import { secretContext } from './secrets.ts'

/** What a key sealed for these rows is bound to. */
export const wrappingKeyContext = (name: string) => `wrapping-key:${name}`
export const shareKeyContext = (shareId: string) => `share:${shareId}`

/** A table that holds wraps, and its columns. */
interface Place {
  table: 'version' | 'upload' | 'secret' | 'wrapping_key' | 'share'
  id: string
  /** Less than every id. */
  firstId: string | number
  wrapped: string
  keyName: string
  /** The column that the wrap is bound to, and how. */
  bound: string
  context: (bound: string) => string
}

const places: readonly Place[] = [
  {
    table: 'version',
    id: 'id',
    firstId: 0,
    wrapped: 'wrappedKey',
    keyName: 'keyName',
    bound: 'blobId',
    context: keyContext,
  },
  {
    table: 'upload',
    id: 'id',
    firstId: '',
    wrapped: 'wrappedKey',
    keyName: 'keyName',
    bound: 'blobId',
    context: keyContext,
  },
  {
    table: 'secret',
    id: 'id',
    firstId: '',
    wrapped: 'sealed',
    keyName: 'sealedBy',
    bound: 'id',
    context: secretContext,
  },
  {
    table: 'share',
    id: 'id',
    firstId: '',
    wrapped: 'sealedKey',
    keyName: 'sealedBy',
    bound: 'id',
    context: shareKeyContext,
  },
  {
    table: 'wrapping_key',
    id: 'name',
    firstId: '',
    wrapped: 'sealedKey',
    keyName: 'sealedBy',
    bound: 'name',
    context: wrappingKeyContext,
  },
]

interface Wrap {
  id: string | number
  wrapped: Uint8Array
  keyName: string
  bound: string
}

const BATCH = 500

/**
 * Wraps everything anew that an older master key wraps. May be stopped and called again at any time, also beside running
 * servers. `failed` counts rows that do not open; they stay as they are.
 */
export async function rotateMasterKey(ctx: Ctx): Promise<{ rewrapped: number; failed: number }> {
  await requireRight(ctx, 'config.manage')
  const to = ctx.keys.current
  const from = ctx.keys.names.filter(name => name !== to)
  const sum = { rewrapped: 0, failed: 0 }
  if (from.length === 0) return sum
  for (const place of places) {
    let after: Wrap['id'] | undefined = place.firstId
    while (after !== undefined) {
      const batch = await rewrapBatch(ctx, place, { after, from, to })
      sum.rewrapped += batch.rewrapped
      sum.failed += batch.failed
      after = batch.last
    }
  }
  return sum
}

/** How many rows a master key still wraps: one that wraps none may be dropped from the key ring. */
export async function countWraps(ctx: Ctx, keyName: string): Promise<number> {
  await requireRight(ctx, 'config.manage')
  let sum = 0
  for (const { table, wrapped, keyName: column } of places) {
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from ${sql.table(table)}
      where ${sql.ref(column)} = ${keyName} and ${sql.ref(wrapped)} is not null`.execute(ctx.db)
    sum += rows[0]?.count ?? 0
  }
  return sum
}

/** `last` is undefined when there was nothing left. Rows are paged by id, so that one that does not open is passed by. */
function rewrapBatch(
  ctx: Ctx,
  place: Place,
  { after, from, to }: { after: Wrap['id']; from: readonly string[]; to: string },
): Promise<{ rewrapped: number; failed: number; last: Wrap['id'] | undefined }> {
  return inTx(ctx, async ctx => {
    const rows = await page(ctx, place, after, from)
    let failed = 0
    for (const row of rows) {
      const plain = tryOpen(ctx, place, row)
      if (plain)
        await write(ctx, place, row, { wrapped: ctx.keys.seal(plain, place.context(row.bound), to), keyName: to })
      else failed += 1
    }
    const rewrapped = rows.length - failed
    if (rows.length > 0)
      await ctx.emit({ type: 'master-key.rotated', facts: { table: place.table, to, rewrapped, failed } })
    return { rewrapped, failed, last: rows.at(-1)?.id }
  })
}

async function page(ctx: TxCtx, place: Place, after: Wrap['id'], from: readonly string[]): Promise<Wrap[]> {
  const { rows } = await sql<Wrap>`
    select ${sql.ref(place.id)} as id, ${sql.ref(place.wrapped)} as wrapped, ${sql.ref(place.keyName)} as "keyName",
      ${sql.ref(place.bound)} as bound
    from ${sql.table(place.table)}
    where ${sql.ref(place.id)} > ${after} and ${sql.ref(place.keyName)} in (${sql.join(from)})
      and ${sql.ref(place.wrapped)} is not null
    order by ${sql.ref(place.id)} limit ${BATCH}`.execute(ctx.db)
  return rows
}

/** Only where nothing has changed since: a version that was purged meanwhile must not get its key back. */
async function write(ctx: TxCtx, place: Place, row: Wrap, to: { wrapped: Uint8Array; keyName: string }): Promise<void> {
  await sql`
    update ${sql.table(place.table)}
    set ${sql.ref(place.wrapped)} = ${to.wrapped}, ${sql.ref(place.keyName)} = ${to.keyName}
    where ${sql.ref(place.id)} = ${row.id} and ${sql.ref(place.keyName)} = ${row.keyName}
      and ${sql.ref(place.wrapped)} is not null`.execute(ctx.db)
}

function tryOpen(ctx: Ctx, { context }: Place, { wrapped, keyName, bound }: Wrap): Uint8Array | undefined {
  try {
    return ctx.keys.open(wrapped, context(bound), keyName)
  } catch (error) {
    if (isDomainError(error, 'content-damaged')) return undefined
    throw error
  }
}
