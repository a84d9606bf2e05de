/** The harmless test file that every virus scanner reports, so that anybody can see the whole way work without a scanner. */
import type { ScreeningEngine } from '#core/ports.ts'
import { takeHead } from './bytes.ts'
import { clean, infected } from './verdicts.ts'

/** In parts, as scanners would take this source for the file itself. */
const SIGNATURE = Buffer.from(
  ['X5O!P%@AP[4\\PZX5', '4(P^)7CC)7}$EICAR', '-STANDARD-ANTIVIRUS', '-TEST-FILE!$H+H*'].join(''),
)
/** Its definition: nothing but white space behind the signature, and not more in all. */
const MAX_BYTES = 128
const WHITE_SPACE = new Set(Buffer.from(' \t\r\n\u001a'))

export const testSignatureName = 'EICAR-Test-File'

/** True when `head`, the first 128 bytes or more, is of the test file. */
export function isTestFile(head: Uint8Array, sizeBytes: number): boolean {
  if (sizeBytes < SIGNATURE.length || sizeBytes > MAX_BYTES || head.length < sizeBytes) return false
  const file = head.subarray(0, sizeBytes)
  return (
    SIGNATURE.equals(file.subarray(0, SIGNATURE.length)) &&
    file.subarray(SIGNATURE.length).every(byte => WHITE_SPACE.has(byte))
  )
}

export const testSignature: ScreeningEngine = {
  name: 'test-signature',
  mandatory: true,
  timeoutMs: 60_000,
  isHarmless: (head, { sizeBytes }) => !isTestFile(head, sizeBytes),
  async examine(content, signal) {
    if (content.sizeBytes > MAX_BYTES) return clean
    const head = await takeHead(content, MAX_BYTES)
    signal.throwIfAborted()
    return isTestFile(head, content.sizeBytes) ? infected(testSignatureName) : clean
  },
}
