/**
 * `npm run test:screening`: the tests that need a real virus scanner, on one that is started for them. As root on a Debian
 * machine it installs what it needs; elsewhere it says what is missing and leaves these tests out.
 */
import { spawnSync } from 'node:child_process'
import { installScanner, missingPrograms, startScanner } from './services/clamav.ts'

const FILES = [
  'src/platform/screening/clamd.test.ts',
  'src/platform/screening/icap.test.ts',
  'test/screening-site.test.ts',
]

if (missingPrograms().length > 0) installScanner()
const missing = missingPrograms()
if (missing.length > 0) {
  console.log(`SKIPPED: the tests with a real virus scanner, as these programs are missing: ${missing.join(', ')}`)
  process.exit(0)
}

const scanner = await startScanner()
try {
  const env = {
    ENTREPOT_TEST_CLAMD: scanner.clamd,
    ENTREPOT_TEST_CLAMD_SOCKET: scanner.clamdSocket,
    ENTREPOT_TEST_ICAP: scanner.icap,
  }
  const given = process.argv.slice(2)
  // The engine of the database makes no difference here.
  const args = ['run', '--project', 'sqlite', ...(given.length > 0 ? given : FILES)]
  const { status } = spawnSync('vitest', args, { stdio: 'inherit', env: { ...process.env, ...env } })
  process.exitCode = status ?? 1
} finally {
  await scanner.remove()
}
