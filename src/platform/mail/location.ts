/** Where mails go, as `ENTREPOT_SMTP_URL` and `ENTREPOT_MAIL_FROM` name it. */

export interface SmtpLocation {
  host: string
  port: number
  /** TLS from the first byte. */
  implicitTls: boolean
  /** What becomes of a connection that begins without TLS. */
  startTls: 'required' | 'opportunistic' | 'none'
  /** Empty for a server that asks for no sign-in. */
  user: string
  password: string
}

export interface Mailbox {
  name: string
  address: string
}

export const smtpLocationHint =
  'smtp://<user>:<password>@<host>:<port> or smtps://…, with ?tls=required, opportunistic or none behind smtp'
export const mailboxHint = 'an address such as Entrepot <noreply@example.com>'

/**
 * Without `?tls=` a password asks for TLS, and nothing else does. Undefined for anything that is no such address, and for
 * `?tls=` where the connection begins with TLS anyway.
 */
export function smtpLocation(text: string): SmtpLocation | undefined {
  const url = /^smtps?:\/\//i.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (!url?.hostname || url.hash !== '' || !/^\/?$/.test(url.pathname)) return undefined
  const credentials = credentialsOf(url)
  const startTls = startTlsOf(url)
  if (!credentials || !startTls) return undefined
  const implicitTls = url.protocol === 'smtps:'
  const port = url.port === '' ? (implicitTls ? 465 : 587) : Number(url.port)
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, implicitTls, startTls, ...credentials }
}

function credentialsOf({ username, password }: URL): { user: string; password: string } | undefined {
  try {
    const decoded = { user: decodeURIComponent(username), password: decodeURIComponent(password) }
    return Boolean(decoded.user) === Boolean(decoded.password) ? decoded : undefined
  } catch {
    return undefined
  }
}

function startTlsOf({ protocol, username, searchParams }: URL): SmtpLocation['startTls'] | undefined {
  const { tls, ...others } = Object.fromEntries(searchParams)
  if (Object.keys(others).length > 0 || (tls !== undefined && protocol === 'smtps:')) return undefined
  const modes = ['required', 'opportunistic', 'none'] as const
  return modes.find(mode => mode === (tls ?? (username === '' ? 'opportunistic' : 'required')))
}

/** `Name <address>`, `"Name" <address>` or an address alone; undefined for anything else. */
export function parseMailbox(text: string): Mailbox | undefined {
  const [, quoted, plain, bracketed, bare] =
    /^(?:(?:"([^"<>]*)"|([^"<>]*?))\s*<([^<>]+)>|(\S+))$/.exec(text.trim()) ?? []
  const address = bracketed ?? bare ?? ''
  return isMailAddress(address) ? { name: (quoted ?? plain ?? '').trim(), address } : undefined
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const ADDRESS = /^[^\s@<>()[\]\\,;:"\u0000-\u001f\u007f-\u009f]+@[^\s@<>()[\]\\,;:"\u0000-\u001f\u007f-\u009f]+$/
const MAX_ADDRESS_LENGTH = 254

/**
 * What can stand in a header and an envelope without meaning more than one address: no spaces, no control characters, none
 * of the signs that separate addresses.
 */
export const isMailAddress = (text: string): boolean =>
  text.length <= MAX_ADDRESS_LENGTH && text.isWellFormed() && ADDRESS.test(text)
