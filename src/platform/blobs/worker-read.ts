/** The worker's side of reading a range of one segment from disk. */
import { open, type FileHandle } from 'node:fs/promises'
import {
  damaged,
  FRAME_BYTES,
  frameSpan,
  lastFrame,
  openFrames,
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

  readSteps(request, reply, mayGoOn).then(
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
  try {
    if ((await file.stat()).size !== storedSize(request.sizeBytes)) throw damaged()
    for (let frame = span.firstFrame; frame < span.endFrame && (await mayGoOn());) {
      const end = stepEnd(span, frame)
      const chunks = trim(await readStep(file, request, span, { frame, end }), request, frame)
      if (end === span.endFrame) await file.close()
      reply({ did: 'read', chunks, last: end === span.endFrame }, chunks.map(ownMemory))
      frame = end
    }
    if (span.firstFrame >= span.endFrame) reply({ did: 'read', chunks: [], last: true })
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
  file: FileHandle,
  { key, sizeBytes }: ReadRequest,
  span: FrameSpan,
  step: { frame: number; end: number },
): Promise<Uint8Array[]> {
  const from = step.frame * STORED_FRAME_BYTES
  const length = Math.min(step.end * STORED_FRAME_BYTES, span.storedEnd) - from
  const buffer = idleBuffers.pop() ?? Buffer.allocUnsafeSlow(STEP_BYTES)
  try {
    await readExactly(file, buffer.subarray(0, length), from)
    const frames = { firstFrame: step.frame, lastFrame: lastFrame(sizeBytes) }
    return openFrames(key, frames, buffer.subarray(0, length))
  } finally {
    if (idleBuffers.length < IDLE_BUFFERS) idleBuffers.push(buffer)
  }
}

async function readExactly(file: FileHandle, into: Buffer, position: number): Promise<void> {
  for (let at = 0; at < into.length;) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at)
    if (bytesRead === 0) throw damaged()
    at += bytesRead
  }
}

/** Cuts off what lies outside the range; `frame` is the number of the first of `frames`. */
function trim(frames: Uint8Array[], { start, end }: ReadRequest, frame: number): Uint8Array[] {
  let at = frame * FRAME_BYTES
  const chunks: Uint8Array[] = []
  for (const plain of frames) {
    const chunk = plain.subarray(Math.max(start - at, 0), Math.max(end - at, 0))
    if (chunk.length > 0) chunks.push(chunk)
    at += plain.length
  }
  return chunks
}

/** What a decipher answered owns its memory, so it can be handed to the main thread. */
function ownMemory(chunk: Uint8Array): ArrayBuffer {
  if (chunk.buffer instanceof ArrayBuffer) return chunk.buffer
  throw new TypeError('A chunk lies in shared memory')
}
