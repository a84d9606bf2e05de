/** What the archives engine does in its thread. */
import type { Verdict } from '#core/ports.ts'
import { drain, type Source } from './bytes.ts'
import { LimitExceeded, type ArchiveLimits } from './limits.ts'
import { isTestFile, testSignatureName } from './test-signature.ts'
import { clean, encrypted, infected, tooLarge } from './verdicts.ts'
import { MAX_HELD_BYTES, walk, type Leaf } from './walk.ts'

/** The worst that was found. */
export async function lookIntoArchives(content: Source & { name: string }, limits: ArchiveLimits): Promise<Verdict> {
  const found = { testFile: false, encrypted: false, unseen: false }
  const visitor = {
    async leaf({ head, bytes }: Leaf) {
      // Longer files than the head are longer than the test file.
      found.testFile ||= isTestFile(head, head.length)
      await drain(bytes)
    },
    encrypted: () => void (found.encrypted = true),
    unseen: () => void (found.unseen = true),
  }
  try {
    await walk(content, limits, visitor)
  } catch (error) {
    if (!(error instanceof LimitExceeded)) throw error
    if (!found.testFile) return { kind: 'bomb', quarantines: true, name: 'Archive-Bomb', description: error.message }
  }
  if (found.testFile) return infected(testSignatureName)
  if (found.encrypted) return encrypted
  return found.unseen ? tooLarge(`an archive within it is larger than ${MAX_HELD_BYTES} bytes`) : clean
}
