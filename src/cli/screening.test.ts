import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run, serve, type ServerProcess } from '#test/server-process.ts'

let folder = ''
let env: Record<string, string> = {}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-cli-'))
  env = { ENTREPOT_DATA_DIR: join(folder, 'data') }
})
afterEach(() => rmSync(folder, { recursive: true }))

/** What every scanner reports; in parts, so that none reports this file. */
const TEST_FILE = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$', 'EICAR-STANDARD-', 'ANTIVIRUS-TEST-FILE!$H+H*'].join('')

const json = async (args: readonly string[]) =>
  (await run([...args, '--json'], env)).stdout
    .trim()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>)

async function signIn({ url }: ServerProcess): Promise<string> {
  const body = new URLSearchParams({ username: 'clerk', password: 'correct horse' })
  const answer = await fetch(`${url}/2.0/login/basic`, { method: 'POST', body })
  return answer.headers
    .getSetCookie()
    .map(cookie => cookie.split(';', 1)[0])
    .join('; ')
}

// What is tested here does not depend on the engine.
describe.skipIf(process.env.TEST_DATABASE_URL)('entrepot screening', { timeout: 120_000 }, () => {
  test('shows what was found without any configuration, and lets it go when told', async () => {
    await using server = await serve(env)
    await run(['space', 'create', 'inbox'], env)
    await run(['user', 'create', 'clerk', '--home', 'inbox', '--password-stdin'], env, 'correct horse\n')
    await run(['grant', 'set', 'inbox', 'clerk', 'list,read,create'], env)
    const cookie = await signIn(server)
    const form = new FormData()
    form.append('file', new Blob([TEST_FILE]), 'a.txt')
    await fetch(`${server.url}/2.0/files/a.txt`, { method: 'PUT', headers: { cookie }, body: form })
    const fetched = async () => (await fetch(`${server.url}/2.0/files/a.txt`, { headers: { cookie } })).status

    const held = () => json(['screening', 'list'])
    await expect.poll(held, { timeout: 60_000 }).toMatchObject([{ state: 'quarantined', path: '/inbox/a.txt' }])
    expect(await fetched()).not.toBe(200)
    const [{ version } = {}] = await held()
    const id = String(version)
    expect(await json(['screening', 'show', id])).toContainEqual(
      expect.objectContaining({ engine: 'test-signature', verdict: 'infected' }),
    )
    expect(await run(['screening', 'release', id], env)).toMatchObject({
      code: 0,
      stdout: `version ${id} is released\n`,
    })
    expect(await fetched()).toBe(200)
    await run(['screening', 'release', id, '--withdraw'], env)
    expect(await fetched()).not.toBe(200)

    expect((await run(['screening', 'recheck', 'inbox'], env)).stdout).toContain('1 contents')
    expect((await run(['screening', 'recheck', '--quarantined'], env)).stdout).toContain('1 contents')
    expect((await run(['screening', 'list', '--state', 'pending'], env)).stdout).toBe('none\n')
  })

  test('refuses what it does not understand', async () => {
    await run(['init'], env)
    const cases: [string[], string][] = [
      [['list', '--state', 'odd'], '--state must be one of'],
      [['show', 'a.txt'], 'A version is named by its number'],
      [['show', '999'], 'There is no version 999'],
      [['release', '999'], 'There is no version 999'],
      [['recheck'], 'Name a path, or say --quarantined'],
      [['recheck', 'ghost'], 'There is no space or folder ghost'],
    ]
    const outcomes = await Promise.all(cases.map(([args]) => run(['screening', ...args], env)))
    expect(outcomes).toMatchObject(
      cases.map(([, text]) => ({ code: 1, stderr: expect.stringContaining(text) as string })),
    )
  })
})
