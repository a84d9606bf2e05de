/** Packages for tests of the API that sends them: short ways to send, to put files in, and to let work be done. */
import { hash } from 'node:crypto'
import { expect } from 'vitest'
import { makeCtx, systemActor, type Ctx } from '#core/ctx.ts'
import { jobHandlers } from '#jobs/handlers.ts'
import { completeJob, leaseJob } from '#jobs/queue.ts'
import type { Answer } from '#test/answer.ts'
import type { Caller, Sent, SofieWorld, UserName } from '#test/sofie-world.ts'
import type { World } from '#test/world.ts'

/** A package that was sent. */
export interface Parcel {
  packageId: string
  rootFolderId: string
  /** Of its calls. */
  path: string
}

export const addressOf = (name: UserName | 'admin') => `${name}@example.test`

export const toAll = [
  { type: 'CONTRIBUTOR', email: addressOf('contributor') },
  { type: 'REGULAR', email: addressOf('regular') },
  { type: 'BLIND', email: addressOf('blind') },
]

/** Sends a private package to a recipient of each type, unless told otherwise. */
export async function sendPackage({ send }: SofieWorld, json: object = {}, as: Caller = 'sender'): Promise<Parcel> {
  const body = { name: 'Report', accessType: 'PRIVATE', recipients: toAll, sendEmailNotifications: false, ...json }
  const answer = await send('POST', '/packages', { as, json: body })
  expect(answer).toMatchObject({ status: 201 })
  const { packageId, rootFolderId } = answer.body as Omit<Parcel, 'path'> // held against the contract
  return { packageId, rootFolderId, path: `/packages/${packageId}` }
}

/** The id of what a call made. */
export function idOf(answer: Answer): string {
  expect(answer).toMatchObject({ status: 201 })
  return (answer.body as { id: string }).id // held against the contract
}

interface NewFile extends Sent {
  name?: string
  content?: string | Buffer
  folderId?: string
  conflictResolution?: string
  /** It stays as it is once it came in. */
  unchecked?: true
}

export const sha256 = (content: string | Buffer) => hash('sha256', content)

/** Announces a file; its id. */
export async function announce({ send }: SofieWorld, { path, rootFolderId }: Parcel, file: NewFile = {}) {
  const {
    name = 'a.txt',
    content = 'content',
    folderId = rootFolderId,
    conflictResolution,
    unchecked: _,
    ...sent
  } = file
  const json = { name, size: Buffer.byteLength(content), mimeType: 'text/plain', conflictResolution }
  return idOf(await send('POST', `${path}/folders/${folderId}/files`, { as: 'sender', ...sent, json }))
}

export const putContent = ({ send }: SofieWorld, url: string, { content = 'content', ...sent }: NewFile = {}) =>
  send('PUT', `${url}/content`, {
    as: 'sender',
    ...sent,
    payload: content,
    headers: { 'content-type': 'application/octet-stream', ...sent.headers },
  })

/** Puts a file into a package in all its steps, and has it checked; its path. */
export async function addFile(sofie: SofieWorld, parcel: Parcel, file: NewFile = {}): Promise<string> {
  const { content = 'content', as = 'sender', impersonate, headers } = file
  const sent: Sent = { as, ...(impersonate && { impersonate }), ...(headers && { headers }) }
  const url = `${parcel.path}/files/${await announce(sofie, parcel, file)}`
  expect(await putContent(sofie, url, { content, ...sent })).toMatchObject({ status: 204 })
  const json = { state: 'UPLOADED', hash: sha256(content) }
  expect(await sofie.send('PUT', `${url}/state`, { ...sent, json })).toMatchObject({ status: 204 })
  if (!file.unchecked) await work(sofie.world)
  return url
}

export async function addFolder({ send }: SofieWorld, { path, rootFolderId }: Parcel, name = 'folder', parentId = '') {
  const json = { parentId: parentId || rootFolderId, name }
  return idOf(await send('POST', `${path}/folders`, { as: 'sender', json }))
}

/** The harmless file that scanners report, in parts. */
export const harmfulText = ['X5O!P%@AP[4\\PZX5', '4(P^)7CC)7}$EICAR', '-STANDARD-ANTIVIRUS', '-TEST-FILE!$H+H*'].join(
  '',
)

/** Lets everything be done that is due: contents are looked into, mails sent. */
export async function work({ deps }: World): Promise<void> {
  const kinds = ['version.screen', 'mail.send', 'blob.collect', 'delivery.retention'] as const
  for (let job = await leaseJob(deps, 'test', kinds); job; job = await leaseJob(deps, 'test', kinds)) {
    const ctx = makeCtx(deps, systemActor(job.tenantId ?? '', 'test'), 'test')
    // Kind and payload are a pair.
    const run = jobHandlers[job.kind] as (ctx: Ctx, payload: unknown, signal: AbortSignal) => Promise<void>
    await run(ctx, job.payload, new AbortController().signal)
    await completeJob(deps, job)
  }
}

/** Types of events of a space with who did them and for whom, `<type> <actor>[ by <impersonator>]`, the latest last. */
export async function acts({ world }: SofieWorld, last: number): Promise<string[]> {
  const rows = await world.deps.database.read
    .selectFrom('event')
    .select(['type', 'outcome', 'actorName', 'impersonatorName'])
    .orderBy('id', 'desc')
    .limit(last)
    .execute()
  return rows.toReversed().map(({ type, outcome, actorName, impersonatorName }) => {
    const [actor = '', by = ''] = [actorName, impersonatorName ?? ''].map(name => name.split(' ')[0])
    return [type, ...(outcome === 'refused' ? ['refused'] : []), actor, ...(by ? ['by', by] : [])].join(' ')
  })
}
