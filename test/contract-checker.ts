/** The conformance checker that lies beside a clone; clones without it go without that second opinion. */
import { existsSync } from 'node:fs'

const checkerUrl = new URL('../../shared/tools/lib/checker.mjs', import.meta.url)

interface Checker {
  check(exchange: object): unknown[]
}

/** Holds exchanges against a dialect's contract and collects what violates it. */
export async function loadChecker(dialect: string, violations: unknown[]): Promise<(exchange: object) => void> {
  if (!existsSync(checkerUrl)) return () => {}
  const { createChecker } = (await import(checkerUrl.href)) as { createChecker: (contracts: unknown) => Checker }
  const { loadContracts } = (await import(new URL('openapi.mjs', checkerUrl).href)) as {
    loadContracts: (dialects: string[]) => Promise<unknown>
  }
  const checker = createChecker(await loadContracts([dialect]))
  return exchange => void violations.push(...checker.check(exchange))
}
