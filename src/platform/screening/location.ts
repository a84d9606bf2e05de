/** Where engines are reached, as `ENTREPOT_SCREENING` names them. */
import { parseDuration, parseSize } from '#platform/units.ts'

/** An engine that runs elsewhere. */
export interface EnginePlace {
  kind: 'clamd' | 'icap'
  /** Of the engine, in verdicts and logs; different for each. */
  name: string
  /** Without it, contents wait; an optional one is left out while it is away. */
  mandatory: boolean
  timeoutMs: number
  /** Larger contents are not sent; undefined for no limit. */
  maxBytes: number | undefined
  address: { host: string; port: number } | { path: string }
  /** What ICAP asks for: the whole address of the service. Empty for clamd. */
  service: string
}

export const enginePlacesHint =
  'addresses such as clamd://127.0.0.1:3310, clamd:///run/clamav/clamd.ctl or icap://10.0.0.5:1344/avscan, separated by ' +
  'commas; parameters: name=, timeout=30s, max=25MiB, optional=on'

const PORTS = { clamd: 3310, icap: 1344 }
const PARAMETERS = new Set(['name', 'timeout', 'max', 'optional'])
const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/
/** Names of the engines that are always there. */
const TAKEN = new Set(['test-signature', 'archives', 'content-rules'])

/** Undefined where one of the addresses is wrong or two engines have one name. */
export function enginePlaces(text: string): readonly EnginePlace[] | undefined {
  const words = text.split(',').map(word => word.trim())
  const places = text === '' ? [] : words.map(enginePlace)
  const known = places.filter(place => place !== undefined)
  const names = new Set(known.map(({ name }) => name))
  return known.length === places.length && names.size === known.length ? known : undefined
}

function enginePlace(text: string): EnginePlace | undefined {
  const kind = /^(clamd|icap):\/\//.exec(text)?.[1]
  if ((kind !== 'clamd' && kind !== 'icap') || !URL.canParse(text)) return undefined
  const url = new URL(text)
  const options = hasOnlyKnown(url.searchParams) ? readOptions(url.searchParams, kind) : undefined
  const address = addressOf(url, kind)
  if (!options || !address || url.username || url.hash) return undefined
  const service = kind === 'icap' ? `icap://${url.host}${url.pathname}` : ''
  return { kind, ...options, address, service }
}

/** A path without a host is a socket, for clamd; an ICAP service has both. */
function addressOf(url: URL, kind: EnginePlace['kind']): EnginePlace['address'] | undefined {
  const hasPath = url.pathname.length > 1
  if (kind === 'clamd' && !url.hostname) return hasPath ? { path: decodeURIComponent(url.pathname) } : undefined
  if (!url.hostname || hasPath !== (kind === 'icap')) return undefined
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || PORTS[kind] }
}

type Options = Pick<EnginePlace, 'name' | 'mandatory' | 'timeoutMs' | 'maxBytes'>

function readOptions(given: URLSearchParams, kind: EnginePlace['kind']): Options | undefined {
  const name = given.get('name') ?? kind
  const timeoutMs = parseDuration(given.get('timeout') ?? '30s')
  const maxBytes = parseSize(given.get('max') ?? '')
  const mandatory = SWITCH.get(given.get('optional') ?? 'off')
  if (!isName(name) || !timeoutMs || mandatory === undefined || (given.has('max') && !maxBytes)) return undefined
  return { name, mandatory, timeoutMs, maxBytes }
}

const isName = (name: string) => NAME.test(name) && !TAKEN.has(name)

/** Each parameter is one that there is, and there once. */
function hasOnlyKnown(given: URLSearchParams): boolean {
  const keys = [...given.keys()]
  return keys.every(key => PARAMETERS.has(key)) && new Set(keys).size === keys.length
}

/** What `optional` says about being mandatory. */
const SWITCH = new Map([
  ['on', false],
  ['off', true],
])
