/** The environment, read once: typed, checked, frozen. Nothing else reads `process.env`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultSettings, type Settings } from '#core/settings.ts'
import type { BlobsLocation, BlobsPlace, S3Access } from '#platform/blobs/location.ts'
import { defaultLimits } from '#platform/screening/limits.ts'
import type { MailPlace } from '#platform/mail/open.ts'
import {
  Refusal,
  anyText,
  path,
  flag,
  duration,
  durationOrNever,
  size,
  sizeOrNone,
  choice,
  choices,
  switches,
  integer,
  port,
  portOrOff,
  origin,
  addressRanges,
  databaseUrl,
  blobsUrl,
  smtpUrl,
  mailbox,
  screening,
  shownDuration,
} from './config-values.ts'

/** A value that cannot be used. The message names the variable. */
export class ConfigError extends Error {}

export interface Variable<T> {
  name: string
  /** As it would be written; empty for none. */
  fallback: string
  parse: (text: string) => T
  help: string
}

const variable = <T>(name: string, fallback: string, parse: (text: string) => T, help: string): Variable<T> => ({
  name: `ENTREPOT_${name}`,
  fallback,
  parse,
  help,
})

export const dialectNames = ['mft', 'coredata', 'sofie'] as const
export type DialectName = (typeof dialectNames)[number]

