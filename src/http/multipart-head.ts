/** The text parts of multipart/form-data: its boundary and the head of each part (RFC 7578, RFC 2046, RFC 8187). */

export type MultipartReason =
  | 'not-multipart'
  | 'boundary'
  | 'malformed'
  | 'encoding'
  | 'head-too-large'
  | 'too-many-parts'
  | 'field-too-large'
  | 'incomplete'
  | 'interrupted'

/** A body that is no proper form, is over a limit (`head-…`, `too-many-…`, `field-…`) or broke off (`interrupted`). */
export class MultipartError extends Error {
  readonly reason: MultipartReason

  constructor(reason: MultipartReason, message: string) {
    super(message)
    this.name = 'MultipartError'
    this.reason = reason
  }
}

export interface PartHead {
  name: string
  /** As sent, never a path to trust. Empty where a form's file field was left empty. */
  filename?: string
  contentType?: string
  /** By lower-case name; the first of several. */
  headers: Record<string, string>
}

const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/s
// In a quoted value a backslash stands for itself unless a quote or a backslash follows: browsers do not escape it.
const PARAMETER = /[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\["\\]|\\(?!["\\]))*)"|([^";\s]+)))?/y
const PLAIN_ENCODINGS = new Set(['binary', '8bit', '7bit'])

/** Throws MultipartError `not-multipart` or `boundary`. */
export function boundaryOf(contentType: string | undefined): string {
  const [type, parameters] = parseValue(contentType ?? '')
  if (type !== 'multipart/form-data') throw new MultipartError('not-multipart', 'The body is not multipart/form-data')
  const boundary = parameters?.get('boundary') ?? ''
  if (!BOUNDARY.test(boundary)) throw new MultipartError('boundary', 'The content type names no valid boundary')
  return boundary
}

/** Reads the lines between a boundary and the empty line: `lines` starts behind the boundary and has no last CRLF. */
export function parseHead(lines: Buffer): PartHead {
  const headers = parseHeaders(decodeUtf8(lines))
  const [type, parameters] = parseValue(headers['content-disposition'] ?? '')
  const name = parameters?.get('name')
  if (type !== 'form-data' || name === undefined) throw malformed('A part has no form-data disposition with a name')
  const encoding = headers['content-transfer-encoding']?.toLowerCase() ?? 'binary'
  if (!PLAIN_ENCODINGS.has(encoding)) throw new MultipartError('encoding', 'A part has a transfer encoding')
  const filename = fileName(parameters ?? new Map())
  const contentType = headers['content-type']
  return {
    name: unescapeName(name),
    ...(filename !== undefined && { filename }),
    ...(contentType !== undefined && { contentType }),
    headers,
  }
}

function parseHeaders(text: string): Record<string, string> {
  const [padding, ...lines] = text.replace(/\r\n[ \t]+/g, ' ').split('\r\n')
  if (padding?.trim() !== '') throw malformed('A boundary is followed by text')
  const headers: Record<string, string> = Object.create(null)
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    if (name === undefined || value === undefined || /[\r\n\0]/.test(value))
      throw malformed('A part has a broken header')
    headers[name.toLowerCase()] ??= value
  }
  return headers
}

/** `type; name=value; …`: the type in lower case, and the parameters unless they are broken. */
function parseValue(value: string): [type: string, parameters: Map<string, string> | undefined] {
  const type = /^[^;\s]*/.exec(value)?.[0] ?? ''
  const parameters = new Map<string, string>()
  PARAMETER.lastIndex = type.length
  let end = type.length
  for (let found = PARAMETER.exec(value); found; found = PARAMETER.exec(value)) {
    end = PARAMETER.lastIndex
    const [, name, quoted, token] = found
    const text = quoted?.replace(/\\(["\\])/g, '$1') ?? token
    if (name !== undefined && text !== undefined && !parameters.has(name.toLowerCase())) {
      parameters.set(name.toLowerCase(), text)
    }
  }
  return [type.toLowerCase(), value.slice(end).trim() === '' ? parameters : undefined]
}

/** RFC 7578 forbids `filename*`; some clients send it all the same, and then mean it. */
function fileName(parameters: Map<string, string>): string | undefined {
  const extended = parameters.get('filename*')
  if (extended !== undefined) return decodeExtended(extended)
  const plain = parameters.get('filename')
  return plain === undefined ? undefined : unescapeName(plain)
}

/** `charset'language'percent-encoded` of RFC 8187. */
function decodeExtended(value: string): string {
  const [, charset = '', encoded = ''] = /^([^']*)'[^']*'((?:%[0-9A-Fa-f]{2}|[\x21-\x24\x26-\x7e])*)$/.exec(value) ?? []
  const bytes = Buffer.from(
    encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  )
  if (charset.toLowerCase() === 'utf-8') return decodeUtf8(bytes)
  if (charset.toLowerCase() === 'iso-8859-1') return bytes.toString('latin1')
  throw malformed('A file name is in an unknown or broken encoding')
}

/** Browsers write three characters of a name as %XX, and leave the percent sign itself alone. */
function unescapeName(name: string): string {
  return name.replace(/%(22|0D|0A)/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw malformed('The form is not UTF-8')
  }
}

function malformed(message: string): MultipartError {
  return new MultipartError('malformed', message)
}
