/** Media types of names, by their extension. */
import { lookup } from 'mime-types'

export const DEFAULT_MEDIA_TYPE = 'application/octet-stream'

/** By RFC 9110: what may go into the header Content-Type. */
export const MEDIA_TYPE = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \\t]*;[\\t\\x20-\\x7e]*)?$"
const mediaTypePattern = new RegExp(MEDIA_TYPE)

/** For the header: files may have any text for a media type. */
export const headerType = (mediaType = ''): string =>
  mediaTypePattern.test(mediaType) ? mediaType : DEFAULT_MEDIA_TYPE

/** By the extension; `application/octet-stream` for an unknown one. */
export const mediaTypeOfName = (name: string): string => lookup(name) || DEFAULT_MEDIA_TYPE

/** What the client said, unless that says nothing; then by the name. */
export function mediaTypeOf(said: string | undefined, name: string): string {
  const type = said?.trim() ?? ''
  return type === '' || type.toLowerCase() === DEFAULT_MEDIA_TYPE ? mediaTypeOfName(name) : type
}
