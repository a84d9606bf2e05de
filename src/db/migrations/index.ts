/** All migrations, in order. Forward only; one set for both engines; never change one that has been released. */
import type { Kysely } from 'kysely'
import type { Engine } from '#db/columns.ts'
import { up as init } from './0001-init.ts'
import { up as documents } from './0002-documents.ts'
import { up as deliveries } from './0003-deliveries.ts'
import { up as versionReads } from './0004-version-reads.ts'

export interface Migration {
  name: string
  up(db: Kysely<unknown>, engine: Engine): Promise<void>
}

export const migrations: readonly Migration[] = [
  { name: '0001-init', up: init },
  { name: '0002-documents', up: documents },
  { name: '0003-deliveries', up: deliveries },
  { name: '0004-version-reads', up: versionReads },
]
