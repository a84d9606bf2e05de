/** Media types of names, by their extension. */
import { lookup } from 'mime-types'

export const DEFAULT_MEDIA_TYPE = 'application/octet-stream'

/** By the extension; `application/octet-stream` for an unknown one. */
export const mediaTypeOfName = (name: string): string => lookup(name) || DEFAULT_MEDIA_TYPE

/** What the client said, unless that says nothing; then by the name. */
export function mediaTypeOf(said: string | undefined, name: string): string {
  const type = said?.trim() ?? ''
  return type === '' || type.toLowerCase() === DEFAULT_MEDIA_TYPE ? mediaTypeOfName(name) : type
}
