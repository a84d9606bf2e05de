/**
 * `npm run contracts`: starts the server and holds what it says about itself against the vendors' contracts, with the checker
 * that lies beside this repository. Skipped with a line where it does not.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const tools = resolve('../shared/tools/contract-diff.mjs')
const contracts = [
  { dialect: 'mft', file: resolve('../shared/contracts/mft-2.0.json') },
  { dialect: 'coredata', file: resolve('../shared/contracts/coredata-files-2.json') },
  { dialect: 'sofie', file: resolve('../shared/contracts/sofie-2.5.json') },
]

if (!existsSync(tools)) {
  console.log('SKIPPED: the contract checker is not here')
  process.exit(0)
}

const folder = mkdtempSync(join(tmpdir(), 'entrepot-contracts-'))
const port = 20_000 + (process.pid % 20_000)
const server = spawn(process.execPath, ['bin/entrepot.js', 'serve'], {
  stdio: ['ignore', 'ignore', 'inherit'],
  env: {
    ...process.env,
    ENTREPOT_DATA_DIR: folder,
    ENTREPOT_PORT: String(port),
    ENTREPOT_ADMIN_PORT: String(port + 1),
    ENTREPOT_LOG_LEVEL: 'error',
  },
})
try {
  await ready(`http://127.0.0.1:${port + 1}/readyz`)
  for (const { dialect, file } of contracts) {
    const address = `http://127.0.0.1:${port}/docs/${dialect}/openapi.json`
    const { status } = spawnSync(process.execPath, [tools, file, address, '--max-errors', '0'], { stdio: 'inherit' })
    if (status !== 0) process.exitCode = 1
  }
} finally {
  server.kill()
  await new Promise(done => server.once('exit', done))
  rmSync(folder, { recursive: true })
}

async function ready(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer?.ok) return
    await sleep(50)
  }
  throw new Error('The server did not become ready')
}
