import { existsSync } from 'node:fs'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import { addDocs } from '#http/docs.ts'
import { openApi } from '#http/openapi.ts'
import { mftDescription } from './index.ts'

const tools = new URL('../../../../shared/tools/lib/', import.meta.url)

test.runIf(existsSync(tools))('the generated document says what the contract says', async () => {
  const { compareDocuments, totalsOf } = await import(new URL('diff.mjs', tools).href)
  const { contractFile, loadJson, openDocument } = await import(new URL('openapi.mjs', tools).href)
  const contract = openDocument(await loadJson(contractFile('mft')))
  const { operations, extra } = compareDocuments({ contract, served: openDocument(openApi(mftDescription)) })
  const findings = operations.flatMap((operation: { id: string; findings: { level: string }[] }) =>
    operation.findings.filter(({ level }) => level !== 'extra').map(finding => ({ id: operation.id, ...finding })),
  )
  expect(findings).toEqual([])
  expect(extra).toEqual([])
  const { request, response, operations: counted } = totalsOf(operations)
  for (const { total, present } of [request, response, counted]) expect(present).toBe(total)
})

test('the pages run no script, load nothing, and their policy knows their style', async () => {
  const app = Fastify()
  addDocs(app, [mftDescription])
  for (const url of ['/docs/', '/docs/mft/']) {
    const { statusCode, headers, payload } = await app.inject(url)
    expect(statusCode).toBe(200)
    expect(payload).not.toMatch(/<script|<link|<img|src=|style="| on\w+="/)
    const style = /<style>([^<]*)<\/style>/.exec(payload)?.[1] ?? ''
    const hash = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(style))).toString('base64')
    expect(headers['content-security-policy']).toContain(`style-src 'sha256-${hash}'`)
  }
  expect((await app.inject('/docs/mft')).headers.location).toBe('/docs/mft/')
  expect((await app.inject('/docs/mft/openapi.json')).json()).toMatchObject({ openapi: '3.1.0' })
})

test('every operation stands on the page', async () => {
  const app = Fastify()
  addDocs(app, [mftDescription])
  const { payload } = await app.inject('/docs/mft/')
  for (const { id } of mftDescription.operations) expect(payload).toContain(`<article id="${id}">`)
})
