/** An installation of its own whose servers are processes of their own: to be killed, filled up, cut off and lied to. */
import { spawn, execFile, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const ENTRY = resolve(import.meta.dirname, '../../bin/entrepot.js')
const START_TIMEOUT_MS = 60_000
const COMMAND_TIMEOUT_MS = 120_000
const LOG_LINES = 200

export const account = { username: 'partner5', password: 'correct horse 5' }

/** One partner with a home space; what is deleted may be purged at once. */
const state = {
  users: [{ ...account, email: 'p5@example.com', homeSpace: 'partner5' }],
  spaces: [
    {
      name: 'partner5',
      folders: ['inbox'],
      grants: [{ user: account.username, allow: ['list', 'read', 'create', 'write', 'delete'] }],
    },
  ],
}

export interface SiteOptions {
  /** Default: a folder of its own, removed at the end. One that is given stays. */
  dataDir?: string
  /** Default: what the project of the test says, and on PostgreSQL a database of its own. */
  databaseUrl?: string
  env?: Record<string, string>
}

export interface Site {
  dataDir: string
  engine: 'sqlite' | 'postgres'
  /** Empty for SQLite in the data directory. */
  databaseUrl: string
  /** Starts a server on free ports; several may run at once. */
  start(env?: Record<string, string>): Promise<Server>
  /** Runs one command of the command line beside the servers. */
  entrepot(...args: string[]): Promise<Finished>
  /** Asks the database, beside everybody else. */
  query<Row>(statement: string): Promise<Row[]>
  /** Lets a recurring job run at the next start, as if enough time had passed. */
  makeDue(kind: string): Promise<void>
  /** Names of what lies in the blob store, staged or finished. */
  objects(kind: 'staging' | 'objects'): string[]
  [Symbol.asyncDispose](): Promise<void>
}

export interface Finished {
  status: number
  output: string
}

export interface Server {
  pid: number
  port: number
  url: string
  /** Ends the process as a power cut would. */
  kill(): Promise<void>
  /** Asks it to stop; answers its exit code. */
  stop(): Promise<number | null>
  /** False once the process has ended. */
  isAlive(): boolean
  /** The last lines of its log. */
  log(): string
}

/** A set-up installation with the partner of `account`. */
export async function openSite(options: SiteOptions = {}): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-fault-'))
  const dataDir = options.dataDir ?? join(folder, 'data')
  const database = await openDatabaseFor(options, dataDir)
  const env = {
    ...plainEnvironment(),
    ENTREPOT_DATA_DIR: dataDir,
    ENTREPOT_PORT: '0',
    ENTREPOT_ADMIN_PORT: '0',
    ENTREPOT_LOG_FORMAT: 'json',
    ...(database.url && { ENTREPOT_DATABASE_URL: database.url }),
    ...options.env,
  }
  const servers: Server[] = []
  const entrepot = (...args: string[]) => runCommand(args, env)
  const dispose = async () => {
    await Promise.all(servers.map(server => server.kill()))
    await database.drop()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await applyState(join(folder, 'state.yaml'), entrepot)
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    dataDir,
    engine: database.url ? 'postgres' : 'sqlite',
    databaseUrl: database.url,
    async start(more = {}) {
      const server = await startServer({ ...env, ...more })
      servers.push(server)
      return server
    },
    entrepot,
    query: database.query,
    async makeDue(kind) {
      await database.query(`update job set "endedAt" = 1 where kind = '${kind}' and state = 'done'`)
      await database.query(`update job set "runAt" = 1 where kind = '${kind}' and state = 'ready'`)
    },
    objects: kind => filesIn(join(blobsOf(env, dataDir), kind)),
    [Symbol.asyncDispose]: dispose,
  }
}

const blobsOf = (env: Record<string, string | undefined>, dataDir: string) =>
  env.ENTREPOT_BLOBS_URL?.slice('file://'.length) ?? join(dataDir, 'blobs')

/** The environment without settings of this program that somebody else has made. */
function plainEnvironment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => !/^(ENTREPOT_|NODE_OPTIONS|VITEST)/.test(name))
  return Object.fromEntries(entries) as Record<string, string> // the process's own variables are texts
}

async function applyState(file: string, entrepot: Site['entrepot']): Promise<void> {
  writeFileSync(file, JSON.stringify(state)) // JSON is YAML too
  const { status, output } = await entrepot('apply', file)
  if (status !== 0) throw new Error(`apply ended with ${status}: ${output}`)
}

