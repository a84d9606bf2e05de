/** Runs the real program in a process of its own, as a user would. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../bin/entrepot.js', import.meta.url))

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

type Environment = Record<string, string>

/** A test that runs out of time must not leave its server behind. */
const running = new Set<ChildProcess>()
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))

/** Starts a command. Only the given ENTREPOT_ variables are set. */
function start(args: readonly string[], env: Environment): ChildProcess {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('ENTREPOT_'))
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...Object.fromEntries(others), ...env },
    stdio: 'pipe',
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** Runs a command to its end. */
export async function run(args: readonly string[], env: Environment, input = ''): Promise<Outcome> {
  const child = start(args, env)
  child.stdin?.end(input)
  const outcome = collect(child)
  await once(child, 'close')
  return { ...outcome, code: child.exitCode }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const texts = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', text => (texts.stdout += text))
  child.stderr?.setEncoding('utf8').on('data', text => (texts.stderr += text))
  return texts
}

export interface ServerProcess extends AsyncDisposable {
  url: string
  adminUrl: string
  /** What it has printed so far. */
  output: { stdout: string; stderr: string }
  process: ChildProcess
  /** Asks it to stop and gives the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts `serve` on free ports and waits until it is ready. */
export async function serve(env: Environment, args: readonly string[] = []): Promise<ServerProcess> {
  const child = start(['serve', ...args], {
    ENTREPOT_PORT: '0',
    ENTREPOT_ADMIN_PORT: '0',
    ENTREPOT_LOG_FORMAT: 'json',
    ...env,
  })
  const output = collect(child)
  const ended = once(child, 'exit')
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await ended
    return child.exitCode
  }
  const ready = await readyLine(child, output)
  return {
    url: ready.url,
    adminUrl: ready.admin ?? '',
    output,
    process: child,
    stop,
    async [Symbol.asyncDispose]() {
      await stop('SIGKILL')
    },
  }
}

/** The addresses that the server logs once it is ready. Rejects when it ends before that. */
function readyLine(child: ChildProcess, output: { stderr: string }): Promise<{ url: string; admin?: string }> {
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', () => {
      const line = output.stderr.split('\n').find(text => text.includes('"msg":"ready"'))
      if (line) resolve(JSON.parse(line) as { url: string; admin?: string }) // our own log
    })
    child.once('exit', code => reject(new Error(`serve ended with ${code}: ${output.stderr}`)))
  })
}
