import type { BlobStore } from '#core/ports.ts'
import { diskBlobStore } from './disk.ts'
import type { BlobsPlace } from './location.ts'

export interface BlobsLog {
  warn(text: string): void
  debug(text: string): void
}

/** Opens the store of a place. Throws BlobsRefused when the place cannot be used as it is configured. */
export async function openBlobs(place: BlobsPlace, log: BlobsLog): Promise<BlobStore> {
  if (place.kind === 'disk') return diskBlobStore(place)
  // Loaded only where it is used: it is larger than all the rest of the server.
  const { s3BlobStore } = await import('./s3.ts')
  return s3BlobStore({ ...place, log })
}
