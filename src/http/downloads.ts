/** Answers a file: ranges, conditions and names by RFC 9110, 6266 and 8187, and the bytes without web streams. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { freeChunk } from './body.ts'

/** What a condition is checked against. */
export interface Representation {
  sizeBytes: number
  /** With its quotes, and strong: it stands for these very bytes. */
  etag: string
  /** Epoch milliseconds. */
  modifiedAt: number
}

/** What to answer; `end` is exclusive. */
export type Selection = { status: 200 | 206; start: number; end: number } | { status: 304 | 412 | 416 }

/** A `Range` header against a size: the range to send, or that none can be, or undefined to send the whole. */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): { start: number; end: number } | 'unsatisfiable' | undefined {
  // Several ranges are answered with the whole, which RFC 9110 allows: nobody needs multipart/byteranges here.
  const [, first, last] = /^bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '') ?? []
  if (!first && !last) return undefined
  const start = first ? Number(first) : Math.max(sizeBytes - Number(last), 0)
  if (start >= sizeBytes) return 'unsatisfiable'
  const end = first && last ? Number(last) + 1 : sizeBytes
  return start < end ? { start, end: Math.min(end, sizeBytes) } : undefined
}

/** Conditions first, in the order of RFC 9110 §13.2.2, then the range, which only GET has. */
export function selectContent(method: string, headers: IncomingHttpHeaders, representation: Representation): Selection {
  const { sizeBytes } = representation
  if (isOutdated(headers, representation)) return { status: 412 }
  if (isUnchanged(headers, representation)) return { status: 304 }
  const wantsRange = method === 'GET' && mayUseRange(headers['if-range'], representation)
  const range = wantsRange ? parseRange(headers.range, sizeBytes) : undefined
  if (range === 'unsatisfiable') return { status: 416 }
  return range ? { status: 206, ...range } : { status: 200, start: 0, end: sizeBytes }
}

function isOutdated(headers: IncomingHttpHeaders, { etag, modifiedAt }: Representation): boolean {
  const match = headers['if-match']
  if (match !== undefined) return !namesTag(match, etag, 'strong')
  const since = parseDate(headers['if-unmodified-since'])
  return since !== undefined && wholeSeconds(modifiedAt) > since
}

function isUnchanged(headers: IncomingHttpHeaders, { etag, modifiedAt }: Representation): boolean {
  const noneMatch = headers['if-none-match']
  if (noneMatch !== undefined) return namesTag(noneMatch, etag, 'weak')
  const since = parseDate(headers['if-modified-since'])
  return since !== undefined && wholeSeconds(modifiedAt) <= since
}

/** `If-Range` needs the very tag or the very date; with anything else the client gets the whole. */
function mayUseRange(condition: string | string[] | undefined, { etag, modifiedAt }: Representation): boolean {
  if (condition === undefined) return true
  const text = String(condition).trim()
  return text.includes('"') ? text === etag : parseDate(text) === wholeSeconds(modifiedAt)
}

function namesTag(list: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (list.trim() === '*') return true
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? []
  return tags.some(tag => tag === etag || (comparison === 'weak' && tag === `W/${etag}`))
}

function parseDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const time = Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}

/** HTTP dates have no fraction. */
function wholeSeconds(time: number): number {
  return Math.floor(time / 1000) * 1000
}

