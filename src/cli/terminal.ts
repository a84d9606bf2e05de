/** What commands say to people and read from them. */

/** A refusal that needs no explanation beyond its text. */
export class CommandFailed extends Error {}

export const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** Rows as columns, or as JSON lines where a program reads them. */
export function printTable(
  rows: readonly Record<string, string | number | null>[],
  { json }: { json?: boolean } = {},
): void {
  if (json) return rows.forEach(row => print(JSON.stringify(row)))
  const [first] = rows
  if (!first) return print('none')
  const names = Object.keys(first)
  const cells = [names, ...rows.map(row => names.map(name => printable(row[name] ?? '')))]
  const widths = names.map((_, column) => Math.max(...cells.map(line => line[column]!.length)))
  for (const line of cells)
    print(
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
}

/** Names come from anybody; on a terminal they must not do more than be read. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
export const printable = (value: string | number) => String(value).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')

export const showTime = (ms: number | null): string =>
  ms === null ? '' : new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

/** The first line of standard input, for passwords: arguments are seen by others. */
export async function readLine(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array))
  const [line = ''] = Buffer.concat(chunks).toString('utf8').split('\n', 1)
  return line.replace(/\r$/, '')
}
