/** What deliveries are found by. All that is computed is computed here, for conditions and for the rows of a page alike. */
import { sql, type RawBuilder } from 'kysely'
import { comparisonsIn, never, type Comparison, type Condition, type Fields } from './conditions.ts'
import { isHeldBack, isPending } from './screening-state.ts'

type Sql = RawBuilder<unknown>

/** What engines said of a content without keeping it back, and that a person has let it go. */
export type DeliveryFlag = 'matched' | 'encrypted' | 'too-large' | 'released'

/** Verdicts that are flags. */
export const screeningFlags = ['matched', 'encrypted', 'too-large'] as const satisfies DeliveryFlag[]

/** What the live files of a delivery add up to. */
export interface Figures {
  check: 'pending' | 'clean' | 'quarantined'
  integrity: 'unknown' | 'ok' | 'corrupted' | 'inaccessible'
  rechecked: boolean
  released: boolean
  /** Something of it lies in the store as it is. */
  plain: boolean
  /** Epoch milliseconds. */
  uploadedAt: number | null
}

/** Live files (`file`) with their current versions (`version`), to be followed by further conditions. */
export const filesOf = (condition: Sql): Sql =>
  sql`node file join version on version.id = file."currentVersionId"
    where ${condition} and file.kind = 'file' and file.state = 'live'`

const countWhere = (condition: Sql): Sql => sql`count(case when ${condition} then 1 end)`

/** Over any number of files, none among them. */
export const figures: Record<keyof Figures, Sql> = {
  check: sql`case
    when ${countWhere(isHeldBack)} > 0 then 'quarantined'
    when ${countWhere(isPending)} > 0 then 'pending'
    else 'clean' end`,
  integrity: sql`case
    when ${countWhere(sql`version.integrity = 'corrupted'`)} > 0 then 'corrupted'
    when ${countWhere(sql`version.integrity = 'inaccessible'`)} > 0 then 'inaccessible'
    when count(*) = 0 or ${countWhere(sql`version.integrity = 'unknown'`)} > 0 then 'unknown'
    else 'ok' end`,
  rechecked: sql`count(version."recheckAt") > 0`,
  released: sql`count(version."releasedAt") > 0`,
  plain: sql`${countWhere(
    sql`exists (select 1 from blob where blob.id = version."blobId" and blob.encryption = 'none')`,
  )} > 0`,
  uploadedAt: sql`max(version."createdAt")`,
}

const figure = (name: keyof Figures): Sql =>
  sql`(select ${figures[name]} from ${filesOf(sql`file."spaceId" = space.id`)})`

/** Fields of the deliveries that stand as `space` in a query, with `tablesFor` joined to it. */
export const deliveryFields: Fields = {
  id: { type: 'text', sql: sql`space.uid` },
  // One without a name has an empty label.
  name: { type: 'text', sql: sql`nullif(root.label, '')`, folded: sql`nullif(words."labelFold", '')` },
  note: { type: 'text', sql: sql`root.notes`, folded: sql`words."notesFold"` },
  state: { type: 'text', sql: sql`space.state` },
  check: { type: 'text', sql: figure('check') },
  access: { type: 'text', sql: sql`space."deliveryAccess"` },
  rechecked: { type: 'boolean', sql: figure('rechecked') },
  passwordProtected: { type: 'boolean', sql: sql`space."deliveryPasswordHash" is not null` },
  approvalRequired: { type: 'boolean', sql: sql`space.approval in ('waiting', 'approved', 'refused')` },
  encryption: {
    type: 'text',
    sql: sql`case when space."passwordEncryption" = 1 then 'password' when ${figure('plain')} then 'none' else 'server' end`,
  },
  integrity: { type: 'text', sql: figure('integrity') },
  size: { type: 'number', sql: sql`total.bytes` },
  accessLimit: { type: 'number', sql: sql`space."accessLimit"` },
  accessCount: { type: 'number', sql: sql`space."accessCount"` },
  createdAt: { type: 'time', sql: sql`root."createdAt"` },
  uploadedAt: { type: 'time', sql: figure('uploadedAt') },
  approvedAt: { type: 'time', sql: sql`case when space.approval = 'approved' then space."approvalDecidedAt" end` },
  refusedAt: { type: 'time', sql: sql`case when space.approval = 'refused' then space."approvalDecidedAt" end` },
  tags: {
    type: 'text',
    has: tag => sql`exists (select 1 from node_tag where "nodeId" = space.id and tag = ${tag})`,
  },
  flags: { type: 'text', has: hasFlag },
}

function hasFlag(flag: string): RawBuilder<boolean> {
  if (flag === 'released') return sql`${figure('released')}`
  if (!screeningFlags.some(known => known === flag)) return never
  return sql`exists (select 1 from ${filesOf(sql`file."spaceId" = space.id`)} and exists (
    select 1 from screening_check looked where looked."versionId" = version.id and looked.verdict = ${flag}))`
}

/** Each has one row for a delivery. */
const tables = {
  root: sql`left join node root on root.id = space.id`,
  words: sql`left join space_text words on words."nodeId" = space.id`,
  total: sql`left join node_total total on total."nodeId" = space.id`,
}

const tableOfField: Partial<Record<string, keyof typeof tables>> = {
  name: 'root',
  note: 'root',
  createdAt: 'root',
  size: 'total',
}

const tableOf = ({ field, test }: Comparison) => (test === 'contains-folded' ? 'words' : tableOfField[field])

/** Joins what the condition needs and nothing else: where very many deliveries are looked at, each table costs. */
export function tablesFor(condition: Condition | undefined): Sql {
  const needed = new Set(condition && comparisonsIn(condition).map(tableOf))
  return sql.join(
    [...needed].flatMap(name => (name ? tables[name] : [])),
    sql` `,
  )
}
