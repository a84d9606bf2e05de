/** A part of a form as an iterable, for those who take bytes when they are ready for them. */
import type { Part } from './multipart.ts'

/**
 * The bytes of a part. A chunk is gone once the next one is asked for; the first `keptBytes` are copies, for whoever
 * collects small bodies. Leaving early stops reading the part.
 */
export async function* chunksOf(part: Part, keptBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  let sizeBytes = 0
  let offer = quietly<Uint8Array | undefined>()
  let demand = quietly<void>()
  const write = (chunk: Uint8Array) => {
    offer.resolve(chunk)
    return demand.promise
  }
  part.pipe({ write }).then(
    () => offer.resolve(undefined),
    (error: unknown) => offer.reject(error),
  )
  try {
    for (let chunk = await offer.promise; chunk; chunk = await offer.promise) {
      sizeBytes += chunk.length
      yield sizeBytes <= keptBytes ? Buffer.from(chunk) : chunk
      offer = quietly()
      const { resolve } = demand
      demand = quietly()
      resolve()
    }
  } finally {
    demand.reject(new Error('The part is not wanted any more'))
  }
}

/** A promise whose rejection is no fault when nobody waits for it. */
function quietly<T>(): PromiseWithResolvers<T> {
  const resolvers = Promise.withResolvers<T>()
  resolvers.promise.catch(() => {})
  return resolvers
}
