import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '#core/errors.ts'
import { engineServer } from '#test/engine-server.ts'
import { contentOf, testFile, untilAborted } from '#test/contents.ts'
import { describe, expect, test } from 'vitest'
import { clamdEngine } from './clamd.ts'
import { enginePlaces } from './location.ts'

const daemon = async (serve: (socket: Socket) => void) => {
  const { address, ...server } = await engineServer(serve)
  return { url: `clamd://${address}`, ...server }
}

function engineAt(url: string) {
  const place = enginePlaces(url)?.[0]
  if (!place) throw new Error(`${url} is refused`)
  return clamdEngine(place)
}

/** Takes everything and then answers. */
const answering = (answer: string) => (socket: Socket) => {
  let got = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    got = Buffer.concat([got, chunk])
    if (got.subarray(-4).every(byte => byte === 0)) socket.end(answer)
  })
}

const answers: [string, object][] = [
  ['stream: OK\0', { kind: 'clean', quarantines: false }],
  ['stream: Win.Test.EICAR_HDB-1 FOUND\0', { kind: 'infected', quarantines: true, name: 'Win.Test.EICAR_HDB-1' }],
  ['INSTREAM size limit exceeded. ERROR\0', { kind: 'too-large', quarantines: false }],
  ['stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0', { kind: 'too-large', quarantines: false }],
  ['stream: Heuristics.Encrypted.Zip FOUND\0', { kind: 'encrypted', quarantines: false }],
]

test.for(answers)('the answer %j is understood', async ([answer, verdict]) => {
  const { url } = await daemon(answering(answer))
  expect(await engineAt(url).examine(contentOf('some text'), untilAborted())).toMatchObject(verdict)
})

test.for(['stream: Cannot allocate memory ERROR\0', 'what?\0', '\0', 'stream: OK', ' FOUND\0', 'x'.repeat(9_000)])(
  'the answer %j is no verdict',
  async answer => {
    const { url } = await daemon(answering(answer))
    await expect(engineAt(url).examine(contentOf('some text'), untilAborted())).rejects.toThrow('clamd')
  },
)

test('nothing is sent of a content above the configured limit', async () => {
  const { url } = await daemon(() => expect.unreachable())
  const engine = engineAt(`${url}?max=1KiB`)
  expect(await engine.examine(contentOf('x'.repeat(1_025)), untilAborted())).toMatchObject({ kind: 'too-large' })
})

