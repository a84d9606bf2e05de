import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { DomainError } from '#core/errors.ts'
import { tarOf, zipOf } from '#test/archives.ts'
import { contentOf, testFile, untilAborted } from '#test/contents.ts'
import { afterAll, expect, test } from 'vitest'
import { archivesEngine } from './archives.ts'
import { openExaminer } from './examiner.ts'
import { defaultLimits, type ArchiveLimits } from './limits.ts'

const examiners = new Map<string, ReturnType<typeof openExaminer>>()
afterAll(async () => {
  for (const examiner of examiners.values()) await examiner.close()
})

function engine(given: Partial<ArchiveLimits> = {}) {
  const limits = { ...defaultLimits, ...given }
  const key = JSON.stringify(limits)
  const examiner = examiners.get(key) ?? openExaminer(limits)
  examiners.set(key, examiner)
  return archivesEngine(examiner)
}

const verdict = async (bytes: Uint8Array, limits?: Partial<ArchiveLimits>) =>
  (await engine(limits).examine(contentOf(bytes, { chunkBytes: 700 }), untilAborted())).kind

const text = { name: 'a.txt', bytes: Buffer.from('nothing to see') }
const threat = { name: 'b.com', bytes: Buffer.from(testFile) }

const archives: [string, (entries: (typeof text)[]) => Buffer][] = [
  ['a ZIP archive', entries => zipOf(entries)],
  ['a zip64 archive', entries => zipOf(entries, { zip64: true })],
  ['a tar archive', tarOf],
  ['a compressed tar archive', entries => gzipSync(tarOf(entries))],
  ['a compressed file', entries => gzipSync(entries.at(-1)!.bytes)],
  ['a ZIP archive in a ZIP archive', entries => zipOf([text, { name: 'in.zip', bytes: zipOf(entries) }])],
  [
    'a compressed tar archive in a ZIP archive',
    entries => zipOf([{ name: 'in.tgz', bytes: gzipSync(tarOf(entries)) }]),
  ],
  ['a ZIP archive in a tar archive', entries => tarOf([{ name: 'in.zip', bytes: zipOf(entries, { zip64: true }) }])],
  [
    'a member with a long name in a tar archive',
    entries => tarOf(entries.map(({ bytes }) => ({ name: 'n'.repeat(150), bytes }))),
  ],
]

test.for(archives)('the test file is found in %s, and nothing where it is not', async ([, pack]) => {
  expect(engine().isHarmless?.(pack([text, threat]).subarray(0, 512), { sizeBytes: 1_000, rules: [] })).toBe(false)
  expect(await verdict(pack([text, threat]))).toBe('infected')
  expect(await verdict(pack([text]))).toBe('clean')
})

test('contents without the mark of an archive need not be read', () => {
  const head = { sizeBytes: 9_000, rules: [] }
  for (const bytes of ['%PDF-1.4', '7z\u00bc\u00af\u0027\u001c', 'plain text', '']) {
    expect(engine().isHarmless?.(Buffer.from(bytes, 'latin1'), head)).toBe(true)
  }
})

test('an archive that grows beyond all reason is a bomb, wherever the growth hides', async () => {
  const zeros = Buffer.alloc(65 * 2 ** 20)
  const compressed = gzipSync(zeros, { level: 6 })
  expect(await verdict(compressed)).toBe('bomb')
  expect(await verdict(zipOf([{ name: 'in.zip', bytes: zipOf([{ name: 'zeros', bytes: zeros }]) }]))).toBe('bomb')
  expect(await verdict(compressed, { ratio: 100_000 })).toBe('clean')
  expect(await verdict(compressed, { ratio: 100_000, unpackedBytes: 2 ** 20 })).toBe('bomb')
  expect(await verdict(gzipSync(randomBytes(2 ** 20)), { unpackedBytes: 2 ** 20 - 1 })).toBe('bomb')
})

test('an archive of more members than is allowed is a bomb, over all archives within', async () => {
  const many = Array.from({ length: 60 }, (_, at) => ({ name: `${at}`, bytes: Buffer.alloc(1) }))
  const twice = zipOf([
    { name: '1.zip', bytes: zipOf(many) },
    { name: '2.tar', bytes: tarOf(many) },
  ])
  expect(await verdict(twice, { entries: 122 })).toBe('clean')
  expect(await verdict(twice, { entries: 121 })).toBe('bomb')
})

