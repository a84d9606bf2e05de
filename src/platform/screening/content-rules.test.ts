import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import type { ContentRule } from '#core/ports.ts'
import { docxOf, pdfOf, pptxOf, tarOf, xlsxOf, zipOf } from '#test/archives.ts'
import { contentOf, rule, untilAborted } from '#test/contents.ts'
import { afterAll, describe, expect, test } from 'vitest'
import { contentRulesEngine } from './content-rules.ts'
import { openExaminer } from './examiner.ts'
import { defaultLimits } from './limits.ts'
import { lookForRules } from './look-rules.ts'

const examiner = openExaminer(defaultLimits)
afterAll(() => examiner.close())
const engine = contentRulesEngine(examiner)

const judge = (bytes: Uint8Array | string, rules: readonly ContentRule[], name?: string) =>
  engine.examine(contentOf(bytes, { rules, chunkBytes: 1_000, ...(name && { name }) }), untilAborted())

const secret = rule('keywords', ['Projekt Übersee'])
const card = '4111 1111 1111 1111'
const account = 'DE89 3704 0044 0532 0130 00'

test('without rules nothing is looked at', async () => {
  expect(engine.isHarmless?.(Buffer.from('text'), { sizeBytes: 4, rules: [] })).toBe(true)
  expect(engine.isHarmless?.(Buffer.from('text'), { sizeBytes: 4, rules: [secret] })).toBe(false)
  const unread = { ...contentOf('x'), read: () => expect.unreachable() }
  expect(await engine.examine(unread, untilAborted())).toMatchObject({ kind: 'clean' })
})

