import fc from 'fast-check'
import { expect, test } from 'vitest'
import { textOfMarkup } from './markup.ts'

async function textOf(pieces: readonly string[]): Promise<string> {
  let text = ''
  // oxlint-disable-next-line require-await -- the port is asynchronous
  const stream = async function* () {
    yield* pieces
  }
  for await (const piece of textOfMarkup(stream())) text += piece
  return text
}

const markup =
  '<?xml version="1.0"?><w:p w:id="7"><w:t>a &amp; b</w:t><w:t>c&#x20AC;&#8364;</w:t></w:p><!-- <w:t>no</w:t> -->' +
  '<![CDATA[1 < 2 & 3]]><w:tab/>&unknown; &lt;end&gt;'
const text = 'a & bc\u20ac\u20ac\n1 < 2 & 3\n&unknown; <end>'

test('the text does not depend on where the markup is cut', async () => {
  expect((await textOf([markup])).trim()).toBe(text)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(markup.length), { maxLength: 6 }), async cuts => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), markup.length]
      const pieces = at.slice(1).map((end, index) => markup.slice(at[index], end))
      expect((await textOf(pieces)).trim()).toBe(text)
    }),
    { numRuns: 300 },
  )
})

test('a tag without an end is taken for text once it is too long to be one', async () => {
  const endless = `<w:t ${'x'.repeat(100_000)}`
  expect(await textOf([endless, ...Array<string>(11).fill('y'.repeat(100_000)), 'word'])).toContain('word')
})
