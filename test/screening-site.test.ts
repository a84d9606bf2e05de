import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { testFile } from '#test/contents.ts'
import { run, serve, type ServerProcess } from '#test/server-process.ts'

const { ENTREPOT_TEST_CLAMD: clamd = '', TEST_DATABASE_URL } = process.env

let folder = ''
let env: Record<string, string> = {}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-screened-'))
  env = { ENTREPOT_DATA_DIR: join(folder, 'data') }
})
afterEach(() => rmSync(folder, { recursive: true }))

const people = `
users:
  - { username: alice, email: alice@example.test, rights: [screening.details] }
groups:
  - { name: people, members: [alice], rights: [deliveries.use, deliveries.receive, deliveries.send.public] }
tokens:
  - { user: alice, name: test }
`

interface Sender {
  packageId: string
  rootFolderId: string
  call: (method: string, path: string, body?: object | Buffer) => Promise<Response>
}

async function sender({ url }: ServerProcess): Promise<Sender> {
  writeFileSync(join(folder, 'people.yaml'), people)
  const { stdout } = await run(['apply', join(folder, 'people.yaml')], env)
  const token = /token test of alice: (\S+)/.exec(stdout)![1]!
  const call = (method: string, path: string, body?: object | Buffer) =>
    fetch(`${url}/api/v2/user${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body && { 'content-type': Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json' }),
      },
      ...(body && { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    })
  return anotherPackage({ call })
}

async function anotherPackage({ call }: Pick<Sender, 'call'>): Promise<Sender> {
  const sent = await call('POST', '/packages', { accessType: 'PUBLIC' })
  return { ...((await sent.json()) as Pick<Sender, 'packageId' | 'rootFolderId'>), call }
}

/** Uploads in the three steps of the API; answers the path of the file. */
async function upload({ call, packageId, rootFolderId }: Sender, name: string, content: Buffer): Promise<string> {
  const record = { name, size: content.length }
  const created = await call('POST', `/packages/${packageId}/folders/${rootFolderId}/files`, record)
  const { id } = (await created.json()) as { id: string }
  const path = `/packages/${packageId}/files/${id}`
  if (content.length > 0) expect((await call('PUT', `${path}/content`, content)).status).toBe(204)
  expect((await call('PUT', `${path}/state`, { state: 'UPLOADED' })).status).toBe(204)
  return path
}

const eventually = (ask: () => unknown) => expect.poll(ask, { timeout: 90_000, interval: 200 })

// What is tested here does not depend on the database; `npm run test:screening` starts the scanner.
describe.skipIf(!clamd || TEST_DATABASE_URL)('a server with a virus scanner', { timeout: 180_000 }, () => {
  test('lets out what is clean and holds back what is infected or too large to tell', async () => {
    await using server = await serve({ ...env, ENTREPOT_SCREENING: clamd })
    const alice = await sender(server)
    const fileAt = async (path: string) => (await alice.call('GET', path)).json()

    const clean = await upload(alice, 'clean.bin', Buffer.alloc(1_000_000, 'entrepot'))
    await eventually(() => fileAt(clean)).toMatchObject({ state: 'CLEAN' })
    expect(await fileAt(clean)).toMatchObject({
      checks: expect.arrayContaining([expect.objectContaining({ detectionEngine: 'clamd', result: 'CLEAN' })]),
    })
    expect((await alice.call('GET', `${clean}/content`)).status).toBe(200)

    const infected = await upload(alice, 'infected.bin', Buffer.from(testFile))
    await eventually(() => fileAt(infected)).toMatchObject({ state: 'UNCLEAN' })
    expect(await fileAt(infected)).toMatchObject({
      checks: expect.arrayContaining([
        expect.objectContaining({ detectionEngine: 'clamd', result: 'VIRUS', detectionName: expect.any(String) }),
      ]),
    })
    for (const path of [infected, clean]) {
      const refused = await alice.call('GET', `${path}/content`)
      expect([refused.status, refused.headers.get('x-sofie-response-reason')]).toEqual([403, 'PACKAGE_QUARANTINED'])
    }

    const other = await anotherPackage(alice)
    const large = await upload(other, 'large.bin', Buffer.alloc(12_000_000, 'entrepot'))
    await eventually(async () => (await other.call('GET', large)).json()).toMatchObject({
      state: 'UNCLEAN',
      flags: ['TOO_LARGE_TO_CHECK'],
    })
  })

  test('that is away keeps contents waiting, in sight, until it is back', async () => {
    const away = await serve({ ...env, ENTREPOT_SCREENING: 'clamd://127.0.0.1:1?timeout=2s' })
    const alice = await sender(away)
    const path = await upload(alice, 'a.bin', Buffer.alloc(100_000, 'entrepot'))
    const pending = async () => (await run(['screening', 'list', '--state', 'pending'], env)).stdout
    await eventually(pending).toContain('a.bin')
    expect((await alice.call('GET', `${path}/content`)).status).toBe(409)
    await away.stop()

    await using _back = await serve({ ...env, ENTREPOT_SCREENING: clamd })
    await eventually(pending).not.toContain('a.bin')
  })
})
