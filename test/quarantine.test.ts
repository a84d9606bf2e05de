/** A quarantined content leaves through no door: every operation of every API that gives bytes is tried, before and after. */
import { expect } from 'vitest'
import { jobHandlers } from '#jobs/handlers.ts'
import type { ScreeningEngine } from '#core/ports.ts'
import { recheck } from '#core/screening-decisions.ts'
import { coredataDescription } from '#dialects/coredata/index.ts'
import { mft, mftDescription } from '#dialects/mft/index.ts'
import { sofieDescription } from '#dialects/sofie/index.ts'
import type { Answer } from '#test/answer.ts'
import { test as coredataTest, type CoredataWorld } from '#test/coredata-world.ts'
import { openSession, sender } from '#test/mft-world.ts'
import { test as sofieTest, type SofieWorld } from '#test/sofie-world.ts'
import type { World } from '#test/world.ts'

const CONTENT = 'the content that must stay inside'

/** Finds something in everything once it is told to. */
interface Finder extends ScreeningEngine {
  finds: boolean
}

const makeFinder = (): Finder => {
  const finder: Finder = {
    name: 'finder',
    mandatory: true,
    timeoutMs: 5_000,
    finds: false,
    examine: async () =>
      finder.finds ? { kind: 'infected', quarantines: true } : { kind: 'clean', quarantines: false },
  }
  return finder
}

/** Looks into everything that waits. */
async function screenAll({ system }: World): Promise<void> {
  const waiting = system.db
    .selectFrom('version')
    .select('id')
    .where(eb => eb.or([eb('screening', '=', 'pending'), eb('recheckAt', 'is not', null)]))
  for (const { id } of await waiting.execute())
    await jobHandlers['version.screen'](system, { versionId: id }, new AbortController().signal)
}

async function quarantineAll(world: World, finder: Finder): Promise<void> {
  finder.finds = true
  const spaces = await world.system.db.selectFrom('space').select('id').execute()
  for (const { id } of spaces) await recheck(world.system, { spaceId: id })
  await screenAll(world)
}

/** Asks for the content, anew each time; what it needs was made while nothing was known of the content. */
type Way = () => Promise<Answer>

/** By the operation that gives the bytes. */
type Ways = Record<string, Way[]>

const ranged = { headers: { range: 'bytes=4-10' } }

async function expectShut(world: World, finder: Finder, ways: Ways): Promise<void> {
  const all = Object.values(ways).flat()
  for (const way of all) {
    const { status, raw } = await way()
    expect([200, 206]).toContain(status)
    expect(CONTENT).toContain(raw.toString())
  }
  await quarantineAll(world, finder)
  for (const way of all) {
    const { status, raw } = await way()
    expect(status).toBeGreaterThanOrEqual(400)
    expect(raw.toString()).not.toContain('content that')
  }
}

/** Operations that answer with bytes, and the one that answers with an address where they are. */
const givers = (description: { operations: readonly { id: string; reply: unknown }[] }) =>
  description.operations
    .filter(({ id, reply }) => isContent(reply) || id === 'downloadFileContent')
    .map(({ id }) => id)
    .toSorted()

const isContent = (reply: unknown) => typeof reply === 'object' && reply !== null && 'content' in reply

const documents = coredataTest.extend<{ finder: Finder; engines: readonly ScreeningEngine[] }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  finder: async ({}, use) => use(makeFinder()),
  engines: async ({ finder }, use) => use([finder]),
})

documents('no operation of the document API gives quarantined bytes', async ({ coredata, finder }) => {
  const id = await coredata.file(coredata.folder.nodeId, 'a.txt', CONTENT)
  await screenAll(coredata.world)
  const ways = await documentWays(coredata, id)
  expect(Object.keys(ways).toSorted()).toEqual(givers(coredataDescription))
  await expectShut(coredata.world, finder, ways)
})

async function documentWays({ send }: CoredataWorld, id: string): Promise<Ways> {
  const locate = () => send('GET', `/api/v2/files/${id}/content/`, { as: 'reader' })
  const follow = async (answer: Answer, sent = {}) => {
    if (answer.status !== 302) return answer
    const { pathname, search } = new URL(String(answer.headers.location))
    return send('GET', pathname + search, sent)
  }
  // An address that somebody got hold of before, and uses after.
  const early = await locate()
  return {
    downloadFileContent: [async () => follow(await locate())],
    getBlob: [() => follow(early), () => follow(early, ranged)],
  }
}

documents('no operation of the path API gives quarantined bytes', async ({ coredata, finder }) => {
  const { app, world, users } = coredata
  await app.register(mft, { deps: world.deps })
  // Ranges are more than the contract knows, so nothing is held against it here.
  const send = sender(app, () => {})
  const as = await openSession(users.reader)
  await coredata.file(coredata.folder.nodeId, 'a.txt', CONTENT)
  await screenAll(world)
  const folder = '/2.0/directories/Space/Project/Drawings'
  const { body } = await send('GET', folder, { as })
  const { fileset } = (body as { files: { fileset: number }[] }).files[0]!
  const paths = { downloadFile: '/2.0/files/Space/Project/Drawings/a.txt', downloadFileset: `/2.0/fileset/${fileset}` }
  const ways = Object.fromEntries(
    Object.entries(paths).map(([id, path]) => [
      id,
      [() => send('GET', path, { as }), () => send('GET', path, { as, ...ranged })],
    ]),
  )
  expect(Object.keys(ways).toSorted()).toEqual(givers(mftDescription))
  await expectShut(world, finder, ways)
})

const packages = sofieTest.extend<{ finder: Finder; engines: readonly ScreeningEngine[] }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  finder: async ({}, use) => use(makeFinder()),
  engines: async ({ finder }, use) => use([finder]),
})

packages('no operation of the package API gives quarantined bytes', async ({ sofie, finder }) => {
  const { send, world } = sofie
  const { packageId, fileId } = await sendPackage(sofie)
  await screenAll(world)
  const path = `/packages/${packageId}/files/${fileId}/content`
  const ways = {
    downloadFile: (['sender', 'stranger', 'admin'] as const).flatMap(as => [
      () => send('GET', path, { as }),
      () => send('GET', path, { as, ...ranged, beyondContract: true }),
    ]),
  }
  expect(Object.keys(ways).toSorted()).toEqual(givers(sofieDescription))
  await expectShut(world, finder, ways)
})

/** A package that everybody may open, with one file. */
async function sendPackage({ send }: SofieWorld): Promise<{ packageId: string; fileId: string }> {
  const as = 'sender'
  const made = await send('POST', '/packages', { as, json: { name: 'p', accessType: 'INTERNAL' } })
  const { packageId, rootFolderId } = made.body as { packageId: string; rootFolderId: string }
  const json = { name: 'a.txt', size: CONTENT.length }
  const file = await send('POST', `/packages/${packageId}/folders/${rootFolderId}/files`, { as, json })
  const { id: fileId } = file.body as { id: string }
  const base = `/packages/${packageId}/files/${fileId}`
  const headers = { 'content-type': 'application/octet-stream' }
  expect(await send('PUT', `${base}/content`, { as, payload: CONTENT, headers })).toMatchObject({ status: 204 })
  expect(await send('PUT', `${base}/state`, { as, json: { state: 'UPLOADED' } })).toMatchObject({ status: 204 })
  return { packageId, fileId }
}
