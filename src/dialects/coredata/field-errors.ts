/** Refusals that name every wrong field of a request. */
import { DomainError } from '#core/errors.ts'

/** Messages by field. */
export type FieldErrors = Record<string, string[]>

export const REQUIRED = 'This field is required.'

/**
 * Answered as `{"<resource>": {"<field>": ["<message>"]}}`. A refusal like the core's own, so that content which came with the
 * fields is dropped at once.
 */
export class FieldsRefused extends DomainError<'invalid-input'> {
  readonly resource: string
  readonly fields: FieldErrors
  constructor(resource: string, fields: FieldErrors) {
    super('invalid-input', { field: Object.keys(fields).join(', '), rule: 'see the fields' })
    this.resource = resource
    this.fields = fields
  }
}

/** A page that is none; the message is for the client. */
export class PageRefused extends Error {}
