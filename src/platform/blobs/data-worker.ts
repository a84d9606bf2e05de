/**
 * The data worker: hashes, encrypts, decrypts and touches the disk, so that the main thread only moves bytes.
 * One per process; it serves many transfers at once and gives up the thread while the disk works.
 */
import { parentPort } from 'node:worker_threads'
import type { FromWorker, Reply, Request, ToWorker } from './worker-messages.ts'
import { startRead, type WorkerRead } from './worker-read.ts'
import { startWrite, type WorkerWrite } from './worker-write.ts'

const slots = new Map<number, Uint8Array>()
const writes = new Map<number, WorkerWrite>()
const reads = new Map<number, WorkerRead>()

parentPort?.on('message', (message: ToWorker) => {
  if (message.op === 'share') slots.set(message.slot, new Uint8Array(message.memory))
  else if (message.op === 'unshare') slots.delete(message.slot)
  else serve(message.id, message)
})

function serve(id: number, request: Request): void {
  switch (request.op) {
    case 'create':
      writes.set(
        id,
        startWrite(request.create, replier(id), () => writes.delete(id)),
      )
      break
    case 'write':
      writes.get(id)?.write(request.slot, filled(request.slot, request.length))
      break
    case 'finish':
      writes.get(id)?.finish(filled(request.slot, request.length))
      break
    case 'abort':
      abort(id)
      break
    case 'read':
      reads.set(
        id,
        startRead(request.read, replier(id), () => reads.delete(id)),
      )
      break
    case 'more':
      reads.get(id)?.more()
      break
    case 'leave':
      leave(id)
      break
  }
}

/** Also answers for a transfer that has failed meanwhile: it left nothing. */
function abort(id: number): void {
  const write = writes.get(id)
  if (write) write.abort()
  else replier(id)({ did: 'abort' })
}

function leave(id: number): void {
  const read = reads.get(id)
  if (read) read.leave()
  else replier(id)({ did: 'leave' })
}

function filled(slot: number | undefined, length: number): Uint8Array {
  const memory = slot === undefined ? undefined : slots.get(slot)
  return memory ? memory.subarray(0, length) : new Uint8Array()
}

function replier(id: number): Reply {
  return (answer, transfer = []) => parentPort?.postMessage({ ...answer, id } satisfies FromWorker, transfer)
}
