/** Short ways to set up trees in tests and to look at them. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { sql } from 'kysely'
import type { Ctx, Deps } from '#core/ctx.ts'
import { openContent } from '#core/downloads.ts'
import { setGrant } from '#core/grants.ts'
import type { Action } from '#core/permissions.ts'
import type { Placed } from '#core/placement.ts'
import { createSpace, type SpacePolicy } from '#core/spaces.ts'
import { getTotals, recountTotals } from '#core/totals.ts'
import { storeFile, type NewFile } from '#core/uploads.ts'
import { openDatabase } from '#db/open.ts'
import type { World, WorldUser } from '#test/world.ts'

export interface TestSpace {
  id: number
  /** Manages it, and owns it. */
  owner: WorldUser
  /** The owner's context. */
  ctx: Ctx
}

export interface SpaceOptions {
  name?: string
  owner?: WorldUser
  /** The space that it lies in. */
  within?: TestSpace
  /** A folder of that space; its root by default. */
  parentId?: number
  policy?: Partial<SpacePolicy>
}

/** A space with a manager. */
export async function makeSpace(world: World, options: SpaceOptions = {}): Promise<TestSpace> {
  const { within, parentId, policy } = options
  const owner = options.owner ?? within?.owner ?? (await world.user())
  const { id } = await createSpace(world.system, {
    name: options.name ?? 'space',
    ownerId: owner.user.id,
    ...(policy?.inheritsGrants ? {} : { managerIds: [owner.user.id] }),
    ...(within && { parentSpaceId: within.id }),
    ...(parentId !== undefined && { parentId }),
    ...(policy && { policy }),
  })
  return { id, owner, ctx: owner.ctx }
}

/** A user who may do this at a node. */
export async function makeMember(
  world: World,
  nodeId: number,
  actions: readonly Action[],
  login?: string,
): Promise<WorldUser> {
  const member = await world.user(login)
  await setGrant(world.system, { nodeId, subjectId: member.user.id, actions })
  return member
}

type PutOptions = Partial<Omit<NewFile, 'parentId' | 'name' | 'late'>> & {
  metadata?: { namespace: string; values: Record<string, string> }
}

/** Stores a text, as a new version where the name is taken unless told otherwise. */
export function put(
  ctx: Ctx,
  parentId: number,
  name: string,
  text = `text of ${name}`,
  { metadata, ...options }: PutOptions = {},
): Promise<Placed> {
  const late = () => ({ mediaType: 'text/plain', ...(metadata && { metadata }) })
  return storeFile(ctx, { parentId, name, onConflict: 'new-version', ...options, late }, [Buffer.from(text)])
}

/** The content of a file or of one of its versions. */
export async function read(ctx: Ctx, nodeId: number, versionId?: number): Promise<string> {
  const content = await openContent(ctx, { nodeId, ...(versionId !== undefined && { versionId }) })
  const chunks: Uint8Array[] = []
  for await (const chunk of content.read()) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString()
}

/** Names of the live children, in order. */
export async function names(ctx: Ctx, parentId: number): Promise<string[]> {
  const rows = await ctx.db
    .selectFrom('node')
    .select('name')
    .where('parentId', '=', parentId)
    .where('state', '=', 'live')
    .orderBy('name')
    .execute()
  return rows.map(row => row.name)
}

/** What lies in the bin of a space, oldest version first. */
export function bin(ctx: Ctx, spaceId: number) {
  return ctx.db
    .selectFrom('version')
    .select(['id', 'nodeId', 'deletedCause', 'deletedPath', 'deletedName'])
    .where('deletedSpaceId', '=', spaceId)
    .where('purgedAt', 'is', null)
    .orderBy('id')
    .execute()
}

/** Containers whose stored totals differ from a recount, with both figures. */
export async function wrongTotals(ctx: Ctx): Promise<object[]> {
  const containers = await ctx.db.selectFrom('node_total').select('nodeId').orderBy('nodeId').execute()
  const wrong: object[] = []
  for (const { nodeId } of containers) {
    const [stored, counted] = [await getTotals(ctx, nodeId), await recountTotals(ctx, nodeId)]
    if (JSON.stringify(stored) !== JSON.stringify(counted)) wrong.push({ nodeId, stored, counted })
  }
  return wrong
}

/** Rows that contradict each other: pointers of files, access nodes, name keys. A sound tree has none. */
export async function brokenNodes(ctx: Ctx): Promise<object[]> {
  const { rows } = await sql<{ id: number; what: string }>`
    select file.id, 'its current version is missing, purged, in the bin, or of another file' as what from node file
      left join version on version.id = file."currentVersionId"
      where file.kind = 'file' and file.state = 'live'
        and (version.id is null or version."nodeId" <> file.id or version."deletedAt" is not null or version."purgedAt" is not null)
    union all
    select child.id, 'it is live below what is not' from node child join node parent on parent.id = child."parentId"
      where child.state = 'live' and parent.state <> 'live'
    union all
    select child.id, 'it is of another space than its parent' from node child join node parent on parent.id = child."parentId"
      where child.kind in ('file', 'folder') and child."spaceId" <> parent."spaceId"
    union all
    select child.id, 'it takes its access from elsewhere' from node child join node parent on parent.id = child."parentId"
      where child."accessId" <> child.id and child."accessId" <> parent."accessId" and child.state = 'live'
    union all
    select node.id, 'it has a name key though it is gone' from node
      where node.state in ('deleted', 'purged') and node."nameKey" is not null
    union all
    select space.id, 'its space lies elsewhere' from space join node on node.id = space.id
      join node parent on parent.id = node."parentId"
      where space."parentSpaceId" <> parent."spaceId"`.execute(ctx.db)
  return rows
}

export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** A second process of the same installation: its own connections, the same database and blob store. Close its database. */
export async function openAgain(world: World): Promise<Deps> {
  const { deps } = world
  if (deps.database.engine === 'sqlite') {
    return { ...deps, database: await openDatabase({ url: join(world.folder, 'entrepot.db') }) }
  }
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(deps.database.read)
  const database = await openDatabase({ url: process.env.TEST_DATABASE_URL!, schema: rows[0]!.name, poolSize: 4 })
  return { ...deps, database }
}
