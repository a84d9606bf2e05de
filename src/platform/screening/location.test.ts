import { expect, test } from 'vitest'
import { enginePlaces } from './location.ts'

test('engines are named by address, with defaults for what is not said', () => {
  expect(enginePlaces('')).toEqual([])
  expect(enginePlaces('clamd://127.0.0.1, icap://[::1]:1345/avscan?name=gate&timeout=2m&max=1GiB&optional=on')).toEqual(
    [
      {
        kind: 'clamd',
        name: 'clamd',
        mandatory: true,
        timeoutMs: 30_000,
        maxBytes: undefined,
        address: { host: '127.0.0.1', port: 3310 },
        service: '',
      },
      {
        kind: 'icap',
        name: 'gate',
        mandatory: false,
        timeoutMs: 120_000,
        maxBytes: 2 ** 30,
        address: { host: '::1', port: 1345 },
        service: 'icap://[::1]:1345/avscan',
      },
    ],
  )
  expect(enginePlaces('clamd:///run/clamav/clamd.ctl')).toMatchObject([{ address: { path: '/run/clamav/clamd.ctl' } }])
  expect(enginePlaces('icap://av.example/scan')).toMatchObject([{ address: { host: 'av.example', port: 1344 } }])
})

test.for([
  '127.0.0.1:3310',
  'clamav://127.0.0.1',
  'clamd://',
  'clamd://127.0.0.1/avscan',
  'clamd://127.0.0.1:99999',
  'icap://127.0.0.1',
  'icap:///avscan',
  'icap://user@127.0.0.1/avscan',
  'clamd://127.0.0.1?timeout=30',
  'clamd://127.0.0.1?max=much',
  'clamd://127.0.0.1?optional=yes',
  'clamd://127.0.0.1?name=Archives!',
  'clamd://127.0.0.1?name=archives',
  'clamd://127.0.0.1?limit=5',
  'clamd://127.0.0.1?name=a&name=b',
  'clamd://127.0.0.1,clamd://127.0.0.2',
  'clamd://127.0.0.1,',
])('%s is refused', text => {
  expect(enginePlaces(text)).toBeUndefined()
})
