/** Two processes on one store write the same name at the same time. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { clientOf, envelopeOf, signIn } from './client.ts'
import { digestOf } from './ledger.ts'
import { openSite } from './server.ts'

const WRITERS = 40
/** Kept in the database, and in the blob store. */
const sizes = [2_000, 200_000]

test(
  `${WRITERS} uploads of one name through two processes all become versions, and one is current`,
  {
    timeout: 120_000,
  },
  async () => {
    await using site = await openSite()
    const servers = [await site.start(), await site.start()]
    const cookie = await signIn(servers[0]!)
    const clients = servers.map(server => clientOf(server, cookie))

    const sent = await Promise.all(
      Array.from({ length: WRITERS }, async (_, n) => {
        const content = randomBytes(sizes[n % sizes.length]! + n)
        const answer = await clients[n % clients.length]!.put('inbox/contested', content)
        return { status: answer.status, fileset: envelopeOf(answer).fileset, digest: digestOf(content) }
      }),
    )

    expect(sent.filter(({ status }) => status !== 201)).toEqual([])
    const versions = await site.query<{ id: number; sha256: string; deletedAt: number | null; isCurrent: number }>(
      `select version.id, version.sha256, version."deletedAt",
            case when node."currentVersionId" = version.id then 1 else 0 end as "isCurrent"
     from version join node on node.id = version."nodeId" where node.name = 'contested'`,
    )
    const byId = (a: { id: number }, b: { id: number }) => a.id - b.id
    expect(versions.map(({ id, sha256 }) => ({ id: Number(id), sha256 })).toSorted(byId)).toEqual(
      sent.map(({ fileset, digest }) => ({ id: fileset!, sha256: digest })).toSorted(byId),
    )
    const current = versions.filter(({ isCurrent }) => isCurrent === 1)
    expect(current).toHaveLength(1)
    expect(versions.filter(({ deletedAt }) => deletedAt === null)).toEqual(current)

    for (const client of clients) {
      expect(await client.list('inbox')).toMatchObject([{ name: 'contested', fileset: Number(current[0]?.id) }])
      expect(digestOf((await client.get('inbox/contested')).body)).toBe(current[0]?.sha256)
      client.close()
    }
    for (const server of servers) expect(await server.stop()).toBe(0)
    for (const command of [
      ['verify', '--content'],
      ['audit', 'seal'],
      ['audit', 'verify'],
    ]) {
      const { status, output } = await site.entrepot(...command)
      expect(status, output).toBe(0)
    }
    const [row] = await site.query<{ written: number }>(
      `select count(*) as written from event where type = 'version.created'`,
    )
    expect(Number(row?.written)).toBe(WRITERS)
  },
)
