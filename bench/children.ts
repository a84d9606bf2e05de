/** Programs that the bench starts: found, started, waited for, and ended for sure. */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** An account without rights of its own that servers started by root work under. */
export interface Account {
  user: string
  group: string
  uid: number
  gid: number
}

export interface Program {
  command: string
  args: string[]
  env?: Record<string, string>
  logFile: string
  account?: Account | undefined
  /** Answered with 2xx, or with anything where `anyStatus` is set, as soon as the program is ready. */
  ready: { port: number; path: string; anyStatus?: boolean }
}

export interface Started {
  pid: number
  /** From spawn to the first good answer. */
  readyMs: number
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()

/** Remembers a child (started with `detached`, so that it leads a group) until it has gone. */
export function track(child: ChildProcess): ChildProcess {
  running.add(child)
  return child.once('exit', () => running.delete(child))
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid) process.kill(-child.pid, signal)
  } catch {
    // The whole group has gone already.
  }
}

/** Ends every child and its children at once; for the last moment, when nothing can be awaited. */
export function killAll(): void {
  for (const child of running) signalGroup(child, 'SIGKILL')
}

async function stop(child: ChildProcess): Promise<void> {
  if (running.has(child)) {
    const gone = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGTERM')
    await Promise.race([gone, sleep(10_000, undefined, { ref: false })])
  }
  signalGroup(child, 'SIGKILL')
}

function answers({ port, path, anyStatus }: Program['ready']): Promise<boolean> {
  return new Promise(resolve => {
    const asked = request({ host: '127.0.0.1', port, path, agent: false, timeout: 5000 }, response => {
      response.resume()
      resolve(anyStatus || response.statusCode === 200)
    })
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

const lastLines = (file: string) => readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n')

/** Starts a program and waits until it answers. Rejects with the end of its log when it stops or stays silent. */
export async function startProgram({ command, args, env, logFile, account, ready }: Program): Promise<Started> {
  const log = openSync(logFile, 'a')
  const startedAt = performance.now()
  const child = track(
    spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
      ...(account && { uid: account.uid, gid: account.gid }),
    }),
  )
  closeSync(log)
  child.on('error', () => running.delete(child))
  while (!(await answers(ready))) {
    if (!running.has(child)) throw new Error(`ended while starting: ${lastLines(logFile)}`)
    if (performance.now() - startedAt > 30_000) {
      await stop(child)
      throw new Error(`not ready after 30 s: ${lastLines(logFile)}`)
    }
    await sleep(2)
  }
  const readyMs = performance.now() - startedAt
  return { pid: child.pid ?? 0, readyMs, stop: () => stop(child) }
}

/** A port of the loopback address that nobody listens on at the moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      )
    })
    server.on('error', reject)
  })
}

/** Where a program lies: the search path, and where servers are installed for administrators. */
export function findProgram(...names: string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/sbin']
  const candidates = names.flatMap(name => folders.filter(Boolean).map(folder => join(folder, name)))
  return candidates.find(file => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** The account for servers that give up root; undefined when the bench is not run by root. */
export function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const rows = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map(line => line.split(':'))
  const users = rows('/etc/passwd')
  const row = ['www-data', 'apache', 'http', 'nobody'].map(name => users.find(user => user[0] === name)).find(Boolean)
  const group = row && rows('/etc/group').find(line => line[2] === row[3])
  if (!row?.[0] || !group?.[0]) return undefined
  return { user: row[0], group: group[0], uid: Number(row[2]), gid: Number(row[3]) }
}

/** Memory of a program and all its descendants, in MiB; PSS shares common pages out, RSS counts them again and again. */
export function memoryOf(pid: number): { pssMiB: number; rssMiB: number } {
  const sum = { pssMiB: 0, rssMiB: 0 }
  for (const member of [pid, ...descendants(pid)]) {
    const rollup = readIfThere(`/proc/${member}/smaps_rollup`)
    const mib = (field: string) => Number(new RegExp(`^${field}: +(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) / 1024
    sum.pssMiB += mib('Pss')
    sum.rssMiB += mib('Rss')
  }
  return sum
}

function descendants(pid: number): number[] {
  const threads = listIfThere(`/proc/${pid}/task`)
  const children = threads.flatMap(thread => readIfThere(`/proc/${pid}/task/${thread}/children`).match(/\d+/g) ?? [])
  return children.map(Number).flatMap(child => [child, ...descendants(child)])
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // it ended between listing and reading
  }
}

function listIfThere(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
