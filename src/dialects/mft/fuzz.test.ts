import fc from 'fast-check'
import { expect } from 'vitest'
import { multipart, test, type MftWorld, type Sent } from '#test/mft-world.ts'

const RUNS = 10_000
/** Requests under way at once. */
const WIDTH = 50

const word = fc.oneof(
  fc.constantFrom('inbox', 'outbox', 'archive', 'locked', 'x', 'y', '', '.', '..', 'partner5', '1', '7', '8'),
  fc.constantFrom(
    '%2e',
    '%2E%2e',
    '%2f',
    '%00',
    '%',
    '%zz',
    '%c0%af',
    '%25',
    '*',
    '_',
    '~',
    '%0d%0a',
    '\\',
    '%F0%9F%98%80',
  ),
  fc.string({ unit: 'binary', maxLength: 8 }).map(text => encodeURIComponent(text.toWellFormed())),
  fc.string({ maxLength: 8 }).map(text => text.replaceAll(/[^!-~]|[?#]/g, '')),
)
const resource = fc.constantFrom(
  'files',
  'fileset',
  'metadata',
  'metadatabyid',
  'directories',
  'countelements',
  'login/basic',
  'login',
  '',
)
const queryName = fc.constantFrom(
  'filter',
  'sort',
  'direction',
  'start',
  'limit',
  'type',
  'attributes',
  '__proto__',
  'x',
)
const queryValue = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '-1',
    '1',
    '500',
    '1e3',
    '99999999999999999999',
    'all',
    'ASC',
    'name',
    'size',
    'put_date',
    'expiry_date',
  ),
  fc.constantFrom('*', '_', 'a*b', 'files', 'size,x,__proto__,constructor', '%00', '%', '%ff'),
  fc.string({ unit: 'binary', maxLength: 8 }).map(text => encodeURIComponent(text.toWellFormed())),
)
const query = fc
  .array(fc.tuple(queryName, queryValue), { maxLength: 4 })
  .map(pairs => pairs.map(pair => pair.join('=')).join('&'))
const method = fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS')
const place = fc.oneof(
  fc.constantFrom(
    ['inbox', 'x'],
    ['inbox', 'y'],
    ['outbox', 'archive', 'x'],
    ['z'],
    ['inbox'],
    ['outbox'],
    [],
    ['8'],
    ['9'],
    ['20'],
  ),
  fc.array(word, { maxLength: 4 }),
)
const anything = fc.record({ method, resource, path: place })
const fitting = fc
  .tuple(
    fc.constantFrom(
      'PUT files',
      'PUT files',
      'POST files',
      'GET files',
      'DELETE files',
      'GET fileset',
      'DELETE fileset',
      'POST metadata',
      'GET metadata',
      'POST metadatabyid',
      'GET metadatabyid',
      'GET directories',
      'GET countelements',
    ),
    place,
  )
  .map(([call, path]) => ({ method: call.split(' ')[0]!, resource: call.split(' ')[1]!, path }))

const text = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 10 }),
  fc.json({ maxDepth: 2 }),
)
const parts = fc.array(
  fc.record({
    name: fc.constantFrom('file', 'metadata', 'file', 'x'),
    content: text,
    filename: fc.constantFrom('f', '', '..', 'a/b', 'ä"'),
  }),
  { maxLength: 3 },
)
const json = fc.oneof(
  fc.dictionary(
    fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom('metadata', 'datatype', 'size', '__proto__')),
    fc.oneof(text, fc.integer()),
  ),
  fc.jsonValue({ maxDepth: 3 }),
)
const contentType = fc.constantFrom(
  'application/json',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=b',
  'text/plain',
  ';',
  '',
)
const upload = text.map(content => multipart([{ name: 'file', content }]))
const body: fc.Arbitrary<Sent> = fc.oneof(
  upload,
  upload,
  fc.constant({}),
  json.map(value => ({ headers: { 'content-type': 'application/json' }, payload: JSON.stringify(value) })),
  parts.map(multipart),
  fc
    .tuple(parts.map(multipart), fc.nat({ max: 400 }))
    .map(([sent, cut]) => ({ ...sent, payload: sent.payload.subarray(0, cut) })),
  fc
    .tuple(contentType, text)
    .map(([type, payload]) => ({ headers: { ...(type && { 'content-type': type }) }, payload })),
)
const request = fc.record({
  target: fc.oneof(fitting, anything),
  query: fc.option(query, { nil: '' }),
  as: fc.constantFrom('partner', 'partner', 'partner', 'clerk', 'reader', 'nobody', 'forged', 'none'),
  body,
})

test('no request whatsoever makes the server fail', { timeout: 60_000 }, async ({ mft }) => {
  const seen = new Map<number, number>()
  const requests = fc.sample(request, RUNS)
  for (let at = 0; at < RUNS; at += WIDTH) {
    await Promise.all(
      requests.slice(at, at + WIDTH).map(async sample => {
        const { statusCode, payload } = await mft.app.inject(injection(mft, sample))
        expect(statusCode, JSON.stringify({ sample, payload })).toBeLessThan(500)
        seen.set(statusCode, (seen.get(statusCode) ?? 0) + 1)
      }),
    )
  }
  // Requests that are all refused at the door would prove nothing.
  for (const status of [200, 201, 400, 401, 403, 404])
    expect(seen.get(status) ?? 0, `answers of ${status}`).toBeGreaterThan(20)
})

type Sample = typeof request extends fc.Arbitrary<infer T> ? T : never

function injection({ cookies }: MftWorld, { target: { method, resource, path }, query, as, body }: Sample) {
  const known: Record<string, string> = cookies
  const cookie = known[as] ?? (as === 'forged' ? 'sp-http-usr=partner; sp-http-ses=AAAAAAAAAAAAAAAAAAAAAA==' : '')
  return {
    method: method as 'GET',
    url: `/2.0/${[resource, ...path].join('/')}${query ? `?${query}` : ''}`,
    headers: { ...body.headers, ...(cookie && { cookie }) },
    ...(body.payload !== undefined && method !== 'GET' && method !== 'HEAD' && { payload: body.payload }),
  }
}
