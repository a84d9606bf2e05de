import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { variables } from '#config'
import { configTable } from './config-help.ts'
import { run, serve, type ServerProcess } from '#test/server-process.ts'

let folder = ''
let env: Record<string, string> = {}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-cli-'))
  env = { ENTREPOT_DATA_DIR: join(folder, 'data') }
})
afterEach(() => rmSync(folder, { recursive: true }))

/** The cookies of a session, for the header Cookie. */
async function signIn(url: string, username: string, password: string): Promise<string> {
  const answer = await fetch(`${url}/2.0/login/basic`, {
    method: 'POST',
    body: new URLSearchParams({ username, password }),
  })
  expect(answer.status).toBe(200)
  return answer.headers
    .getSetCookie()
    .map(cookie => cookie.split(';', 1)[0])
    .join('; ')
}

async function put(url: string, cookie: string, name: string, content: string | Uint8Array<ArrayBuffer>) {
  const body = new FormData()
  body.append('file', new Blob([content]), name)
  const answer = await fetch(`${url}/2.0/files/${name}`, { method: 'PUT', headers: { cookie }, body })
  expect(answer.status).toBe(201)
}

const get = async (url: string, cookie: string, name: string) =>
  Buffer.from(await (await fetch(`${url}/2.0/files/${name}`, { headers: { cookie } })).arrayBuffer())

/** Processes take their time on a busy machine. */
const eventually = (ask: () => unknown) => expect.poll(ask, { timeout: 60_000 })

/** What the first start prints may arrive after the log says that it is ready: they are two pipes. */
async function adminPassword({ output }: ServerProcess): Promise<string> {
  await eventually(() => output.stdout).toContain('curl')
  return /password "([^"]+)"/.exec(output.stdout)![1]!
}

