import { existsSync } from 'node:fs'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import { addDocs } from '#http/docs.ts'
import { openApi } from '#http/openapi.ts'
import { coredataDescription } from './index.ts'

const tools = new URL('../../../../shared/tools/lib/', import.meta.url)

test.runIf(existsSync(tools))('the generated document says what the contract says', async () => {
  const { compareDocuments, totalsOf } = await import(new URL('diff.mjs', tools).href)
  const { contractFile, loadJson, openDocument } = await import(new URL('openapi.mjs', tools).href)
  const contract = openDocument(await loadJson(contractFile('coredata')))
  const { operations, extra } = compareDocuments({ contract, served: openDocument(openApi(coredataDescription)) })
  const findings = operations.flatMap((operation: { id: string; findings: { level: string }[] }) =>
    operation.findings.filter(({ level }) => level === 'error').map(finding => ({ id: operation.id, ...finding })),
  )
  expect(findings).toEqual([])
  expect(extra).toEqual([])
  const { request, response, operations: counted } = totalsOf(operations)
  for (const { total, present } of [request, response, counted]) expect(present).toBe(total)
})

test('refusals without a body say so, and either key will do', () => {
  const document = openApi(coredataDescription)
  expect(document['security']).toEqual([{ apikeyV2: [] }, { apikeyV3: [] }])
  expect(document['paths']).toMatchObject({
    '/api/v2/spaces/{space_id}/': { get: { responses: { 404: { description: 'Unknown or deleted; empty body.' } } } },
    '/laika/{blob_name}': { get: { security: [] } },
  })
  expect(JSON.stringify(document)).not.toMatch(/"40[134]":\{"description":"[^"]*","content":\{"application\/json/)
})

test('every operation stands on the page', async () => {
  const app = Fastify()
  addDocs(app, [coredataDescription])
  const { payload } = await app.inject('/docs/coredata/')
  for (const { id } of coredataDescription.operations) expect(payload).toContain(`<article id="${id}">`)
  expect(payload).toContain('carries one of')
})
