/** What an API answered to an injected request. */
export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  /** Parsed where it is JSON. */
  body: unknown
  raw: Buffer
}

interface Injected {
  statusCode: number
  headers: Record<string, string | number | string[] | undefined>
  rawPayload: Buffer
}

export function answerOf({ statusCode, headers, rawPayload }: Injected): Answer {
  const text = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]),
  )
  const isJson = String(headers['content-type']).startsWith('application/json')
  const body: unknown = isJson && rawPayload.length > 0 ? JSON.parse(rawPayload.toString()) : rawPayload.toString()
  return { status: statusCode, headers: text, body, raw: rawPayload }
}
