import { expect, test } from 'vitest'
import { parseDuration, parseSize, showSize } from '#platform/units.ts'

test.each([
  ['90s', 90_000],
  ['1.5h', 5_400_000],
  ['30d', 2_592_000_000],
  ['0s', 0],
  ['250ms', 250],
])('the duration %s is %i ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  ['4096', 4096],
  ['10GiB', 10_737_418_240],
  ['10 GB', 10_000_000_000],
  ['512KiB', 524_288],
])('the size %s is %i bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})

test.each(['', '30', '-5s', '5 parsecs', '1e3s', '0.0001ms', 's'])('"%s" is no duration', text => {
  expect(parseDuration(text)).toBeUndefined()
})

test.each(['', '-1', '1.5', '10gib', '99999999999999999999', 'constructor'])('"%s" is no size', text => {
  expect(parseSize(text)).toBeUndefined()
})

test('sizes are shown in the largest unit that fits', () => {
  expect([0, 1023, 1024, 1_610_612_736].map(showSize)).toEqual(['0 B', '1023 B', '1 KiB', '1.5 GiB'])
})
