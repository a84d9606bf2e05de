import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** What each layer may import besides Node itself and its own folder. */
const layers: Record<string, RegExp> = {
  db: /^(#db\/|kysely$|pg$)/,
  core: /^(#db\/|#core\/|kysely$|ipaddr\.js$)/,
  platform:
    /^(#platform\/|#core\/(ports|errors)\.ts$|@aws-sdk\/(client-s3|s3-request-presigner)$|nodemailer(\/lib\/mail-composer)?$|pino$|re2js$|unpdf\/pdfjs$|yauzl$|prom-client$)/,
  http: /^(#http\/|#core\/|fastify$|typebox$|ajv$|mime-types$)/,
  dialects: /^(#core\/|#http\/|fastify$|typebox$|jose$)/,
  protocols: /^(#core\/|#http\/)/,
  jobs: /^(#jobs\/|#core\/)/,
  cli: /^(#cli\/|#app$|#config$|#core\/|#jobs\/|#platform\/|#db\/|commander$|yaml$)/,
}
/** A dialect's own tables, which nobody else has. */
const store = /^(#db\/|#core\/|kysely$)/
/** Node itself and the same folder. Never `../`: a crossing of layers shall show in the line. */
const free = /^(node:|\.\/)/

const sources = globSync('src/*/**/*.ts').filter(file => !file.endsWith('.test.ts'))
const imports = /^(?:import|export|\})[^'\n]*\bfrom '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'/gm
const importsOf = (file: string) =>
  [...readFileSync(file, 'utf8').matchAll(imports)].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? '')

test('every import follows the layers', () => {
  expect(sources.length).toBeGreaterThan(10) // a checker that sees no files must not pass
  const refused = sources.flatMap(file => {
    const layer = file.split('/')[1]!
    const rule = layer === 'dialects' && file.endsWith('/store.ts') ? store : layers[layer]
    const targets = importsOf(file)
    return targets.filter(target => !free.test(target) && !rule?.test(target)).map(target => `${file} -> ${target}`)
  })
  expect(refused).toEqual([])
})

test('no file reaches into another folder by a relative path, tests included', () => {
  const files = globSync('{src,test,bench}/**/*.ts')
  const crossings = files.flatMap(file =>
    importsOf(file)
      .filter(target => target.startsWith('../'))
      .map(t => `${file} -> ${t}`),
  )
  expect(crossings).toEqual([])
})

/** Vendors, and the words that only their products have. */
const foreign =
  /\b(dracoon|synkzone|sofie|core ?data|primeur|mft|rooms|room(?:id|name)|zones?|filesets?|data ?mover)\b/i

test('the core and what lies below it know no vendor and no vendor words', () => {
  const files = sources.filter(file => /^src\/(core|db|platform|jobs)\//.test(file))
  expect(files.length).toBeGreaterThan(10)
  const lines = files.flatMap(file =>
    readFileSync(file, 'utf8')
      .split('\n')
      .map((line, at) => ({ at: `${file}:${at + 1}`, line })),
  )
  expect(lines.filter(({ line }) => foreign.test(line)).map(({ at, line }) => `${at} ${line.trim()}`)).toEqual([])
})

test('only the configuration reads variables of the environment; entry points hand it over whole', () => {
  const reads = /process\.env[.[]|\} = process\.env/
  const readers = globSync('src/**/*.ts').filter(
    file => !file.endsWith('.test.ts') && reads.test(readFileSync(file, 'utf8')),
  )
  // main.ts sizes the process before anything is loaded, also the configuration.
  expect(readers.filter(file => file !== 'src/config.ts')).toEqual(['src/main.ts'])
})