// What is tested here does not depend on the engine.
describe.skipIf(process.env.TEST_DATABASE_URL)('entrepot', { timeout: 120_000 }, () => {
  test('the first start makes everything, says once how to sign in, and the line it prints works as pasted', async () => {
    const server = await serve(env)
    const password = await adminPassword(server)
    const line = server.output.stdout.split('\n').find(text => text.includes('curl'))!
    const answer = execFileSync('sh', ['-c', line], { encoding: 'utf8', cwd: folder })
    expect(answer).toContain('Upload successful')
    expect(statSync(env.ENTREPOT_DATA_DIR!).mode & 0o777).toBe(0o700)
    expect(server.output.stderr).not.toContain(password)
    expect((await get(server.url, await signIn(server.url, 'admin', password), 'hello.txt')).toString()).toBe('hello\n')
    expect(await server.stop()).toBe(0)

    await using again = await serve(env)
    expect(again.output.stdout).toBe('')
  })

  test('no password, cookie or token reaches the log, however much is logged', async () => {
    await using server = await serve({ ...env, ENTREPOT_LOG_LEVEL: 'trace' })
    const password = await adminPassword(server)
    const cookie = await signIn(server.url, 'admin', password)
    await fetch(`${server.url}/2.0/directories?token=hunter2`, { headers: { cookie, authorization: 'Bearer hunter2' } })
    await eventually(() => server.output.stderr).toContain('/2.0/directories')
    for (const secret of [password, 'hunter2', cookie, cookie.split('sp-http-ses=')[1]!]) {
      expect(server.output.stderr).not.toContain(secret)
    }
  })

  test('commands work beside a running server', async () => {
    await using server = await serve(env)
    expect(await run(['space', 'create', 'inbox'], env)).toMatchObject({ code: 0 })
    const made = await run(['user', 'create', 'clerk', '--home', 'inbox', '--password-stdin'], env, 'correct horse\n')
    expect(made).toEqual({ code: 0, stdout: 'created user clerk\n', stderr: '' })
    expect(await run(['grant', 'set', 'inbox', 'clerk', 'list', 'read,create'], env)).toMatchObject({ code: 0 })
    const cookie = await signIn(server.url, 'clerk', 'correct horse')
    await put(server.url, cookie, 'note.txt', 'hello')
    expect((await run(['space', 'list', '--json'], env)).stdout).toContain('"files":1')
    await run(['user', 'block', 'clerk'], env)
    expect((await fetch(`${server.url}/2.0/directories`, { headers: { cookie } })).status).toBe(401)
    expect((await run(['audit', 'verify'], env)).code).toBe(0)
  })

  test('a refusal is one line and exit code 1, a wrong usage exit code 2, help exit code 0', async () => {
    await run(['init'], env)
    const cases: [string[], number, string][] = [
      [['user', 'create', 'admin'], 1, 'entrepot: The login admin is taken\n'],
      [['user', 'password', 'ghost'], 1, 'entrepot: There is no user ghost\n'],
      [['grant', 'set', 'admin', 'admin', 'fly'], 1, 'entrepot: There is no action fly'],
      [['user', 'list', '--tenant', 'ghost'], 1, 'entrepot: There is no tenant ghost\n'],
      [['apply', join(folder, 'ghost.yaml')], 1, 'cannot be read\n'],
      [['serve', '--workers', '0'], 1, 'entrepot: ENTREPOT_WORKERS must be'],
      [['fly'], 2, "error: unknown command 'fly'\n"],
      [['user', 'create'], 2, "error: missing required argument 'login'\n"],
      [['verify', '--fix'], 2, "error: unknown option '--fix'\n"],
      [['help', 'fly'], 2, ''],
    ]
    const outcomes = await Promise.all(cases.map(([args]) => run(args, env)))
    for (const [index, [, code, text]] of cases.entries()) {
      expect(outcomes[index]!.code).toBe(code)
      expect(outcomes[index]!.stderr).toContain(text)
      expect(outcomes[index]!.stderr).not.toContain('    at ')
    }
    expect((await run(['--help'], {})).code).toBe(0)
  })

  test('help config lists every variable', async () => {
    const { stdout, code } = await run(['help', 'config'], {})
    expect(code).toBe(0)
    for (const { name } of Object.values(variables)) expect(stdout).toContain(`  ${name} `)
  })

  test('a wrong or unknown variable is refused at start by its name', async () => {
    expect(await run(['serve'], { ...env, ENTREPOT_PORT: 'x' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ENTREPOT_PORT'),
    })
    expect(await run(['serve'], { ...env, ENTREPOT_PROT: '1' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ENTREPOT_PROT'),
    })
    expect(existsSync(env.ENTREPOT_DATA_DIR!)).toBe(false)
  })

  test('a port that is taken is refused in one line', async () => {
    await using server = await serve(env)
    const port = new URL(server.url).port
    const other = await run(['serve'], { ...env, ENTREPOT_PORT: port, ENTREPOT_ADMIN_PORT: 'off' })
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('EADDRINUSE') })
    const workers = await run(['serve', '--workers', '2'], { ...env, ENTREPOT_PORT: port, ENTREPOT_ADMIN_PORT: 'off' })
    expect(workers.code).toBe(1)
  })

  test('a stop finishes the transfer in progress, and readiness ends first', async () => {
    const server = await serve(env)
    const cookie = await signIn(server.url, 'admin', await adminPassword(server))
    const upload = startUpload(server.url, cookie)
    upload.write('first half, ')
    await eventually(async () => (await fetch(`${server.adminUrl}/metrics`)).text()).toContain(
      'in_progress{direction="up"} 1',
    )
    const code = server.stop()
    await eventually(async () => (await fetch(`${server.adminUrl}/readyz`)).status).toBe(503)
    upload.end('second half')
    expect(await upload.status).toBe(201)
    expect(await code).toBe(0)

    await using again = await serve(env)
    const content = await get(again.url, await signIn(again.url, 'admin', await adminPassword(server)), 'slow.txt')
    expect(content.toString()).toBe('first half, second half')
  })

  test('a transfer that does not end in time is cut off, and leaves nothing', async () => {
    const server = await serve({ ...env, ENTREPOT_SHUTDOWN_TIMEOUT: '50ms' })
    const cookie = await signIn(server.url, 'admin', await adminPassword(server))
    const upload = startUpload(server.url, cookie)
    upload.write('x'.repeat(100_000))
    await eventually(async () => (await fetch(`${server.adminUrl}/metrics`)).text()).toContain(
      'in_progress{direction="up"} 1',
    )
    const refused = expect(upload.status).rejects.toThrow()
    expect(await server.stop('SIGINT')).toBe(0)
    await refused
    expect((await run(['verify', '--content'], env)).stdout).toContain('0 versions, 0 segments, 0 objects')
  })

  test('workers share the port, their metrics are added up, and one that dies is replaced', async () => {
    await using server = await serve(env, ['--workers', '2'])
    const cookie = await signIn(server.url, 'admin', await adminPassword(server))
    for (let n = 0; n < 10; n += 1) await put(server.url, cookie, `file${n}`, `content ${n}`)
    const metrics = async () => (await fetch(`${server.adminUrl}/metrics`)).text()
    await eventually(metrics).toContain('operation="uploadFile",status="201"} 10')
    expect((await metrics()).match(/# TYPE entrepot_jobs gauge/g)).toHaveLength(1)
    expect((await fetch(`${server.adminUrl}/readyz`)).status).toBe(200)
    const [worker] = execFileSync('ps', ['-o', 'pid=', '--ppid', String(server.process.pid)], { encoding: 'utf8' })
      .trim()
      .split('\n')
    process.kill(Number(worker), 'SIGKILL')
    await eventually(() => server.output.stderr).toContain('will be replaced')
    expect((await get(server.url, cookie, 'file3')).toString()).toBe('content 3')
    expect(await server.stop()).toBe(0)
  })

  test('a backup made while the server writes can be restored, and is whole', async () => {
    const server = await serve(env)
    const password = await adminPassword(server)
    const cookie = await signIn(server.url, 'admin', password)
    const large = new Uint8Array(300_000).fill(7)
    await put(server.url, cookie, 'large', large)
    let writing = true
    const writer = (async () => {
      for (let n = 0; writing; n += 1)
        await put(server.url, cookie, `during${n % 5}`, new Uint8Array(50_000).fill(n % 256))
    })()
    const backup = join(folder, 'backup')
    const made = await run(['backup', backup, '--with-key'], env)
    writing = false
    await writer
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(await run(['backup', backup], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not empty'),
    })
    await fetch(`${server.url}/2.0/files/large`, { method: 'DELETE', headers: { cookie } })
    await server.stop()

    // As docs/operations.md says: the backup is laid out like a data directory.
    const restored = join(folder, 'restored')
    cpSync(backup, restored, { recursive: true })
    rmSync(env.ENTREPOT_DATA_DIR!, { recursive: true })
    const restoredEnv = { ENTREPOT_DATA_DIR: restored }
    expect(await run(['verify', '--content'], restoredEnv)).toMatchObject({ code: 0 })
    await using again = await serve(restoredEnv)
    expect((await get(again.url, await signIn(again.url, 'admin', password), 'large')).equals(large)).toBe(true)
  })

  test('a backup without the key says so, and does not start without it', async () => {
    await run(['init'], env)
    const backup = join(folder, 'backup')
    expect((await run(['backup', backup], env)).stdout).toContain('master key is not in it')
    expect(await run(['user', 'list'], { ENTREPOT_DATA_DIR: backup })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('master.key'),
    })
    cpSync(join(env.ENTREPOT_DATA_DIR!, 'master.key'), join(backup, 'master.key'))
    expect(await run(['user', 'list'], { ENTREPOT_DATA_DIR: backup })).toMatchObject({ code: 0 })
  })

  test('a bad file is refused with its lines before anything is made', async () => {
    const file = join(folder, 'bad.yaml')
    writeFileSync(file, 'users:\n  - { name: x }\nfoo: 1\n')
    const { code, stderr } = await run(['apply', file], env)
    expect(code).toBe(1)
    expect(stderr).toContain(`${file}:2:5: "username" is missing`)
    expect(stderr).toContain(`${file}:3:1: "foo" is not known here`)
    expect(existsSync(env.ENTREPOT_DATA_DIR!)).toBe(false)
  })

  test('keys are rotated beside a running server, and what was stored before stays readable', async () => {
    await using server = await serve(env)
    const cookie = await signIn(server.url, 'admin', await adminPassword(server))
    await put(server.url, cookie, 'before', 'before')
    expect((await run(['keys', 'rotate'], env)).stdout).toContain('master:2 is the current key')
    expect((await run(['keys', 'drop', 'master:1'], env)).code).toBe(0)
    await put(server.url, cookie, 'after', 'after')
    expect((await get(server.url, cookie, 'before')).toString()).toBe('before')
    expect((await run(['keys', 'list'], env)).stdout).not.toContain('master:1')
    expect((await run(['verify', '--content'], env)).code).toBe(0)
  })

  test('the table of variables in the README is the one that the program has', async () => {
    const plain = (table: string) => table.replaceAll(/ +/g, ' ').replaceAll(/-+/g, '-').split('\n')
    const readme = plain(readFileSync('README.md', 'utf8'))
    expect(plain(configTable()).filter(line => !line.startsWith('|-') && !readme.includes(line))).toEqual([])
  })
})

/** An upload that is sent piece by piece. */
function startUpload(url: string, cookie: string) {
  const boundary = 'entrepot-boundary'
  const sent = request(`${url}/2.0/files/slow.txt`, {
    method: 'PUT',
    headers: { cookie, 'content-type': `multipart/form-data; boundary=${boundary}` },
  })
  const status = new Promise<number | undefined>((resolve, reject) => {
    sent.once('response', answer => {
      answer.resume()
      resolve(answer.statusCode)
    })
    sent.once('error', reject)
  })
  sent.write(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="slow.txt"\r\n\r\n`)
  return {
    status,
    write: (text: string) => sent.write(text),
    end: (text: string) => sent.end(`${text}\r\n--${boundary}--\r\n`),
  }
}
