/** Turns figures into tables, for the terminal and for docs/benchmarks.md. */
import {
  median,
  subject,
  type Failure,
  type Figure,
  type Measure,
  type Scenario,
  type Sizes,
  type Skipped,
  type Target,
} from './bench.ts'

export interface Result {
  date: string
  machine: readonly [string, string][]
  targets: readonly Target[]
  skipped: readonly Skipped[]
  scenarios: readonly Scenario[]
  sizes: Sizes
  rounds: number
  quick: boolean
  figures: readonly Figure[]
  failures: readonly Failure[]
}

const medianOf = ({ figures }: Result, measure: string, target: string): number | undefined => {
  const figure = figures.find(candidate => candidate.measure === measure && candidate.target === target)
  return figure && median(figure.values)
}

function rounded(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 1e-9))))
  return value >= 100 ? Math.round(value).toLocaleString('en-GB') : value.toFixed(Math.min(digits, 2))
}

/** How many times as good as the peer Entrepot is: above 1 it is better, for rates and for times alike. */
function ratio(result: Result, measure: Measure, peer: string): number | undefined {
  const ours = medianOf(result, measure.id, subject)
  const theirs = medianOf(result, measure.id, peer)
  if (ours === undefined || theirs === undefined) return undefined
  return measure.rate ? ours / theirs : theirs / ours
}

function cell(result: Result, measure: Measure, target: string): string {
  const value = medianOf(result, measure.id, target)
  if (value === undefined) return '-'
  const comparison = target === subject ? undefined : ratio(result, measure, target)
  return comparison === undefined ? rounded(value) : `${rounded(value)} (${comparison.toFixed(2)})`
}

function verdict(result: Result, measure: Measure, level: 'must' | 'aim'): string {
  const { goal } = measure
  if (!goal) return ''
  const wanted = goal[level]
  const text = 'peer' in goal ? `${wanted} of ${goal.peer}` : `${wanted} ${measure.unit}`
  if (result.quick) return text
  const value = 'peer' in goal ? ratio(result, measure, goal.peer) : medianOf(result, measure.id, subject)
  if (value === undefined) return `${text}: not measured`
  return `${text}: ${('peer' in goal ? value >= wanted : value <= wanted) ? 'met' : '**not met**'}`
}

function table(rows: readonly (readonly string[])[]): string {
  const [header = [], ...body] = rows
  const widths = header.map((_, column) => Math.max(3, ...rows.map(row => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) => `| ${row.map((text, n) => text.padEnd(widths[n] ?? 0)).join(' | ')} |`
  return [line(header), line(widths.map(width => '-'.repeat(width))), ...body.map(line)].join('\n')
}

const measuresOf = ({ scenarios }: Result) => scenarios.flatMap(({ measures }) => measures)

function resultTable(result: Result): string {
  const names = result.targets.map(({ name }) => name)
  return table([
    ['what', 'unit', ...names, 'must', 'aim'],
    ...measuresOf(result).map(measure => [
      measure.title,
      measure.unit,
      ...names.map(name => cell(result, measure, name)),
      verdict(result, measure, 'must'),
      verdict(result, measure, 'aim'),
    ]),
  ])
}

function roundsTable(result: Result): string {
  const rows = measuresOf(result).flatMap(({ id, title }) =>
    result.figures
      .filter(({ measure, values }) => measure === id && values.length > 1)
      .map(({ target, values }) => [title, target, values.map(rounded).join(', ')]),
  )
  return rows.length > 0 ? table([['what', 'of', 'every round'], ...rows]) : ''
}

function failureLines({ skipped, failures }: Result): string[] {
  return [
    ...skipped.map(({ name, reason }) => `- ${name} was skipped: ${reason}`),
    ...failures.map(({ scenario, target, message }) => `- ${scenario}, ${target} failed: ${message}`),
  ]
}

const conditions = ({ quick, rounds }: Result) =>
  (quick ? 'A quick run with small sizes: it tries the bench, its figures mean nothing. ' : '') +
  `Medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, interleaved between the servers. In brackets: how many times as good as that peer ` +
  'Entrepot is (above 1: Entrepot is better).'

export function terminalReport(result: Result): string {
  const sections = [
    result.machine.map(([name, text]) => `${name}: ${text}`).join('\n'),
    result.targets.map(({ name, version, durability }) => `${name} ${version}: ${durability}`).join('\n'),
    conditions(result),
    resultTable(result),
    roundsTable(result),
    failureLines(result).join('\n'),
  ]
  return `${sections.filter(Boolean).join('\n\n')}\n`
}

export function markdownReport(result: Result): string {
  const failures = failureLines(result)
  const rounds = roundsTable(result)
  return `# Benchmarks

Written by \`npm run bench -- --write\` on ${result.date}; do not edit. Each run measures Entrepot side by side with the peers that
are installed; compare ratios, not figures of different machines.

## Result

${conditions(result)}

${resultTable(result)}
${failures.length > 0 ? `\n${failures.join('\n')}\n` : ''}
## Machine

${table([['what', 'value'], ...result.machine.map(row => [...row])])}

Load and servers share the processor; plain HTTP over the loopback address. Access logs are off, connections are kept
alive, peers run at most two worker processes (rclone: two threads) with the settings that distributions ship.

## Durability

What has happened when an upload is answered:

${table([
  ['server', 'version', 'durability'],
  ...result.targets.map(({ name, version, durability }) => [name, version, durability]),
])}

On a RAM disk fsync costs next to nothing; on a real disk Entrepot pays for its promise and the peers do not.

## Scenarios

${result.scenarios.map(({ id, about }) => `- **${id}**: ${about(result.sizes)}`).join('\n')}
${rounds && `\n## Every round\n\n${rounds}\n`}
## How to run

- \`npm run bench\` measures all and prints the tables; \`-- --write\` writes this page too.
- \`-- --only small,listing\` runs some scenarios, \`-- --rounds 3\` fewer rounds, \`-- --quick\` small sizes.

Files lie on \`/dev/shm\` where it has the room, else in the folder for temporary files, and are removed at the end.
Peers looked for: nginx with its DAV module, Apache with mod_dav, \`rclone serve webdav\`; a missing one is skipped.
`
}
