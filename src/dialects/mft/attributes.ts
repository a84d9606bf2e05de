/** Attributes of a file: ten built-in ones and whatever clients add. All are text; what is absent is empty. */
import { DomainError } from '#core/errors.ts'
import type { ReadTimes } from '#core/reads.ts'
import { isBuiltIn, type BuiltIn } from './schemas.ts'

/** Where our metadata lives in the core. */
export const NAMESPACE = 'mft'

/** What the attributes of an entry are made of; a directory has none of it. */
export interface AttributeSource extends ReadTimes {
  sizeBytes: number | null
  mediaType: string | null
  /** Epoch milliseconds. */
  storedAt: number | null
  writeStartedAt: number | null
  writeEndedAt: number | null
  metadata?: Readonly<Record<string, string>>
}

const fromMetadata =
  (name: string) =>
  ({ metadata }: AttributeSource) =>
    metadata && Object.hasOwn(metadata, name) ? (metadata[name] ?? '') : ''

const readers: Record<BuiltIn, (source: AttributeSource) => string> = {
  dstFileName: fromMetadata('dstFileName'),
  size: ({ sizeBytes }) => (sizeBytes === null ? '' : String(sizeBytes)),
  correlationId: fromMetadata('correlationId'),
  putDate: source => timeText(source.storedAt),
  firstReadDate: source => timeText(source.firstReadAt),
  lastModifiedTime: source => timeText(source.writeEndedAt),
  lastAccessTime: source => timeText(source.lastReadAt),
  creationTime: source => timeText(source.writeStartedAt),
  datatype: ({ mediaType }) => mediaType ?? '',
  description: fromMetadata('description'),
}

/** How to read the attribute of that name from an entry. */
export const attributeReader = (name: string): ((source: AttributeSource) => string) =>
  isBuiltIn(name) ? readers[name] : fromMetadata(name)

/** Built-in attributes whose text needs no escaping. */
const plain = new Set<string>([
  'size',
  'putDate',
  'firstReadDate',
  'lastModifiedTime',
  'lastAccessTime',
  'creationTime',
])

/** The same as JSON text. Large listings spend their time here: nothing is escaped that cannot need it. */
export function attributeWriter(name: string): (source: AttributeSource) => string {
  const read = attributeReader(name)
  if (plain.has(name)) return source => `"${read(source)}"`
  return source => {
    const text = read(source)
    return text === '' ? '""' : JSON.stringify(text)
  }
}

/** Seconds whose text is at hand: the times of a listing lie close together. */
const MAX_SECONDS = 4_096
const secondTexts = new Map<number, string>()

/** ISO 8601, UTC, milliseconds; several times as fast as Date, since a listing has up to five times per file. */
export function timeText(time: number | null): string {
  if (time === null) return ''
  const second = Math.floor(time / 1000)
  let text = secondTexts.get(second)
  if (text === undefined) {
    if (secondTexts.size >= MAX_SECONDS) secondTexts.clear()
    text = new Date(second * 1000).toISOString().slice(0, 20)
    secondTexts.set(second, text)
  }
  const ms = time - second * 1000
  return `${text}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
}

/** What a client may set: texts kept in our namespace, and the media type of the content. */
export interface MetadataChange {
  values: Record<string, string>
  mediaType?: string
}

const writable = new Set<string>(['dstFileName', 'correlationId', 'description'])

/** Attributes that are facts. They are ignored, so that an answer can be sent back as it came. */
const isFact = (name: string) => isBuiltIn(name) && !writable.has(name)

/**
 * Names and values as an object or a list of pairs, bare or below `metadata`. Throws `invalid-input` for anything else.
 */
export function parseMetadata(input: unknown): MetadataChange {
  const inner = isObject(input) && isObject(input.metadata) && Object.keys(input).length === 1 ? input.metadata : input
  if (!isObject(inner)) throw refused('names and values')
  const entries = Array.isArray(inner) ? inner.map(pairOf) : Object.entries(inner)
  const texts = entries.map(([name, value]): [string, string] => [name, textOf(name, value)])
  const datatype = texts.findLast(([name]) => name === 'datatype')?.[1]
  return {
    // fromEntries keeps even a key like __proto__ a plain one.
    values: Object.fromEntries(texts.filter(([name]) => !isFact(name))),
    ...(datatype !== undefined && { mediaType: checkDatatype(datatype) }),
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

function pairOf(pair: unknown): [string, unknown] {
  if (!isObject(pair) || typeof pair.name !== 'string') throw refused('name and value')
  return [pair.name, pair.value]
}

function textOf(name: string, value: unknown): string {
  if (name === '' || !['string', 'number', 'boolean'].includes(typeof value))
    throw refused('texts, numbers or truth values')
  return String(value)
}

const MAX_DATATYPE_LENGTH = 255

/** It becomes a header of downloads. */
function checkDatatype(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text) || text.length > MAX_DATATYPE_LENGTH) throw refused('datatype is plain text')
  return text
}

const refused = (rule: string) => new DomainError('invalid-input', { field: 'metadata', rule })
