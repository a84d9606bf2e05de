/** The main thread's side of writing a segment: copies bytes into shared memory and hands it to the worker. */
import { rm } from 'node:fs/promises'
import type { SegmentWriter, StoredSegment } from '#core/ports.ts'
import type { Line, Slot, WorkerLink } from './worker-link.ts'
import { RING_SLOTS, SLOT_BYTES, type CreateRequest } from './worker-messages.ts'

/** Resolves once the stage is open. An `abort` after a `finish` that succeeded does nothing. */
export async function openWriter(link: WorkerLink, segmentId: string, create: CreateRequest): Promise<SegmentWriter> {
  const line = link.open()
  const ring = openRing(link, line)
  let ended = false
  let aborting: Promise<void> | undefined

  line.send({ op: 'create', create })
  try {
    await line.next('create')
  } catch (error) {
    line.close()
    throw error
  }

  const finish = async (): Promise<StoredSegment> => {
    line.send({ op: 'finish', ...ring.rest() })
    try {
      const { did: _, ...stored } = await line.next('finish')
      return { segmentId, ...stored }
    } finally {
      ring.release()
      line.close()
    }
  }

  const abort = async () => {
    ended = true
    line.send({ op: 'abort' })
    try {
      await line.next('abort')
    } catch {
      // After a failure the worker has cleaned up, after a finish there is no stage; after its own end nobody has.
      await rm(create.stagePath, { force: true }).catch(() => {})
    }
    ring.release()
    line.close()
  }

  return {
    write(chunk) {
      if (ended) return Promise.reject(new Error('The segment was ended'))
      return ring.write(chunk)
    },
    async finish() {
      if (ended) throw new Error('The segment was ended')
      ended = true
      return finish()
    },
    abort: () => (aborting ??= abort()),
  }
}

/** The slots one transfer fills in turn. */
function openRing(link: WorkerLink, line: Line) {
  const sent = new Map<number, Slot>()
  let filling: Slot | undefined
  let filled = 0

  const takeBack = (slotId: number) => {
    const slot = sent.get(slotId)
    sent.delete(slotId)
    if (slot) link.returnSlot(slot)
  }

  const sendSlot = (slot: Slot) => {
    line.send({ op: 'write', slot: slot.id, length: filled })
    sent.set(slot.id, slot)
    filling = undefined
    filled = 0
  }

  /** Copies what fits; answers how far it came. */
  const fill = (chunk: Uint8Array, from: number) => {
    let at = from
    while (at < chunk.length && (filling || sent.size < RING_SLOTS)) {
      filling ??= link.takeSlot()
      const length = Math.min(SLOT_BYTES - filled, chunk.length - at)
      filling.bytes.set(chunk.subarray(at, at + length), filled)
      filled += length
      at += length
      if (filled === SLOT_BYTES) sendSlot(filling)
    }
    return at
  }

  const fillRest = async (chunk: Uint8Array, from: number) => {
    for (let at = from; at < chunk.length; at = fill(chunk, at)) takeBack((await line.next('take')).slot)
  }

  return {
    write(chunk: Uint8Array): Promise<void> | undefined {
      try {
        for (let taken = line.poll('take'); taken; taken = line.poll('take')) takeBack(taken.slot)
      } catch (error) {
        return Promise.reject(error)
      }
      const at = fill(chunk, 0)
      return at === chunk.length ? undefined : fillRest(chunk, at)
    },
    /** What is filled but not sent yet. */
    rest: () => ({ length: filled, ...(filling && { slot: filling.id }) }),
    /** To be called when the worker looks at no slot any more. */
    release() {
      for (const slot of sent.values()) link.returnSlot(slot)
      if (filling) link.returnSlot(filling)
      sent.clear()
      filling = undefined
    },
  }
}
