import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readMultipart, type MultipartLimits, type Part } from './multipart.ts'

const TYPE = 'multipart/form-data; boundary=b'

interface Sent {
  head: string
  body: string
}

/** A form in latin1, so that a string's length is its length in bytes. */
const form = (parts: Sent[], { boundary = 'b', preamble = '', epilogue = '', padding = '' } = {}) =>
  preamble +
  parts.map(({ head, body }) => `--${boundary}${padding}\r\n${head}\r\n\r\n${body}\r\n`).join('') +
  `--${boundary}--${epilogue}`

const field = (name: string, body: string): Sent => ({ head: `Content-Disposition: form-data; name="${name}"`, body })

const streamOf = (text: string, cuts: number[] = []) => {
  const borders = [0, ...cuts, text.length].toSorted((a, b) => a - b)
  const chunks = borders.slice(1).map((end, n) => Buffer.from(text.slice(borders[n], end), 'latin1'))
  return Readable.from(
    chunks.filter(chunk => chunk.length > 0),
    { objectMode: false },
  )
}

async function readAll(stream: Readable, type = TYPE, limits: MultipartLimits = {}) {
  const found: [name: string, body: string][] = []
  for await (const part of readMultipart(stream, type, limits)) found.push([part.name, await collect(part)])
  return found
}

async function collect(part: Part): Promise<string> {
  let text = ''
  await part.pipe({
    async write(chunk) {
      text += Buffer.from(chunk).toString('latin1')
    },
  })
  return text
}

async function headOf(head: string): Promise<Part | undefined> {
  const found: Part[] = []
  for await (const part of readMultipart(Readable.from([Buffer.from(form([{ head, body: '' }]))]), TYPE))
    found.push(part)
  return found[0]
}

const disposition = (parameters: string) => `Content-Disposition: form-data; ${parameters}`

test('any content comes out as it went in, wherever the stream is cut', async () => {
  const piece = fc.constantFrom('\r', '\n', '\r\n', '-', '--', '\r\n-', '\r\n--', '\r\n--B', 'b', '--b', 'x', '\0\xff')
  const content = fc.array(piece, { maxLength: 12 }).map(pieces => pieces.join(''))
  const body = content.filter(text => !`${text}\r\n--b`.slice(0, -1).includes('\r\n--b'))
  const preamble = body.map(text => (text === '' || text.startsWith('--b') ? '' : `${text}\r\n`))
  const cuts = fc.array(fc.nat(400), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(fc.array(body, { maxLength: 4 }), preamble, content, cuts, async (bodies, before, after, at) => {
      const sent = bodies.map((text, n) => field(`f${n}`, text))
      const stream = streamOf(form(sent, { preamble: before, epilogue: after }), at)
      expect(await readAll(stream)).toEqual(bodies.map((text, n) => [`f${n}`, text]))
    }),
    { numRuns: 500 },
  )
})

test('a form is read the same when cut at every position, and byte by byte', async () => {
  const text = form([field('a', 'one\r\n--\r\n'), field('c', '')], {
    preamble: 'hi\r\n',
    epilogue: '\r\nbye',
    padding: ' \t',
  })
  const expected = [
    ['a', 'one\r\n--\r\n'],
    ['c', ''],
  ]
  for (let cut = 0; cut < text.length; cut += 1) expect(await readAll(streamOf(text, [cut]))).toEqual(expected)
  expect(
    await readAll(
      streamOf(
        text,
        Array.from({ length: text.length }, (_, n) => n),
      ),
    ),
  ).toEqual(expected)
})

test('an empty form has no parts', async () => {
  expect(await readAll(streamOf('--b--\r\n'))).toEqual([])
})

test('parts that are not read, or only in part, are discarded', async () => {
  const names: string[] = []
  const text = form([field('a', 'x'.repeat(500)), field('c', 'y'.repeat(500)), field('d', 'z')])
  for await (const part of readMultipart(streamOf(text, [200, 300, 700]), TYPE)) {
    names.push(part.name)
    if (part.name === 'c') await part.pipe({ write: () => Promise.reject(new Error('full')) }).catch(() => {})
  }
  expect(names).toEqual(['a', 'c', 'd'])
})

