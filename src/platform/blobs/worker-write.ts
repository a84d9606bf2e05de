/** The worker's side of writing one segment to disk. */
import { writevSync } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { publish } from './publish.ts'
import { segmentSealer } from './segment-sealer.ts'
import { describeFailure, type CreateRequest, type Reply } from './worker-messages.ts'

export interface WorkerWrite {
  /** Takes whole frames; the memory may be filled again once `take` was answered. */
  write(slot: number, plain: Uint8Array): void
  finish(plain: Uint8Array): void
  abort(): void
}

/** Answers `create`, `take`, `finish`, `abort`; after `fail` the segment has left no trace. `ended` is called once. */
export function startWrite(request: CreateRequest, reply: Reply, ended: () => void): WorkerWrite {
  const sealer = segmentSealer(request)
  let stage: FileHandle | undefined
  let open = true

  const end = () => {
    open = false
    ended()
  }

  const drop = async () => {
    end()
    if (!stage) return
    await stage.close().catch(() => {})
    await rm(request.stagePath, { force: true }).catch(() => {})
  }

  const fail = async (error: unknown) => {
    await drop()
    reply({ did: 'fail', ...describeFailure(error) })
  }

  // Steps run one after the other; those behind a failure are dropped.
  let queue = Promise.resolve()
  const enqueue = (step: () => Promise<void>) => {
    queue = queue.then(() => (open ? step() : undefined)).catch(fail)
  }

  enqueue(async () => {
    stage = await openStage(request.stagePath)
    reply({ did: 'create' })
  })

  return {
    write: (slot, plain) =>
      enqueue(async () => {
        const pieces = sealer.seal(plain, false)
        reply({ did: 'take', slot })
        await writeAll(stage, pieces)
      }),
    finish: plain =>
      enqueue(async () => {
        await writeAll(stage, sealer.seal(plain, true))
        await stage?.sync()
        await stage?.close()
        await publish(request)
        end()
        reply({ did: 'finish', ...sealer.result() })
      }),
    abort() {
      queue = queue.then(async () => {
        if (open) await drop()
        reply({ did: 'abort' })
      })
    },
  }
}

function openStage(path: string): Promise<FileHandle> {
  return open(path, 'wx', 0o600)
}

/**
 * Writes everything and frees the ciphertexts at once: waiting for the collector costs more than encrypting.
 * Synchronous, as it only fills the page cache: a turn through the thread pool for every 256 KiB cost a third of the speed.
 */
async function writeAll(file: FileHandle | undefined, pieces: Uint8Array[]): Promise<void> {
  if (!file) throw new Error('The stage is not open')
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  const bytesWritten = writevSync(file.fd, pieces)
  if (bytesWritten < length) await writeRest(file, Buffer.concat(pieces).subarray(bytesWritten))
  for (const piece of pieces) free(piece)
}

/** A full disk takes a part first and says why only when asked again. */
async function writeRest(file: FileHandle, rest: Uint8Array): Promise<void> {
  for (let at = 0; at < rest.length;) at += (await file.write(rest, at)).bytesWritten
}

function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
