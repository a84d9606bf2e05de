/** Ranges of addresses as one text with commas. */

/** The core checks each of them. */
export const parseIpRanges = (text = ''): string[] =>
  text
    .split(',')
    .map(range => range.trim())
    .filter(range => range !== '')

export const presentIpRanges = (ranges: readonly string[]): string => ranges.join(', ')
