/** Durations and sizes as people write them in configuration. */

const durationUnits: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

const sizeUnits: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

export const durationHint = 'a duration such as 30s, 15m, 12h or 30d'
export const sizeHint = 'a size such as 512KiB, 100MB or 10GiB'

/** Milliseconds in `90s`, `12h`, `30d`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  return parseWith(durationUnits, text)
}

/** Bytes in `10GiB`, `100MB`, `4096`; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  return /^\d+$/.test(text) ? wholeNumber(Number(text)) : parseWith(sizeUnits, text)
}

function parseWith(units: Record<string, number>, text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(text)
  const factor = match && units[match[2]!]
  return factor ? wholeNumber(Number(match[1]) * factor) : undefined
}

const wholeNumber = (value: number) => (Number.isSafeInteger(value) ? value : undefined)

/** `1.5 GiB`, for people. */
export function showSize(bytes: number): string {
  const unit = (['TiB', 'GiB', 'MiB', 'KiB'] as const).find(name => bytes >= sizeUnits[name]!)
  if (!unit) return `${bytes} B`
  return `${Number((bytes / sizeUnits[unit]!).toFixed(1))} ${unit}`
}
