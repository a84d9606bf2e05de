/** Archives and documents for tests, made byte by byte, so that they can also be as no tool makes them. */
import { crc32, deflateRawSync } from 'node:zlib'

export interface ZipEntry {
  name: string
  bytes: Uint8Array
  /** Says so; nothing is encrypted in truth. */
  encrypted?: boolean
  /** As it is, without compression. */
  stored?: boolean
}

/** A ZIP archive; with `zip64`, sizes and offsets stand where only large archives need them. */
export function zipOf(entries: readonly ZipEntry[], { zip64 = false } = {}): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, bytes, encrypted, stored = false } of entries) {
    const packed = stored ? Buffer.from(bytes) : deflateRawSync(bytes)
    const header = {
      name,
      packed,
      stored,
      size: bytes.length,
      crc: crc32(bytes),
      flags: encrypted ? 1 : 0,
      offset,
      zip64,
    }
    const local = Buffer.concat([localHeader(header), packed])
    parts.push(local)
    directory.push(directoryEntry(header))
    offset += local.length
  }
  const listed = Buffer.concat(directory)
  return Buffer.concat([...parts, listed, ...zipEnd(entries.length, listed.length, offset, zip64)])
}

interface ZipHeader {
  name: string
  packed: Buffer
  stored: boolean
  size: number
  crc: number
  flags: number
  offset: number
  zip64: boolean
}

const DEFLATED = 8
const MAX_32 = 0xffff_ffff

/** What both headers of a member have in common, from the needed version on. */
function commonFields({ name, packed, stored, size, crc, flags, zip64 }: ZipHeader, extraBytes: number): Buffer {
  const fields = Buffer.alloc(26)
  fields.writeUInt16LE(zip64 ? 45 : 20, 0)
  fields.writeUInt16LE(flags, 2)
  fields.writeUInt16LE(stored ? 0 : DEFLATED, 4)
  fields.writeUInt32LE(crc, 10)
  fields.writeUInt32LE(zip64 ? MAX_32 : packed.length, 14)
  fields.writeUInt32LE(zip64 ? MAX_32 : size, 18)
  fields.writeUInt16LE(Buffer.byteLength(name), 22)
  fields.writeUInt16LE(extraBytes, 24)
  return fields
}

function localHeader(header: ZipHeader): Buffer {
  const extra = header.zip64 ? longSizes([header.size, header.packed.length]) : Buffer.alloc(0)
  return Buffer.concat([
    Buffer.from('PK\u0003\u0004'),
    commonFields(header, extra.length),
    Buffer.from(header.name),
    extra,
  ])
}

function directoryEntry(header: ZipHeader): Buffer {
  const extra = header.zip64 ? longSizes([header.size, header.packed.length, header.offset]) : Buffer.alloc(0)
  const rest = Buffer.alloc(14)
  rest.writeUInt32LE(header.zip64 ? MAX_32 : header.offset, 10)
  const common = commonFields(header, extra.length)
  return Buffer.concat([Buffer.from('PK\u0001\u0002\u0014\0'), common, rest, Buffer.from(header.name), extra])
}

function longSizes(sizes: readonly number[]): Buffer {
  const field = Buffer.alloc(4 + 8 * sizes.length)
  field.writeUInt16LE(1, 0)
  field.writeUInt16LE(8 * sizes.length, 2)
  for (const [at, size] of sizes.entries()) field.writeBigUInt64LE(BigInt(size), 4 + 8 * at)
  return field
}

function zipEnd(count: number, listedBytes: number, offset: number, zip64: boolean): Buffer[] {
  const end = Buffer.alloc(22)
  end.write('PK\u0005\u0006', 'latin1')
  const isMany = zip64 || count > 0xfffe
  end.writeUInt16LE(isMany ? 0xffff : count, 8)
  end.writeUInt16LE(isMany ? 0xffff : count, 10)
  end.writeUInt32LE(zip64 ? MAX_32 : listedBytes, 12)
  end.writeUInt32LE(zip64 ? MAX_32 : offset, 16)
  return isMany ? [longEnd(count, listedBytes, offset), longEndLocator(offset + listedBytes), end] : [end]
}

