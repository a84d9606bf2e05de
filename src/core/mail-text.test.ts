import { describe, expect, test } from 'vitest'
import { languages } from './languages.ts'
import { deliveryMailKinds, writeMail, type DeliveryFacts, type Letter } from './mail-text.ts'

const delivery: DeliveryFacts = {
  id: '0190-id',
  label: 'Plans',
  sender: 'Jan Novák (jan@example.com)',
  note: 'First line\nSecond line',
  expiresAt: Date.UTC(2026, 1, 5, 8),
  server: 'https://files.example.com',
}
const letters: Letter[] = [
  ...deliveryMailKinds.map(kind => ({ kind, delivery })),
  { kind: 'choose-password', login: 'jan', link: 'https://x.example/account/password?token=a', expiresAt: 0 },
  { kind: 'test' },
]

describe.for(languages)('in %s', language => {
  test.for(letters.map(letter => [letter.kind, letter] as const))('%s is whole in both parts', ([, letter]) => {
    const { subject, text, html } = writeMail(letter, language)
    for (const part of [subject, text, html]) expect(part).not.toMatch(/\$\{|\{\{|undefined|null|NaN|\[object/)
    expect(subject).not.toBe('')
    expect(html).toContain(`<html lang="${language}">`)
    // Whatever the text says, the HTML says too.
    const lines = text.split('\n').flatMap(line => line.replace(/^> /, '').split(': '))
    const shown = html.replaceAll(/\s+/g, ' ')
    for (const line of lines.filter(Boolean)) expect(shown).toContain(line.trim())
  })

  test('no sentence was forgotten in another language', () => {
    if (language === 'en') return
    for (const letter of letters) {
      const lines = new Set(writeMail(letter, 'en').text.split('\n'))
      const same = writeMail(letter, language)
        .text.split('\n')
        .filter(line => lines.has(line) && line.includes(' '))
      expect(same.filter(line => !/Server:|> |https:/.test(line))).toEqual([])
    }
  })
})

test('a mail about a delivery tells who sent what until when, and where it is', () => {
  expect(writeMail({ kind: 'delivery-arrived', delivery }, 'en')).toMatchObject({
    subject: 'New delivery: Plans',
    text: `Hello,

You have received a delivery.

Sender: Jan Novák (jan@example.com)
Subject: Plans
Available until: 5 February 2026 at 08:00 UTC
Delivery ID: 0190-id
Server: https://files.example.com

Note from the sender:

> First line
> Second line

Its ID tells the server which delivery you want to open.

This message was sent automatically. Please do not reply to it.
`,
  })
})

test('what a delivery does not have is not mentioned', () => {
  const bare = { ...delivery, label: '', note: null, expiresAt: null, server: '' }
  const { subject, text } = writeMail({ kind: 'delivery-arrived', delivery: bare }, 'en')
  expect(subject).toBe('New delivery: 0190-id')
  expect(text).toContain('Available until: no time limit')
  expect(text).not.toMatch(/Server|Note/)
})

test('what people write stays text in the HTML and breaks no line where it has none', () => {
  const evil = `<img src=x onerror=alert(1)>"'&\r\nTo: you`
  const { subject, text, html } = writeMail(
    { kind: 'delivery-arrived', delivery: { ...delivery, label: evil, sender: evil, note: evil } },
    'de',
  )
  expect(subject).not.toMatch(/[\r\n]/)
  expect(text).toContain(`Absender: <img src=x onerror=alert(1)>"'& To: you\n`)
  expect(text).toContain('> To: you')
  expect(html).not.toContain('<img')
  expect(html).toContain('&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;')
})

test('a long label is cut in the subject only, between characters', () => {
  const label = '🚚'.repeat(150)
  const { subject, text } = writeMail({ kind: 'delivery-arrived', delivery: { ...delivery, label } }, 'en')
  expect(subject).toBe(`New delivery: ${'🚚'.repeat(99)}…`)
  expect(text).toContain(label)
})