function runCommand(args: readonly string[], env: Record<string, string>): Promise<Finished> {
  return new Promise(done => {
    execFile(
      process.execPath,
      [ENTRY, ...args],
      { env, timeout: COMMAND_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => done({ status: error ? Number(error.code) || -1 : 0, output: `${stdout}${stderr}` }),
    )
  })
}

interface TestDatabase {
  url: string
  query: Site['query']
  drop(): Promise<void>
}

async function openDatabaseFor({ databaseUrl }: SiteOptions, dataDir: string): Promise<TestDatabase> {
  const server = process.env.TEST_DATABASE_URL
  if (databaseUrl) return { url: databaseUrl, query: querying(databaseUrl), drop: async () => {} }
  if (!server) return { url: '', query: sqliteQuery(dataDir), drop: async () => {} }
  const name = `fault_${randomUUID().replaceAll('-', '')}`
  await querying(server)(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    query: querying(url.href),
    drop: async () => void (await querying(server)(`drop database ${name} with (force)`)),
  }
}

const sqliteQuery =
  (dataDir: string): Site['query'] =>
  async <Row>(statement: string) => {
    const database = new DatabaseSync(join(dataDir, 'entrepot.db'), { timeout: 5_000 })
    try {
      return database.prepare(statement).all() as Row[] // the test says what it asks for
    } finally {
      database.close()
    }
  }

const querying =
  (url: string): Site['query'] =>
  async <Row>(statement: string) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(statement)).rows as Row[] // the test says what it asks for
    } finally {
      await client.end()
    }
  }

async function startServer(env: Record<string, string>): Promise<Server> {
  const child = spawn(process.execPath, [ENTRY, 'serve'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise<number | null>(done => child.once('exit', code => done(code)))
  const killWithUs = () => void child.kill('SIGKILL')
  process.once('exit', killWithUs)
  const lines: string[] = []
  void ended.then(() => process.off('exit', killWithUs))
  const url = await readyUrl(child, lines)
  return {
    pid: child.pid ?? 0,
    port: Number(new URL(url).port),
    url,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    stop() {
      child.kill('SIGTERM')
      return ended
    },
    isAlive: () => child.exitCode === null && child.signalCode === null,
    log: () => lines.join('\n'),
  }
}

/** The server says where it listens in its log. */
function readyUrl(child: ChildProcess, lines: string[]): Promise<string> {
  return new Promise((done, fail) => {
    const giveUp = (why: string) => fail(new Error(`The server ${why}:\n${lines.join('\n')}`))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      giveUp('did not become ready')
    }, START_TIMEOUT_MS)
    child.once('exit', code => {
      clearTimeout(timer)
      giveUp(`ended with ${code}`)
    })
    createInterface({ input: child.stderr! }).on('line', line => {
      lines.push(line)
      if (lines.length > LOG_LINES) lines.shift()
      const entry = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; url?: string }) : {}
      if (entry.msg !== 'ready' || !entry.url) return
      clearTimeout(timer)
      done(entry.url)
    })
  })
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => entry.name)
}

/** Resolves once `check` answers true; throws after the limit, so that a hang shows. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>, limitMs = 20_000) {
  const deadline = Date.now() + limitMs
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`Not within ${limitMs} ms: ${what}`)
    await sleep(50)
  }
}

/** What a process holds open, from Linux's /proc. */
export function openFiles(pid: number, port: number): { connections: number; objects: number } {
  const inodes = connectionInodes(pid, port)
  const links = readdirSync(`/proc/${pid}/fd`).map(fd => linkOf(`/proc/${pid}/fd/${fd}`))
  return {
    connections: links.filter(link => inodes.has(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? '')).length,
    objects: links.filter(link => /\/(staging|objects)\//.test(link)).length,
  }
}

/** Inodes of the sockets that clients of the port are connected to; the listening one is not among them. */
function connectionInodes(pid: number, port: number): Set<string> {
  const LISTEN = '0A'
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n').slice(1)
  const fields = rows.map(row => row.trim().split(/\s+/))
  const own = fields.filter(([, local, , status]) => local?.endsWith(suffix) && status !== LISTEN)
  return new Set(own.map(row => row[9] ?? ''))
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '' // closed while we looked
  }
}

/** Memory of a process that lies in RAM, bytes. */
export function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
