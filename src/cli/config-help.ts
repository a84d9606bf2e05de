/** `entrepot help config`: every environment variable, what it does and what it is when not set. */
import { variables, type Variable } from '#config'

export function configHelp(): string {
  const rows = Object.values<Variable<unknown>>(variables)
  const width = Math.max(...rows.map(row => row.name.length))
  const lines = rows.map(
    ({ name, fallback, help }) => `  ${name.padEnd(width)}  ${help}${fallback ? ` (${fallback})` : ''}`,
  )
  return ['Environment variables (default in parentheses):', '', ...lines].join('\n')
}

/** The same as a table for the README; a test keeps the two alike. */
export function configTable(): string {
  const rows = Object.values<Variable<unknown>>(variables)
  const lines = rows.map(
    ({ name, fallback, help }) => `| \`${name}\` | ${fallback ? `\`${fallback}\`` : ''} | ${help} |`,
  )
  return ['| Variable | Default | What it is |', '|---|---|---|', ...lines].join('\n')
}
