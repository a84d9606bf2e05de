import { contentOf, rule, testFile, untilAborted } from '#test/contents.ts'
import { zipOf } from '#test/archives.ts'
import { expect, onTestFinished, test } from 'vitest'
import { openExaminer } from './examiner.ts'
import { defaultLimits } from './limits.ts'

function examiner() {
  const opened = openExaminer(defaultLimits)
  onTestFinished(() => opened.close())
  return opened
}

const infected = contentOf(zipOf([{ name: 'a.com', bytes: Buffer.from(testFile) }]))

/** Keeps its thread busy for very long, without a pause in which it could notice anything. */
function endlessWork(onStart: () => void) {
  const patterns = Array.from({ length: 50 }, (_, at) => `(?i)(a|b|c){20}x${at}`)
  const bytes = Buffer.alloc(64 * 2 ** 20, 'abcabc ')
  const content = contentOf(bytes, { rules: [rule('pattern', patterns)], chunkBytes: bytes.length })
  return {
    ...content,
    async *read(start?: number, end?: number) {
      if (!end || end > 1_024) setTimeout(onStart, 100)
      yield* content.read(start, end)
    },
  }
}

test('a thread that does not notice a cancellation is ended, and what else it looked into starts again', async () => {
  const opened = examiner()
  const abort = new AbortController()
  const started = Promise.withResolvers<void>()
  const stuck = opened.examine('rules', endlessWork(started.resolve), abort.signal)
  await started.promise
  const other = opened.examine('archives', infected, untilAborted())
  abort.abort(new Error('late'))
  await expect(stuck).rejects.toThrow('late')
  expect(await other).toMatchObject({ kind: 'infected' })
}, 20_000)

test('several contents are looked into at a time, each with its own verdict', async () => {
  const opened = examiner()
  const contents = Array.from({ length: 20 }, (_, at) =>
    at % 2
      ? infected
      : contentOf(zipOf([{ name: `${at}`, bytes: Buffer.alloc(100_000, `${at}`) }]), { chunkBytes: 10 }),
  )
  const verdicts = await Promise.all(contents.map(content => opened.examine('archives', content, untilAborted())))
  expect(verdicts.map(({ kind }) => kind)).toEqual(
    contents.map(content => (content === infected ? 'infected' : 'clean')),
  )
})

test('after it was closed, an examiner starts anew when it is needed', async () => {
  const opened = examiner()
  expect(await opened.examine('archives', infected, untilAborted())).toMatchObject({ kind: 'infected' })
  await opened.close()
  expect(await opened.examine('archives', infected, untilAborted())).toMatchObject({ kind: 'infected' })
})

test('an examination that is cancelled before it starts reads nothing', async () => {
  const unread = { ...infected, read: () => expect.unreachable() }
  await expect(examiner().examine('archives', unread, AbortSignal.abort(new Error('late')))).rejects.toThrow('late')
})
