import { expect, test } from 'vitest'
import { findLanguage, preferredLanguage, showMoment } from './languages.ts'

test('a tag names its language in either case, with or without a region', () => {
  expect(['cs', 'CS', 'de-AT', 'sk_SK', ' hu '].map(findLanguage)).toEqual(['cs', 'cs', 'de', 'sk', 'hu'])
  expect(['', 'fr', 'english', null].map(findLanguage)).toEqual([undefined, undefined, undefined, undefined])
})

test('a reader gets the language he likes best among those there are, else English', () => {
  expect(preferredLanguage('fr-FR, en;q=0.5, sk;q=0.9')).toBe('sk')
  expect(preferredLanguage('de-CH,de;q=0.9,en;q=0.8')).toBe('de')
  expect(preferredLanguage('cs;q=0, hu;q=0.1')).toBe('hu')
  for (const header of ['', 'fr', '*', ';;q=,', 'de;q=x']) expect(preferredLanguage(header)).toBe('en')
})

test('a moment is written as the language does, and names its zone of time', () => {
  const moment = Date.UTC(2026, 1, 5, 20, 30)
  expect(showMoment(moment, 'en')).toBe('5 February 2026 at 20:30 UTC')
  expect(showMoment(moment, 'de')).toBe('5. Februar 2026 um 20:30 UTC')
  expect(showMoment(moment, 'cs')).toBe('5. února 2026 v 20:30 UTC')
  expect(showMoment(moment, 'sk')).toBe('5. februára 2026 o 20:30 UTC')
  expect(showMoment(moment, 'hu')).toBe('2026. február 5. 20:30 UTC')
})
