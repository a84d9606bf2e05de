/** Shapes that several operations share. */
import { Type as T } from 'typebox'
import { errorTypes } from './errors.ts'

const timestamp = T.Optional(T.String({ format: 'date-time', description: 'UTC, milliseconds, Z.' }))

export const Ok = T.Object(
  {
    result: T.Literal('ok'),
    timestamp,
    message: T.String(),
    fileset: T.Integer({ format: 'int64', minimum: 1, description: 'Number of this content of the file.' }),
  },
  { title: 'Ok' },
)

export const Failed = T.Object(
  { result: T.Literal('failed'), timestamp, message: T.String(), errorType: T.Enum([...errorTypes]) },
  { title: 'Failed' },
)

/** The built-in attributes, in the order of the answers. */
export const builtIns = {
  dstFileName: 'Destination file name; writable.',
  size: 'Bytes, as decimal text.',
  correlationId: 'Correlation ID; writable.',
  putDate: 'End of the upload.',
  firstReadDate: 'First download.',
  lastModifiedTime: 'End of writing the content.',
  lastAccessTime: 'Last download.',
  creationTime: 'Begin of writing the content.',
  datatype: 'Media type; writable.',
  description: 'Free text; writable.',
} as const
export type BuiltIn = keyof typeof builtIns
export const builtInNames = Object.keys(builtIns) as BuiltIn[] // the table's own keys
export const isBuiltIn = (name: string): name is BuiltIn => Object.hasOwn(builtIns, name)

const text = (name: BuiltIn) => T.Optional(T.String({ description: builtIns[name] }))

export const Attributes = T.Object(
  {
    dstFileName: text('dstFileName'),
    size: text('size'),
    correlationId: text('correlationId'),
    putDate: text('putDate'),
    firstReadDate: text('firstReadDate'),
    lastModifiedTime: text('lastModifiedTime'),
    lastAccessTime: text('lastAccessTime'),
    creationTime: text('creationTime'),
    datatype: text('datatype'),
    description: text('description'),
  },
  {
    title: 'Attributes',
    description: 'Built-in and custom attributes, all as text; what is absent is an empty text.',
    additionalProperties: T.String(),
  },
)

const id = T.String({ description: 'Absolute virtual path.' })
const metaUri = T.String({ format: 'uri', description: 'Metadata address; files only.' })
const fileset = T.Integer({ format: 'int64', description: 'Files only.' })

export const FileMetadata = T.Object(
  {
    id,
    uri: T.String({ format: 'uri', description: 'Download address.' }),
    metaUri,
    filename: T.String(),
    fileset,
    metadata: Attributes,
  },
  { title: 'FileMetadata' },
)

const Entry = T.Object(
  {
    id,
    uri: T.String({ format: 'uri', description: 'Directory or download address.' }),
    metaUri: T.Optional(metaUri),
    filename: T.String(),
    fileset: T.Optional(fileset),
    owner: T.String({ description: 'Always empty.' }),
    directory: T.Boolean(),
    attributes: Attributes,
  },
  { title: 'Entry' },
)

export const Listing = T.Object(
  {
    uri: T.String({ format: 'uri', description: 'Address of the directory.' }),
    totalCount: T.String({ pattern: '^[0-9]+$', description: 'Matching elements before paging, as text.' }),
    files: T.Array(Entry),
  },
  { title: 'Listing' },
)

const Value = T.Unsafe<string | number | boolean>({ type: ['string', 'number', 'boolean'] })
const MetadataMap = T.Unsafe<Record<string, string | number | boolean>>({
  title: 'MetadataMap',
  type: 'object',
  description: 'Name to value; numbers and truth values are kept as text.',
  additionalProperties: Value,
  propertyNames: { minLength: 1 },
})
const MetadataPairs = T.Array(T.Object({ name: T.String({ minLength: 1 }), value: Value }), { title: 'MetadataPairs' })

export const MetadataInput = T.Union(
  [
    T.Object({ metadata: T.Union([MetadataMap, MetadataPairs]) }, { additionalProperties: false }),
    MetadataMap,
    MetadataPairs,
  ],
  {
    title: 'MetadataInput',
    description: 'Names and values, bare or below `metadata`. Named ones are set, all others kept.',
  },
)

const segments = { 'x-multi-segment': true }

export const FilePath = T.Object({
  path: T.String({ minLength: 1, description: 'Virtual directory, one or more segments.', ...segments }),
  file: T.String({ minLength: 1, description: 'File name; the last segment.' }),
})
export const UploadPath = T.Object({
  path: T.String({ minLength: 1, description: 'Virtual directory, or directory and file name.', ...segments }),
})
export const DirectoryPath = T.Object({
  path: T.String({ description: 'Virtual directory; empty means the root.', ...segments }),
})
export const Fileset = T.Object({ id: T.Integer({ format: 'int64', minimum: 1, description: 'Fileset ID.' }) })