/** A `Content-Disposition` that every client understands: UTF-8 where needed, and a plain name for those that cannot. */
export function contentDisposition(name: string, type: 'attachment' | 'inline' = 'attachment'): string {
  const wellFormed = name.toWellFormed()
  const plain = wellFormed.replace(/[^\x20-\x7e]|["\\%]/gu, '_')
  if (plain === wellFormed) return `${type}; filename="${plain}"`
  const encoded = encodeURIComponent(wellFormed).replace(
    /['()*]/g,
    mark => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `${type}; filename="${plain}"; filename*=UTF-8''${encoded}`
}

export interface Content extends Representation {
  contentType: string
  /** `Content-Disposition`, from `contentDisposition`. */
  disposition?: string
  /**
   * The plain bytes from `start` to `end` (exclusive): one buffer, or chunks, which are freed once they are sent.
   * A refusal by the first chunk is thrown before anything was answered.
   */
  open(start: number, end: number): Uint8Array | AsyncIterable<Uint8Array>
}

/** What this needs of a reply; Fastify's has it. */
export interface RawReply {
  raw: ServerResponse
  /** Called once it is certain that the answer is given here. */
  hijack(): unknown
  /** Headers that hooks have set so far. */
  getHeaders(): OutgoingHttpHeaders
}

export interface Sent {
  status: number
  /** Bytes handed to the connection. */
  sentBytes: number
  /** False when the client went away. */
  complete: boolean
}

/**
 * Answers a GET or HEAD. Ends quietly, and gives the content's resources back, when the client goes away. A content
 * that fails under way is cut off, so that the client notices, and the error is thrown for the log.
 */
export async function sendContent(
  request: { method: string; headers: IncomingHttpHeaders },
  reply: RawReply,
  content: Content,
): Promise<Sent> {
  const selection = selectContent(request.method, request.headers, content)
  const { status } = selection
  if (!('start' in selection) || request.method === 'HEAD') {
    begin(reply, content, selection).end()
    return { status, sentBytes: 0, complete: true }
  }
  const bytes = content.open(selection.start, selection.end)
  if (bytes instanceof Uint8Array) {
    begin(reply, content, selection).end(bytes)
    return { status, sentBytes: bytes.length, complete: true }
  }
  return { status, ...(await sendChunks(bytes, reply, () => begin(reply, content, selection))) }
}

function begin(reply: RawReply, content: Content, selection: Selection): ServerResponse {
  const headers = { ...reply.getHeaders(), ...contentHeaders(content, selection) }
  const answer = reply.raw.writeHead(selection.status, headers)
  reply.hijack() // only now: a header that Node refuses is still answered in words
  return answer
}

function contentHeaders(content: Content, selection: Selection): OutgoingHttpHeaders {
  const validators = { etag: content.etag, 'last-modified': new Date(content.modifiedAt).toUTCString() }
  if (!('start' in selection)) {
    if (selection.status === 304) return validators
    const range = selection.status === 416 && { 'content-range': `bytes */${content.sizeBytes}` }
    return { 'content-length': 0, ...range }
  }
  const { start, end } = selection
  return {
    ...validators,
    'accept-ranges': 'bytes',
    'content-type': content.contentType,
    'content-length': end - start,
    'x-content-type-options': 'nosniff',
    ...(content.disposition !== undefined && { 'content-disposition': content.disposition }),
    ...(selection.status === 206 && { 'content-range': `bytes ${start}-${end - 1}/${content.sizeBytes}` }),
  }
}

/** `start` is called with the first chunk at hand: until then, an error can still be answered in words. */
async function sendChunks(
  chunks: AsyncIterable<Uint8Array>,
  { raw }: RawReply,
  start: () => ServerResponse,
): Promise<{ sentBytes: number; complete: boolean }> {
  let sentBytes = 0
  try {
    for await (const chunk of chunks) {
      if (!raw.headersSent) start()
      if (raw.destroyed) break
      sentBytes += chunk.length
      // Freed by hand, as waiting for the collector makes large downloads a third slower.
      if (!raw.write(chunk, () => freeChunk(chunk))) await drained(raw)
    }
  } catch (error) {
    if (raw.headersSent) raw.destroy()
    throw error
  }
  if (!raw.headersSent) start()
  if (raw.destroyed) return { sentBytes, complete: false }
  return { sentBytes, complete: await ended(raw) }
}

/** Resolves when the connection takes more, or never will. */
function drained(raw: ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => {
    raw.off('drain', done).off('close', done)
    resolve()
  }
  if (raw.destroyed) return Promise.resolve()
  raw.on('drain', done).on('close', done)
  return promise
}

/** Ends the response; true once all of it was handed over, false if the connection closed before. */
function ended(raw: ServerResponse): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  raw.on('finish', () => resolve(true)).on('close', () => resolve(raw.writableFinished))
  raw.end()
  return promise
}
