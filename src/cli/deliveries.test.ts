import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run, serve, type ServerProcess } from '#test/server-process.ts'

let folder = ''
let env: Record<string, string> = {}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-cli-'))
  env = { ENTREPOT_DATA_DIR: join(folder, 'data'), ENTREPOT_DELIVERY_APPROVAL: 'yes' }
})
afterEach(() => rmSync(folder, { recursive: true }))

const people = `
users:
  - { username: alice, email: alice@example.test }
  - { username: bob, email: bob@example.test }
  - { username: judge, email: judge@example.test, rights: [approvals.decide] }
groups:
  - name: people
    members: [alice, bob, judge]
    rights: [deliveries.use, deliveries.receive, deliveries.send.private]
tokens:
  - { user: alice, name: test }
  - { user: bob, name: test }
`

interface People {
  alice: string
  bob: string
}

/** Makes them, and answers their tokens. */
async function makePeople(): Promise<People> {
  writeFileSync(join(folder, 'people.yaml'), people)
  const { stdout } = await run(['apply', join(folder, 'people.yaml')], env)
  const secretOf = (name: string) => new RegExp(`token test of ${name}: (\\S+)`).exec(stdout)![1]!
  return { alice: secretOf('alice'), bob: secretOf('bob') }
}

async function call({ url }: ServerProcess, token: string, path: string, body?: object): Promise<Response> {
  return fetch(`${url}/api/v2/user${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
}

const lines = async (args: readonly string[]) =>
  (await run([...args, '--json'], env)).stdout
    .trim()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>)

// What is tested here does not depend on the engine.
describe.skipIf(process.env.TEST_DATABASE_URL)('entrepot delivery and approvals', { timeout: 120_000 }, () => {
  test('a delivery waits, is let out, ends, comes back and is destroyed', async () => {
    const { alice, bob } = await makePeople()
    await using server = await serve(env)
    const recipients = [{ type: 'REGULAR', email: 'bob@example.test' }]
    const sent = await call(server, alice, '/packages', { name: 'Figures', accessType: 'PRIVATE', recipients })
    expect(sent.status).toBe(201)
    const { packageId: id } = (await sent.json()) as { packageId: string }
    const seenByBob = async () => (await call(server, bob, `/packages/${id}`)).status

    expect(await seenByBob()).toBe(403)
    expect(await lines(['approvals', 'list'])).toMatchObject([{ id, label: 'Figures', access: 'private' }])
    // He decides about those only who named him.
    expect(await run(['approvals', 'approve', id, '--as', 'judge'], env)).toMatchObject({ code: 1 })
    expect(await run(['approvals', 'approvers', 'alice', 'judge'], env)).toMatchObject({
      stdout: 'about alice decide: judge\n',
    })
    expect(await run(['approvals', 'approve', id, '--as', 'judge'], env)).toMatchObject({ code: 0 })
    expect(await lines(['approvals', 'list'])).toEqual([])
    expect(await seenByBob()).toBe(200)

    for (const [args, state, status] of [
      [['delivery', 'delete', id], 'deleted', 404],
      [['delivery', 'restore', id, '--days', '3'], 'active', 200],
      [['delivery', 'tag', id, 'done', 'q3'], 'active', 200],
      [['delivery', 'archive', id], 'archived', 404],
      [['delivery', 'shred', id], 'purged', 404],
    ] as const) {
      expect(await run(args, env)).toMatchObject({ code: 0 })
      expect(await lines(['delivery', 'list'])).toMatchObject([{ id, state }])
      expect(await seenByBob()).toBe(status)
    }
    expect(await lines(['delivery', 'list', '--state', 'active'])).toEqual([])
  })

  test.for([
    [['delivery', 'shred', 'nothing']],
    [['delivery', 'list', '--state', 'lost']],
    [['delivery', 'restore', 'nothing', '--days', '0']],
    [['approvals', 'refuse', 'nothing']],
    [['approvals', 'approvers', 'nobody']],
  ])('%j is refused in words', async ([args]) => {
    const { code, stderr } = await run(args!, env)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^entrepot: .{10,}\n$/)
  })
})
