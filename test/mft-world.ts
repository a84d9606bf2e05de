/** The fixture `mft`: the API over a world with spaces, users and their cookies; every answer is held against the contract. */
import Fastify, { type FastifyInstance } from 'fastify'
import { expect } from 'vitest'
import { inTx } from '#core/ctx.ts'
import { createFolder } from '#core/nodes.ts'
import { setGrant } from '#core/grants.ts'
import type { Action } from '#core/permissions.ts'
import { createSession } from '#core/sessions.ts'
import { createSpace } from '#core/spaces.ts'
import { updateUser } from '#core/users.ts'
import { mft } from '#dialects/mft/index.ts'
import { routableUrl } from '#http/addresses.ts'
import { answerOf, type Answer } from '#test/answer.ts'
import { loadChecker } from '#test/contract-checker.ts'
import { test as base, type World, type WorldUser } from '#test/world.ts'

export interface Sent {
  headers?: Record<string, string>
  payload?: string | Buffer
  /** The cookies of this caller; none where absent. */
  as?: string
}

export interface MftWorld {
  world: World
  app: FastifyInstance
  /** Cookie headers by login. `partner` has a home space, `clerk` reads it from outside, `nobody` has no view at all. */
  cookies: Record<'partner' | 'clerk' | 'reader' | 'nobody', string>
  spaceId: number
  send(method: string, path: string, sent?: Sent): Promise<Answer>
  /** PUT by `partner`, for what is there before a test begins. */
  put(path: string, content?: string): Promise<number>
  /** Logs in and gives the value of the header Cookie. */
  signIn(username: string, password: string): Promise<string>
}

export const test = base.extend<{ mft: MftWorld }>({
  mft: async ({ world }, use) => {
    const app = Fastify({ routerOptions: { maxParamLength: 8192 }, rewriteUrl: routableUrl })
    await app.register(mft, { deps: world.deps })
    const violations: unknown[] = []
    const made = await populate({ world, app, check: await loadChecker('mft', violations) })
    await use(made)
    await app.close()
    await world.deps.reads.close()
    expect(violations).toEqual([])
  },
})

interface Means {
  world: World
  app: FastifyInstance
  check: (exchange: object) => void
}

async function populate({ world, app, check }: Means): Promise<MftWorld> {
  const send = sender(app, check)
  const signIn = async (username: string, password: string) => {
    const answer = await send('POST', '/2.0/login/basic', formOf({ username, password }))
    expect(answer.status).toBe(200)
    return cookieHeader(answer)
  }
  const { spaceId, cookies } = await populateSpaces(world)
  const put = async (path: string, content = 'content') => {
    const answer = await send('PUT', `/2.0/files/${path}`, {
      as: cookies.partner,
      ...multipart([{ name: 'file', content }]),
    })
    expect(answer.status).toBe(201)
    return (answer.body as { fileset: number }).fileset
  }
  return { world, app, cookies, spaceId, send, put, signIn }
}

/** Space `partner5` with `inbox`, `outbox/archive` and `locked`, where a mask leaves nothing but listing. */
async function populateSpaces(world: World) {
  const { system } = world
  const partner = await world.user('partner')
  const clerk = await world.user('clerk')
  const reader = await world.user('reader')
  const nobody = await world.user('nobody')
  const owner = await world.user('owner')
  const space = await createSpace(system, {
    name: 'partner5',
    ownerId: owner.user.id,
    policy: { unscreenedDownloads: true },
  })
  const allow = (userId: string, actions: Action[], nodeId = space.id) =>
    setGrant(system, { nodeId, subjectId: userId, actions })
  await allow(partner.user.id, ['list', 'read', 'create', 'write', 'change', 'delete'])
  await allow(clerk.user.id, ['list', 'read', 'change'])
  await allow(reader.user.id, ['list'])
  await createFolder(system, { parentId: space.id, name: 'inbox' })
  const outbox = await createFolder(system, { parentId: space.id, name: 'outbox' })
  await createFolder(system, { parentId: outbox.id, name: 'archive' })
  const locked = await createFolder(system, { parentId: space.id, name: 'locked' })
  await allow(partner.user.id, [], locked.id)
  await updateUser(system, { userId: partner.user.id, homeNodeId: space.id })
  await updateUser(system, { userId: reader.user.id, homeNodeId: space.id })
  const [ofPartner, ofClerk, ofReader, ofNobody] = await Promise.all([partner, clerk, reader, nobody].map(openSession))
  return { spaceId: space.id, cookies: { partner: ofPartner!, clerk: ofClerk!, reader: ofReader!, nobody: ofNobody! } }
}

/** As after a login, without the time that a password takes. */
export async function openSession({ user, ctx }: WorldUser): Promise<string> {
  const { client, address } = ctx.actor
  const { secret } = await inTx(ctx, ctx =>
    createSession(ctx, { principalId: user.id, factors: ['password'], client, address }),
  )
  return `sp-http-usr=${user.login}; sp-http-ses=${secret.toString('base64')}`
}

export function sender(app: FastifyInstance, check: Means['check']) {
  return async (method: string, path: string, { headers = {}, payload, as }: Sent = {}): Promise<Answer> => {
    const sent = { ...headers, ...(as && { cookie: as }) }
    const response = await app.inject({
      method: method as 'GET',
      url: path,
      headers: sent,
      ...(payload !== undefined && { payload }),
    })
    const answer = answerOf(response)
    check({ method, url: path, requestHeaders: sent, status: answer.status, headers: answer.headers, body: answer.raw })
    return answer
  }
}

/** `name=value` pairs of the cookies that an answer sets. */
export const cookieHeader = ({ headers }: Answer): string =>
  [headers['set-cookie'] ?? []]
    .flat()
    .map(cookie => cookie.split(';', 1)[0])
    .join('; ')

export const formOf = (fields: Record<string, string>): Sent => ({
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  payload: new URLSearchParams(fields).toString(),
})

export const jsonOf = (value: unknown): Sent => ({
  headers: { 'content-type': 'application/json' },
  payload: typeof value === 'string' ? value : JSON.stringify(value),
})

export interface Part {
  name: string
  content: string | Buffer
  filename?: string
  type?: string
}

const BOUNDARY = 'entrepot-test-boundary'

/** A body of these parts, as a client would send it. */
export function multipart(parts: readonly Part[]): { headers: Record<string, string>; payload: Buffer } {
  const pieces = parts.flatMap(({ name, content, filename = name === 'file' ? 'sent.bin' : undefined, type }) => [
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"`,
    filename === undefined ? '' : `; filename="${filename}"`,
    type === undefined ? '' : `\r\nContent-Type: ${type}`,
    '\r\n\r\n',
    content,
    '\r\n',
  ])
  const payload = Buffer.concat([...pieces, `--${BOUNDARY}--\r\n`].map(piece => Buffer.from(piece)))
  return { headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` }, payload }
}
