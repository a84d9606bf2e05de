/**
 * The fixture `sofie`: the API over a world with an administrator and users who may send and receive packages; every answer
 * is held against the contract.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { expect } from 'vitest'
import { addMembers, createGroup } from '#core/groups.ts'
import { setRightsOf, systemRights, type SystemRight } from '#core/roles.ts'
import type { ScreeningEngine } from '#core/ports.ts'
import { createToken } from '#core/tokens.ts'
import { sofie } from '#dialects/sofie/index.ts'
import { routableUrl } from '#http/addresses.ts'
import { testSignature } from '#platform/screening/test-signature.ts'
import { answerOf, type Answer } from '#test/answer.ts'
import { loadChecker } from '#test/contract-checker.ts'
import { test as base, type World, type WorldUser } from '#test/world.ts'

export type UserName = 'sender' | 'contributor' | 'regular' | 'blind' | 'stranger'
/** All but the administrator are users of the same rights. */
export type Caller = UserName | 'admin'

export interface Sent {
  /** Whose token goes along; none where absent. */
  as?: Caller
  /** The user as whom the call is made. */
  impersonate?: UserName
  /** Sent as the body, with its media type. */
  json?: unknown
  payload?: string | Buffer
  headers?: Record<string, string>
  /** The contract has no word for what is asked here. */
  beyondContract?: true
}

export interface SofieWorld {
  world: World
  app: FastifyInstance
  users: Record<Caller, WorldUser>
  tokens: Record<Caller, string>
  /** The group that gives the users their rights. */
  groupId: string
  /** The path is the one below `/api/v2/user`. */
  send: (method: string, path: string, sent?: Sent) => Promise<Answer>
}

const screened = base.extend<{ engines: readonly ScreeningEngine[] }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern
  engines: async ({}, use) => use([testSignature]),
})

export const test = screened.extend<{ sofie: SofieWorld }>({
  sofie: async ({ world }, use) => {
    const app = Fastify({ routerOptions: { maxParamLength: 8192 }, rewriteUrl: routableUrl })
    await app.register(sofie, { deps: world.deps })
    const violations: unknown[] = []
    await use(await populate({ world, app, check: await loadChecker('sofie', violations) }))
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

const userNames = ['sender', 'contributor', 'regular', 'blind', 'stranger'] as const

/** What the users may do; not among it is what a server usually allows a few only. */
export const userRights: readonly SystemRight[] = [
  'deliveries.use',
  'deliveries.receive',
  'deliveries.send.public',
  'deliveries.send.internal',
  'deliveries.send.private',
  'deliveries.send.own',
]

async function populate({ world, app, check }: Means): Promise<SofieWorld> {
  const { system } = world
  const account = (name: string) => ({ name: `${name} of the world`, email: `${name}@example.test` })
  const users: Record<Caller, WorldUser> = {
    sender: await world.user('sender', account('sender')),
    contributor: await world.user('contributor', account('contributor')),
    regular: await world.user('regular', account('regular')),
    blind: await world.user('blind', account('blind')),
    stranger: await world.user('stranger', account('stranger')),
    admin: await world.user('admin', { ...account('admin'), kind: 'administrator' }),
  }
  await setRightsOf(system, { principalId: users.admin.user.id, rights: systemRights, among: systemRights })
  const { id: groupId } = await createGroup(system, { name: 'Users' })
  await setRightsOf(system, { principalId: groupId, rights: userRights, among: systemRights })
  await addMembers(system, { groupId, memberIds: userNames.map(name => users[name].user.id) })
  const tokens: Record<Caller, string> = {
    sender: await tokenOf(users.sender),
    contributor: await tokenOf(users.contributor),
    regular: await tokenOf(users.regular),
    blind: await tokenOf(users.blind),
    stranger: await tokenOf(users.stranger),
    admin: await tokenOf(users.admin),
  }
  return { world, app, users, tokens, groupId, send: sender({ app, check }, { users, tokens }) }
}

async function tokenOf({ user, ctx }: WorldUser): Promise<string> {
  const { secret } = await createToken(ctx, { principalId: user.id, name: 'test' })
  return secret
}

function sender({ app, check }: Omit<Means, 'world'>, { users, tokens }: Pick<SofieWorld, 'users' | 'tokens'>) {
  return async (method: string, path: string, sent: Sent = {}): Promise<Answer> => {
    const { as, impersonate, json, payload = json === undefined ? undefined : JSON.stringify(json) } = sent
    const headers = {
      ...(as && { authorization: `Bearer ${tokens[as]}` }),
      ...(impersonate && { 'x-sofie-impersonate-userid': users[impersonate].user.id }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...sent.headers,
    }
    const url = `/api/v2/user${path}`
    const response = await app.inject({
      method: method as 'GET', // the tests send methods that nobody serves too
      url,
      headers,
      ...(payload !== undefined && { payload }),
    })
    const answer = answerOf(response)
    const { status, raw: body } = answer
    if (!sent.beyondContract) check({ method, url, requestHeaders: headers, status, headers: answer.headers, body })
    return answer
  }
}

/** Part of the answer to a refused request. */
export const refused = (status: number, reason: string) => ({
  status,
  headers: { 'x-sofie-response-reason': reason },
  body: { reason },
})
