/** What clients were told about their files, held against what the server has. */
import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import type { Client } from './client.ts'

interface Known {
  /** Of the last content that was acknowledged, or found after a doubt. */
  settled?: string
  /** Sent later without an answer that says what became of it. */
  doubtful: Set<string>
}

export interface Ledger {
  /** Uploads; answers the status, or undefined where the connection broke. Calls for one name must not overlap. */
  put(client: Client, name: string, content: Buffer): Promise<number | undefined>
  acknowledged(): number
  names(): string[]
  forget(name: string): void
  /**
   * Compares listing and contents of the directory with what was told: each acknowledged file is there, each file that is
   * there is whole and is the acknowledged one or a later one.
   */
  check(client: Client): Promise<void>
}

const LANES = 4
/** After these the server may or may not have stored the file: it knows no more than we do. */
const UNCERTAIN = new Set([500, 502, 503, 504])

export const digestOf = (content: Uint8Array) => createHash('sha256').update(content).digest('hex')

export function openLedger(directory: string): Ledger {
  const files = new Map<string, Known>()
  let acknowledged = 0

  const put: Ledger['put'] = async (client, name, content) => {
    const known = files.get(name) ?? { doubtful: new Set<string>() }
    files.set(name, known)
    const digest = digestOf(content)
    known.doubtful.add(digest)
    const answer = await client.put(`${directory}/${name}`, content).catch(() => undefined)
    if (answer?.status === 201) {
      acknowledged += 1
      files.set(name, { settled: digest, doubtful: new Set() })
    } else if (answer && !UNCERTAIN.has(answer.status)) known.doubtful.delete(digest)
    return answer?.status
  }

  const checkFile = async (client: Client, name: string, sizeBytes: number | undefined) => {
    const known = files.get(name)
    if (!known) return expect.fail(`${name} is listed, but nobody sent it`)
    if (sizeBytes === undefined) {
      expect(known.settled, `${name} was acknowledged, but is not listed`).toBeUndefined()
      known.doubtful.clear()
      return
    }
    const { status, body } = await client.get(`${directory}/${name}`)
    expect({ name, status, sizeBytes: body.length }).toEqual({ name, status: 200, sizeBytes })
    const digest = digestOf(body)
    const allowed = [...known.doubtful, ...(known.settled === undefined ? [] : [known.settled])]
    expect(allowed, `${name} has a content that nobody sent or that was replaced`).toContain(digest)
    files.set(name, { settled: digest, doubtful: new Set() })
  }

  return {
    put,
    acknowledged: () => acknowledged,
    names: () => [...files.keys()],
    forget: name => void files.delete(name),
    async check(client) {
      const listed = new Map((await client.list(directory)).map(({ name, sizeBytes }) => [name, sizeBytes]))
      const names = [...new Set([...files.keys(), ...listed.keys()])]
      await inLanes(LANES, async () => {
        for (let name = names.pop(); name !== undefined; name = names.pop()) {
          await checkFile(client, name, listed.get(name))
        }
      })
    },
  }
}

/** Runs the same work several times side by side. */
export async function inLanes(lanes: number, work: (lane: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: lanes }, (_, lane) => work(lane)))
}
