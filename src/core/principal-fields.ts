/** What may stand in the fields of an account, a group or an address. */
import { DomainError } from './errors.ts'
import { fold } from './names.ts'

/** As long as an address can be. */
export const MAX_LOGIN_LENGTH = 254
const MAX_HANDLE_LENGTH = 64

/** A text of one line. Throws `invalid-input` in the name of the field. */
export function checkText(field: string, text: string, maxLength: number): string {
  const refuse = (rule: string) => new DomainError('invalid-input', { field, rule })
  if (text.trim() === '') throw refuse('empty')
  if (text.length > maxLength) throw refuse('too-long')
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!text.isWellFormed() || /[\u0000-\u001f\u007f-\u009f]/.test(text)) throw refuse('forbidden-character')
  if (text !== text.trim()) throw refuse('outer-space')
  return text
}

/** The columns of an address. Throws `invalid-input`. */
export function checkEmail(email: string | null) {
  if (email === null) return { email, emailKey: null }
  checkText('email', email, MAX_LOGIN_LENGTH)
  if (!/^[^\s@]+@[^\s@]+$/.test(email)) throw new DomainError('invalid-input', { field: 'email', rule: 'format' })
  return { email, emailKey: fold(email) }
}

export function checkHandle(handle: string | null): string | null {
  if (handle !== null && (!/^[A-Za-z0-9._-]+$/.test(handle) || handle.length > MAX_HANDLE_LENGTH)) {
    throw new DomainError('invalid-input', { field: 'handle', rule: 'format' })
  }
  return handle
}
