/** What tests of `entrepot migrate` share: an installation with a bit of everything, and moves that are cut short. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { clientOf, envelopeOf, signIn } from './faults/client.ts'
import { openSite, type Finished, type Site } from './faults/server.ts'

const MAIN = resolve(import.meta.dirname, '../bin/entrepot.js')

/** More than the partner of every site: groups, nested spaces, grants that narrow, a token. */
const state = {
  users: [{ username: 'ann', password: 'correct horse 1' }],
  groups: [{ name: 'staff', members: ['ann'] }],
  spaces: [
    {
      name: 'projects',
      grants: [{ group: 'staff', allow: ['list', 'read', 'manage'] }],
      folders: [{ path: 'narrow', grants: [{ group: 'staff', allow: ['list'] }] }],
      spaces: [{ name: 'alpha', folders: ['in'] }],
    },
  ],
  tokens: [{ user: 'ann', name: 'ci', scope: [{ space: 'projects/alpha', allow: ['list'] }] }],
}

const contents: Record<string, Buffer> = {
  empty: Buffer.alloc(0),
  small: randomBytes(3_000),
  large: randomBytes(300_000),
  changed: randomBytes(70_000),
  ...Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`piece-${n}`, randomBytes(20_000 + n)])),
}

/** Takes files in by a server, changes one and deletes one, and stops it. */
export async function fill(site: Site): Promise<void> {
  const file = join(site.dataDir, '..', 'more.yaml')
  writeFileSync(file, JSON.stringify(state)) // JSON is YAML too
  expect(await site.entrepot('apply', file)).toMatchObject({ status: 0 })
  const server = await site.start()
  const client = clientOf(server, await signIn(server))
  await client.put('inbox/changed', randomBytes(60_000))
  await client.put('inbox/gone', randomBytes(50_000))
  for (const [name, content] of Object.entries(contents)) {
    expect((await client.put(`inbox/${name}`, content)).status).toBe(201)
  }
  expect((await client.remove('inbox/gone')).status).toBeLessThan(300)
  client.close()
  expect(await server.stop()).toBe(0)
  expect(await site.entrepot('audit', 'seal')).toMatchObject({ status: 0 })
}

/** Digest of every file below a folder, by its path. */
export function filesOf(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const paths = entries.map(entry => join(entry.parentPath, entry.name)).toSorted()
  return Object.fromEntries(
    paths.map(path => [path.slice(folder.length), createHash('sha256').update(readFileSync(path)).digest('hex')]),
  )
}

/** The new home serves: what was stored is there, and new things get ids that nobody had. */
export async function expectAlive(site: Site, env: Record<string, string>): Promise<void> {
  const server = await site.start(env)
  const client = clientOf(server, await signIn(server))
  const before = await client.list('inbox')
  expect(before.map(entry => entry.name).toSorted()).toEqual(Object.keys(contents).toSorted())
  for (const [name, content] of Object.entries(contents)) {
    expect((await client.get(`inbox/${name}`)).body.equals(content)).toBe(true)
  }
  const added = envelopeOf(await client.put('inbox/added', Buffer.from('added')))
  expect(added.fileset).toBeGreaterThan(Math.max(...before.map(entry => entry.fileset)))
  expect((await client.get('inbox/added')).body.toString()).toBe('added')
  client.close()
  expect(await server.stop()).toBe(0)
}

/** One source for all tests of a file; who changes it takes a copy. */
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-move-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Where nothing is yet, among all that the tests of a file make. */
export const newPlace = () => join(folder, randomUUID())

export async function sqliteSource(env: Record<string, string> = {}): Promise<Site> {
  const dataDir = newPlace()
  const template = join(folder, 'template')
  if (!existsSync(template)) {
    await using site = await openSite({ dataDir: template, databaseUrl: `file:${template}/entrepot.db` })
    await fill(site)
  }
  cpSync(template, dataDir, { recursive: true })
  return openSite({ dataDir, databaseUrl: `file:${dataDir}/entrepot.db`, env })
}

export const databaseOf = ({ dataDir }: Site) => new DatabaseSync(join(dataDir, 'entrepot.db'))

function startMigrate(site: Site, args: readonly string[], more: Record<string, string> = {}) {
  const env = {
    ...more,
    PATH: process.env.PATH,
    ENTREPOT_DATA_DIR: site.dataDir,
    ENTREPOT_DATABASE_URL: site.databaseUrl,
  }
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = { output: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', text => (texts.output += text))
  const ended = new Promise<number | null>(done => child.once('close', code => done(code)))
  return { child, texts, ended }
}

const MAX_DELAY_MS = 150

/** Kills the command a little after it said this, or anything. True when the kill came before the end. */
export async function runAndKill(
  site: Site,
  args: readonly string[],
  text = /./,
  env: Record<string, string> = {},
): Promise<boolean> {
  const { child, texts, ended } = startMigrate(site, args, env)
  while (!text.test(texts.output) && child.exitCode === null) await sleep(2)
  await sleep(randomInt(MAX_DELAY_MS))
  child.kill('SIGKILL')
  await ended
  return child.signalCode === 'SIGKILL'
}

/** Does something once the output says so. */
export async function watch(site: Site, args: string[], text: RegExp, act: () => Promise<void>): Promise<Finished> {
  const { child, texts, ended } = startMigrate(site, args)
  while (!text.test(texts.output) && child.exitCode === null) await sleep(2)
  child.kill('SIGSTOP')
  await act()
  child.kill('SIGCONT')
  return { status: (await ended) ?? -1, output: texts.output }
}
