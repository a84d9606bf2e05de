/** `npm test`: all tests on SQLite, and on PostgreSQL where its binaries are found (or TEST_DATABASE_URL names a server). */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findPostgres, startCluster } from './postgres.ts'

interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
}

const given = process.env.TEST_DATABASE_URL
const bin = given ? undefined : findPostgres()
if (!given && !bin) {
  const advice = 'install PostgreSQL or set TEST_DATABASE_URL'
  if (process.env.CI) {
    console.error(`No PostgreSQL server was found, and CI must test on it: ${advice}`)
    process.exit(1)
  }
  console.log(`SKIPPED: the PostgreSQL half of the tests, as no server was found (${advice})`)
}

const cluster = bin ? await startCluster(bin) : undefined
const folder = mkdtempSync(join(tmpdir(), 'entrepot-run-'))
try {
  const report = join(folder, 'report.json')
  const { status } = spawnSync(
    'vitest',
    ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, ...(cluster && { TEST_DATABASE_URL: cluster.url }) } },
  )
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(report, 'utf8')) as Report
  console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`)
  process.exitCode = status ?? 1
} finally {
  await cluster?.remove()
  rmSync(folder, { recursive: true })
}
