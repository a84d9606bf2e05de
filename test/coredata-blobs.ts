/** Steps with blobs over the CoreData API: announce, put, make a file of it, and find the content of a file. */
import { expect } from 'vitest'
import type { Answer } from '#test/answer.ts'
import { idIn, type Caller, type CoredataWorld, type Sent } from '#test/coredata-world.ts'
import { multipart } from '#test/mft-world.ts'

/** As the API answers it. */
export interface Announced {
  blobName: string
  presignedUrl: string
}

/** What a client asks the server for, of a whole address. */
export const pathOf = (address: string) => new URL(address).pathname + new URL(address).search

/** A blob of so many bytes, and where they go. */
export async function announce(
  { send }: CoredataWorld,
  bytes: number,
  type?: string,
): Promise<{ blob: string; path: string }> {
  const ofType = type === undefined ? '' : `&content_type=${encodeURIComponent(type)}`
  const { status, body } = await send('POST', `/api/v3/blob/presigned-upload-url/?content_length=${bytes}${ofType}`, {
    as: 'editor',
  })
  expect(status).toBe(200)
  const { blobName, presignedUrl } = body as Announced
  return { blob: blobName, path: pathOf(presignedUrl) }
}

export const textOf = (payload: string, type = 'text/plain'): Sent => ({ payload, headers: { 'content-type': type } })

/** Makes a file of a blob and answers the whole exchange. */
export function useBlob(
  { send, folder }: CoredataWorld,
  blob: string,
  { as = 'editor', parent = folder.id }: { as?: Caller; parent?: string } = {},
): Promise<Answer> {
  const fields = { blob_name: blob, filename: 'a.txt', title: 'a', parent }
  const parts = Object.entries(fields).map(([name, content]) => ({ name, content }))
  return send('POST', '/api/v2/files/', { as, ...multipart(parts) })
}

/** The text that a blob holds, as the file that it becomes. */
export async function textOfBlob(coredata: CoredataWorld, blob: string): Promise<string> {
  const made = await useBlob(coredata, blob)
  expect(made.status).toBe(201)
  const path = await contentPath(coredata, idIn(made))
  return (await coredata.send('GET', path)).raw.toString()
}

/** Where the content of a file is, for who asks now. */
export async function contentPath({ send }: CoredataWorld, id: string, as: Caller = 'editor'): Promise<string> {
  const answer = await send('GET', `/api/v2/files/${id}/content/`, { as })
  expect(answer).toMatchObject({ status: 302, raw: Buffer.alloc(0) })
  return pathOf(String(answer.headers.location))
}

/** A refusal in the form of object stores. */
export const refused = (status: number, code: string) => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: expect.stringMatching(
    new RegExp(
      `^<\\?xml version="1\\.0" encoding="UTF-8"\\?>\n<Error><Code>${code}</Code><Message>[^<]+</Message></Error>$`,
    ),
  ) as string,
})
export const notAsSigned = refused(403, 'SignatureDoesNotMatch')

/** The same address with one parameter of another value, or without it. */
export function altered(path: string, name: string, change: (value: string) => string | undefined): string {
  const url = new URL(path, 'http://x')
  const value = change(url.searchParams.get(name) ?? '')
  if (value === undefined) url.searchParams.delete(name)
  else url.searchParams.set(name, value)
  return url.pathname + url.search
}

export const flipped = (value: string) => (value.startsWith('A') ? 'B' : 'A') + value.slice(1)
export const later = (value: string) => String(Number(value) + 1)

/** States of what lies in the blob store. */
export async function storedObjects({ world }: CoredataWorld): Promise<string[]> {
  const found = await Array.fromAsync(world.deps.blobs.list())
  return found.map(({ state }) => state)
}
