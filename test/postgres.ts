/** Starts a throw-away PostgreSQL cluster for the tests, from binaries that are installed anyway. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_TIMEOUT_MS = 30_000

export interface Cluster {
  url: string
  /** Ends the server as a power cut would (`immediate`) or in order (`fast`). */
  stop(mode: 'fast' | 'immediate'): Promise<void>
  /** Starts it again on the same data and the same port. */
  start(): Promise<void>
  /** Stops it and removes its data. */
  remove(): Promise<void>
}

/** The folder of initdb and postgres: the newest under /usr/lib/postgresql, else wherever PATH has them. */
export function findPostgres(): string | undefined {
  const debian = globSync('/usr/lib/postgresql/*/bin/initdb').toSorted().at(-1)
  const onPath = (process.env.PATH ?? '').split(delimiter).find(folder => existsSync(join(folder, 'initdb')))
  return debian ? dirname(debian) : onPath
}

/** Makes and starts a cluster. `durable` keeps fsync on, for tests that cut the power. */
export async function startCluster(bin: string, { durable = false } = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-pg-'))
  const asOwner = ownerOf(folder)
  const data = join(folder, 'data')
  run(
    asOwner(join(bin, 'initdb'), [
      '-D',
      data,
      '-U',
      'postgres',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '-A',
      'trust',
    ]),
  )
  const port = await freePort()
  const speed = durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']
  const settings = ['listen_addresses=127.0.0.1', 'max_connections=200', 'log_min_messages=fatal', ...speed]
  const [command, args] = asOwner(join(bin, 'postgres'), [
    '-D',
    data,
    '-p',
    String(port),
    '-k',
    folder,
    ...settings.flatMap(setting => ['-c', setting]),
  ])
  let server: ChildProcess | undefined
  const start = async () => {
    server = spawn(command, args, { stdio: 'ignore' })
    await ready(bin, folder, port)
  }
  const stop = async (mode: 'fast' | 'immediate') => {
    if (!server || server.exitCode !== null) return
    const ended = new Promise(resolve => server?.once('exit', resolve))
    server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    await ended
  }
  await start()
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    start,
    stop,
    async remove() {
      await stop('immediate')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

type Command = [command: string, args: string[]]

/** PostgreSQL refuses to run as root, so root hands the folder and the commands to another account. */
function ownerOf(folder: string): (command: string, args: string[]) => Command {
  if (process.getuid?.() !== 0) return (command, args) => [command, args]
  const name = 'postgres'
  const id = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }))
  chownSync(folder, id('-u'), id('-g'))
  return (command, args) => ['setpriv', [`--reuid=${name}`, `--regid=${name}`, '--clear-groups', command, ...args]]
}

function run([command, args]: Command): void {
  execFileSync(command, args, { cwd: '/', stdio: ['ignore', 'ignore', 'inherit'] })
}

async function ready(bin: string, folder: string, port: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    try {
      execFileSync(join(bin, 'pg_isready'), ['-q', '-h', folder, '-p', String(port)])
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(50)
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
