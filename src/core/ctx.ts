/** What a core function works with: the means, who acts, and inside a transaction the tables and the log. */
import { DatabaseBusy, DatabaseFull, type Database, type Tx } from '#db/database.ts'
import type { Schema } from '#db/schema.ts'
import type { Kysely } from 'kysely'
import { DomainError } from './errors.ts'
import { recordEvent, type DomainEvent } from './events.ts'
import type { ActionSet } from './permissions.ts'
import type { BlobStore, Clock, InlineFrames, KeyRing, Mailer, ScreeningEngine } from './ports.ts'
import type { ReadLog } from './reads.ts'
import type { Settings } from './settings.ts'

/** Lives as long as the process; built once in app.ts. */
export interface Deps {
  database: Database
  blobs: BlobStore
  inline: InlineFrames
  keys: KeyRing
  clock: Clock
  /** UUID v7. */
  newId: () => string
  settings: Settings
  /** Look into every content, in this order. */
  engines: readonly ScreeningEngine[]
  mailer: Mailer
  reads: ReadLog
}

/** What one request, command or job works with. Always the first argument of a core function. */
export interface Ctx extends Deps {
  /** For reading. Inside a transaction this is the transaction. */
  db: Kysely<Schema>
  actor: Actor
  requestId: string
}

/** A Ctx inside a transaction; a function that takes one cannot be called outside. */
export interface TxCtx extends Ctx {
  db: Tx
  /** Writes the event and its jobs into this transaction. */
  emit(event: DomainEvent): Promise<void>
}

/** Who acts, in what capacity, from where, and what he has proven. */
export interface Actor {
  principalId: string
  tenantId: string
  /** The name as it is now, for events. */
  name: string
  /** `system`: the server itself (jobs, command line); passes every right, its events say so. */
  kind: 'user' | 'guest' | 'administrator' | 'service' | 'share' | 'system'
  sessionId?: string
  tokenId?: string
  shareId?: string
  /** An administrator's rights count only in that capacity. */
  capacity: 'user' | 'administrator'
  /** Restricts, never widens: an action is allowed where one entry covers both it and the node or an ancestor of it. */
  scope?: readonly ScopeEntry[]
  impersonator?: { principalId: string; name: string }
  client: string
  address: string
  proofs: Proofs
}

export interface ScopeEntry {
  actions: ActionSet
  /** Absent: everywhere. */
  nodeId?: number
}

/** What the actor has shown beyond his identity. Gates ask for these. */
export interface Proofs {
  /** Spaces whose delivery password was shown. */
  passwordSpaceIds: readonly number[]
  /** Spaces for which an access was spent. */
  accessSpaceIds: readonly number[]
  /** Private keys of spaces whose content is encrypted with a password, by the id of the space. */
  spaceKeys: ReadonlyMap<number, Uint8Array>
  /** Content under read protection may be read until then, epoch milliseconds. */
  revalidatedUntil: number
  /** The caller takes part in client-side encryption: it sends and receives cipher text and wrapped keys. */
  holdsKey: boolean
}

export const noProofs: Proofs = {
  passwordSpaceIds: [],
  accessSpaceIds: [],
  spaceKeys: new Map(),
  revalidatedUntil: 0,
  holdsKey: false,
}

/** Who has not signed in yet. */
export const anonymousId = 'anonymous'

/** The actor of jobs and of the command line in one tenant. */
export function systemActor(tenantId: string, client: string): Actor {
  return {
    principalId: 'system',
    tenantId,
    name: 'system',
    kind: 'system',
    capacity: 'administrator',
    client,
    address: '',
    proofs: noProofs,
  }
}

/** A context outside any transaction. */
export function makeCtx(deps: Deps, actor: Actor, requestId: string): Ctx {
  return { ...deps, db: deps.database.read, actor, requestId }
}

/**
 * Runs `work` in a transaction, joining the one of `ctx` when there is one. `work` may run more than once, so it does
 * nothing but SQL; what it returns is durable once the promise resolves.
 */
export async function inTx<T>(ctx: Ctx | TxCtx, work: (ctx: TxCtx) => Promise<T>): Promise<T> {
  if ('emit' in ctx) return work(ctx)
  try {
    return await ctx.database.transaction(db => {
      const tx: TxCtx = { ...ctx, db, emit: event => recordEvent(tx, event) }
      return work(tx)
    })
  } catch (error) {
    if (error instanceof DatabaseFull) throw new DomainError('storage-full', {})
    if (error instanceof DatabaseBusy) throw new DomainError('busy', {})
    throw error
  }
}
