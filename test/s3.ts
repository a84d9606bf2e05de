/**
 * `npm run test:s3`: the tests that need an S3 engine, on one that is started for them, or on the one that
 * ENTREPOT_TEST_S3_ENDPOINT, ENTREPOT_TEST_S3_ACCESS_KEY and ENTREPOT_TEST_S3_SECRET_KEY name.
 */
import { spawnSync } from 'node:child_process'
import { installEngine, missingPrograms, startEngine, type S3Engine } from './services/ceph.ts'

const FILES = [
  'src/platform/blobs/s3',
  'src/cli/migrate-blobs.test.ts',
  'test/s3-site.test.ts',
  'test/s3-documents.test.ts',
]

async function openEngine(): Promise<S3Engine | undefined> {
  if (process.env.ENTREPOT_TEST_S3_ENDPOINT) return undefined
  if (missingPrograms().length > 0) installEngine()
  const missing = missingPrograms()
  if (missing.length === 0) return startEngine()
  console.error(
    `These programs are missing: ${missing.join(', ')}. Install Debian's radosgw, ceph-mon, ceph-osd and ceph-common ` +
      '(root gets them by itself), or set ENTREPOT_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY.',
  )
  process.exit(1)
}

const engine = await openEngine()
try {
  const env = engine && {
    ENTREPOT_TEST_S3_ENDPOINT: engine.endpoint,
    ENTREPOT_TEST_S3_ACCESS_KEY: engine.accessKey,
    ENTREPOT_TEST_S3_SECRET_KEY: engine.secretKey,
  }
  const given = process.argv.slice(2)
  // The engine of the database makes no difference here.
  const args = ['run', '--project', 'sqlite', ...(given.length > 0 ? given : FILES)]
  const { status } = spawnSync('vitest', args, { stdio: 'inherit', env: { ...process.env, ...env } })
  process.exitCode = status ?? 1
} finally {
  await engine?.remove()
}