describe('text is found in', () => {
  const text = 'Alles über das Projekt Übersee steht hier.'
  const marked = (encoding: 'utf16le', mark: number[]) =>
    Buffer.concat([Buffer.from(mark), Buffer.from(text, encoding)])
  const contents: [string, Uint8Array][] = [
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${text}`)],
    ['UTF-16, small end first', marked('utf16le', [0xff, 0xfe])],
    ['UTF-16, big end first', Buffer.from(marked('utf16le', [0xff, 0xfe])).swap16()],
    ['Latin-1', Buffer.from(text, 'latin1')],
    ['decomposed characters', Buffer.from(text.normalize('NFD'))],
    ['JSON', Buffer.from(JSON.stringify({ text }))],
    ['a text document', docxOf([['nothing'], ['Projekt Über', 'see']])],
    ['a spread sheet', xlsxOf(['nothing', text])],
    ['a presentation', pptxOf(['nothing', text])],
    ['a PDF document', pdfOf(['nothing', 'Projekt \u00dcbersee'])],
    ['a ZIP archive', zipOf([{ name: 'a.csv', bytes: Buffer.from(text) }])],
    ['a document in a compressed tar archive', gzipSync(tarOf([{ name: 'a.docx', bytes: docxOf([[text]]) }]))],
    ['a PDF document in a ZIP archive', zipOf([{ name: 'a.pdf', bytes: pdfOf(['Projekt \u00dcbersee']) }])],
  ]
  test.for(contents)('%s', async ([, bytes]) => {
    expect(await judge(bytes, [rule('keywords', ['Projekt Übersee'])])).toEqual({
      kind: 'matched',
      quarantines: false,
      name: 'keywords',
    })
    expect(await judge(bytes, [rule('keywords', ['Projekt Untersee'])])).toEqual({ kind: 'clean', quarantines: false })
  })
})

test('bytes that are no text are not searched', async () => {
  expect(await judge(Buffer.from('\u0000\u0001Projekt Übersee'), [secret])).toMatchObject({ kind: 'clean' })
})

test('the verdict names the rules that matched, and quarantines when one of them says so', async () => {
  const rules = [
    rule('keywords', ['invoice'], { name: 'words' }),
    rule('card-number', [], { name: 'cards', effect: 'quarantine' }),
    rule('bank-account', [], { name: 'accounts' }),
  ]
  expect(await judge(`an invoice over ${card}`, rules)).toEqual({
    kind: 'matched',
    quarantines: true,
    name: 'words, cards',
  })
  expect(await judge(`an invoice, ${account}`, rules)).toEqual({
    kind: 'matched',
    quarantines: false,
    name: 'words, accounts',
  })
  const names = Array.from({ length: 50 }, (_, at) => rule('keywords', ['invoice'], { name: `rule number ${at}` }))
  expect((await judge('an invoice', names)).name).toHaveLength(200)
})

test('a rule matches from as many places, or as many different numbers, as it says', async () => {
  const words = rule('keywords', ['geheim'], { minMatches: 3 })
  expect(await judge('geheim, Geheim und geheimnisvoll', [words])).toMatchObject({ kind: 'clean' })
  expect(await judge('geheim, Geheim und GEHEIM', [words])).toMatchObject({ kind: 'matched' })
  const cards = rule('card-number', [], { minMatches: 2 })
  expect(await judge(`${card} and 4111111111111111`, [cards])).toMatchObject({ kind: 'clean' })
  expect(await judge(`${card} and 5500-0055-5555-5559`, [cards])).toMatchObject({ kind: 'matched' })
})

test('matches count over all the files of an archive, but none reaches from one into the next', async () => {
  const halves = ['4111 1111', '1111 1111'].map((text, at) => ({ name: `${at}.txt`, bytes: Buffer.from(text) }))
  expect(await judge(zipOf(halves), [rule('card-number')])).toMatchObject({ kind: 'clean' })
  const words = ['geheim', 'streng geheim'].map((text, at) => ({ name: `${at}.txt`, bytes: Buffer.from(text) }))
  expect(await judge(zipOf(words), [rule('keywords', ['geheim'], { minMatches: 2 })])).toMatchObject({
    kind: 'matched',
  })
})

const split = { chunkBytes: fc.integer({ min: 1, max: 5_000 }), before: fc.integer({ min: 0, max: 280_000 }) }

test('what is found does not depend on where the text is cut', async () => {
  const rules = [
    rule('keywords', ['übersee']),
    rule('pattern', [String.raw`\bEMP-\d{6}\b`], { name: 'employee' }),
    rule('card-number'),
    rule('bank-account'),
  ]
  await fc.assert(
    fc.asyncProperty(split.chunkBytes, split.before, async (chunkBytes, before) => {
      const text = `${'wörter '.repeat(before / 7)}|Übersee EMP-123456 ${card} ${account}| und mehr`
      const content = contentOf(text, { rules, chunkBytes: chunkBytes + (before > 20_000 ? 20_000 : 0) })
      expect((await lookForRules(content, defaultLimits)).name).toBe('keywords, employee, card-number, bank-account')
    }),
    { numRuns: 40 },
  )
})

test('each place counts once, wherever the text is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 100, max: 20_000 }), async gap => {
      const text = `${'.'.repeat(gap)}EMP-123456`.repeat(20)
      const exactly = (minMatches: number) => [rule('pattern', [String.raw`EMP-\d+`], { minMatches })]
      const kindOf = async (count: number) =>
        (await lookForRules(contentOf(text, { rules: exactly(count) }), defaultLimits)).kind
      expect([await kindOf(20), await kindOf(21)]).toEqual(['matched', 'clean'])
    }),
    { numRuns: 20 },
  )
})

/** Where the search goes on to the next piece of a text. */
const CUT = 128 * 1024
const TAIL = '.'.repeat(20_000)

const found = async (text: string, given: ContentRule) =>
  (await lookForRules(contentOf(text, { rules: [given] }), defaultLimits)).kind

test('what stands around a match counts, also across a cut', async () => {
  const employee = rule('pattern', [String.raw`\bEMP-\d{6}\b`])
  for (const shift of [0, 1, 5, 9, 10]) {
    expect(await found(`${'.'.repeat(CUT - shift)}EMP-123456${TAIL}`, employee)).toBe('matched')
    expect(await found(`${'x'.repeat(CUT - shift)}EMP-123456${TAIL}`, employee)).toBe('clean')
    expect(await found(`${'.'.repeat(CUT - shift)}EMP-1234567${TAIL}`, employee)).toBe('clean')
    expect(await found(`${'.'.repeat(CUT - shift - 1)}9${card}${TAIL}`, rule('card-number'))).toBe('clean')
  }
})

test('places do not overlap, also across a cut', async () => {
  const ten = (minMatches: number) => rule('pattern', ['a{10}'], { minMatches })
  const places = Math.ceil(CUT / 10)
  const text = `${'a'.repeat(places * 10 + 2)}${TAIL}`
  expect(await found(text, ten(places))).toBe('matched')
  expect(await found(text, ten(places + 1))).toBe('clean')
})

test('a PDF document is read in ranges and not as a whole', async () => {
  const bytes = pdfOf(['nothing', 'Projekt \u00dcbersee'], { padBytes: 20 * 2 ** 20 })
  const content = contentOf(bytes, { rules: [secret] })
  let readBytes = 0
  const watched = {
    ...content,
    async *read(start?: number, end?: number) {
      for await (const chunk of content.read(start, end)) {
        readBytes += chunk.length
        yield chunk
      }
    },
  }
  expect(await engine.examine(watched, untilAborted())).toMatchObject({ kind: 'matched' })
  expect(readBytes).toBeLessThan(4 * 2 ** 20)
})

test('a broken document gives what text there is', async () => {
  const pdf = pdfOf(['Projekt \u00dcbersee'])
  expect(await judge(pdf.subarray(0, 60), [secret])).toMatchObject({ kind: 'clean' })
  const broken = docxOf([['Projekt Übersee']])
  expect(
    await judge(zipOf([{ name: 'word/document.xml', bytes: Buffer.from('<w:p>Projekt Übersee</w:p><w:p') }]), [secret]),
  ).toMatchObject({ kind: 'matched' })
  expect(await judge(broken.subarray(0, 100), [secret])).toMatchObject({ kind: 'clean' })
})

test('markup is no text, its entities are', async () => {
  const body = '<w:p><w:t geheim="1">streng &amp; ge&#x68;eim</w:t></w:p><!-- offen --><![CDATA[<verborgen>]]>'
  const bytes = zipOf([{ name: 'word/document.xml', bytes: Buffer.from(body) }])
  expect(await judge(bytes, [rule('keywords', ['streng & geheim'])])).toMatchObject({ kind: 'matched' })
  expect(await judge(bytes, [rule('keywords', ['geheim'], { minMatches: 2 })])).toMatchObject({ kind: 'clean' })
  expect(await judge(bytes, [rule('keywords', ['offen'])])).toMatchObject({ kind: 'clean' })
  expect(await judge(bytes, [rule('keywords', ['verborgen'])])).toMatchObject({ kind: 'matched' })
})

describe('rules are checked when they are made', () => {
  const refused: [string, ContentRule][] = [
    ['an unfinished pattern', rule('pattern', ['(a'])],
    ['a back reference', rule('pattern', [String.raw`(a)\1`])],
    ['a look ahead', rule('pattern', ['a(?=b)'])],
    ['a pattern that repeats too much', rule('pattern', ['(a{100}){100}b{1000}'])],
    ['a pattern that matches nothing', rule('pattern', ['a*'])],
    ['a long pattern', rule('pattern', ['a'.repeat(1_001)])],
    ['no pattern at all', rule('pattern')],
    ['a keyword without letters', rule('keywords', ['--'])],
    ['a long keyword', rule('keywords', ['a'.repeat(201)])],
    ['more than 50 patterns', rule('pattern', Array<string>(51).fill('a'))],
    [
      'more than 500 keywords',
      rule(
        'keywords',
        Array.from({ length: 501 }, (_, at) => `w${at}`),
      ),
    ],
    ['terms for numbers', rule('card-number', ['4111'])],
  ]
  test.for(refused)('%s is refused', ([, wrong]) => {
    expect(engine.checkRule?.(wrong)).toEqual(expect.any(String))
  })

  test('others are not', () => {
    for (const right of [
      secret,
      rule('card-number'),
      rule('bank-account'),
      rule('pattern', ['(?i)a+b', String.raw`\d{4}$`]),
    ]) {
      expect(engine.checkRule?.(right)).toBeUndefined()
    }
  })
})
