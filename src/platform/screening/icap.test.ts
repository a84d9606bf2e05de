import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '#core/errors.ts'
import { contentOf, testFile, untilAborted } from '#test/contents.ts'
import { engineServer } from '#test/engine-server.ts'
import { describe, expect, test } from 'vitest'
import { icapEngine } from './icap.ts'
import { enginePlaces } from './location.ts'

function engineAt(url: string) {
  const place = enginePlaces(url)?.[0]
  if (!place) throw new Error(`${url} is refused`)
  return icapEngine(place)
}

interface Service {
  /** Lines of the answer to OPTIONS. */
  abilities?: string[]
  /** Takes the bytes of a RESPMOD as they come, all so far. */
  onRequest: (all: string, socket: Socket) => void
}

async function service({ abilities = [], onRequest }: Service) {
  const { address, ...server } = await engineServer(socket => {
    let all = ''
    socket.on('data', chunk => {
      all += chunk.toString('latin1')
      if (all.startsWith('OPTIONS')) socket.end(['ICAP/1.0 200 OK', 'ISTag: "x"', ...abilities, '', ''].join('\r\n'))
      else onRequest(all, socket)
    })
  })
  return { url: `icap://${address}/check`, ...server }
}

/** Answers once the body has ended. */
const atEnd = (answer: string) => (all: string, socket: Socket) => {
  if (/\r\n0(; ieof)?\r\n\r\n$/.test(all)) socket.end(answer, 'latin1')
}

const icap = (status: string, ...lines: string[]) => [`ICAP/1.0 ${status}`, ...lines, '', ''].join('\r\n')
const http = (status: string, body: string) => {
  const head = `HTTP/1.1 ${status}\r\nContent-Type: text/html\r\n\r\n`
  const answer = icap('200 OK', `Encapsulated: res-hdr=0, res-body=${head.length}`)
  return `${answer}${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
}

const answers: [string, object][] = [
  [icap('204 No Content'), { kind: 'clean', quarantines: false }],
  [http('200 OK', 'some text'), { kind: 'clean' }],
  [http('200 OK', 'some more text'), { kind: 'infected', quarantines: true, name: 'replaced by the ICAP service' }],
  [http('403 Forbidden', 'some text'), { kind: 'infected', quarantines: true }],
  [
    icap('200 OK', 'X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;', 'Encapsulated: null-body=0'),
    { kind: 'infected', quarantines: true, name: 'Eicar-Test' },
  ],
  [icap('204 No Content', 'X-Virus-ID: Some.Virus'), { kind: 'infected', name: 'Some.Virus' }],
  [icap('200 OK', 'X-Violations-Found: 1', 'Encapsulated: null-body=0'), { kind: 'infected' }],
]

test.for(answers)('the answer %j is understood', async ([answer, verdict]) => {
  const { url } = await service({ onRequest: atEnd(answer) })
  expect(await engineAt(url).examine(contentOf('some text'), untilAborted())).toMatchObject(verdict)
})

test.for([
  icap('404 Service not found'),
  icap('500 Server error'),
  icap('503 Overloaded'),
  'HTTP/1.1 200 OK\r\n\r\n',
  'ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\nzz\r\n',
  'ICAP/1.0 200',
  '',
])('the answer %j is no verdict', async answer => {
  const { url } = await service({ onRequest: atEnd(answer) })
  await expect(engineAt(url).examine(contentOf('some text'), untilAborted())).rejects.toThrow('ICAP')
})

test('a service that refuses to say what it can do is an error', async () => {
  const { address } = await engineServer(socket => socket.once('data', () => socket.end(icap('404 Not found'))))
  await expect(engineAt(`icap://${address}/none`).examine(contentOf('x'), untilAborted())).rejects.toThrow('404')
})

test('a service is asked what it can do once, and then told the content as the answer to a download', async () => {
  let requests = ''
  const { url } = await service({
    abilities: ['Allow: 204'],
    onRequest(all, socket) {
      requests = all
      atEnd(icap('204 No Content'))(all, socket)
    },
  })
  const engine = engineAt(url)
  await engine.examine(contentOf('one'), untilAborted())
  await engine.examine(contentOf('two words', { name: 'a b\r\n.txt' }), untilAborted())
  const host = url.slice('icap://'.length, -'/check'.length)
  const asked = 'GET /a%20b%0D%0A.txt HTTP/1.1\r\nHost: content.invalid\r\n\r\n'
  const answered = 'HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 9\r\n\r\n'
  expect(requests).toBe(
    `RESPMOD ${url} ICAP/1.0\r\nHost: ${host}\r\nConnection: close\r\nAllow: 204\r\n` +
      `Encapsulated: req-hdr=0, res-hdr=${asked.length}, res-body=${asked.length + answered.length}\r\n\r\n` +
      `${asked}${answered}9\r\ntwo words\r\n0\r\n\r\n`,
  )
})

