/** How values of the environment are written: each function takes the text and gives the value, or throws Refusal. */
import { resolve } from 'node:path'
import ipaddr from 'ipaddr.js'
import { blobsLocation, blobsLocationHint } from '#platform/blobs/location.ts'
import { fileOf } from '#platform/file-url.ts'
import { enginePlaces, enginePlacesHint } from '#platform/screening/location.ts'
import { mailboxHint, parseMailbox, smtpLocation, smtpLocationHint } from '#platform/mail/location.ts'
import { durationHint, parseDuration, parseSize, sizeHint } from '#platform/units.ts'

/** Says why a value is refused; `readConfig` adds which variable it belongs to. */
export class Refusal extends Error {}

const refuse = (expected: string): never => {
  throw new Refusal(`must be ${expected}`)
}

export const anyText = (text: string) => text
export const path = (text: string) => (text === '' ? '' : resolve(text))
export const flag = (text: string) => choice('on', 'off')(text) === 'on'
export const duration = (text: string) => parseDuration(text) ?? refuse(durationHint)
export const durationOrNever = (text: string) =>
  text === 'never' ? null : (parseDuration(text) ?? refuse(`${durationHint}, or never`))
export const size = (text: string) => parseSize(text) ?? refuse(sizeHint)
export const sizeOrNone = (text: string) =>
  text === 'none' ? null : (parseSize(text) ?? refuse(`${sizeHint}, or none`))

export function choice<const T extends string>(...values: T[]) {
  return (text: string): T => values.find(value => value === text) ?? refuse(`one of ${values.join(', ')}`)
}

export function choices<const T extends string>(...values: T[]) {
  return (text: string): T[] => (text === '' ? [] : text.split(',').map(word => choice(...values)(word.trim())))
}

export const switches = (text: string) => choice('yes', 'no', 'selected')(text)

export function integer(low: number, high: number) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN
    return value >= low && value <= high ? value : refuse(`a whole number from ${low} to ${high}`)
  }
}

export const port = integer(0, 65_535)
export const portOrOff = (text: string) => (text === 'off' ? null : port(text))

export function origin(text: string): string {
  if (text === '') return ''
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username) {
    return refuse('an address such as https://files.example.com')
  }
  return url.href.replace(/\/+$/, '')
}

export function addressRanges(text: string): string[] {
  if (text === '') return []
  return text.split(',').map(part => {
    const range = part.trim()
    const known = range.includes('/') ? ipaddr.isValidCIDR(range) : ipaddr.isValid(range)
    return known ? range : refuse('addresses or ranges such as 10.0.0.0/8,192.0.2.7')
  })
}

export function databaseUrl(text: string): string {
  if (text === '') return ''
  if (/^postgres(ql)?:\/\//.test(text)) return URL.canParse(text) ? text : refuse('a valid postgres:// address')
  return fileOf(text) ?? refuse('file:<path> or postgres://<user>:<password>@<host>/<database>')
}

export const blobsUrl = (text: string) =>
  text === '' ? undefined : (blobsLocation(text) ?? refuse(`${blobsLocationHint}, of letters, digits, dots and dashes`))

export const smtpUrl = (text: string) =>
  text === ''
    ? undefined
    : (smtpLocation(text) ?? refuse(`${smtpLocationHint}; signs other than A-Z a-z 0-9 - . _ ~ encoded`))
export const mailbox = (text: string) => (text === '' ? undefined : (parseMailbox(text) ?? refuse(mailboxHint)))

export const screening = (text: string) => enginePlaces(text) ?? refuse(enginePlacesHint)

export const shownDuration = (ms: number | null) => {
  if (ms === null) return 'never'
  if (ms % 86_400_000 === 0) return `${ms / 86_400_000}d`
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  return ms % 60_000 === 0 ? `${ms / 60_000}m` : `${ms / 1_000}s`
}
