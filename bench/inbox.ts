/** The first page of an inbox that holds very many packages, whole and with a filter. */
import { attempt, subject, withServers, type Bench, type Lane, type Scenario } from './bench.ts'
import { requestHead } from './connection.ts'
import { runJob } from './jobs.ts'
import { address } from './server.ts'

const pagePackages = 100
const prefix = '/api/v2/user/packages'

/** One in ten, spread over the whole inbox. */
const byName = { icontains: [{ var: 'name' }, '7 OF THE MONTH'] }

const lists = [
  { id: 'inbox-first', title: 'first 100 packages of an inbox', query: '' },
  {
    id: 'inbox-filtered',
    title: 'first 100 packages of an inbox, by a part of their name',
    query: `&$filter=${encodeURIComponent(JSON.stringify(byName))}`,
  },
] as const

export const inbox: Scenario = {
  id: 'inbox',
  measures: lists.map(({ id, title }) => ({ id, title, unit: 'ms', rate: false, goal: { must: 100, aim: 50 } })),
  about: ({ inboxPackages, listTimes }) =>
    `Package sending: the newest ${pagePackages} of ${inboxPackages} packages that one user has received, with their number, ` +
    'and the same for those whose name contains a text in whatever case, which is one in ten. Median of ' +
    `${listTimes} requests over one connection after a warm-up; the number of entries in the answer is checked before. No ` +
    'peer has such lists.',
  run: bench =>
    withServers(bench, { folders: [], targets: bench.targets.filter(({ name }) => name === subject) }, async lanes => {
      for (const lane of lanes) await attempt(bench, lane.name, () => measure(bench, lane))
    }),
}

/** What is sent, from the one account to itself. */
const sent = JSON.stringify({
  name: 'Report # of the month',
  note: 'As agreed, with all its annexes',
  accessType: 'PRIVATE',
  recipients: [{ type: 'REGULAR', email: address }],
  sendEmailNotifications: false,
})

async function measure(bench: Bench, { name, running: { packages: wire } }: Lane): Promise<void> {
  const { inboxPackages: requests, connections, listTimes: times } = bench.sizes
  if (!wire) throw new Error('serves no packages')
  await runJob({
    kind: 'post-many',
    wire,
    path: prefix,
    body: sent,
    connections: 2 * connections,
    limit: { requests },
  })
  for (const { id, query } of lists) {
    const request = requestHead(wire, 'GET', `${prefix}/inbox?$top=${pagePackages}${query}`)
    const entries = { pattern: '"rootFolderId"', count: pagePackages }
    const { medianMs } = await runJob({ kind: 'repeat', wire, request, entries, warmUps: 5, times })
    bench.record(id, name, medianMs)
  }
}
