/** Headers are bytes, which Node shows as Latin-1; names beyond ASCII come as UTF-8 from most clients. */
export function headerText(header: string): string {
  const text = Buffer.from(header, 'latin1').toString()
  return text.includes('\ufffd') ? header : text
}
