/** Puts one object of unknown length: at once when it fits into a part, else in parts as they fill. */
import { setMaxListeners } from 'node:events'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { attempt, attemptToFind, type Bucket } from './s3-bucket.ts'
import { free, openPart, PART_PLAN, partSize, type Part, type PartSize } from './s3-parts.ts'

export interface ObjectUpload {
  /** Copies the bytes. Throws DomainError `upload-too-large` at the end of the plan. */
  add(bytes: Uint8Array): void
  /** Back pressure: undefined, or what to wait for before the next `add`. Rejects once a part has failed. */
  room(): Promise<void> | undefined
  /** The object is there, whole, once this resolves. */
  finish(): Promise<void>
  /** Stops, and removes the parts. Never throws. What lies under the key stays. */
  abandon(): Promise<void>
}

export function startUpload(bucket: Bucket, key: string, plan: readonly PartSize[] = PART_PLAN): ObjectUpload {
  const sender = openSender(bucket, key)
  const queue = openQueue(plan, sender)
  let number = 1
  let filling = openPart(partSize(plan, number).bytes)
  let totalBytes = 0

  const sealPart = (): Part => {
    const part = filling.seal(number)
    totalBytes += part.bytes.length
    return part
  }

  const nextPart = () => {
    const next = openPart(partSize(plan, number + 1).bytes)
    queue.push(sealPart())
    filling = next
    number += 1
  }

  return {
    add(bytes) {
      for (let at = 0; at < bytes.length && !queue.failed;) {
        if (filling.full) nextPart()
        at += filling.add(bytes.subarray(at))
      }
    },
    room: () => queue.room(),
    async finish() {
      const last = sealPart()
      if (number === 1) return sender.put(last)
      queue.push(last)
      await queue.empty()
      await sender.complete(totalBytes)
    },
    async abandon() {
      await queue.stop(new Error('The segment was ended'))
      await sender.drop()
    },
  }
}

/** Parts on their way, as many at once as their size allows. After a failure nothing is sent any more. */
function openQueue(plan: readonly PartSize[], sender: Sender) {
  const waiting: Part[] = []
  const running = new Set<Promise<void>>()
  let failure: Error | undefined

  const fail = (error: Error) => {
    failure ??= error
    waiting.length = 0
    sender.cancel()
  }

  const start = (part: Part) => {
    const task = sender
      .send(part)
      .catch(fail)
      .finally(() => {
        running.delete(task)
        startNext()
      })
    running.add(task)
  }

  const startNext = () => {
    for (let [next] = waiting; next && running.size < partSize(plan, next.number).atOnce; [next] = waiting) {
      waiting.shift()
      start(next)
    }
  }

  const whileBusy = async (isBusy: () => boolean) => {
    while (!failure && isBusy()) await Promise.race(running)
    if (failure) throw failure
  }

  return {
    get failed() {
      return failure !== undefined
    },
    push(part: Part) {
      waiting.push(part)
      startNext()
    },
    room() {
      if (failure) return Promise.reject(failure)
      return waiting.length === 0 ? undefined : whileBusy(() => waiting.length > 0)
    },
    empty: () => whileBusy(() => running.size > 0),
    async stop(reason: Error) {
      fail(reason)
      await Promise.allSettled(running)
    },
  }
}

type Sender = ReturnType<typeof openSender>

const AT_BUILD = { step: 'build', name: 'payloadHash' } as const

/** The requests about one object. After `cancel` none but `drop` succeeds. */
function openSender({ client, name: Bucket }: Bucket, Key: string) {
  const cancelling = new AbortController()
  const abortSignal = cancelling.signal
  setMaxListeners(0, abortSignal) // each attempt of each request listens
  const sent: { PartNumber: number; ETag: string }[] = []
  let upload: Promise<string> | undefined

  const begin = async () => {
    const request = new CreateMultipartUploadCommand({ Bucket, Key })
    const { UploadId } = await attempt(client.send(request, { abortSignal }))
    if (!UploadId) throw new Error('S3: an upload in parts got no id')
    return UploadId
  }

  const requireSize = async (sizeBytes: number) => {
    const found = await attemptToFind(client.send(new HeadObjectCommand({ Bucket, Key }), { abortSignal }))
    if (found?.ContentLength !== sizeBytes) throw new Error('S3: the object is not as long as what was sent')
  }

  return {
    cancel: () => cancelling.abort(),
    async put(part: Part) {
      const request = new PutObjectCommand({ Bucket, Key, ...hashed(part) })
      request.middlewareStack.add(payloadHash(part), AT_BUILD)
      await attempt(client.send(request, { abortSignal }))
      await requireSize(part.bytes.length)
      free(part.bytes)
    },
    async send(part: Part) {
      const UploadId = await (upload ??= begin())
      const request = new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: part.number, ...hashed(part) })
      request.middlewareStack.add(payloadHash(part), AT_BUILD)
      const { ETag } = await attempt(client.send(request, { abortSignal }))
      if (!ETag) throw new Error('S3: a part got no tag')
      sent.push({ PartNumber: part.number, ETag })
      free(part.bytes)
    },
    async complete(totalBytes: number) {
      const UploadId = await upload
      const Parts = sent.toSorted((a, b) => a.PartNumber - b.PartNumber)
      const request = new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } })
      // A repeated request may be refused because the first one was carried out: the object itself tells.
      const refusal = await attempt(client.send(request, { abortSignal })).then(
        () => undefined,
        (error: unknown) => error,
      )
      await requireSize(totalBytes).catch((error: unknown) => {
        throw refusal ?? error
      })
    },
    async drop() {
      const UploadId = await upload?.catch(() => undefined)
      if (!UploadId) return
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => {})
    },
  }
}

/** The medium compares what it got with the MD5, and refuses what differs. */
const hashed = ({ bytes, md5 }: Part) => ({ Body: bytes, ContentLength: bytes.length, ContentMD5: md5 })

/** The hash for the signature is known already; otherwise the SDK would hash the whole part in one go. */
const payloadHash =
  ({ sha256 }: Part) =>
  <Args extends { request: unknown }, Reply>(next: (args: Args) => Reply) =>
  (args: Args): Reply => {
    const { headers } = args.request as { headers: Record<string, string> } // an HTTP request at this step
    headers['x-amz-content-sha256'] = sha256
    return next(args)
  }
