import { describe, expect } from 'vitest'
import { test, type CoredataWorld } from '#test/coredata-world.ts'

const lists = ['files', 'spaces', 'projects', 'folders', 'contacts', 'user/files/favourites', 'comments'] as const

interface List {
  meta: { limit: number; next: string | null; offset: number; previous: string | null; total_count: number }
  objects: { title: string }[]
}

async function list({ send }: CoredataWorld, path: string): Promise<List> {
  const answer = await send('GET', path, { as: 'editor' })
  expect(answer.status).toBe(200)
  return answer.body as List
}

async function contacts(coredata: CoredataWorld, titles: readonly string[]): Promise<void> {
  for (const title of titles) await coredata.make('contacts', { title })
}

describe('pages', () => {
  test('lead from one to the next and back, and keep the filters', async ({ coredata }) => {
    await contacts(coredata, ['Ann & Co', 'Bob', 'Ann B', 'Ann C'])
    const first = await list(coredata, '/api/v2/contacts/?title__startswith=Ann&x=1%202&limit=2')
    expect(first.meta).toEqual({
      limit: 2,
      next: '/api/v2/contacts/?limit=2&offset=2&title__startswith=Ann&x=1+2',
      offset: 0,
      previous: null,
      total_count: 3,
    })
    expect(first.objects.map(({ title }) => title)).toEqual(['Ann & Co', 'Ann B'])
    const second = await list(coredata, first.meta.next ?? '')
    expect(second.objects.map(({ title }) => title)).toEqual(['Ann C'])
    expect(second.meta).toMatchObject({
      next: null,
      previous: '/api/v2/contacts/?limit=2&offset=0&title__startswith=Ann&x=1+2',
    })
    expect(await list(coredata, second.meta.previous ?? '')).toMatchObject({ objects: first.objects })
  })

  test('the last one ends exactly at the end', async ({ coredata }) => {
    await contacts(coredata, ['a', 'b'])
    expect((await list(coredata, '/api/v2/contacts/?limit=1&offset=1')).meta).toMatchObject({ next: null })
    expect((await list(coredata, '/api/v2/contacts/?limit=2')).meta).toMatchObject({ next: null, previous: null })
  })

  test('before the middle of a page nothing is skipped on the way back', async ({ coredata }) => {
    await contacts(coredata, ['a', 'b', 'c'])
    const { meta } = await list(coredata, '/api/v2/contacts/?limit=2&offset=1')
    expect(meta.previous).toBe('/api/v2/contacts/?limit=2&offset=0')
  })
})

const pages = [
  ['', 20, 0],
  ['?limit=', 20, 0],
  ['?limit=7&offset=3', 7, 3],
  ['?limit=0', 1000, 0],
  ['?limit=1000', 1000, 0],
  ['?limit=1001', 1000, 0],
  ['?limit=999999999999999', 1000, 0],
  ['?offset=999999999999999', 20, 999_999_999_999_999],
  ['?unknown=1&parents=x', 20, 0],
] as const

const noPages = [
  ['limit', '-1'],
  ['limit', 'x'],
  ['limit', '1.5'],
  ['limit', ' 1'],
  ['offset', '-1'],
  ['offset', '0x1'],
  ['offset', '99999999999999999999'],
] as const

describe.for(lists)('/api/v2/%s/', resource => {
  const path = `/api/v2/${resource}/`

  test('knows the usual limits of pages', async ({ coredata }) => {
    for (const [query, limit, offset] of pages) {
      expect((await list(coredata, path + query)).meta, query).toMatchObject({ limit, offset, next: null })
    }
  })

  test('refuses what is no page', async ({ coredata }) => {
    for (const [name, value] of noPages) {
      const answer = await coredata.send('GET', `${path}?${name}=${encodeURIComponent(value)}`, { as: 'editor' })
      const error = `Invalid ${name} '${value}' provided. Please provide a positive integer >= 0.`
      expect(answer).toMatchObject({ status: 400, body: { error } })
    }
  })

  test('is empty where nothing matches, and 401 without a key', async ({ coredata }) => {
    expect(await coredata.send('GET', `${path}?offset=5`, { as: 'editor' })).toMatchObject({ body: { objects: [] } })
    expect(await coredata.send('GET', path, {})).toMatchObject({ status: 401, raw: Buffer.alloc(0) })
  })
})
