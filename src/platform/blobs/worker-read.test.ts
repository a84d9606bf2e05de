import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, onTestFinished, test, vi } from 'vitest'
import { encryptSmall, FRAME_BYTES, segmentKey } from './frames.ts'
import { STEP_FRAMES, type Answer } from './worker-messages.ts'
import { startRead } from './worker-read.ts'

const dir = mkdtempSync(join(tmpdir(), 'read-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const STEPS = 4
const sizeBytes = STEPS * STEP_FRAMES * FRAME_BYTES
const plain = randomBytes(sizeBytes)
const segmentId = randomUUID()
const key = randomBytes(32)
const path = join(dir, segmentId)
writeFileSync(path, encryptSmall(key, segmentId, plain))

/** A read whose client takes a step when told. */
function openRead(end = sizeBytes) {
  const steps: Uint8Array[] = []
  const answers: Answer['did'][] = []
  let ended = false
  const reply = (answer: Answer) => {
    answers.push(answer.did)
    if (answer.did === 'read') steps.push(answer.chunk)
  }
  const request = { path, key: segmentKey(key, segmentId), plain: false, sizeBytes, start: 0, end }
  const read = startRead(request, reply, () => (ended = true))
  onTestFinished(() => read.leave())
  return { ...read, steps, answers, hasEnded: () => ended }
}

type Read = ReturnType<typeof openRead>

const counts = (reads: readonly Read[]) => reads.map(read => read.steps.length)

/** The numbers of steps come to rest at these. */
async function expectSteps(reads: readonly Read[], expected: number[]): Promise<void> {
  await vi.waitFor(() => expect(counts(reads)).toEqual(expected))
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(counts(reads)).toEqual(expected)
}

test('four reads may be a step ahead of their clients, others wait for them', async () => {
  const reads = Array.from({ length: 6 }, () => openRead())
  const having = (steps: number) => reads.filter(read => read.steps.length === steps)
  await vi.waitFor(() => expect([having(2).length, having(1).length]).toEqual([4, 2]))
  const [ahead, waiting] = [having(2), having(1)]
  await expectSteps([...ahead, ...waiting], [2, 2, 2, 2, 1, 1])

  // Whoever has taken a step gets the next; the spare one that it gave back is its own again.
  ahead[0]!.more()
  waiting[0]!.more()
  await expectSteps([...ahead, ...waiting], [3, 2, 2, 2, 2, 1])

  // A read that is left gives its spare step to the next that asks.
  ahead[1]!.leave()
  await vi.waitFor(() => expect(ahead[1]!.answers).toEqual(['read', 'read', 'leave']))
  waiting[1]!.more()
  await expectSteps(waiting, [2, 3])
})

test('a read ends when its client has one step left to take, and has given back the other', async () => {
  const whole = Array.from({ length: 4 }, () => openRead())
  for (const read of whole) {
    for (let taken = 0; taken < STEPS - 2; taken += 1) {
      await vi.waitFor(() => expect(read.steps).toHaveLength(taken + 2))
      read.more()
    }
  }
  await expectSteps(whole, [STEPS, STEPS, STEPS, STEPS])
  expect(whole.map(read => read.hasEnded())).toEqual([false, false, false, false])
  await expectSteps([openRead()], [1])

  for (const read of whole) read.more()
  await vi.waitFor(() => expect(whole.map(read => read.hasEnded())).toEqual([true, true, true, true]))
  expect(Buffer.concat(whole[0]!.steps).equals(plain)).toBe(true)
  await expectSteps([openRead()], [2])
})

test('a range costs the steps that it touches', async () => {
  const read = openRead(FRAME_BYTES + 5)
  await expectSteps([read], [1])
  expect(Buffer.concat(read.steps).equals(plain.subarray(0, FRAME_BYTES + 5))).toBe(true)
  expect(read.hasEnded()).toBe(true)
})