test('the sink is not given more before its promise has resolved', async () => {
  let open = 0
  const text = form([field('a', 'x'.repeat(1000))])
  for await (const part of readMultipart(streamOf(text, [200, 400, 600]), TYPE)) {
    const sizeBytes = await part.pipe({
      async write() {
        open += 1
        expect(open).toBe(1)
        await new Promise(setImmediate)
        open -= 1
      },
    })
    expect(sizeBytes).toBe(1000)
  }
})

test.for([
  [disposition('name="a"; filename="b.txt"'), { name: 'a', filename: 'b.txt' }],
  [disposition('name=a; filename=b.txt'), { name: 'a', filename: 'b.txt' }],
  [disposition('filename="";name="a";'), { name: 'a', filename: '' }],
  [disposition('name="q%22q"; filename="a%0D%0a\\"b%41.txt"'), { name: 'q"q', filename: 'a\r\n"b%41.txt' }],
  [disposition('name="a"; filename="C:\\dir\\x.txt"'), { filename: 'C:\\dir\\x.txt' }],
  [disposition('name="a"; filename="\\\\server"'), { filename: '\\server' }],
  [disposition('name="größe"; filename="日本.txt"'), { name: 'größe', filename: '日本.txt' }],
  [disposition(`name="a"; filename="x"; filename*=UTF-8''%e2%82%ac%20y.txt`), { filename: '€ y.txt' }],
  [disposition(`name="a"; filename*=iso-8859-1'en'%A3.txt`), { filename: '£.txt' }],
  [
    `content-DISPOSITION:FORM-DATA ; NAME="a"\r\nContent-Type: text/csv; charset=utf-8`,
    { contentType: 'text/csv; charset=utf-8' },
  ],
  [`${disposition('name="a";')}\r\n filename="folded"`, { name: 'a', filename: 'folded' }],
] as const)('the head %j', async ([head, expected]) => {
  expect(await headOf(head)).toMatchObject(expected)
})

test('headers are given by lower-case name', async () => {
  const part = await headOf(`${disposition('name="a"')}\r\nX-Mark:  1 \r\nContent-Transfer-Encoding: Binary`)
  expect(part?.headers).toEqual({
    'content-disposition': 'form-data; name="a"',
    'x-mark': '1',
    'content-transfer-encoding': 'Binary',
  })
  expect(part).not.toHaveProperty('filename')
})

test.for([
  ['no disposition', 'X-A: 1'],
  ['no name', 'Content-Disposition: form-data; filename="x"'],
  ['another disposition', 'Content-Disposition: attachment; name="a"'],
  ['an open quote', 'Content-Disposition: form-data; name="a'],
  ['many backslashes and an open quote', `Content-Disposition: form-data; name="${'\\\\'.repeat(5000)}`],
  ['a name of two words', 'Content-Disposition: form-data; name=a b'],
  ['a line without colon', `${disposition('name="a"')}\r\nnonsense`],
  ['a bare line feed', `${disposition('name="a"')}\r\nX: a\nb`],
  ['an unknown character set', disposition(`name="a"; filename*=koi8-r''x`)],
  ['a broken percent code', disposition(`name="a"; filename*=UTF-8''%zz`)],
])('a head with %s is malformed', async ([, head]) => {
  await expect(headOf(head ?? '')).rejects.toMatchObject({ name: 'MultipartError', reason: 'malformed' })
})

test.for<[what: string, text: string, reason: string, limits?: MultipartLimits]>([
  ['nothing', '', 'boundary'],
  ['no boundary', 'hello', 'boundary'],
  ['another boundary', form([field('a', 'x')], { boundary: 'c' }), 'boundary'],
  ['an end within the head', '--b\r\nContent-Dispo', 'incomplete'],
  ['an end within a part', form([field('a', 'x')]).slice(0, -7), 'incomplete'],
  ['no last boundary', form([field('a', 'x')]).slice(0, -2), 'incomplete'],
  ['text behind a boundary', '--bc\r\n\r\n', 'malformed'],
  ['bytes that are no UTF-8', form([{ head: disposition('name="\xff"'), body: '' }]), 'malformed'],
  [
    'a transfer encoding',
    form([{ head: `${disposition('name="a"')}\r\nContent-Transfer-Encoding: base64`, body: '' }]),
    'encoding',
  ],
  [
    'a head over 16 KiB',
    form([{ head: `${disposition('name="a"')}\r\nX: ${'x'.repeat(16_384)}`, body: '' }]),
    'head-too-large',
  ],
  ['an endless head', `--b\r\n${'x'.repeat(40_000)}`, 'head-too-large'],
  ['three parts of two', form([field('a', ''), field('c', ''), field('d', '')]), 'too-many-parts', { parts: 2 }],
])('%s is refused', async ([, text, reason, limits]) => {
  const cuts = Array.from({ length: 50 }, (_, n) => n * 997).filter(at => at < text.length)
  await expect(readAll(streamOf(text, cuts), TYPE, limits)).rejects.toMatchObject({ name: 'MultipartError', reason })
})

