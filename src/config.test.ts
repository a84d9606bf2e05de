import { expect, test } from 'vitest'
import { readConfig, settingsOf, variables } from '#config'
import { defaultSettings } from '#core/settings.ts'

test('an empty environment gives the documented defaults', () => {
  expect(readConfig({})).toMatchObject({
    host: '127.0.0.1',
    port: 8080,
    adminPort: 8081,
    workers: 1,
    dialects: ['mft', 'coredata', 'sofie'],
  })
  expect(settingsOf(readConfig({}))).toEqual(defaultSettings)
})

test('the database, the blobs and the master key lie in the data directory unless placed elsewhere', () => {
  const config = readConfig({ ENTREPOT_DATA_DIR: '/srv/e', ENTREPOT_BLOBS_URL: 'file:/mnt/blobs' })
  expect(config).toMatchObject({
    databaseUrl: '/srv/e/entrepot.db',
    blobs: { kind: 'disk', dir: '/mnt/blobs' },
    masterKeyFile: '/srv/e/master.key',
  })
})

test('contents may lie in a bucket, below a prefix or not', () => {
  const config = readConfig({
    ENTREPOT_BLOBS_URL: 's3://files.example/a/b/',
    ENTREPOT_S3_ENDPOINT: 'https://s3.example.com/',
    ENTREPOT_S3_ACCESS_KEY: 'key',
    ENTREPOT_S3_SECRET_KEY: 'secret',
    ENTREPOT_S3_DIRECT: 'off',
  })
  expect(config.blobs).toEqual({
    kind: 's3',
    bucket: 'files.example',
    prefix: 'a/b/',
    endpoint: 'https://s3.example.com',
    region: 'us-east-1',
    accessKey: 'key',
    secretKey: 'secret',
    pathStyle: true,
    publicEndpoint: '',
    direct: false,
  })
  const amazon = { kind: 's3', bucket: 'files', prefix: '', endpoint: '', pathStyle: false, direct: true }
  expect(readConfig({ ENTREPOT_BLOBS_URL: 's3://files' }).blobs).toMatchObject(amazon)
  expect(readConfig({}).blobs).toMatchObject({ kind: 'disk' })
  expect(() => readConfig({ ENTREPOT_S3_ACCESS_KEY: 'key' })).toThrow('ENTREPOT_S3_SECRET_KEY')
})

test('mails go to the server that is named, else into a folder of the data directory', () => {
  expect(readConfig({ ENTREPOT_DATA_DIR: '/srv/e' }).mail).toEqual({
    smtp: undefined,
    spoolDir: '/srv/e/mail-spool',
    from: { name: 'Entrepot', address: 'entrepot@localhost' },
  })
  const config = readConfig({
    ENTREPOT_SMTP_URL: 'smtp://mailer:pa%40ss@mail.example.com',
    ENTREPOT_MAIL_FROM: 'Files <files@example.com>',
  })
  expect(config.mail).toMatchObject({
    smtp: { host: 'mail.example.com', port: 587, user: 'mailer', password: 'pa@ss', startTls: 'required' },
    from: { name: 'Files', address: 'files@example.com' },
  })
  expect(() => readConfig({ ENTREPOT_SMTP_URL: 'smtp://mail.example.com' })).toThrow('ENTREPOT_MAIL_FROM')
})

test('links in mails begin with the public address, else with that on which the server listens', () => {
  expect(settingsOf(readConfig({ ENTREPOT_HOST: '::1', ENTREPOT_PORT: '81' }))).toMatchObject({
    publicUrl: '',
    linkUrl: 'http://[::1]:81',
  })
  const publicUrl = 'https://files.example.com/entrepot'
  expect(settingsOf(readConfig({ ENTREPOT_PUBLIC_URL: `${publicUrl}/` }))).toMatchObject({
    publicUrl,
    linkUrl: publicUrl,
  })
})

test('engines of screening and limits of archives are read with their defaults', () => {
  expect(readConfig({})).toMatchObject({
    screening: [],
    archiveDepth: 5,
    archiveEntries: 100_000,
    archiveBytes: 32 * 2 ** 30,
    archiveRatio: 200,
  })
  const { screening } = readConfig({
    ENTREPOT_SCREENING: 'clamd://127.0.0.1?max=25MiB,icap://10.0.0.5/scan?optional=on',
  })
  expect(screening).toMatchObject([
    { kind: 'clamd', mandatory: true, maxBytes: 25 * 2 ** 20 },
    { kind: 'icap', mandatory: false },
  ])
})

test('a variable set to nothing counts as not set', () => {
  expect(readConfig({ ENTREPOT_PORT: '' }).port).toBe(8080)
})

const wrongValues: [string, string][] = [
  ['PORT', '80a'],
  ['PORT', '65536'],
  ['ADMIN_PORT', 'none'],
  ['PUBLIC_URL', 'files.example.com'],
  ['PUBLIC_URL', 'ftp://files.example.com'],
  ['TRUSTED_PROXIES', '10.0.0.0/33'],
  ['TRUSTED_PROXIES', 'proxy.example.com'],
  ['DATABASE_URL', 'mysql://localhost/x'],
  ['BLOBS_URL', '/srv/blobs'],
  ['BLOBS_URL', 's3://'],
  ['BLOBS_URL', 's3://bucket/a//b'],
  ['BLOBS_URL', 's3://bucket/what?'],
  ['S3_ENDPOINT', 's3.example.com'],
  ['S3_PATH_STYLE', 'yes'],
  ['WORKERS', '0'],
  ['DIALECTS', 'mft,nfs'],
  ['LOG_LEVEL', 'loud'],
  ['SHUTDOWN_TIMEOUT', '30'],
  ['MAX_FILE_SIZE', '10 potatoes'],
  ['TRASH_RETENTION', 'forever'],
  ['COOKIE_SECURE', 'true'],
  ['TLS_CERT', '/nowhere/cert.pem'],
  ['SCREENING', 'clamd:3310'],
  ['SCREENING', 'icap://127.0.0.1:1344'],
  ['ARCHIVE_MAX_DEPTH', '0'],
  ['ARCHIVE_MAX_SIZE', 'none'],
  ['SMTP_URL', 'mail.example.com'],
  ['MAIL_FROM', 'Entrepot'],
]
test.for(wrongValues)('%s=%s is refused by the name of the variable', ([name, value]) => {
  expect(() => readConfig({ [`ENTREPOT_${name}`]: value })).toThrow(`ENTREPOT_${name} `)
})

test('a wrong value is not repeated in the message, since it may be a secret', () => {
  expect(() => readConfig({ ENTREPOT_DATABASE_URL: 'pg://u:hunter2@h/d' })).not.toThrow('hunter2')
  expect(() => readConfig({ ENTREPOT_SMTP_URL: 'smtp:/u:hunter2@h' })).not.toThrow('hunter2')
})

test('an ENTREPOT_ variable that does not exist is refused, so that a slip of the pen does not go unnoticed', () => {
  expect(() => readConfig({ ENTREPOT_PROT: '80' })).toThrow('ENTREPOT_PROT')
})

test('the configuration cannot be changed after it was read', () => {
  expect(Object.isFrozen(readConfig({}))).toBe(true)
})

test('every fallback is itself a value that would be taken', () => {
  for (const { name, fallback } of Object.values(variables))
    expect(() => readConfig({ [name]: fallback })).not.toThrow()
})
