/** Names of nodes and logins: what is refused, what counts as equal, and free names beside taken ones. */
import { DomainError } from './errors.ts'

/** Longest name, in bytes of UTF-8: what common file systems take. */
export const MAX_NAME_BYTES = 255

/** Refuses what no path view could show; gives back the name unchanged. Throws `name-refused`. */
export function checkName(name: string): string {
  const rule = refusal(name)
  if (rule) throw new DomainError('name-refused', { name, rule })
  return name
}

function refusal(name: string) {
  if (name.trim() === '') return 'empty'
  if (name === '.' || name === '..') return 'dot'
  if (name.includes('/') || name.includes('\\')) return 'slash'
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'control-character'
  if (!name.isWellFormed()) return 'not-unicode'
  if (isTooLong(name)) return 'too-long'
  return undefined
}

/** Composing can make a name longer as well as shorter. */
const isTooLong = (name: string) =>
  Buffer.byteLength(name.normalize('NFC')) > MAX_NAME_BYTES || Buffer.byteLength(name) > MAX_NAME_BYTES

/** Compares names without case and composition; also what searches and sorting use. */
export const fold = (name: string): string => lower(composed(name, 'NFKC'))

/** The form in which a name must be unique among its siblings. */
export const nameKey = (name: string, caseRule: 'exact' | 'folded'): string =>
  caseRule === 'folded' ? lower(composed(name, 'NFC')) : composed(name, 'NFC')

const lower = (name: string) => composed(name.toLocaleLowerCase('und'), 'NFC')

/** ASCII is composed as it is; most names are, and every step of a path asks. */
const composed = (name: string, form: 'NFC' | 'NFKC') => (/^[ -~]*$/.test(name) ? name : name.normalize(form))

/** `report.pdf` becomes `report (1).pdf`, `report (2).pdf`, …, within the length limit. */
export function numberedName(name: string, count: number): string {
  const dot = name.lastIndexOf('.')
  const extension = dot > 0 ? name.slice(dot) : ''
  const suffix = ` (${count})${Buffer.byteLength(extension) < 100 ? extension : ''}`
  let stem = suffix.endsWith(extension) && dot > 0 ? name.slice(0, dot) : name
  while (isTooLong(stem + suffix)) stem = stem.replace(/.$/su, '')
  return stem + suffix
}
