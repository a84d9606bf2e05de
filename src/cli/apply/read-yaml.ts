/** Reads YAML into typed values. Every mistake is noted with its place, and reading goes on to find the next one. */
import { LineCounter, isMap, isScalar, isSeq, parseDocument, visit, type Node, type YAMLMap } from 'yaml'

export interface Place {
  line: number
  column: number
}

export interface Mistake extends Place {
  reason: string
}

/** A file with mistakes; nothing of it was done. */
export class BadFile extends Error {
  readonly mistakes: readonly Mistake[]

  constructor(found: readonly Mistake[]) {
    const mistakes = found.toSorted((a, b) => a.line - b.line || a.column - b.column)
    super(mistakes.map(({ line, column, reason }) => `${line}:${column}: ${reason}`).join('\n'))
    this.name = 'BadFile'
    this.mistakes = mistakes
  }
}

/** Turns a YAML node into a value, or notes what is wrong and answers undefined. */
export type Reader<T> = (node: Node | null, file: YamlFile) => T | undefined

export interface YamlFile {
  place(node: Node | null): Place
  refuse(node: Node | null, reason: string): undefined
}

/** The whole document as `read` sees it. Throws BadFile with all mistakes. */
export function readYaml<T>(text: string, read: Reader<T>): T {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false })
  const mistakes: Mistake[] = document.errors.map(error => ({
    ...at(lines, error.pos[0]),
    reason: error.message.split(/ at line |\n/, 1)[0]!,
  }))
  if (mistakes.length > 0) throw new BadFile(mistakes)
  const file: YamlFile = {
    place: node => at(lines, node?.range?.[0] ?? 0),
    refuse: (node, reason) => void mistakes.push({ ...at(lines, node?.range?.[0] ?? 0), reason }),
  }
  // Aliases are put in the place of what they stand for, so that readers never meet one.
  visit(document, { Alias: (_, alias) => alias.resolve(document) })
  const value = document.contents === null ? file.refuse(null, 'the file is empty') : read(document.contents, file)
  if (mistakes.length > 0 || value === undefined) throw new BadFile(mistakes)
  return value
}

function at(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

/** A value with the place where it stands. */
export type Placed<T> = T & { at: Place }

interface Field<T> {
  read: Reader<T>
  required: boolean
}

export const required = <T>(read: Reader<T>): Field<T> & { required: true } => ({ read, required: true })
export const optional = <T>(read: Reader<T>): Field<T> & { required: false } => ({ read, required: false })

type Fields = Record<string, Field<unknown>>
type ValueOf<F> = F extends Field<infer T> ? T : never
type Present<F extends Fields> = { [K in keyof F as F[K]['required'] extends true ? K : never]: ValueOf<F[K]> }
type Maybe<F extends Fields> = { [K in keyof F as F[K]['required'] extends true ? never : K]?: ValueOf<F[K]> }

/** A mapping with these fields and no others. */
export function object<const F extends Fields>(fields: F): Reader<Placed<Present<F> & Maybe<F>>> {
  return (node, file) => {
    if (!isMap(node)) return file.refuse(node, `expected a mapping with ${Object.keys(fields).join(', ')}`)
    refuseUnknownKeys(node, fields, file)
    const values: Record<string, unknown> = { at: file.place(node) }
    let whole = true
    for (const [name, { read, required }] of Object.entries(fields)) {
      const entry = node.items.find(pair => isScalar(pair.key) && pair.key.value === name)
      if (!entry) {
        if (required) file.refuse(node, `"${name}" is missing`)
        whole &&= !required
        continue
      }
      const value = read(entry.value as Node | null, file) // parsed documents hold nodes only
      if (value === undefined) whole = false
      else values[name] = value
    }
    return whole ? (values as Placed<Present<F> & Maybe<F>>) : undefined // each field was read by its own reader
  }
}

function refuseUnknownKeys(node: YAMLMap, fields: Fields, file: YamlFile): void {
  for (const { key } of node.items) {
    const name = isScalar(key) ? String(key.value) : undefined
    if (name === undefined || !Object.hasOwn(fields, name)) {
      file.refuse(key as Node, `"${name ?? '?'}" is not known here; known are ${Object.keys(fields).join(', ')}`) // as above
    }
  }
}

export function list<T>(read: Reader<T>): Reader<T[]> {
  return (node, file) => {
    if (isScalar(node) && node.value === null) return []
    if (!isSeq(node)) return file.refuse(node, 'expected a list')
    const values = node.items.map(entry => read(entry as Node, file)) // as above
    return values.includes(undefined) ? undefined : (values as T[]) // none is undefined
  }
}

/** A scalar that `parse` understands. `expected` says what it should have been. */
function scalar<T>(expected: string, parse: (value: unknown) => T | undefined): Reader<T> {
  return (node, file) => {
    const value = isScalar(node) ? parse(node.value) : undefined
    return value === undefined ? file.refuse(node, `expected ${expected}`) : value
  }
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/

/** Numbers without quotes are text where text is asked for: a login may be 4711. */
export const text = scalar('a text without control characters', value => {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' && !CONTROL.test(value) ? value : undefined
})

export const flag = scalar('true or false', value => (typeof value === 'boolean' ? value : undefined))

export function oneOf<const T extends string>(...words: T[]): Reader<T> {
  return scalar(`one of ${words.join(', ')}`, value => words.find(word => word === value))
}

/** Text that `parse` understands, or one of the words that stand for none. */
export function parsed<T>(expected: string, parse: (text: string) => T | undefined): Reader<T> {
  return scalar(expected, value =>
    typeof value === 'string' || typeof value === 'number' ? parse(String(value)) : undefined,
  )
}

/** As `read`, or null for the word. */
export function orNone<T>(word: string, read: Reader<T>): Reader<T | null> {
  return (node, file) => (isScalar(node) && node.value === word ? null : read(node, file))
}

/** Text together with its place, for names that are looked up later. */
export const placedText: Reader<Placed<{ text: string }>> = (node, file) => {
  const value = text(node, file)
  return value === undefined ? undefined : { text: value, at: file.place(node) }
}

/** Tries a short form first: a plain text instead of a mapping. */
export function textOr<T>(short: (text: Placed<{ text: string }>) => T, long: Reader<T>): Reader<T> {
  return (node, file) => {
    if (!isScalar(node)) return long(node, file)
    const value = placedText(node, file)
    return value && short(value)
  }
}