function longEnd(count: number, listedBytes: number, offset: number): Buffer {
  const end = Buffer.alloc(56)
  end.write('PK\u0006\u0006', 'latin1')
  end.writeBigUInt64LE(44n, 4)
  end.writeUInt16LE(45, 12)
  end.writeUInt16LE(45, 14)
  for (const [at, value] of [count, count, listedBytes, offset].entries()) {
    end.writeBigUInt64LE(BigInt(value), 24 + 8 * at)
  }
  return end
}

function longEndLocator(at: number): Buffer {
  const locator = Buffer.alloc(20)
  locator.write('PK\u0006\u0007', 'latin1')
  locator.writeBigUInt64LE(BigInt(at), 8)
  locator.writeUInt32LE(1, 16)
  return locator
}

/** A tar archive; names of more than 100 bytes get a record of their own, as pax does it. */
export function tarOf(entries: readonly { name: string; bytes: Uint8Array }[]): Buffer {
  const members = entries.flatMap(({ name, bytes }) =>
    name.length <= 100
      ? [tarMember(name, '0', bytes)]
      : [tarMember('pax', 'x', Buffer.from(paxRecord('path', name))), tarMember(name.slice(0, 100), '0', bytes)],
  )
  return Buffer.concat([...members, Buffer.alloc(1_024)])
}

/** The length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  const length = rest.length + String(rest.length + 3).length
  return `${length}${rest}`
}

function tarMember(name: string, type: string, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0)
  header.write('0000644\u00000000000\u00000000000\0', 100)
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\u000000000000000\0        ${type}`, 124)
  header.write('ustar\u000000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const xml = (body: string) => Buffer.from(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>${body}`)

/** A document of word processing: each paragraph is a list of runs, as an editor leaves them behind. */
export function docxOf(paragraphs: readonly (readonly string[])[]): Buffer {
  const body = paragraphs.map(runs => `<w:p>${runs.map(run => `<w:r><w:t>${escaped(run)}</w:t></w:r>`).join('')}</w:p>`)
  return zipOf([
    { name: '[Content_Types].xml', bytes: xml('<Types/>') },
    { name: 'word/document.xml', bytes: xml(`<w:document><w:body>${body.join('')}</w:body></w:document>`) },
  ])
}

/** A spread sheet whose cells name shared strings. */
export function xlsxOf(strings: readonly string[]): Buffer {
  const shared = strings.map(text => `<si><t>${escaped(text)}</t></si>`)
  const cells = strings.map((_text, at) => `<c t="s"><v>${at}</v></c>`)
  return zipOf([
    { name: 'xl/sharedStrings.xml', bytes: xml(`<sst>${shared.join('')}</sst>`) },
    { name: 'xl/worksheets/sheet1.xml', bytes: xml(`<worksheet><row>${cells.join('')}</row></worksheet>`) },
  ])
}

/** A presentation with one text per slide. */
export function pptxOf(slides: readonly string[]): Buffer {
  const slide = (text: string) => xml(`<p:sld><a:p><a:r><a:t>${escaped(text)}</a:t></a:r></a:p></p:sld>`)
  return zipOf(slides.map((text, at) => ({ name: `ppt/slides/slide${at + 1}.xml`, bytes: slide(text) })))
}

/** A PDF with one line of text per page; `padBytes` of a comment stand before the text. */
export function pdfOf(pages: readonly string[], { padBytes = 0 } = {}): Buffer {
  const kids = pages.map((_text, at) => `${4 + 2 * at} 0 R`).join(' ')
  const objects = [
    '<</Type/Catalog/Pages 2 0 R>>',
    `<</Type/Pages/Count ${pages.length}/Kids[${kids}]>>`,
    '<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>',
    ...pages.flatMap((text, at) => {
      const stream = `BT /F1 12 Tf 50 700 Td (${text.replace(/[\\()]/g, String.raw`\$&`)}) Tj ET`
      return [
        `<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F1 3 0 R>>>>/Contents ${5 + 2 * at} 0 R>>`,
        `<</Length ${stream.length}>>stream\n${stream}\nendstream`,
      ]
    }),
  ]
  let file = `%PDF-1.4\n%${'x'.repeat(padBytes)}\n`
  const offsets = objects.map((object, at) => {
    const offset = file.length
    file += `${at + 1} 0 obj${object}endobj\n`
    return String(offset).padStart(10, '0')
  })
  const rows = offsets.map(offset => `${offset} 00000 n \n`).join('')
  const table = `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows}`
  return Buffer.from(
    `${file}${table}trailer<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${file.length}\n%%EOF\n`,
    'latin1',
  )
}
