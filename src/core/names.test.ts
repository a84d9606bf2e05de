import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isDomainError } from './errors.ts'
import { checkName, fold, MAX_NAME_BYTES, nameKey, numberedName } from './names.ts'

const anyText = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 300 }))
const validName = anyText.filter(name => ruleOf(name) === undefined)

function ruleOf(name: string): string | undefined {
  try {
    checkName(name)
    return undefined
  } catch (error) {
    if (isDomainError(error, 'name-refused')) return error.details.rule
    throw error
  }
}

test.for([
  ['', 'empty'],
  ['  ', 'empty'],
  ['.', 'dot'],
  ['..', 'dot'],
  ['a/b', 'slash'],
  ['a\\b', 'slash'],
  ['a\0b', 'control-character'],
  ['a\u0085b', 'control-character'],
  ['a\ud800', 'not-unicode'],
  ['x'.repeat(256), 'too-long'],
  ['é'.repeat(128), 'too-long'],
  // Longer once composed: one of the letters that Unicode never composes.
  ['\u0958'.repeat(80), 'too-long'],
] as const)('%j is refused as %s', ([name, rule]) => {
  expect(ruleOf(name)).toBe(rule)
})

test.for(['...', ' a ', 'x'.repeat(255), 'é'.repeat(127), '..a', 'con', 'ﬁ', '😀.txt'])('%j is a name', name => {
  expect(checkName(name)).toBe(name)
})

test('what is accepted can be a step of a path on any common file system', () => {
  fc.assert(
    fc.property(validName, name => {
      expect(name).not.toMatch(/[/\\\0]/)
      expect(['', '.', '..']).not.toContain(name.trim())
      expect(Buffer.byteLength(name.normalize('NFC'))).toBeLessThanOrEqual(MAX_NAME_BYTES)
    }),
  )
})

test('a numbered name is a name, differs from those before, and keeps a short extension', () => {
  fc.assert(
    fc.property(validName, fc.integer({ min: 1, max: 9_999 }), (name, count) => {
      const numbered = numberedName(name, count)
      expect(ruleOf(numbered)).toBeUndefined()
      for (const rule of ['exact', 'folded'] as const) {
        expect(nameKey(numbered, rule)).not.toBe(nameKey(name, rule))
        expect(nameKey(numbered, rule)).not.toBe(nameKey(numberedName(name, count + 1), rule))
      }
    }),
  )
  expect(numberedName('report.final.pdf', 2)).toBe('report.final (2).pdf')
  expect(numberedName('.profile', 1)).toBe('.profile (1)')
  expect(ruleOf(numberedName('\u0958'.repeat(42), 1))).toBeUndefined() // twice as long once composed
  expect(numberedName('no extension', 3)).toBe('no extension (3)')
})

test('a key does not depend on how a name is composed, and comes out the same when taken twice', () => {
  fc.assert(
    fc.property(validName, fc.constantFrom('exact', 'folded'), (name, rule) => {
      const key = nameKey(name, rule)
      expect(nameKey(name.normalize('NFD'), rule)).toBe(nameKey(name.normalize('NFC'), rule))
      expect(nameKey(key, rule)).toBe(key)
      expect(fold(fold(name))).toBe(fold(name))
    }),
  )
})

test('only case and composition make two names one, not likeness', () => {
  expect(nameKey('ÄRGER', 'folded')).toBe(nameKey('a\u0308rger', 'folded'))
  expect(nameKey('ÄRGER', 'exact')).not.toBe(nameKey('ärger', 'exact'))
  expect(nameKey('m²', 'folded')).not.toBe(nameKey('m2', 'folded'))
  expect(fold('m²')).toBe('m2')
})
