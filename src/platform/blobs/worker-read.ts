/** The worker's side of reading a range of one segment from disk. */
import { readSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import {
  damaged,
  FRAME_BYTES,
  frameSpan,
  lastFrame,
  openFrames,
  requireRange,
  storedSize,
  STORED_FRAME_BYTES,
  TAG_BYTES,
  type FrameSpan,
} from './frames.ts'
import { describeFailure, STEP_FRAMES, STEPS_AHEAD, type ReadRequest, type Reply } from './worker-messages.ts'

export interface WorkerRead {
  /** One step was consumed: another one may be read. */
  more(): void
  /** Stops, and answers `leave` once the file is closed. */
  leave(): void
}

/** Answers `read` for each step, or `fail`; the file is closed before the last answer. `ended` is called once. */
export function startRead(request: ReadRequest, reply: Reply, ended: () => void): WorkerRead {
  let credits = STEPS_AHEAD
  let left = false
  let wake = () => {}

  const mayGoOn = async () => {
    while (credits === 0 && !left) await new Promise<void>(resolve => (wake = resolve))
    credits -= 1
    return !left
  }

  const finish = (failure?: unknown) => {
    ended()
    if (left) reply({ did: 'leave' })
    else if (failure !== undefined) reply({ did: 'fail', ...describeFailure(failure) })
  }

  const reading = request.plain ? readPlain(request, reply, mayGoOn) : readSteps(request, reply, mayGoOn)
  reading.then(
    () => finish(),
    error => finish(error),
  )

  return {
    more() {
      credits += 1
      wake()
    },
    leave() {
      left = true
      wake()
    },
  }
}

async function readSteps(request: ReadRequest, reply: Reply, mayGoOn: () => Promise<boolean>): Promise<void> {
  const span = frameSpan(request.sizeBytes, request.start, request.end)
  const file = await openSegment(request.path)
  const source: Source = { file, fast: true }
  try {
    if ((await file.stat()).size !== storedSize(request.sizeBytes)) throw damaged()
    for (let frame = span.firstFrame; frame < span.endFrame && (await mayGoOn());) {
      const end = stepEnd(span, frame)
      const chunk = await readStep(source, request, span, { frame, end })
      if (end === span.endFrame) await file.close()
      reply({ did: 'read', chunk, last: end === span.endFrame }, [chunk.buffer])
      frame = end
    }
    if (span.firstFrame >= span.endFrame) reply({ did: 'read', chunk: new Uint8Array(), last: true })
  } finally {
    await file.close()
  }
}

const PLAIN_STEP_BYTES = STEP_FRAMES * FRAME_BYTES

/** As `readSteps`, for a segment without frames. */
async function readPlain(request: ReadRequest, reply: Reply, mayGoOn: () => Promise<boolean>): Promise<void> {
  requireRange(request.sizeBytes, request.start, request.end)
  const file = await openSegment(request.path)
  const source: Source = { file, fast: true }
  try {
    if ((await file.stat()).size !== request.sizeBytes) throw damaged()
    for (let at = request.start, last = false; !last && (await mayGoOn()); at += PLAIN_STEP_BYTES) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(PLAIN_STEP_BYTES, request.end - at))
      await readExactly(source, chunk, at)
      last = at + chunk.length === request.end
      if (last) await file.close()
      reply({ did: 'read', chunk: new Uint8Array(chunk.buffer), last }, [chunk.buffer])
    }
  } finally {
    await file.close()
  }
}

async function openSegment(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    throw error instanceof Error && 'code' in error && error.code === 'ENOENT' ? damaged() : error
  }
}

/** An empty last frame is no step of its own. */
function stepEnd(span: FrameSpan, frame: number): number {
  const end = Math.min(frame + STEP_FRAMES, span.endFrame)
  return span.storedEnd - end * STORED_FRAME_BYTES <= TAG_BYTES ? span.endFrame : end
}

/** Buffers for ciphertext, used again by whichever transfer reads next. */
const idleBuffers: Buffer[] = []
const STEP_BYTES = STEP_FRAMES * STORED_FRAME_BYTES + TAG_BYTES
const IDLE_BUFFERS = 4

async function readStep(
  source: Source,
  request: ReadRequest,
  span: FrameSpan,
  step: { frame: number; end: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const from = step.frame * STORED_FRAME_BYTES
  const length = Math.min(step.end * STORED_FRAME_BYTES, span.storedEnd) - from
  const buffer = idleBuffers.pop() ?? Buffer.allocUnsafeSlow(STEP_BYTES)
  try {
    await readExactly(source, buffer.subarray(0, length), from)
    const frames = { firstFrame: step.frame, lastFrame: lastFrame(request.sizeBytes) }
    const plain = openFrames(request.key, frames, buffer.subarray(0, length))
    return join(plain, trim(plain, request, step.frame))
  } finally {
    if (idleBuffers.length < IDLE_BUFFERS) idleBuffers.push(buffer)
  }
}

/** A file, and whether it answers without waiting for a disk. */
interface Source {
  file: FileHandle
  fast: boolean
}

/** How long one read may hold up the other transfers of this worker. */
const PATIENCE_MS = 2

/**
 * What lies in the system's cache is read at once, as the way through the thread pool costs as much as the copy. A file
 * that makes the thread wait is read by the pool from then on.
 */
async function readExactly(source: Source, into: Buffer, position: number): Promise<void> {
  const { file } = source
  for (let at = 0; at < into.length;) {
    const [length, from] = [into.length - at, position + at]
    const startedAt = performance.now()
    const bytesRead = source.fast
      ? readSync(file.fd, into, at, length, from)
      : (await file.read(into, at, length, from)).bytesRead
    if (performance.now() - startedAt > PATIENCE_MS) source.fast = false
    if (bytesRead === 0) throw damaged()
    at += bytesRead
  }
}

/** Cuts off what lies outside the range; `frame` is the number of the first of `frames`. */
function trim(frames: Uint8Array[], { start, end }: ReadRequest, frame: number): Uint8Array[] {
  let at = frame * FRAME_BYTES
  return frames.map(plain => {
    const piece = plain.subarray(Math.max(start - at, 0), Math.max(end - at, 0))
    at += plain.length
    return piece
  })
}

/**
 * One buffer of its own, to be handed to the main thread. The memory of `frames` is given back at once: the next step
 * gets the same, which is still in the processor's cache.
 */
function join(frames: Uint8Array[], pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(Buffer.allocUnsafeSlow(pieces.reduce((sum, { length }) => sum + length, 0)).buffer)
  let at = 0
  for (const piece of pieces) {
    joined.set(piece, at)
    at += piece.length
  }
  for (const { buffer } of frames) if (buffer instanceof ArrayBuffer) buffer.transfer(0)
  return joined
}
