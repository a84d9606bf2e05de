/** Segments on disk in their stored form: what a backup takes and a move brings. */
import { open, rm, type FileHandle } from 'node:fs/promises'
import { DomainError } from '#core/errors.ts'
import { damaged } from './frames.ts'
import { publish, type SegmentPlace } from './publish.ts'
import { NO_ROOM } from './worker-messages.ts'

const STEP_BYTES = 262_144

export async function* readStoredFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await openStored(path)
  try {
    for (;;) {
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(STEP_BYTES), 0, STEP_BYTES)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** Durable once it resolves. A stage that an earlier attempt left behind is overwritten. */
export async function writeStoredFile(
  place: SegmentPlace,
  stored: AsyncIterable<Uint8Array>,
  storedBytes: number,
): Promise<void> {
  try {
    const stage = await open(place.stagePath, 'w', 0o600)
    try {
      await fill(stage, stored, storedBytes)
      await stage.sync()
    } finally {
      await stage.close()
    }
    await publish(place)
  } catch (error) {
    await rm(place.stagePath, { force: true }).catch(() => {})
    throw NO_ROOM.has(codeOf(error)) ? new DomainError('storage-full', {}) : error
  }
}

async function fill(stage: FileHandle, stored: AsyncIterable<Uint8Array>, storedBytes: number): Promise<void> {
  let written = 0
  for await (const chunk of stored) {
    for (let at = 0; at < chunk.length;) at += (await stage.write(chunk, at)).bytesWritten
    written += chunk.length
  }
  if (written !== storedBytes) throw damaged()
}

async function openStored(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (error) {
    throw codeOf(error) === 'ENOENT' ? damaged() : error
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')
