/** Address ranges that an account or a token may be used from. */
import ipaddr from 'ipaddr.js'
import { DomainError } from './errors.ts'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Range = [Address, number]

const MAX_RANGES = 100
/** Bits before the IPv4 part of an IPv4-mapped IPv6 address. */
const MAPPED_PREFIX = 96

/** Checks ranges (`10.0.0.0/8`, `2001:db8::/32`, or single addresses) and gives them as stored; null for none. */
export function storeIpRanges(ranges: readonly string[] | null | undefined): string | null {
  if (!ranges || ranges.length === 0) return null
  if (ranges.length > MAX_RANGES) throw new DomainError('invalid-input', { field: 'ipRanges', rule: 'too-many' })
  return JSON.stringify(ranges.map(text => formatRange(parseRange(text))))
}

export function loadIpRanges(stored: string | null): readonly string[] {
  return stored === null ? [] : (JSON.parse(stored) as string[]) // written by storeIpRanges
}

/** True when no range is set or one covers the address. An address that cannot be read is covered by none. */
export function isAddressAllowed(stored: string | null, address: string): boolean {
  if (stored === null) return true
  if (!ipaddr.isValid(address)) return false
  const plain = ipaddr.process(address)
  return loadIpRanges(stored).some(text => covers(parseRange(text), plain))
}

/** What counts as one client: the IPv4 address, or the /64 network of an IPv6 address, which one client has to itself. */
export function clientNetwork(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const plain = ipaddr.process(address)
  if (plain instanceof ipaddr.IPv4) return plain.toString()
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${plain.toNormalizedString().split('%')[0]}/64`).toString()}/64`
}

function covers([base, bits]: Range, address: Address): boolean {
  if (base instanceof ipaddr.IPv4 && address instanceof ipaddr.IPv4) return address.match(base, bits)
  if (base instanceof ipaddr.IPv6 && address instanceof ipaddr.IPv6) return address.match(base, bits)
  return false
}

function parseRange(text: string): Range {
  const range = readRange(text.trim())
  if (!range) throw new DomainError('invalid-input', { field: 'ipRanges', rule: 'address' })
  const [base, bits] = range
  if (base instanceof ipaddr.IPv4 || !base.isIPv4MappedAddress() || bits < MAPPED_PREFIX) return range
  return [base.toIPv4Address(), bits - MAPPED_PREFIX]
}

function readRange(text: string): Range | undefined {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text)
  // Short forms such as `10.1` are valid to the parser and mean something else to most people.
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return undefined
  const address = ipaddr.parse(text)
  return [address, address instanceof ipaddr.IPv4 ? 32 : 128]
}

const formatRange = ([base, bits]: Range) => `${base.toString()}/${bits}`