/** Every variable there is. `entrepot help config` and the README show this table. */
export const variables = {
  dataDir: variable('DATA_DIR', './data', path, 'directory for everything that is not placed elsewhere'),
  host: variable('HOST', '127.0.0.1', anyText, 'address to listen on; 0.0.0.0 or :: for all'),
  port: variable('PORT', '8080', port, 'port to listen on; 0 takes a free one'),
  adminHost: variable('ADMIN_HOST', '127.0.0.1', anyText, 'address of the admin port'),
  adminPort: variable(
    'ADMIN_PORT',
    '8081',
    portOrOff,
    'port of /healthz, /readyz, /metrics; off for none, 0 for a free one',
  ),
  publicUrl: variable(
    'PUBLIC_URL',
    '',
    origin,
    'address under which clients reach the server; without it, their Host header',
  ),
  trustedProxies: variable('TRUSTED_PROXIES', '', addressRanges, 'reverse proxies whose X-Forwarded-* headers count'),
  tlsCert: variable('TLS_CERT', '', path, 'certificate chain, PEM file; with TLS_KEY the server speaks HTTPS'),
  tlsKey: variable('TLS_KEY', '', path, 'private key, PEM file'),
  databaseUrl: variable(
    'DATABASE_URL',
    '',
    databaseUrl,
    'postgres://… or file:<path>; without it, SQLite in the data directory',
  ),
  databasePool: variable('DATABASE_POOL', '10', integer(2, 500), 'PostgreSQL connections per process'),
  blobs: variable(
    'BLOBS_URL',
    '',
    blobsUrl,
    'file:<directory> or s3://<bucket>/<prefix> for contents; without it, blobs in the data directory',
  ),
  s3Endpoint: variable('S3_ENDPOINT', '', origin, "address of the S3 service; without it, Amazon's"),
  s3Region: variable('S3_REGION', 'us-east-1', anyText, 'region of the bucket'),
  s3AccessKey: variable(
    'S3_ACCESS_KEY',
    '',
    anyText,
    'access key of the S3 service; without it, what the environment, profile or machine has for AWS',
  ),
  s3SecretKey: variable('S3_SECRET_KEY', '', anyText, 'secret key that belongs to it'),
  s3PathStyle: variable(
    'S3_PATH_STYLE',
    'auto',
    choice('auto', 'on', 'off'),
    'the bucket stands in the path (on) or in the host name (off); auto: on with an endpoint',
  ),
  s3PublicEndpoint: variable(
    'S3_PUBLIC_ENDPOINT',
    '',
    origin,
    'address under which clients reach the S3 service; without it, the endpoint',
  ),
  s3Direct: variable('S3_DIRECT', 'on', flag, 'on lets clients put and get contents at the S3 service themselves'),
  masterKeyFile: variable('MASTER_KEY_FILE', '', path, 'master keys; without it, master.key in the data directory'),
  workers: variable('WORKERS', '1', integer(1, 256), 'processes that share the port'),
  jobConcurrency: variable(
    'JOBS',
    '2',
    integer(0, 64),
    'jobs at a time per process; 0 leaves them to `entrepot worker`',
  ),
  dialects: variable('DIALECTS', dialectNames.join(','), choices(...dialectNames), 'APIs that are served'),
  logLevel: variable(
    'LOG_LEVEL',
    'info',
    choice('silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    'silent, fatal, error, warn, info, debug (one line per request) or trace',
  ),
  logFormat: variable('LOG_FORMAT', 'auto', choice('auto', 'json', 'text'), 'json, text, or auto: text on a terminal'),
  shutdownTimeoutMs: variable('SHUTDOWN_TIMEOUT', '30s', duration, 'how long a stop waits for transfers in progress'),
  stallTimeoutMs: variable('STALL_TIMEOUT', '60s', duration, 'a connection without any traffic for so long is closed'),
  maxFileBytes: variable('MAX_FILE_SIZE', 'none', sizeOrNone, 'largest file that is taken'),
  inlineBytes: variable(
    'INLINE_SIZE',
    `${defaultSettings.inlineBytes / 1024}KiB`,
    size,
    'contents up to this size are kept in the database',
  ),
  uploadLifeMs: variable(
    'UPLOAD_LIFE',
    shownDuration(defaultSettings.uploadLifeMs),
    duration,
    'unfinished uploads expire, ended ones stay readable for so long',
  ),
  trashRetentionMs: variable(
    'TRASH_RETENTION',
    shownDuration(defaultSettings.trashRetentionMs),
    durationOrNever,
    'deleted content is purged after so long, unless its space says otherwise',
  ),
  auditRetentionMs: variable(
    'AUDIT_RETENTION',
    shownDuration(defaultSettings.auditRetentionMs),
    durationOrNever,
    'audit events are dropped after so long, their hashes kept',
  ),
  sessionIdleMs: variable(
    'SESSION_IDLE',
    shownDuration(defaultSettings.sessionIdleMs),
    duration,
    'an unused session ends',
  ),
  sessionLifeMs: variable('SESSION_LIFE', shownDuration(defaultSettings.sessionLifeMs), duration, 'any session ends'),
  cookieSecure: variable('COOKIE_SECURE', 'off', flag, 'on adds Secure to cookies'),
  cookieSameSite: variable(
    'COOKIE_SAME_SITE',
    'off',
    choice('off', 'Lax', 'Strict', 'None'),
    'SameSite of cookies: Lax, Strict, None or off',
  ),
  throttleAfter: variable(
    'SIGN_IN_FAILURES',
    String(defaultSettings.throttleAfter),
    integer(1, 1000),
    'failed sign-ins before an account is held back',
  ),
  throttleMs: variable(
    'SIGN_IN_DELAY',
    shownDuration(defaultSettings.throttleMs),
    duration,
    'how long at first; it doubles with each further failure',
  ),
  passwordMinLength: variable(
    'PASSWORD_MIN_LENGTH',
    String(defaultSettings.passwordMinLength),
    integer(1, 128),
    'shortest password that can be set',
  ),
  deliveryDays: variable(
    'DELIVERY_DAYS',
    String(defaultSettings.deliveryDays),
    integer(1, 10_000),
    'days that a delivery can be fetched, unless its sender says otherwise',
  ),
  deliveryMaxDays: variable(
    'DELIVERY_MAX_DAYS',
    String(defaultSettings.deliveryMaxDays),
    integer(1, 10_000),
    'days that a sender may say at most',
  ),
  deliveryTrashMs: variable(
    'DELIVERY_RETENTION',
    shownDuration(defaultSettings.deliveryTrashMs),
    durationOrNever,
    'ended and deleted deliveries go on after so long',
  ),
  deliveryAfterTrash: variable(
    'DELIVERY_AFTER_RETENTION',
    defaultSettings.deliveryAfterTrash,
    choice('archive', 'shred'),
    'where they go then: archive keeps their content, shred destroys it',
  ),
  deliveryReadSent: variable('DELIVERY_READ_SENT', 'yes', switches, 'senders may fetch what they sent'),
  deliverySendSelf: variable('DELIVERY_SEND_SELF', 'yes', switches, 'senders may be among their recipients'),
  deliverySendOwn: variable('DELIVERY_SEND_OWN', 'yes', switches, 'senders may send to themselves alone'),
  deliveryContributors: variable('DELIVERY_CONTRIBUTORS', 'yes', switches, 'senders may let others add to a delivery'),
  deliveryEncrypt: variable('DELIVERY_ENCRYPT', 'yes', switches, 'senders may encrypt with a password'),
  deliveryApproval: variable(
    'DELIVERY_APPROVAL',
    'no',
    switches,
    'deliveries wait for consent; selected: of those without the right deliveries.send.unapproved',
  ),
  deliveriesElsewhere: variable(
    'DELIVERIES_ELSEWHERE',
    'off',
    flag,
    'on shows deliveries as spaces in the lists of every API',
  ),
  quarantineOpen: variable(
    'QUARANTINE_OPEN',
    'off',
    flag,
    'on lets the clean files of a delivery be fetched while another is quarantined',
  ),
  screening: variable(
    'SCREENING',
    '',
    screening,
    'engines that look into contents besides the own ones: clamd://<host>:<port>, clamd://<socket>, icap://<host>/<service>',
  ),
  archiveDepth: variable(
    'ARCHIVE_MAX_DEPTH',
    String(defaultLimits.depth),
    integer(1, 20),
    'archives within archives; what lies deeper is taken for a bomb, as is what passes the next three',
  ),
  archiveEntries: variable(
    'ARCHIVE_MAX_ENTRIES',
    String(defaultLimits.entries),
    integer(1, 10_000_000),
    'files in an archive and in those within it',
  ),
  archiveBytes: variable(
    'ARCHIVE_MAX_SIZE',
    `${defaultLimits.unpackedBytes / 2 ** 30}GiB`,
    size,
    'size of an archive when everything within is unpacked',
  ),
  archiveRatio: variable(
    'ARCHIVE_MAX_RATIO',
    String(defaultLimits.ratio),
    integer(2, 1_000_000),
    'times that an archive grows when it is unpacked; the first 64 MiB are free',
  ),
  screeningTooLarge: variable(
    'SCREENING_TOO_LARGE',
    'hold',
    choice('hold', 'pass'),
    'what an engine finds too large to look at is held back, or passes with a mark',
  ),
  proofLifeMs: variable(
    'PROOF_LIFE',
    shownDuration(defaultSettings.proofLifeMs),
    duration,
    'a shown password or a spent access opens a delivery for so long',
  ),
  passwordLinkMs: variable(
    'PASSWORD_LINK_LIFE',
    shownDuration(defaultSettings.passwordLinkMs),
    duration,
    'a mailed link for choosing a password works for so long',
  ),
  smtp: variable(
    'SMTP_URL',
    '',
    smtpUrl,
    'mail server, such as smtp://user:password@mail.example.com:587 or smtps://…; without it, mails are kept in a folder',
  ),
  mailFrom: variable('MAIL_FROM', '', mailbox, 'whom mails are from, such as Entrepot <noreply@example.com>'),
} as const satisfies Record<string, Variable<unknown>>

type Values = { [K in keyof typeof variables]: ReturnType<(typeof variables)[K]['parse']> }
export type Config = Readonly<
  Omit<Values, 'blobs' | 'smtp' | 'mailFrom'> & {
    /** Where contents lie. */
    blobs: BlobsPlace
    /** How the S3 service is reached, whether contents lie there or not. */
    s3: S3Access
    /** The admin port was set and must be that one. */
    adminPortChosen: boolean
    mail: MailPlace
    /** What links in mails begin with. */
    linkUrl: string
  }
>

export type Environment = Readonly<Record<string, string | undefined>>

/** Throws ConfigError for a wrong value and for an ENTREPOT_ variable that does not exist. */
export function readConfig(env: Environment): Config {
  refuseUnknown(env)
  const entries = Object.entries<Variable<unknown>>(variables).map(([key, row]) => [key, readVariable(row, env)])
  const values = Object.fromEntries(entries) as Values // each value is what its own row parsed
  if (Boolean(values.tlsCert) !== Boolean(values.tlsKey)) {
    throw new ConfigError('ENTREPOT_TLS_CERT and ENTREPOT_TLS_KEY must be set together')
  }
  if (Boolean(values.s3AccessKey) !== Boolean(values.s3SecretKey)) {
    throw new ConfigError('ENTREPOT_S3_ACCESS_KEY and ENTREPOT_S3_SECRET_KEY must be set together')
  }
  if (values.smtp && !values.mailFrom) throw new ConfigError('ENTREPOT_SMTP_URL needs ENTREPOT_MAIL_FROM')
  for (const row of [variables.tlsCert, variables.tlsKey]) refuseUnreadable(row, env)
  const s3 = s3Access(values)
  const { smtp, mailFrom = defaultSender, ...others } = values
  return Object.freeze({
    ...others,
    mail: { smtp, from: mailFrom, spoolDir: join(values.dataDir, 'mail-spool') },
    linkUrl: expectedUrl(values),
    s3,
    databaseUrl: values.databaseUrl || join(values.dataDir, 'entrepot.db'),
    blobs: blobsPlace(values.blobs ?? { kind: 'disk', dir: join(values.dataDir, 'blobs') }, { s3 }),
    masterKeyFile: values.masterKeyFile || join(values.dataDir, 'master.key'),
    adminPortChosen: Boolean(env[variables.adminPort.name]),
  })
}

/** Of mails that are kept only. */
const defaultSender = { name: 'Entrepot', address: 'entrepot@localhost' }

/** Where a server with this configuration will be reached. */
export function expectedUrl({
  publicUrl,
  host,
  port,
  tlsCert,
}: Pick<Values, 'publicUrl' | 'host' | 'port' | 'tlsCert'>): string {
  return publicUrl || `${tlsCert ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function s3Access(values: Values): S3Access {
  const { s3Endpoint: endpoint, s3PathStyle } = values
  return {
    endpoint,
    region: values.s3Region,
    accessKey: values.s3AccessKey,
    secretKey: values.s3SecretKey,
    pathStyle: s3PathStyle === 'auto' ? endpoint !== '' : s3PathStyle === 'on',
    publicEndpoint: values.s3PublicEndpoint,
    direct: values.s3Direct,
  }
}

/** A location with all that is needed to open it. */
export function blobsPlace(location: BlobsLocation, { s3 }: Pick<Config, 's3'>): BlobsPlace {
  return location.kind === 'disk' ? location : { ...location, ...s3 }
}

function readVariable<T>(row: Variable<T>, env: Environment): T {
  const given = env[row.name]?.trim()
  try {
    return row.parse(given || row.fallback)
  } catch (error) {
    if (error instanceof Refusal) throw new ConfigError(`${row.name} ${error.message}`)
    throw error
  }
}

function refuseUnknown(env: Environment): void {
  const known = new Set<string>(Object.values(variables).map(row => row.name))
  const unknown = Object.keys(env).find(name => name.startsWith('ENTREPOT_') && !known.has(name))
  if (unknown) throw new ConfigError(`${unknown} is not a variable that Entrepot knows (see: entrepot help config)`)
}

function refuseUnreadable(row: Variable<string>, env: Environment): void {
  const file = row.parse(env[row.name]?.trim() ?? '')
  if (!file) return
  try {
    readFileSync(file)
  } catch {
    throw new ConfigError(`${row.name} must be a file that can be read`)
  }
}

/** The part of the configuration that the domain knows. */
export function settingsOf(config: Config): Settings {
  const keys = Object.keys(defaultSettings) as (keyof Settings)[] // the object's own keys
  return Object.fromEntries(keys.map(key => [key, config[key]])) as unknown as Settings // Config has each under the same name
}
