import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The path in `file:<path>` or `file:///<path>`; undefined for any other text. */
export function fileOf(text: string): string | undefined {
  if (text.startsWith('file:///')) return fileURLToPath(text)
  return text.startsWith('file:') && text.length > 5 ? resolve(text.slice(5)) : undefined
}
