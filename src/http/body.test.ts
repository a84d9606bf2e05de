import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { freeChunk, openBody, pipeBody } from './body.ts'

test('a body is passed on whole and in order, one chunk at a time', async () => {
  const chunks = Array.from({ length: 50 }, (_, n) => Buffer.alloc(1000, n))
  const taken: Buffer[] = []
  let open = 0
  const sink = {
    async write(chunk: Uint8Array) {
      open += 1
      expect(open).toBe(1)
      await new Promise(setImmediate)
      taken.push(Buffer.from(chunk))
      open -= 1
    },
  }
  expect(await pipeBody(Readable.from(chunks, { objectMode: false }), sink)).toBe(50_000)
  expect(Buffer.concat(taken).equals(Buffer.concat(chunks))).toBe(true)
})

test('a reader that is behind holds the stream back', async () => {
  const stream = new PassThrough({ highWaterMark: 1000 })
  const body = openBody(stream)
  for (let n = 0; n < 10; n += 1) stream.write(Buffer.alloc(1000, n))
  await new Promise(setImmediate)
  expect(stream.isPaused()).toBe(true)
  expect(stream.writableNeedDrain).toBe(true)
  stream.end()
  for (let n = 0; n < 10; n += 1) expect((await body.next())?.[0]).toBe(n)
  expect(await body.next()).toBeUndefined()
  expect(await body.next()).toBeUndefined()
})

test('a stream that breaks off, before or under way, is an interrupted upload', async () => {
  const stream = new PassThrough()
  const body = openBody(stream)
  stream.write('x')
  expect((await body.next())?.toString()).toBe('x')
  setImmediate(() => stream.destroy(new Error('reset')))
  await expect(body.next()).rejects.toMatchObject({ code: 'upload-interrupted' })
  await expect(openBody(stream).next()).rejects.toMatchObject({ code: 'upload-interrupted' })
})

test('a sink that refuses ends it, and the rest is discarded', async () => {
  const stream = Readable.from([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')], { objectMode: false })
  await expect(pipeBody(stream, { write: () => Promise.reject(new Error('full')) })).rejects.toThrow('full')
  if (!stream.readableEnded) await once(stream, 'end')
  expect(stream.readableEnded).toBe(true)
})

test('only memory that nobody else has a view of is freed', () => {
  const own = new Uint8Array(10)
  const shared = new Uint8Array(10)
  freeChunk(own)
  freeChunk(shared.subarray(1))
  freeChunk(Buffer.from('in a pool'))
  expect([own.length, shared.length]).toEqual([0, 10])
})

test('chunks of a request are freed once the next one is asked for', async () => {
  const kept: Uint8Array[] = []
  const sink = {
    write(chunk: Uint8Array) {
      kept.push(chunk)
      expect(chunk[0]).toBe(7)
      return undefined
    },
  }
  const server = http.createServer((request, response) => {
    void pipeBody(request, sink).finally(() => response.end())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo // a TCP server has no other kind of address
  const request = http.request({ port, host: '127.0.0.1', method: 'PUT' }).end(Buffer.alloc(1_000_000, 7))
  await once(request, 'response')
  expect(kept.reduce((sum, chunk) => sum + chunk.length, 0)).toBeLessThan(1_000_000)
  request.destroy()
  server.close()
})