test.for([
  [undefined, 'not-multipart'],
  ['application/json', 'not-multipart'],
  ['multipart/mixed; boundary=b', 'not-multipart'],
  ['multipart/form-data', 'boundary'],
  ['multipart/form-data; boundary=', 'boundary'],
  ['multipart/form-data; boundary="a\\"b"', 'boundary'],
  [`multipart/form-data; boundary=${'x'.repeat(71)}`, 'boundary'],
] as const)('the content type %j is refused', async ([type, reason]) => {
  await expect(readMultipart(streamOf(''), type).next()).rejects.toMatchObject({ reason })
})

test('a quoted boundary with blanks and other parameters is understood', async () => {
  const stream = streamOf(form([field('a', 'x')], { boundary: "it's a b" }))
  expect(await readAll(stream, `Multipart/Form-Data; charset=utf-8; Boundary="it's a b"`)).toEqual([['a', 'x']])
})

test('text is UTF-8 up to a limit', async () => {
  const read = async (body: Buffer, fieldBytes: number) => {
    const stream = streamOf(form([field('a', body.toString('latin1'))]), [60, 61, 62, 63])
    for await (const part of readMultipart(stream, TYPE, { fieldBytes })) return part.text()
    return undefined
  }
  expect(await read(Buffer.from('größe'), 7)).toBe('größe')
  await expect(read(Buffer.from('größe'), 6)).rejects.toMatchObject({ reason: 'field-too-large' })
  await expect(read(Buffer.from([0xc3]), 7)).rejects.toMatchObject({ reason: 'malformed' })
})

test('a part cannot be read twice', async () => {
  for await (const part of readMultipart(streamOf(form([field('a', 'x')])), TYPE)) {
    expect(await part.text()).toBe('x')
    await expect(part.text()).rejects.toThrow('once')
  }
})

test('a stream that breaks off is told from a form that ends early', async () => {
  for (const error of [undefined, new Error('reset')]) {
    const stream = new PassThrough()
    stream.write(form([field('a', 'x')]).slice(0, -9))
    const reading = readAll(stream)
    setImmediate(() => stream.destroy(error))
    await expect(reading).rejects.toMatchObject({ name: 'MultipartError', reason: 'interrupted' })
    await expect(readAll(stream)).rejects.toMatchObject({ reason: 'interrupted' })
  }
})

test('over a connection: a large part, a client that goes away, and a next request after an early answer', async () => {
  const outcomes: unknown[] = []
  const receive = async (request: http.IncomingMessage) => {
    for await (const part of readMultipart(request, request.headers['content-type'])) {
      if (part.name === 'stop') break
      outcomes.push(await part.pipe({ write: async () => {} }))
    }
  }
  const server = http.createServer((request, response) => {
    receive(request)
      .catch(error => outcomes.push(error.reason))
      .finally(() => response.end('ok'))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo // a TCP server has no other kind of address
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const start = () =>
    http.request({ port, host: '127.0.0.1', method: 'POST', agent, headers: { 'content-type': TYPE } })
  const post = async (text: string) => {
    const [response] = (await once(start().end(text, 'latin1'), 'response')) as [http.IncomingMessage] // its only argument
    return response.resume().statusCode
  }
  expect(await post(form([field('a', '\r\n--x'.repeat(1_000_000))]))).toBe(200)
  expect(await post(form([field('stop', 'x'.repeat(3_000_000))]))).toBe(200)
  expect(await post(form([field('a', 'again')]))).toBe(200)

  const leaving = start()
  leaving.on('error', () => {})
  leaving.write(form([field('a', 'x'.repeat(300_000))]).slice(0, 200_000))
  await once(server, 'request')
  leaving.destroy()
  await expect.poll(() => outcomes).toEqual([5_000_000, 5, 'interrupted'])
  agent.destroy()
  server.close()
})
