/** An engine behind ICAP (RFC 3507): the content goes there as if it were the answer to a download (`RESPMOD`). */
import { createHash } from 'node:crypto'
import type { Examined, ScreeningEngine, Verdict } from '#core/ports.ts'
import { peek } from './bytes.ts'
import { chunkOf, lastChunk, lastChunkOfAll, openReader, type Head, type Reader } from './icap-messages.ts'
import type { EnginePlace } from './location.ts'
import { converse, withLine, type Line } from './socket.ts'
import { clean, infected, tooLarge } from './verdicts.ts'

/** What the service can do. */
interface Abilities {
  /** Bytes that it wants to see first; undefined where it wants everything at once. */
  previewBytes: number | undefined
  /** It may say "as it was" instead of sending everything back. */
  allows204: boolean
  /** Epoch milliseconds. */
  knownUntil: number
}

const MAX_PREVIEW_BYTES = 64 * 1024
const DEFAULT_LIFE_S = 3_600
const MAX_LIFE_S = 86_400

export function icapEngine({ name, mandatory, timeoutMs, maxBytes, address, service }: EnginePlace): ScreeningEngine {
  let known: Abilities | undefined
  return {
    name,
    mandatory,
    timeoutMs,
    async examine(content, signal) {
      if (maxBytes !== undefined && content.sizeBytes > maxBytes) return tooLarge(`larger than ${maxBytes} bytes`)
      if (!known || known.knownUntil < Date.now()) {
        known = await withLine(address, signal, line => askAbilities(line, service))
      }
      const abilities = known
      return withLine(address, signal, line => ask(line, { service, content, abilities }))
    },
  }
}

async function askAbilities(line: Line, service: string): Promise<Abilities> {
  await line.write(request('OPTIONS', service, ['Encapsulated: null-body=0']))
  const { status, headers } = await openReader(line.incoming).head('ICAP')
  if (status !== 200) throw new Error(`The ICAP service answers OPTIONS with ${status}`)
  const lifeSeconds = Math.min(numberIn(headers.get('options-ttl')) ?? DEFAULT_LIFE_S, MAX_LIFE_S)
  const preview = numberIn(headers.get('preview'))
  return {
    previewBytes: preview === undefined ? undefined : Math.min(preview, MAX_PREVIEW_BYTES),
    allows204: /\b204\b/.test(headers.get('allow') ?? ''),
    knownUntil: Date.now() + lifeSeconds * 1_000,
  }
}

function numberIn(header: string | undefined): number | undefined {
  return header && /^\d{1,9}$/.test(header) ? Number(header) : undefined
}

const request = (method: string, service: string, lines: readonly string[]) =>
  [`${method} ${service} ICAP/1.0`, `Host: ${new URL(service).host}`, 'Connection: close', ...lines, '', ''].join(
    '\r\n',
  )

interface Question {
  service: string
  content: Examined
  abilities: Abilities
}

/** What was sent so far. */
interface Sent {
  add(bytes: Uint8Array): void
  /** Whether a body is all that was sent and nothing else. Asked once. */
  equals(body: AsyncIterable<Uint8Array>): Promise<boolean>
}

function openSent(sizeBytes: number): Sent {
  const [ours, theirs] = [createHash('sha256'), createHash('sha256')]
  let gotBytes = 0
  return {
    add: bytes => void ours.update(bytes),
    async equals(body) {
      for await (const chunk of body) {
        theirs.update(chunk)
        gotBytes += chunk.length
      }
      // What was cut short may be all that was sent until then.
      return gotBytes === sizeBytes && ours.digest('hex') === theirs.digest('hex')
    },
  }
}

async function ask(line: Line, question: Question): Promise<Verdict> {
  const sent = openSent(question.content.sizeBytes)
  const { promise: proceed, resolve } = Promise.withResolvers<boolean>()
  const listening = listen(openReader(line.incoming), { sent, onContinue: () => resolve(true) })
  const sending = send(line, { ...question, sent, proceed })
  // Whatever the answer is, nobody waits for a permission to go on any more.
  return converse(
    line,
    listening.finally(() => resolve(false)),
    sending,
  )
}

interface Sending extends Question {
  sent: Sent
  /** False when the preview was enough. */
  proceed: Promise<boolean>
}

async function send(line: Line, { service, content, abilities, sent, proceed }: Sending): Promise<void> {
  const { previewBytes, allows204 } = abilities
  await line.write(openingOf(service, content, abilities, allows204))
  const peeked = await peek(content.read(), previewBytes ?? 0)
  try {
    const sendChunk = async (bytes: Uint8Array) => {
      if (bytes.length === 0) return
      sent.add(bytes)
      await line.write(chunkOf(bytes))
    }
    const preview = peeked.head.subarray(0, previewBytes ?? 0)
    if (previewBytes !== undefined) {
      await sendChunk(preview)
      const isAll = content.sizeBytes <= previewBytes
      await line.write(isAll ? lastChunkOfAll : lastChunk)
      if (isAll || !(await proceed)) return
    }
    let skip = preview.length
    for await (const chunk of peeked.bytes) {
      const skipped = Math.min(skip, chunk.length)
      skip -= skipped
      await sendChunk(chunk.subarray(skipped))
    }
    await line.write(lastChunk)
  } finally {
    await peeked.leave()
  }
}

/** The request for a verdict up to the body: the head of a made-up download and of its answer. */
function openingOf(service: string, { name, sizeBytes }: Examined, { previewBytes }: Abilities, allows204: boolean) {
  const asked = `GET /${encodeURIComponent(name)} HTTP/1.1\r\nHost: content.invalid\r\n\r\n`
  const answered = `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${sizeBytes}\r\n\r\n`
  const head = request('RESPMOD', service, [
    ...(allows204 ? ['Allow: 204'] : []),
    ...(previewBytes === undefined ? [] : [`Preview: ${previewBytes}`]),
    `Encapsulated: req-hdr=0, res-hdr=${asked.length}, res-body=${asked.length + answered.length}`,
  ])
  return head + asked + answered
}

interface Listening {
  sent: Sent
  onContinue: () => void
}

async function listen(reader: Reader, { sent, onContinue }: Listening): Promise<Verdict> {
  let head = await reader.head('ICAP')
  for (; head.status === 100; head = await reader.head('ICAP')) onContinue()
  const name = threatIn(head.headers)
  if (name !== undefined) return infected(name)
  if (head.status === 204) return clean
  if (head.status !== 200) throw new Error(`The ICAP service answers with ${head.status}`)
  return verdictOfAnswer(reader, head, sent)
}

/** The service sends something back: the content as it was, or what people should see instead of it. */
async function verdictOfAnswer(reader: Reader, { headers }: Head, sent: Sent): Promise<Verdict> {
  const parts = headers.get('encapsulated') ?? ''
  if (!parts.includes('res-hdr') || !parts.includes('res-body')) return infected('refused by the ICAP service')
  const answer = await reader.head('HTTP')
  const name = threatIn(answer.headers)
  if (name !== undefined) return infected(name)
  const isSame = answer.status === 200 && (await sent.equals(reader.body()))
  return isSame ? clean : infected('replaced by the ICAP service')
}

/** What the usual headers say was found. */
function threatIn(headers: ReadonlyMap<string, string>): string | undefined {
  const found = headers.get('x-infection-found')
  if (found !== undefined) return /Threat=([^;]+)/i.exec(found)?.[1]?.trim() ?? 'unnamed threat'
  const named = headers.get('x-virus-id') ?? headers.get('x-violations-found')
  return named === undefined ? undefined : named || 'unnamed threat'
}
