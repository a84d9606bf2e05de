import { expect, test } from 'vitest'
import { clientNetwork, isAddressAllowed, loadIpRanges, storeIpRanges } from './ip-ranges.ts'

test('no ranges allow every address', () => {
  expect(storeIpRanges([])).toBeNull()
  expect(storeIpRanges(null)).toBeNull()
  expect(isAddressAllowed(null, 'whatever')).toBe(true)
})

test.for([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.0.0.0/8', '::ffff:10.1.2.3', true],
  ['::ffff:10.0.0.0/104', '10.1.2.3', true],
  ['::ffff:10.0.0.1', '10.0.0.1', true],
  ['192.0.2.7', '192.0.2.7', true],
  ['192.0.2.7', '192.0.2.8', false],
  ['2001:db8::/32', '2001:db8:1::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['fe80::/10', 'fe80::1%eth0', true],
  ['0.0.0.0/0', '2001:db8::1', false],
  ['::/0', '192.0.2.7', false],
  ['10.0.0.0/8', '', false],
  ['10.0.0.0/8', 'unix', false],
] as const)('range %s and address %s: %s', ([range, address, allowed]) => {
  expect(isAddressAllowed(storeIpRanges([range]), address)).toBe(allowed)
})

test.for(['10', '10.1', '10.0.0.0/33', '2001:db8::/129', 'example.com', '', '10.0.0.0/'])('%j is no range', text => {
  expect(() => storeIpRanges([text])).toThrowError(expect.objectContaining({ code: 'invalid-input' }))
})

test('ranges are given back as networks', () => {
  expect(loadIpRanges(storeIpRanges([' 192.0.2.7 ', '2001:DB8::/32']))).toEqual(['192.0.2.7/32', '2001:db8::/32'])
})

test.for([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['fe80::1%eth0', 'fe80::/64'],
  ['', ''],
] as const)('the client behind %j is %j', ([address, network]) => {
  expect(clientNetwork(address)).toBe(network)
})
