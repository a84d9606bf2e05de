import { PassThrough, Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { readMultipart, type Part } from './multipart.ts'
import { chunksOf } from './part-chunks.ts'

const head = '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
const type = 'multipart/form-data; boundary=b'

async function firstPart(stream: Readable): Promise<Part> {
  const { value } = await readMultipart(stream, type).next()
  return value as Part
}

test('gives the bytes as they come, one chunk at a time', async () => {
  const stream = Readable.from([Buffer.from(`${head}one `), Buffer.from('two '), Buffer.from('three\r\n--b--\r\n')])
  const seen: string[] = []
  for await (const chunk of chunksOf(await firstPart(stream), 0)) seen.push(Buffer.from(chunk).toString())
  expect(seen.join('')).toBe('one two three')
  expect(seen.length).toBeGreaterThan(1)
})

test('an empty part has no chunk', async () => {
  const stream = Readable.from([Buffer.from(`${head}\r\n--b--\r\n`)])
  expect(await Array.fromAsync(chunksOf(await firstPart(stream), 0))).toEqual([])
})

test('a body that breaks off is an error, not an end', async () => {
  const stream = new PassThrough()
  stream.write(`${head}half`)
  const chunks = chunksOf(await firstPart(stream), 0)
  stream.end()
  await expect(Array.fromAsync(chunks)).rejects.toThrow('The form ends before its last boundary')
})

test('who leaves early leaves no unhandled error behind', async () => {
  const stream = new PassThrough()
  stream.write(`${head}one`)
  for await (const _chunk of chunksOf(await firstPart(stream), 0)) break
  stream.write('two')
  stream.destroy(new Error('gone'))
  await new Promise(resolve => setImmediate(resolve))
})
