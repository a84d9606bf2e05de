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
import { describeFailure, STEP_FRAMES, type ReadRequest, type Reply } from './worker-messages.ts'

export interface WorkerRead {
  /** The oldest step was consumed: another one may be read. */
  more(): void
  /** Stops, and answers `leave` once the file is closed. */
  leave(): void
}

/**
 * A read has one step that its client is taking and, where a spare one is left, a second that is made ready meanwhile.
 * The spare ones are for all reads of the worker together: with many under way there is always one to work for.
 */
const SPARE_STEPS = 4
let spareSteps = SPARE_STEPS

/** Answers `read` for each step, or `fail`; the file is closed before the last answer. `ended` is called once. */
export function startRead(request: ReadRequest, reply: Reply, ended: () => void): WorkerRead {
  // Steps that were begun and are not consumed.
  let held = 0
  let left = false
  let wake = () => {}

  const isFree = () => held === 0 || (held === 1 && spareSteps > 0)
  const take = () => {
    if (held === 1) spareSteps -= 1
    held += 1
  }
  const giveBack = () => {
    if (held === 2) spareSteps += 1
    held -= 1
  }
  const until = async (reached: () => boolean) => {
    while (!left && !reached()) await new Promise<void>(resolve => (wake = resolve))
  }

  const mayGoOn = async () => {
    await until(isFree)
    if (!left) take()
    return !left
  }

  const finish = (failure?: unknown) => {
    while (held > 1) giveBack()
    ended()
    if (left) reply({ did: 'leave' })
    else if (failure !== undefined) reply({ did: 'fail', ...describeFailure(failure) })
  }

  const reading = request.plain ? readPlain(request, reply, mayGoOn) : readSteps(request, reply, mayGoOn)
  reading
    .then(() => until(() => held < 2)) // the spare one is only free again when its memory is
    .then(
      () => finish(),
      error => finish(error),
    )

  return {
    more() {
      giveBack()
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
    return join(openFrames(request.key, frames, buffer.subarray(0, length)), rangeOf(request, step))
  } finally {
    if (idleBuffers.length < IDLE_BUFFERS) idleBuffers.push(buffer)
  }
}

/** A file, and whether its last read came without waiting for a disk. */
interface Source {
  file: FileHandle
  fast: boolean
}

/** How long one read may hold up the other transfers of this worker. */
const PATIENCE_MS = 2

/**
 * What lies in the system's cache is read at once, as the way through the thread pool costs as much as the copy. After a
 * read that took long the next is left to the pool, and so on until one is quick: this thread may just have lost its
 * processor for a moment.
 */
async function readExactly(source: Source, into: Buffer, position: number): Promise<void> {
  const { file } = source
  for (let at = 0; at < into.length;) {
    const [length, from] = [into.length - at, position + at]
    const startedAt = performance.now()
    const bytesRead = source.fast
      ? readSync(file.fd, into, at, length, from)
      : (await file.read(into, at, length, from)).bytesRead
    source.fast = performance.now() - startedAt <= PATIENCE_MS
    if (bytesRead === 0) throw damaged()
    at += bytesRead
  }
}

/** The part of the range that lies in these frames, counted from their first byte. */
function rangeOf({ start, end }: ReadRequest, step: { frame: number; end: number }): { skip: number; length: number } {
  const first = step.frame * FRAME_BYTES
  const from = Math.max(start, first)
  return { skip: from - first, length: Math.min(end, step.end * FRAME_BYTES) - from }
}

/** One buffer of its own, to be handed to the main thread. Each frame's memory is given back before the next is made. */
function join(
  frames: Iterable<Uint8Array>,
  { skip, length }: { skip: number; length: number },
): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
  let at = -skip
  for (const frame of frames) {
    const piece = frame.subarray(Math.max(-at, 0), length - at)
    joined.set(piece, Math.max(at, 0))
    at += frame.length
    if (frame.buffer instanceof ArrayBuffer) frame.buffer.transfer(0)
  }
  return joined
}
