import { describe, expect } from 'vitest'
import fc from 'fast-check'
import { updateSpacePolicy } from '#core/spaces.ts'
import { makeDelivery, makeSealed, openToAll, PASSWORD } from '#test/sealed-space.ts'
import { test } from '#test/world.ts'
import type { Ctx } from './ctx.ts'
import { acceptAccessToken, acceptPasswordToken, provePassword, spendAccess } from './delivery-proofs.ts'
import { isDomainError } from './errors.ts'
import { requireOpenSpace } from './gates.ts'
import { hashPassword } from './passwords.ts'
import { getSpaceRow, type Space } from './space-rows.ts'
import { addMasterKey, dropMasterKey } from '#platform/key-ring.ts'

const limited = (accessLimit: number) => ({ policy: { delivery: { ...openToAll, accessLimit } } })
const wrongPassword = { code: 'wrong-proof', details: { proof: 'password' } }
const wrongAccess = { code: 'wrong-proof', details: { proof: 'access' } }

const withSpace = (space: Space, id: number): Space => ({ ...space, id })
const withPrincipal = (ctx: Ctx, principalId: string): Ctx => ({ ...ctx, actor: { ...ctx.actor, principalId } })

/** Passwords take their time, on a busy machine the more. */
const slow = { timeout: 60_000 }

describe('the password of a delivery', slow, () => {
  test('opens it, at once and by the token until that expires', async ({ world }) => {
    const { space } = await makeDelivery(world)
    const { ctx } = await world.user()
    expect(() => requireOpenSpace(ctx, space)).toThrow('proof-required')

    const { token, expiresAt, ctx: opened } = await provePassword(ctx, { space, password: PASSWORD })

    requireOpenSpace(opened, space)
    requireOpenSpace(acceptPasswordToken(ctx, { space, token }), space)
    expect(token).toMatch(/^[\w-]{1,999}$/)
    expect(expiresAt - world.deps.clock()).toBeGreaterThan(world.deps.settings.proofLifeMs - 1_000)
    world.advance(world.deps.settings.proofLifeMs)
    expect(() => acceptPasswordToken(ctx, { space, token })).toThrow(expect.objectContaining(wrongPassword))
    expect(await world.events()).toEqual(['space.created'])
  })

  test('that is wrong is refused, audited, and after some tries has to wait', async ({ world }) => {
    const { space } = await makeDelivery(world)
    const { ctx } = await world.user()
    const guess = () => provePassword(ctx, { space, password: 'guess' })
    for (let tries = 0; tries < world.deps.settings.throttleAfter; tries += 1)
      await expect(guess()).rejects.toMatchObject(wrongPassword)

    await expect(provePassword(ctx, { space, password: PASSWORD })).rejects.toMatchObject({ code: 'throttled' })
    const other = await world.user()
    await provePassword(other.ctx, { space, password: PASSWORD })
    world.advance(world.deps.settings.throttleMs)
    await provePassword(ctx, { space, password: PASSWORD })
    expect((await world.events()).slice(1)).toEqual(Array(5).fill('access.refused refused'))
  })

  test('once changed, or taken away, makes earlier tokens void', async ({ world }) => {
    const { id, space, ctx } = await makeDelivery(world)
    const { token } = await provePassword(ctx, { space, password: PASSWORD })
    for (const deliveryPasswordHash of [await hashPassword(PASSWORD), null]) {
      const changed = await updateSpacePolicy(world.system, { spaceId: id, policy: { deliveryPasswordHash } })
      expect(() => acceptPasswordToken(ctx, { space: changed, token })).toThrow(expect.objectContaining(wrongPassword))
    }
  })

  test('of a delivery that has none cannot be shown', async ({ world }) => {
    const { space, ctx } = await makeDelivery(world, {}, { hasPassword: false })
    await expect(provePassword(ctx, { space, password: '' })).rejects.toMatchObject({ code: 'wrong-state' })
  })

  test('brings along the key of what it encrypts', async ({ world }) => {
    const { space, ctx, opened } = await makeSealed(world)
    const { token } = await provePassword(ctx, { space, password: PASSWORD })

    expect(token.length).toBeLessThan(1_000)
    const accepted = acceptPasswordToken(ctx, { space, token })
    expect(accepted.actor.proofs.spaceKeys.get(space.id)).toEqual(opened.actor.proofs.spaceKeys.get(space.id))
  })
})

