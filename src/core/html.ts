/** HTML for mails and the few pages of our own. */

/** Text that is HTML already. */
export interface Html {
  html: string
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text: string) => text.replaceAll(/[&<>"']/g, sign => escapes[sign] ?? sign)

/** A template whose values are escaped unless they are HTML. */
export const html = (parts: TemplateStringsArray, ...values: (string | number | Html)[]): Html => ({
  html: String.raw(
    { raw: parts },
    ...values.map(value => (typeof value === 'object' ? value.html : escape(String(value)))),
  ),
})

export const joinHtml = (parts: readonly Html[]): Html => ({ html: parts.map(part => part.html).join('\n') })
