import { describe, expect } from 'vitest'
import { checkSigned, signedAddress, type SignedRequest } from '#http/signed-addresses.ts'
import { test } from '#test/world.ts'

const get: SignedRequest = {
  method: 'GET',
  path: '/store/abc',
  keyId: 's3f:someone',
  expires: 4_000_000_000,
  fixed: { 'response-content-type': 'text/plain; charset=utf-8', versionId: '7' },
}
const put: SignedRequest = { ...get, method: 'PUT', contentType: 'text/plain', fixed: {} }

function requestOf(address: string, method: string, contentType?: string) {
  const { pathname, searchParams } = new URL(address)
  return { method, path: pathname, contentType, query: Object.fromEntries(searchParams) }
}

describe('a signed address', () => {
  test('opens for what it was signed for', ({ world: { deps } }) => {
    const request = requestOf(signedAddress(deps, 'http://host', get), 'GET')
    expect(checkSigned(deps, request)).toEqual({ keyId: get.keyId, fixed: get.fixed })
    expect(checkSigned(deps, { ...request, method: 'HEAD' })).toEqual({ keyId: get.keyId, fixed: get.fixed })
  })

  test('is refused when any part of it was changed', ({ world: { deps } }) => {
    const request = requestOf(signedAddress(deps, 'http://host', get), 'GET')
    const { query } = request
    const signature = query['Signature'] ?? ''
    const altered = [
      { ...request, method: 'PUT' },
      { ...request, path: '/store/abd' },
      ...[
        { AWSAccessKeyId: 's3f:other' },
        { Expires: '4000000001' },
        { Expires: '4e9' },
        { 'response-content-type': 'text/html' },
        { versionId: '8' },
        { versionId: undefined },
        { versionId: ['7', '7'] },
        { more: 'x' },
        { Signature: signature.toLowerCase() },
        { Signature: '' },
        { Signature: undefined },
      ].map(change => ({ ...request, query: { ...query, ...change } })),
    ]
    for (const changed of altered) expect(checkSigned(deps, changed)).toBe('refused')
  })

  test('ends at its time', ({ world: { deps } }) => {
    const expires = Math.floor(deps.clock() / 1000)
    expect(
      checkSigned(deps, requestOf(signedAddress(deps, '', { ...get, expires }).replace(/^/, 'http://h'), 'GET')),
    ).toBe('expired')
  })

  test('of a PUT takes the signed media type only, and any where none was signed', ({ world: { deps } }) => {
    const typed = signedAddress(deps, 'http://host', put)
    expect(checkSigned(deps, requestOf(typed, 'PUT', 'text/plain'))).toMatchObject({ keyId: put.keyId })
    for (const other of ['text/html', 'TEXT/PLAIN', '', undefined])
      expect(checkSigned(deps, requestOf(typed, 'PUT', other))).toBe('refused')

    const untyped = signedAddress(deps, 'http://host', { ...put, contentType: '' })
    for (const any of ['text/html', '', undefined])
      expect(checkSigned(deps, requestOf(untyped, 'PUT', any))).toMatchObject({ keyId: put.keyId })
  })

  test('of another installation is refused', async ({ world: { deps } }) => {
    const address = requestOf(signedAddress(deps, 'http://host', get), 'GET')
    const keys = { ...deps.keys, lookup: (text: string) => deps.keys.lookup(`${text}!`) }
    expect(checkSigned({ ...deps, keys }, address)).toBe('refused')
  })
})
