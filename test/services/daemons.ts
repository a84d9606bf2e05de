/** What throw-away services for tests share: their packages, ports, start and end. */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 90_000
const STOP_TIMEOUT_MS = 10_000

/** The programs that are not installed; `question` is an argument that all of them answer. */
export const missingAmong = (programs: readonly string[], question: string): string[] =>
  programs.filter(name => spawnSync(name, [question], { stdio: 'ignore' }).error !== undefined)

/** Installs Debian's packages where that can be done. */
export function installPackages(packages: readonly string[]): void {
  if (process.getuid?.() !== 0) return
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [
    ['update', '-q'],
    ['install', '-y', '-q', '--no-install-recommends', ...packages],
  ]) {
    spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], { stdio: 'inherit', env })
  }
}

export interface Waiting {
  name: string
  daemon: ChildProcess
  log: string
  ask: () => Promise<boolean>
}

/** Waits until a daemon answers. Throws with the end of its log when it does not. */
export async function ready({ name, daemon, log, ask }: Waiting): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await ask())) {
    if (daemon.exitCode !== null || Date.now() > deadline) {
      throw new Error(`${name} did not start: ${readFileSync(log, 'utf8').slice(-2_000)}`)
    }
    await sleep(50)
  }
}

export async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return
  const ended = once(daemon, 'exit')
  daemon.kill('SIGTERM')
  const late = setTimeout(() => daemon.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(late)
}

/** Ports that were free a moment ago; all are held until all are known, so that none comes twice. */
export async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(
    Array.from({ length: count }, async () => {
      const probe = createServer().listen(0, HOST)
      await once(probe, 'listening')
      return probe
    }),
  )
  const ports = probes.map(probe => {
    const address = probe.address()
    return address && typeof address === 'object' ? address.port : 0
  })
  for (const probe of probes) probe.close()
  return ports
}

/**
 * Starts daemons that keep all they have in one folder, each put into `daemons` as it is spawned. `remove` ends them, the last one
 * first, and removes the folder; where one cannot start, that has been done. The folder's path is short, as sockets may lie in it.
 */
export async function startTogether<T>(
  prefix: string,
  start: (folder: string, daemons: ChildProcess[]) => Promise<T>,
): Promise<T & { remove(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), prefix))
  const daemons: ChildProcess[] = []
  const remove = async () => {
    for (const daemon of daemons.toReversed()) await end(daemon)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return { ...(await start(folder, daemons)), remove }
  } catch (error) {
    await remove()
    throw error
  }
}
