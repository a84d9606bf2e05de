import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isDomainError } from '#core/errors.ts'
import { checkSegments, encodePath, routableUrl, segmentsAfter } from './addresses.ts'

const ruleOf = (path: string) => {
  try {
    const segments = segmentsAfter(path, 1)
    checkSegments(segments, path)
    return segments
  } catch (error) {
    return isDomainError(error, 'path-refused') ? error.details.rule : error
  }
}

describe('segments of a path', () => {
  test.for<[string, unknown]>([
    ['/x/a/b', ['a', 'b']],
    ['/x/a%20b/%C3%A4', ['a b', 'ä']],
    ['/x/%2520', ['%20']],
    ['/x/a+b', ['a+b']],
    ['/x/a%2Fb', 'slash'],
    ['/x/a%2fb', 'slash'],
    ['/x/a%00', 'control-character'],
    ['/x/%', 'encoding'],
    ['/x/%zz', 'encoding'],
    ['/x/%C3', 'encoding'],
    ['/x/%C0%AF', 'encoding'],
    ['/x/%ED%A0%80', 'encoding'],
    ['/x/a//b', 'empty-segment'],
    ['/x/a/', 'empty-segment'],
    ['/x/../b', 'dot-segment'],
    ['/x/%2e%2E/b', 'dot-segment'],
    ['/x/./b', 'dot-segment'],
    ['/x/.../b', ['...', 'b']],
  ])('%s', ([path, expected]) => expect(ruleOf(path)).toEqual(expected))

  test('what was encoded comes back, whatever it was', () => {
    const character = fc.integer({ min: 1, max: 0x10ffff }).map(code => String.fromCodePoint(code))
    const name = fc
      .string({ unit: character, minLength: 1, maxLength: 20 })
      .filter(text => text.isWellFormed() && !/[/\0]|^\.\.?$/.test(text))
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), names => {
        expect(ruleOf(`/x${encodePath(names)}`)).toEqual(names)
      }),
    )
  })

  test('no spelling of a path yields a segment that leaves its place', () => {
    const piece = fc.constantFrom(
      '.',
      '..',
      '%2e',
      '%2E',
      '/',
      '%2f',
      '%5c',
      '\\',
      '%00',
      '%',
      '%c0%ae',
      'a',
      '%25',
      '2e',
      '%u002e',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
        const found = ruleOf(`/x/${pieces.join('')}`)
        if (!Array.isArray(found)) return
        for (const segment of found) expect(segment).not.toMatch(/^\.{0,2}$|[/\0]/)
      }),
      { numRuns: 2_000 },
    )
  })
})

test('a path that the router could not decode is shown to it in a form that it can', () => {
  expect(routableUrl({ url: '/a/%zz?q=%zz' })).toBe('/a/%25zz?q=%zz')
  expect(routableUrl({ url: '/a/%C3%A4?q=%' })).toBe('/a/%C3%A4?q=%')
})
