/** The log of the server: pino, with everything secret taken out before a line is written. */
import { pino, type DestinationStream, type Logger } from 'pino'

export type { Logger }

export interface LogOptions {
  level: string
  /** `auto`: text when people read along, else JSON. */
  format: 'auto' | 'json' | 'text'
  /** Where lines go; standard error when absent. */
  stream?: DestinationStream & { isTTY?: boolean }
}

/** Properties that never reach a line, at the top of a line's object and one level down. */
const secretNames = ['password', 'secret', 'token', 'cookie', 'set-cookie', 'authorization', 'key', 'databaseUrl']
const secretPaths = secretNames.flatMap(name => [`["${name}"]`, `*["${name}"]`, `*.headers["${name}"]`])

export function createLog({ level, format, stream = process.stderr }: LogOptions): Logger {
  const asText = format === 'text' || (format === 'auto' && stream.isTTY === true)
  const base = asText ? undefined : { pid: process.pid }
  return pino(
    {
      level,
      base: base ?? null,
      redact: { paths: secretPaths, censor: '[hidden]' },
      serializers: { err: presentError, error: presentError },
      formatters: { level: label => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    asText ? textStream(stream) : stream,
  )
}

/** What an error may say in the log. Its other properties may hold rows, parameters or addresses with passwords. */
function presentError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) }
  const code = 'code' in error ? { code: String(error.code) } : {}
  const cause = error.cause === undefined ? {} : { cause: presentError(error.cause) }
  return {
    type: error.name,
    ...code,
    message: withoutPasswords(error.message),
    stack: withoutPasswords(error.stack ?? ''),
    ...cause,
  }
}

const withoutPasswords = (text: string) => text.replace(/(\w+:\/\/[^\s:/@]*):[^\s@/]*@/g, '$1:[hidden]@')

const secretParameter = /pass|secret|token|key|code|sig|auth|ticket/i

/** An address as it may be logged: values of parameters that look secret are hidden. */
export function loggedUrl(url: string): string {
  const start = url.indexOf('?')
  if (start < 0) return url
  const parts = url
    .slice(start + 1)
    .split('&')
    .map(part => {
      const [name = ''] = part.split('=', 1)
      return secretParameter.test(name) ? `${name}=[hidden]` : part
    })
  return `${url.slice(0, start)}?${parts.join('&')}`
}

function textStream(stream: DestinationStream): DestinationStream {
  return {
    write(line) {
      stream.write(asTextLine(line))
    },
  }
}

function asTextLine(line: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown> // pino wrote it
  const facts = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const stack = err === undefined ? '' : `\n${(err as { stack?: string }).stack ?? JSON.stringify(err)}`
  const clock = String(time).slice(11, 19)
  return `${[clock, String(level).toUpperCase().padEnd(5), typeof msg === 'string' ? msg : '', ...facts].join(' ')}${stack}\n`
}