describe('a service that wants a preview', () => {
  const abilities = ['Allow: 204', 'Preview: 8']

  test('gets the rest after it said so', async () => {
    let isContinued = false
    let body = ''
    const { url } = await service({
      abilities,
      onRequest(all, socket) {
        if (!isContinued && all.endsWith('8\r\nsome lon\r\n0\r\n\r\n')) {
          isContinued = true
          socket.write(icap('100 Continue'))
        } else if (isContinued && all.endsWith('\r\n0\r\n\r\n')) {
          body = all.slice(all.indexOf('some lon'))
          socket.end(icap('204 No Content'))
        }
      },
    })
    const content = contentOf('some longer text', { chunkBytes: 5 })
    expect(await engineAt(url).examine(content, untilAborted())).toMatchObject({ kind: 'clean' })
    expect(body).toBe('some lon\r\n0\r\n\r\n2\r\nge\r\n5\r\nr tex\r\n1\r\nt\r\n0\r\n\r\n')
  })

  test('may judge by the preview alone', async () => {
    const { url } = await service({ abilities, onRequest: atEnd(icap('200 OK', 'X-Virus-ID: Early')) })
    const found = await engineAt(url).examine(contentOf(randomBytes(900_000)), untilAborted())
    expect(found).toMatchObject({ kind: 'infected', name: 'Early' })
  })

  test('is told when the preview is everything', async () => {
    let request = ''
    const { url } = await service({
      abilities,
      onRequest(all, socket) {
        request = all
        atEnd(icap('204 No Content'))(all, socket)
      },
    })
    await engineAt(url).examine(contentOf('12345678'), untilAborted())
    expect(request).toMatch(/8\r\n12345678\r\n0; ieof\r\n\r\n$/)
  })
})

test('a large content that is sent back as it was is clean, one with a byte changed is not', async () => {
  const bytes = randomBytes(400_000)
  const altered = Buffer.from(bytes)
  altered[399_999]! ^= 1
  for (const [sentBack, kind] of [
    [bytes, 'clean'],
    [altered, 'infected'],
  ] as const) {
    const { url } = await service({ onRequest: atEnd(http('200 OK', sentBack.toString('latin1'))) })
    expect(await engineAt(url).examine(contentOf(bytes), untilAborted())).toMatchObject({ kind })
  }
})

test('a content that is sent back only as far as it was sent is not clean', async () => {
  const answered = Promise.withResolvers<void>()
  const { url } = await service({
    onRequest(all, socket) {
      if (all.endsWith('some \r\n')) socket.end(http('200 OK', 'some '), () => answered.resolve())
    },
  })
  const content = {
    ...contentOf('some text'),
    async *read() {
      yield Buffer.from('some ')
      await answered.promise
      await sleep(20)
      yield Buffer.from('text')
    },
  }
  expect(await engineAt(url).examine(content, untilAborted())).toMatchObject({ kind: 'infected' })
})

test('nothing is sent of a content above the configured limit', async () => {
  const { url } = await service({ onRequest: () => expect.unreachable() })
  const engine = engineAt(`${url}?max=1KiB`)
  expect(await engine.examine(contentOf('x'.repeat(1_025)), untilAborted())).toMatchObject({ kind: 'too-large' })
})

test('a service that stalls is left when the examination is cancelled', async () => {
  const abort = new AbortController()
  const { url, sockets } = await service({ onRequest: () => abort.abort(new Error('late')) })
  await expect(engineAt(url).examine(contentOf(Buffer.alloc(9_000_000)), abort.signal)).rejects.toThrow('late')
  while (sockets.size > 0) {
    for (const socket of sockets) socket.end()
    await sleep(5)
  }
})

test('what reading the content throws is thrown', async () => {
  const { url } = await service({ onRequest: () => {} })
  const damaged = new DomainError('content-damaged', { what: 'segment' })
  const content = {
    ...contentOf('x'),
    // oxlint-disable-next-line require-yield -- it fails before it gives anything
    async *read(): AsyncGenerator<Uint8Array> {
      await sleep(1)
      throw damaged
    },
  }
  await expect(engineAt(url).examine(content, untilAborted())).rejects.toBe(damaged)
})

const { ENTREPOT_TEST_ICAP = '' } = process.env

describe.skipIf(!ENTREPOT_TEST_ICAP)('with a real c-icap', () => {
  test('the test file is told from others, small and large', async () => {
    const engine = engineAt(ENTREPOT_TEST_ICAP)
    expect(await engine.examine(contentOf(testFile), untilAborted())).toMatchObject({
      kind: 'infected',
      quarantines: true,
      name: 'Test.EICAR.UNOFFICIAL',
    })
    expect(await engine.examine(contentOf('nothing to see'), untilAborted())).toMatchObject({ kind: 'clean' })
    expect(await engine.examine(contentOf(randomBytes(3 * 2 ** 20)), untilAborted())).toMatchObject({ kind: 'clean' })
    expect(await engine.examine(contentOf(''), untilAborted())).toMatchObject({ kind: 'clean' })
  })

  test('a service that is not there is an error', async () => {
    const engine = engineAt(ENTREPOT_TEST_ICAP.replace('/avscan', '/none'))
    await expect(engine.examine(contentOf('x'), untilAborted())).rejects.toThrow('ICAP')
  })
})
