import { expect, test } from 'vitest'
import { isMailAddress, parseMailbox, smtpLocation } from './location.ts'

test('an address of a mail server names host, port, sign-in and encryption', () => {
  expect(smtpLocation('smtp://mail.example.com')).toEqual({
    host: 'mail.example.com',
    port: 587,
    implicitTls: false,
    startTls: 'opportunistic',
    user: '',
    password: '',
  })
  expect(smtpLocation('smtps://u%40x:p%2F%20%25@[::1]')).toMatchObject({
    host: '::1',
    port: 465,
    implicitTls: true,
    user: 'u@x',
    password: 'p/ %',
  })
  expect(smtpLocation('smtp://127.0.0.1:25?tls=none')).toMatchObject({ port: 25, startTls: 'none' })
})

test('a password asks for encryption unless the address says otherwise', () => {
  expect(smtpLocation('smtp://u:p@mail.example.com')).toMatchObject({ startTls: 'required' })
  expect(smtpLocation('smtp://u:p@mail.example.com?tls=opportunistic')).toMatchObject({ startTls: 'opportunistic' })
})

test.for([
  'mail.example.com',
  'http://mail.example.com',
  'smtp://',
  'smtp://u@mail.example.com',
  'smtp://u:%zz@mail.example.com',
  'smtp://mail.example.com/inbox',
  'smtp://mail.example.com?tls=maybe',
  'smtp://mail.example.com?pool=true',
  'smtps://mail.example.com?tls=none',
])('%s is no address of a mail server', text => {
  expect(smtpLocation(text)).toBeUndefined()
})

test('a mailbox is an address with or without a name', () => {
  expect(parseMailbox('Entrepot <noreply@example.com>')).toEqual({ name: 'Entrepot', address: 'noreply@example.com' })
  expect(parseMailbox('"Příjem, s.r.o." <a@b.cz>')).toEqual({ name: 'Příjem, s.r.o.', address: 'a@b.cz' })
  expect(parseMailbox('<a@b.cz>')).toEqual({ name: '', address: 'a@b.cz' })
  expect(parseMailbox('a@b.cz')).toEqual({ name: '', address: 'a@b.cz' })
  for (const text of ['Entrepot', 'Entrepot <noreply>', 'a@b.cz, c@d.cz', 'A <a@b.cz> <c@d.cz>', '@b.cz', 'a@'])
    expect(parseMailbox(text)).toBeUndefined()
})

test('whatever could begin a second address or header is no mail address', () => {
  expect(isMailAddress("o'neil+x@bücher.example")).toBe(true)
  for (const text of [
    'a@b\r\nBcc: c@d',
    'a@b\n',
    'a@b,c@d',
    'a@b;c',
    'A <a@b>',
    'a b@c',
    'a@b\0',
    'a@@b',
    `${'a'.repeat(260)}@b`,
  ])
    expect(isMailAddress(text)).toBe(false)
})
