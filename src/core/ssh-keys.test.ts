import { describe, expect, test } from 'vitest'
import { checkSshKeys } from './ssh-keys.ts'

const field = (bytes: Buffer | string) => {
  const content = Buffer.from(bytes)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}
const keyOf = (type: string, ...fields: Buffer[]) =>
  Buffer.concat([field(type), ...fields.map(field)]).toString('base64')
const ed25519 = `ssh-ed25519 ${keyOf('ssh-ed25519', Buffer.alloc(32, 1))}`
const rsa = `ssh-rsa ${keyOf('ssh-rsa', Buffer.from([1, 0, 1]), Buffer.alloc(257, 2))} somebody@somewhere`

test('lines are taken one by one, without what surrounds them', () => {
  expect(checkSshKeys(`\r\n  ${ed25519} \r\n\n${rsa}\n`)).toEqual([ed25519, rsa])
  expect(checkSshKeys(' \n')).toEqual([])
})

describe('refused', () => {
  test.for([
    ['options', `no-pty ${ed25519}`, 'type'],
    ['a type out of use', `ssh-dss ${keyOf('ssh-dss', Buffer.alloc(128))}`, 'type'],
    ['a type alone', 'ssh-ed25519', 'key'],
    ['another type within', `ssh-rsa ${keyOf('ssh-ed25519', Buffer.alloc(32))}`, 'key'],
    ['no base64', 'ssh-ed25519 AAAA*', 'key'],
    ['nothing behind the type', `ssh-ed25519 ${keyOf('ssh-ed25519')}`, 'key'],
    ['a key that is cut off', ed25519.slice(0, -8), 'key'],
    ['a private key', '-----BEGIN OPENSSH PRIVATE KEY-----', 'type'],
    ['a control character', `${ed25519} a\u0000b`, 'forbidden-character'],
    ['too many', `${ed25519}\n`.repeat(101), 'too-many'],
  ] as const)('%s', ([, text, rule]) => {
    expect(() => checkSshKeys(text)).toThrow(
      expect.objectContaining({ code: 'invalid-input', details: { field: 'sshKeys', rule } }),
    )
  })
})