test('the content arrives whole, with the length before each chunk', async () => {
  const bytes = randomBytes(300_000)
  const got: Buffer[] = []
  const { url } = await daemon(socket => {
    socket.on('data', (chunk: Buffer) => got.push(chunk))
    answering('stream: OK\0')(socket)
  })
  await engineAt(url).examine(contentOf(bytes, { chunkBytes: 150_000 }), untilAborted())
  const sent = Buffer.concat(got)
  expect(sent.subarray(0, 10).toString()).toBe('zINSTREAM\0')
  const chunks: Buffer[] = []
  for (let at = 10; ;) {
    const length = sent.readUInt32BE(at)
    if (length === 0) break
    chunks.push(sent.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
})

test('an answer that comes while the content is still being sent counts, and ends the sending', async () => {
  const { url } = await daemon(socket => {
    socket.once('data', () => socket.end('INSTREAM size limit exceeded. ERROR\0'))
  })
  let isLeft = false
  const endless = {
    ...contentOf(''),
    sizeBytes: 1e12,
    async *read(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(65_536)
      } finally {
        isLeft = true
      }
    },
  }
  expect(await engineAt(url).examine(endless, untilAborted())).toMatchObject({ kind: 'too-large' })
  expect(isLeft).toBe(true)
})

test('a connection that is cut while the content is sent is tried once more, slowly, for the answer that got lost', async () => {
  let connections = 0
  const { url } = await daemon(socket => {
    connections += 1
    let got = 0
    socket.on('data', (chunk: Buffer) => {
      got += chunk.length
      if (got < 2 ** 20) return
      if (connections === 1) socket.resetAndDestroy()
      else socket.end('INSTREAM size limit exceeded. ERROR\0')
    })
  })
  const content = contentOf(Buffer.alloc(8 * 2 ** 20))
  expect(await engineAt(url).examine(content, untilAborted())).toMatchObject({ kind: 'too-large' })
  expect(connections).toBe(2)
})

test('a daemon that is away is an error', async () => {
  const { url, server } = await daemon(() => {})
  server.close()
  await expect(engineAt(url).examine(contentOf('x'), untilAborted())).rejects.toThrow('ECONNREFUSED')
  await expect(engineAt('clamd:///nowhere/clamd.sock').examine(contentOf('x'), untilAborted())).rejects.toThrow(
    'ENOENT',
  )
})

test('a daemon that goes away in the middle is an error', async () => {
  const { url } = await daemon(socket => void socket.once('data', () => socket.destroy()))
  await expect(engineAt(url).examine(contentOf(Buffer.alloc(4 * 2 ** 20)), untilAborted())).rejects.toThrow()
})

const stalling: [string, (socket: Socket) => void][] = [
  ['takes nothing', socket => void socket.pause()],
  ['takes everything and says nothing', socket => void socket.resume()],
]

test.for(stalling)('a daemon that %s is left when the examination is cancelled', async ([, serve]) => {
  const { url, sockets } = await daemon(serve)
  const abort = new AbortController()
  const examination = engineAt(url).examine(contentOf(Buffer.alloc(16 * 2 ** 20)), abort.signal)
  while (sockets.size === 0) await sleep(5)
  abort.abort(new Error('late'))
  await expect(examination).rejects.toThrow('late')
  for (const socket of sockets) socket.resume()
  while ([...sockets].some(socket => !socket.readableEnded && !socket.destroyed)) await sleep(5)
})

test('a content that cannot be read on does not keep an examination from being cancelled', async () => {
  const { url } = await daemon(socket => void socket.resume())
  const abort = new AbortController()
  const content = {
    ...contentOf('x'),
    // oxlint-disable-next-line require-yield -- it never gives anything
    async *read(): AsyncGenerator<Uint8Array> {
      abort.abort(new Error('late'))
      await new Promise(() => {})
    },
  }
  await expect(engineAt(url).examine(content, abort.signal)).rejects.toThrow('late')
})

test('what reading the content throws is thrown', async () => {
  const { url } = await daemon(socket => void socket.resume())
  const damaged = new DomainError('content-damaged', { what: 'segment' })
  const content = {
    ...contentOf('x'),
    async *read() {
      yield Buffer.from('x')
      await sleep(1)
      throw damaged
    },
  }
  await expect(engineAt(url).examine(content, untilAborted())).rejects.toBe(damaged)
})

const { ENTREPOT_TEST_CLAMD = '', ENTREPOT_TEST_CLAMD_SOCKET = '' } = process.env

describe.skipIf(!ENTREPOT_TEST_CLAMD)('with a real clamd', () => {
  test.for([ENTREPOT_TEST_CLAMD, ENTREPOT_TEST_CLAMD_SOCKET])('%s tells the test file from others', async url => {
    const engine = engineAt(url)
    expect(await engine.examine(contentOf(testFile), untilAborted())).toEqual({
      kind: 'infected',
      quarantines: true,
      name: 'Test.EICAR.UNOFFICIAL',
    })
    expect(await engine.examine(contentOf(randomBytes(3 * 2 ** 20)), untilAborted())).toMatchObject({ kind: 'clean' })
    expect(await engine.examine(contentOf(''), untilAborted())).toMatchObject({ kind: 'clean' })
  })

  test('a content above its limit is too large, however often it is asked', async () => {
    const content = contentOf(Buffer.alloc(24 * 2 ** 20))
    for (let time = 0; time < 10; time++) {
      expect(await engineAt(ENTREPOT_TEST_CLAMD).examine(content, untilAborted())).toMatchObject({ kind: 'too-large' })
    }
  })
})
