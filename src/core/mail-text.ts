/** What mails say: the same facts in every language, as text and as HTML from one template. */
import { html, joinHtml, type Html } from './html.ts'
import { showMoment, type Language } from './languages.ts'
import { cs } from './mail-texts/cs.ts'
import { de } from './mail-texts/de.ts'
import { en } from './mail-texts/en.ts'
import { hu } from './mail-texts/hu.ts'
import { sk } from './mail-texts/sk.ts'

export const deliveryMailKinds = [
  'delivery-arrived',
  'approval-needed',
  'delivery-approved',
  'delivery-refused',
  'delivery-quarantined',
] as const
export type DeliveryMailKind = (typeof deliveryMailKinds)[number]

/** What a language file gives. Sentences name nobody, so that no name has to be inflected. */
export interface MailTexts {
  greeting: string
  ending: string
  deliveries: Readonly<
    Record<DeliveryMailKind, { subject: (label: string) => string; opening: string; closing: string }>
  >
  password: { subject: string; opening: string; closing: string }
  test: { subject: string; opening: string }
  /** Above a note that the sender wrote. */
  note: string
  names: { sender: string; label: string; until: string; id: string; server: string; login: string; linkUntil: string }
  /** In place of the end of a delivery that has none. */
  endless: string
}

const texts: Readonly<Record<Language, MailTexts>> = { en, cs, sk, hu, de }

export interface DeliveryFacts {
  id: string
  label: string
  /** Whoever sent it, as people call him. */
  sender: string
  /** Null where there is none, or where it is not for everybody who reads mails. */
  note: string | null
  /** Epoch milliseconds; null for never. */
  expiresAt: number | null
  /** Address of the server; empty where it is not known. */
  server: string
}

export type Letter =
  | { kind: DeliveryMailKind; delivery: DeliveryFacts }
  | { kind: 'choose-password'; login: string; link: string; expiresAt: number }
  | { kind: 'test' }

type Block =
  string | { facts: readonly (readonly [name: string, value: string])[] } | { quoted: string } | { link: string }

/** Subject and both parts. */
export function writeMail(letter: Letter, language: Language): { subject: string; text: string; html: string } {
  const words = texts[language]
  const { subject, blocks } = compose(letter, words, language)
  const all: Block[] = [words.greeting, ...blocks, words.ending]
  return { subject, text: `${all.map(asText).join('\n\n')}\n`, html: asPage(subject, all, language) }
}

function compose(letter: Letter, words: MailTexts, language: Language): { subject: string; blocks: Block[] } {
  if (letter.kind === 'test') return { subject: words.test.subject, blocks: [words.test.opening] }
  if (letter.kind === 'choose-password') return composePassword(letter, words, language)
  return composeDelivery(letter, words, language)
}

function composePassword(
  { login, link, expiresAt }: Extract<Letter, { kind: 'choose-password' }>,
  { password, names }: MailTexts,
  language: Language,
): { subject: string; blocks: Block[] } {
  const facts = [
    [names.login, login],
    [names.linkUntil, showMoment(expiresAt, language)],
  ] as const
  return { subject: password.subject, blocks: [password.opening, { link }, { facts }, password.closing] }
}

/** Longest label in a subject line, in characters. */
const MAX_SUBJECT_LABEL = 100

function composeDelivery(
  { kind, delivery }: Extract<Letter, { kind: DeliveryMailKind }>,
  { deliveries, names, note, endless }: MailTexts,
  language: Language,
): { subject: string; blocks: Block[] } {
  const { subject, opening, closing } = deliveries[kind]
  const { id, sender, expiresAt, server } = delivery
  const label = oneLine(delivery.label) || id
  const facts: [string, string][] = [
    [names.sender, oneLine(sender)],
    [names.label, label],
    [names.until, expiresAt === null ? endless : showMoment(expiresAt, language)],
    [names.id, id],
    ...(server === '' ? [] : [[names.server, server] satisfies [string, string]]),
  ]
  const quoted: Block[] = delivery.note ? [note, { quoted: printable(delivery.note) }] : []
  return { subject: subject(shortened(label)), blocks: [opening, { facts }, ...quoted, closing] }
}

function shortened(label: string): string {
  const characters = Array.from(label)
  return characters.length > MAX_SUBJECT_LABEL ? `${characters.slice(0, MAX_SUBJECT_LABEL - 1).join('')}…` : label
}

const printable = (text: string) =>
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  text.replaceAll(/\r\n?/g, '\n').replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, ' ')

const oneLine = (text: string) => printable(text).replaceAll('\n', ' ').trim()

function asText(block: Block): string {
  if (typeof block === 'string') return block
  if ('link' in block) return block.link
  if ('quoted' in block) return block.quoted.replaceAll(/^/gm, '> ')
  return block.facts.map(([name, value]) => `${name}: ${value}`).join('\n')
}

function asHtml(block: Block): Html {
  if (typeof block === 'string') return html`<p>${block}</p>`
  if ('link' in block) return html`<p><a href="${block.link}">${block.link}</a></p>`
  if ('quoted' in block) return html`<blockquote style="white-space:pre-line">${block.quoted}</blockquote>`
  const entries = block.facts.map(
    ([name, value]) =>
      html`<dt><strong>${name}</strong></dt>
        <dd>${value}</dd>`,
  )
  return html`<dl>${joinHtml(entries)}</dl>`
}

const asPage = (subject: string, blocks: readonly Block[], language: Language): string =>
  html`<!doctype html>
    <html lang="${language}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${subject}</title>
      </head>
      <body style="font: 16px/1.5 sans-serif; max-width: 40em">
        ${joinHtml(blocks.map(asHtml))}
      </body>
    </html> `.html
