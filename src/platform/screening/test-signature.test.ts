import fc from 'fast-check'
import { contentOf, testFile, untilAborted } from '#test/contents.ts'
import { expect, test } from 'vitest'
import { testSignature } from './test-signature.ts'

const isHarmless = (bytes: Uint8Array) =>
  testSignature.isHarmless?.(bytes.subarray(0, 512), { sizeBytes: bytes.length, rules: [] })

test('the test file is found, with white space behind it or without, however its bytes come', async () => {
  const tail = fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n', '\u001a'), maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(tail, fc.integer({ min: 1, max: 130 }), async (space, chunkBytes) => {
      const content = contentOf(testFile + space, { chunkBytes })
      expect(isHarmless(Buffer.from(testFile + space))).toBe(false)
      expect(await testSignature.examine(content, untilAborted())).toEqual({
        kind: 'infected',
        quarantines: true,
        name: 'EICAR-Test-File',
      })
    }),
  )
})

test.for([
  ['one byte too long', testFile + ' '.repeat(61)],
  ['with text behind it', `${testFile} x`],
  ['with something before it', ` ${testFile}`],
  ['cut short', testFile.slice(0, -1)],
  ['empty', ''],
])('a content that is %s is not the test file', async ([, text]) => {
  expect(isHarmless(Buffer.from(text!))).toBe(true)
  expect(await testSignature.examine(contentOf(text!), untilAborted())).toMatchObject({ kind: 'clean' })
})
