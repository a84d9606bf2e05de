/** What the engine of content rules does in its thread. */
import type { ContentRule, Verdict } from '#core/ports.ts'
import type { Source } from './bytes.ts'
import { LimitExceeded, type ArchiveLimits } from './limits.ts'
import { openScan, type Scan } from './rules/scan.ts'
import { DocumentTooLarge, textOf } from './text/leaf.ts'
import { EncryptedDocument } from './text/pdf.ts'
import { clean, encrypted, shownName, tooLarge } from './verdicts.ts'
import { walk, type Leaf } from './walk.ts'

/** Every rule has matched: nothing more can be learnt. */
class AllMatched extends Error {}

type Content = Source & { name: string; rules: readonly ContentRule[] }

export async function lookForRules(content: Content, limits: ArchiveLimits): Promise<Verdict> {
  const scan = openScan(content.rules)
  const found = { encrypted: false, unseen: false }
  const visitor = {
    async leaf(leaf: Leaf) {
      try {
        await scanLeaf(scan, leaf)
      } catch (error) {
        if (error instanceof EncryptedDocument) found.encrypted = true
        else if (error instanceof DocumentTooLarge) found.unseen = true
        else throw error
      }
    },
    encrypted: () => void (found.encrypted = true),
    unseen: () => void (found.unseen = true),
  }
  try {
    await walk(content, limits, visitor)
  } catch (error) {
    if (error instanceof LimitExceeded) found.unseen = true
    else if (!(error instanceof AllMatched)) throw error
  }
  const matched = scan.matched()
  if (matched.length > 0) return verdictOf(matched)
  if (found.encrypted) return encrypted
  return found.unseen ? tooLarge('not all of its text could be looked at') : clean
}

async function scanLeaf(scan: Scan, leaf: Leaf): Promise<void> {
  const text = textOf(leaf)
  if (!text) return
  for await (const piece of text) if (scan.add(piece)) throw new AllMatched()
  if (scan.endDocument()) throw new AllMatched()
}

const verdictOf = (matched: readonly ContentRule[]): Verdict => ({
  kind: 'matched',
  quarantines: matched.some(({ effect }) => effect === 'quarantine'),
  name: shownName(matched.map(({ name }) => name).join(', ')),
})