test('archives within archives are a bomb from the configured depth on', async () => {
  const nested = (depth: number): Buffer =>
    depth === 0 ? zipOf([text]) : zipOf([{ name: 'in.zip', bytes: nested(depth - 1) }])
  expect(await verdict(nested(2), { depth: 3 })).toBe('clean')
  expect(await verdict(nested(3), { depth: 3 })).toBe('bomb')
})

test('a bomb is quarantined, and its verdict says which limit it passes', async () => {
  const found = await engine({ entries: 1 }).examine(contentOf(zipOf([text, text])), untilAborted())
  expect(found).toEqual({ kind: 'bomb', quarantines: true, name: 'Archive-Bomb', description: 'more than 1 members' })
})

test('an encrypted member is told of without a quarantine, unless another one is infected', async () => {
  const secret = { ...text, encrypted: true }
  const found = await engine().examine(contentOf(zipOf([secret, text])), untilAborted())
  expect(found).toMatchObject({ kind: 'encrypted', quarantines: false })
  expect(await verdict(zipOf([secret, threat]))).toBe('infected')
})

test('a ZIP archive within another one that is too large to be held is told of', async () => {
  const large = zipOf([{ name: 'noise', bytes: Buffer.alloc(65 * 2 ** 20, 'noise'), stored: true }])
  expect(
    await engine().examine(contentOf(zipOf([{ name: 'in.zip', bytes: large, stored: true }])), untilAborted()),
  ).toMatchObject({
    kind: 'too-large',
    quarantines: false,
  })
})

test('a broken archive is no error, and what comes before the break counts', async () => {
  const whole = zipOf([text, threat])
  expect(await verdict(whole.subarray(0, whole.length - 30))).toBe('clean')
  expect(await verdict(gzipSync(tarOf([threat, { name: 'c', bytes: randomBytes(9_000) }])).subarray(0, 6_000))).toBe(
    'infected',
  )
  const wrong = Buffer.from(zipOf([{ name: 'c', bytes: randomBytes(2_000) }, threat]))
  wrong.fill(0xff, 40, 400)
  expect(await verdict(wrong)).toBe('infected')
})

test('what reading the content throws is thrown, not taken for a broken archive', async () => {
  const noise = { name: 'noise', bytes: randomBytes(200_000), stored: true }
  const damaged = new DomainError('content-damaged', { what: 'segment' })
  for (const bytes of [zipOf([noise, threat]), gzipSync(tarOf([noise])), tarOf([noise])]) {
    const content = contentOf(bytes)
    const broken = {
      ...content,
      async *read(start = 0, end = content.sizeBytes): AsyncGenerator<Uint8Array> {
        if (start < 100_000) yield* content.read(start, Math.min(end, 100_000))
        if (start < 100_000 && end > 100_000) throw damaged
        yield* content.read(start, end)
      },
    }
    await expect(engine().examine(broken, untilAborted())).rejects.toBe(damaged)
  }
})

test('an archive of many small members costs few reads', async () => {
  const members = Array.from({ length: 300 }, (_, at) => ({ name: `${at}.txt`, bytes: Buffer.from(`${at}`) }))
  const content = contentOf(zipOf(members))
  let reads = 0
  const counting = {
    ...content,
    read(start?: number, end?: number) {
      reads += 1
      return content.read(start, end)
    },
  }
  expect(await engine().examine(counting, untilAborted())).toMatchObject({ kind: 'clean' })
  expect(reads).toBeLessThan(10)
})

test('an examination that is cancelled ends, gives back its readers and leaves others alone', async () => {
  const reading = Promise.withResolvers<void>()
  const left = Promise.withResolvers<void>()
  const stalling = {
    ...contentOf(gzipSync(randomBytes(2_000))),
    async *read(start?: number, end?: number): AsyncGenerator<Uint8Array> {
      if (end && end < 1e9) return yield* contentOf(gzipSync(randomBytes(2_000))).read(start, end)
      try {
        for (;;) {
          reading.resolve()
          yield gzipSync(randomBytes(2_000))
        }
      } finally {
        left.resolve()
      }
    },
  }
  const abort = new AbortController()
  const examination = engine().examine({ ...stalling, sizeBytes: 1e9 }, abort.signal)
  await reading.promise
  abort.abort(new Error('late'))
  await expect(examination).rejects.toThrow('late')
  expect(await verdict(zipOf([threat]))).toBe('infected')
  await left.promise
})
