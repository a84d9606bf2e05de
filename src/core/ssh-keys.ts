/** Public keys as OpenSSH writes them, one a line. */
import { DomainError } from './errors.ts'

const types: ReadonlySet<string> = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
])

const MAX_KEYS = 100
/** Of the length that stands before each field of a key. */
const LENGTH_BYTES = 4

/**
 * The lines of a text that are not empty, each `type base64 [comment]`. Throws `invalid-input` for options before the type,
 * for types that are out of use, and where the key says another type than the line.
 */
export function checkSshKeys(text: string): string[] {
  const lines = text
    .split(/\r?\n/)
    .map(line => line.trim())
    .filter(line => line !== '')
  if (lines.length > MAX_KEYS) throw refuse('too-many')
  for (const line of lines) checkLine(line)
  return lines
}

function checkLine(line: string): void {
  const [type = '', base64 = ''] = line.split(/[ \t]+/)
  if (!types.has(type)) throw refuse('type')
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!line.isWellFormed() || /[\u0000-\u0008\u000a-\u001f\u007f]/.test(line)) throw refuse('forbidden-character')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || !isKeyOf(type, Buffer.from(base64, 'base64'))) throw refuse('key')
}

/** A key says its type itself, and has more behind it; every field is as long as it says. */
function isKeyOf(type: string, key: Buffer): boolean {
  const fields: Buffer[] = []
  for (let at = 0; at < key.length;) {
    if (key.length - at < LENGTH_BYTES) return false
    const end = at + LENGTH_BYTES + key.readUInt32BE(at)
    if (end > key.length) return false
    fields.push(key.subarray(at + LENGTH_BYTES, end))
    at = end
  }
  return fields.length > 1 && fields[0]?.toString('latin1') === type
}

const refuse = (rule: string) => new DomainError('invalid-input', { field: 'sshKeys', rule })
