/** Entrepot as a target: set up through its own commands, measured over the MFT API. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { freePort, startProgram } from './children.ts'
import { requestHead, type Wire } from './connection.ts'
import { subject, type Installation, type Running, type Target } from './bench.ts'

const repository = join(import.meta.dirname, '..')
const entry = join(repository, 'bin/entrepot.js')
const account = { username: 'bench', password: 'correct horse bench 5' }
/** The account's address. */
export const address = 'bench@example.com'

/** A user whose home space holds the folders, as `apply` takes it. JSON is YAML too. */
const state = (folders: readonly string[]) => ({
  users: [
    {
      ...account,
      email: address,
      homeSpace: 'bench',
      rights: ['deliveries.use', 'deliveries.receive', 'deliveries.send.private'],
    },
  ],
  spaces: [
    {
      name: 'bench',
      owner: 'bench',
      folders,
      grants: [{ user: 'bench', allow: ['list', 'read', 'create', 'write', 'delete'] }],
    },
  ],
})

/** Runs one of Entrepot's commands and answers its output; rejects with what it said of a failure. */
async function runCommand(command: readonly string[], env: Record<string, string>): Promise<string> {
  const running = spawn(process.execPath, [entry, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const said = text(running.stderr)
  const output = text(running.stdout)
  const [code] = await once(running, 'close')
  if (code !== 0) throw new Error(`entrepot ${command[0]} ended with ${code}: ${(await said).trim()}`)
  return output
}

const tokenName = 'bench'

/** The secret of an API key, made before the server starts. */
async function makeKey(env: Record<string, string>): Promise<string> {
  const said = await runCommand(['token', 'create', account.username, tokenName], env)
  const [, secret] = /^secret: (\S+)$/m.exec(said) ?? []
  if (!secret) throw new Error(`no secret in ${said}`)
  return secret
}

async function login(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/2.0/login/basic`, {
    method: 'POST',
    body: new URLSearchParams(account),
  })
  if (!response.ok) throw new Error(`the login answered ${response.status}: ${await response.text()}`)
  const cookies = response.headers.getSetCookie().map(cookie => cookie.split(';')[0])
  return `Cookie: ${cookies.join('; ')}\r\n`
}

const listing =
  (wire: Wire): Running['list'] =>
  (folder, { limit, start }) => ({
    request: requestHead(wire, 'GET', `/2.0/directories/${folder}?limit=${limit}&start=${start}`),
    entries: { pattern: '"metaUri"', count: limit },
  })

async function start(root: string, env: Record<string, string>, key: string): Promise<Running> {
  const port = await freePort()
  const adminPort = await freePort()
  const started = await startProgram({
    command: process.execPath,
    args: [entry, 'serve'],
    env: { ...env, ENTREPOT_PORT: String(port), ENTREPOT_ADMIN_PORT: String(adminPort) },
    logFile: join(root, 'log'),
    ready: { port: adminPort, path: '/readyz' },
  })
  try {
    const wire: Wire = { port, filesPath: '/2.0/files', headers: await login(port), multipart: true }
    const documents = { ...wire, headers: `Authorization: apikey ${account.username}:${key}\r\n` }
    const packages = { ...wire, headers: `Authorization: Bearer ${key}\r\n` }
    return { ...started, wire, documents, packages, list: listing(wire) }
  } catch (error) {
    await started.stop()
    throw error
  }
}

/** Rejects where there is no server to measure. */
export async function findServer(): Promise<Target> {
  if (!existsSync(entry)) throw new Error('bin/entrepot.js is not there')
  const { version } = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8'))
  return {
    name: subject,
    version: String(version),
    durability:
      'SHA-256, encrypted, file and folder fsynced, then one database transaction with its event, synchronous=FULL',
    install: (root, folders) => installServer(root, folders),
  }
}

/** `more`: variables beside those of every measurement. */
export async function installServer(
  root: string,
  folders: readonly string[],
  more: Record<string, string> = {},
): Promise<Installation> {
  const env = { ENTREPOT_DATA_DIR: join(root, 'store'), ENTREPOT_LOG_LEVEL: 'warn', ...more }
  const file = join(root, 'state.yaml')
  await mkdir(env.ENTREPOT_DATA_DIR)
  await writeFile(file, JSON.stringify(state(folders)))
  for (const command of [['init'], ['apply', file]]) await runCommand(command, env)
  const key = await makeKey(env)
  return { start: ({ processes = 1 } = {}) => start(root, { ...env, ENTREPOT_WORKERS: String(processes) }, key) }
}