describe('an access to a delivery', slow, () => {
  test('is spent once for all requests of a person until its token expires', async ({ world }) => {
    const { id, space } = await makeDelivery(world, limited(2), { hasPassword: false })
    const { ctx } = await world.user()
    expect(() => requireOpenSpace(ctx, space)).toThrow('proof-required')

    const { token } = await spendAccess(ctx, { space })

    for (let requests = 0; requests < 3; requests += 1)
      requireOpenSpace(acceptAccessToken(ctx, { space, token }), space)
    expect((await getSpaceRow(ctx, id)).accessCount).toBe(1)
    world.advance(world.deps.settings.proofLifeMs)
    expect(() => acceptAccessToken(ctx, { space, token })).toThrow(expect.objectContaining(wrongAccess))
    expect(await world.events()).toEqual(['space.created', 'delivery.accessed'])
  })

  test('is there exactly as often as the limit says, however many ask at once', async ({ world }) => {
    const { id, space } = await makeDelivery(world, limited(50), { hasPassword: false })
    const { ctx } = await world.user()

    const answers = await Promise.allSettled(Array.from({ length: 200 }, () => spendAccess(ctx, { space })))

    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
    for (const answer of answers) {
      if (answer.status === 'rejected')
        expect(answer.reason).toMatchObject({ code: 'access-limit-reached', details: { spaceId: id, limit: 50 } })
    }
    expect((await getSpaceRow(ctx, id)).accessCount).toBe(50)
    const events = await world.events()
    expect(events.filter(type => type === 'delivery.accessed')).toHaveLength(50)
    expect(events.filter(type => type === 'access.refused refused')).toHaveLength(150)
  })

  test('is not spent by who has not shown the password, nor where there is no limit', async ({ world }) => {
    const { id, space } = await makeDelivery(world, limited(1))
    const free = await makeDelivery(world, { name: 'free' }, { hasPassword: false })
    const { ctx } = await world.user()

    await expect(spendAccess(ctx, { space })).rejects.toMatchObject({ code: 'proof-required' })
    await expect(spendAccess(ctx, { space: free.space })).rejects.toMatchObject({ code: 'wrong-state' })
    expect((await getSpaceRow(ctx, id)).accessCount).toBe(0)
    const { ctx: opened } = await provePassword(ctx, { space, password: PASSWORD })
    await spendAccess(opened, { space })
    await expect(spendAccess(opened, { space })).rejects.toMatchObject({ code: 'access-limit-reached' })
  })
})

describe('a token', slow, () => {
  test('serves its space, person and purpose only', async ({ world }) => {
    const { space, ctx } = await makeDelivery(world, limited(100))
    const { token: password, ctx: opened } = await provePassword(ctx, { space, password: PASSWORD })
    const { token: access } = await spendAccess(opened, { space })
    const { id } = space
    const { principalId } = ctx.actor
    fc.assert(
      fc.property(
        fc.oneof(fc.constant(id), fc.integer({ min: 1, max: 2 ** 40 })),
        fc.oneof(fc.constant(principalId), fc.uuid(), fc.string()),
        fc.constantFrom('password', 'access'),
        fc.constantFrom('password', 'access'),
        (spaceId, person, issuedFor, usedFor) => {
          const isSame = spaceId === id && person === principalId && issuedFor === usedFor
          const accept = usedFor === 'password' ? acceptPasswordToken : acceptAccessToken
          const token = issuedFor === 'password' ? password : access
          const use = () => accept(withPrincipal(ctx, person), { space: withSpace(space, spaceId), token })
          if (isSame) expect(use).not.toThrow()
          else expect(use).toThrow(expect.objectContaining({ code: 'wrong-proof', details: { proof: usedFor } }))
        },
      ),
    )
  })

  test('is refused as soon as any of it was altered, cut or added to', async ({ world }) => {
    const { space, ctx } = await makeDelivery(world)
    const { token } = await provePassword(ctx, { space, password: PASSWORD })
    const isAccepted = (altered: string) => {
      try {
        return Boolean(acceptPasswordToken(ctx, { space, token: altered }))
      } catch (error) {
        if (isDomainError(error, 'wrong-proof')) return false
        throw error
      }
    }
    expect(isAccepted(token)).toBe(true)
    const letters = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_= ')
    for (let at = 0; at < token.length; at += 1) {
      // The last one has bits that decode to nothing.
      const others = at === token.length - 1 ? letters : ['A', 'B', 'g', '_', '=']
      const altered = others
        .filter(letter => letter !== token[at])
        .map(letter => token.slice(0, at) + letter + token.slice(at + 1))
      expect([...altered, token.slice(0, at)].filter(isAccepted)).toEqual([])
    }
    fc.assert(fc.property(fc.string({ minLength: 1 }), text => !isAccepted(token + text)))
    fc.assert(fc.property(fc.string({ unit: 'binary' }), text => !isAccepted(text)))
  })

  test('outlives a new master key, and ends with its own', async ({ world }) => {
    const { space, ctx } = await makeDelivery(world)
    const { token } = await provePassword(ctx, { space, password: PASSWORD })
    await addMasterKey(world.keyFile)
    acceptPasswordToken(ctx, { space, token })
    expect(world.deps.keys.current).toBe('master:2')
    await dropMasterKey(world.keyFile, 'master:1')
    expect(world.deps.keys.names).toEqual(['master:2'])
    expect(() => acceptPasswordToken(ctx, { space, token })).toThrow(expect.objectContaining(wrongPassword))
  })
})
