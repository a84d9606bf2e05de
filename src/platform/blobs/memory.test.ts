import { blobStoreSuite } from '#test/suites/blob-store.ts'
import { memoryBlobStore } from './memory.ts'

blobStoreSuite('memory', async () => {
  const store = memoryBlobStore()
  return {
    store,
    stored: async segmentId => store.stored.get(segmentId)?.bytes ?? Buffer.alloc(0),
    overwrite: async (segmentId, bytes) => void store.stored.set(segmentId, { bytes, changedAt: 0 }),
    dispose: () => store.close(),
  }
})
