/**
 * A throw-away S3 engine for tests: Ceph's object gateway over one monitor and one object daemon that keeps everything
 * in memory. It needs Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common, and no privileges.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePorts, HOST, installPackages, missingAmong, ready, startTogether } from './daemons.ts'

const PACKAGES = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common']
const PROGRAMS = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph', 'radosgw-admin', 'ceph-authtool', 'monmaptool']
const STORE_BYTES = 8 * 2 ** 30

export interface S3Engine {
  endpoint: string
  accessKey: string
  secretKey: string
  /** Ends the engine and removes all it kept. */
  remove(): Promise<void>
}

/** The programs that are not installed. */
export const missingPrograms = () => missingAmong(PROGRAMS, '--version')

/** Installs the packages where that can be done; whether it could shows in `missingPrograms`. */
export const installEngine = () => installPackages(PACKAGES)

/** Starts an empty engine on free ports. */
export const startEngine = (): Promise<S3Engine> => startTogether('s3e-', startDaemons)

async function startDaemons(folder: string, daemons: ChildProcess[]): Promise<Omit<S3Engine, 'remove'>> {
  for (const name of ['mon', 'osd', 'rgw', 'run', 'log', 'crash']) mkdirSync(join(folder, name))
  const [monitorV2 = 0, monitorV1 = 0, gateway = 0] = await freePorts(3)
  const monitors = `[v2:${HOST}:${monitorV2},v1:${HOST}:${monitorV1}]`
  const fsid = randomUUID()
  const conf = join(folder, 'ceph.conf')
  writeFileSync(conf, configuration({ folder, fsid, monitors, gateway }))
  const call = caller(conf)
  const launch = (name: string, program: string, args: string[]) => {
    const log = openSync(join(folder, 'log', `${name}.out`), 'a')
    const daemon = spawn(program, ['-c', conf, ...args], { stdio: ['ignore', log, log] })
    daemons.push(daemon)
    return (ask: () => Promise<boolean>) => ready({ name, daemon, log: join(folder, 'log', `${name}.out`), ask })
  }

  await makeKeyring(call, join(folder, 'keyring'))
  const map = join(folder, 'monmap')
  const release = ['--set-min-mon-release', 'pacific']
  await call('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', monitors, ...release, map], { bare: true })
  await call('ceph-mon', ['-i', 'a', '--mkfs', '--fsid', fsid, '--monmap', map, '--keyring', join(folder, 'keyring')])
  await launch('mon', 'ceph-mon', ['-i', 'a', '-f'])(() => works(call('ceph', ['-s'])))

  const osd = randomUUID()
  await call('ceph', ['osd', 'new', osd])
  await call('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', osd])
  const isUp = async () => (await call('ceph', ['osd', 'stat'])).includes('1 up')
  await launch('osd', 'ceph-osd', ['-i', '0', '-f'])(() => isUp().catch(() => false))

  const endpoint = `http://${HOST}:${gateway}`
  await launch('rgw', 'radosgw', ['-n', 'client.rgw', '-f'])(() => works(fetch(endpoint)))
  const [accessKey, secretKey] = [randomBytes(10).toString('hex'), randomBytes(20).toString('hex')]
  const account = ['--uid=test', '--display-name=test', `--access-key=${accessKey}`, `--secret=${secretKey}`]
  await call('radosgw-admin', ['user', 'create', ...account])
  return { endpoint, accessKey, secretKey }
}

interface Layout {
  folder: string
  fsid: string
  monitors: string
  gateway: number
}

/** One object daemon alone: pools of size one, placed without regard to hosts. The nagle delay costs 45 ms a request. */
function configuration({ folder, fsid, monitors, gateway }: Layout): string {
  return `[global]
fsid = ${fsid}
mon_initial_members = a
mon_host = ${monitors}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = ${folder}/keyring
public_addr = ${HOST}
cluster_addr = ${HOST}
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.$pid.asok
log_file = ${folder}/log/$name.log
mon_cluster_log_file = ${folder}/log/cluster.log
crash_dir = ${folder}/crash
paxos_propose_interval = 0.05
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 2
mon_data_avail_crit = 1
osd_objectstore = memstore
memstore_device_bytes = ${STORE_BYTES}
[mon.a]
mon_data = ${folder}/mon
[osd.0]
osd_data = ${folder}/osd
[client.rgw]
rgw_data = ${folder}/rgw
rgw_frontends = beast tcp_nodelay=1 endpoint=${HOST}:${gateway}
rgw_thread_pool_size = 64
`
}

type Call = (program: string, args: string[], options?: { bare: boolean }) => Promise<string>

/** Runs one of Ceph's commands; `bare` for those that know no configuration file. */
function caller(conf: string): Call {
  const run = promisify(execFile)
  return async (program, args, { bare } = { bare: false }) => {
    const { stdout } = await run(program, bare ? args : ['-c', conf, ...args], { timeout: 60_000 })
    return stdout
  }
}

async function makeKeyring(call: Call, path: string): Promise<void> {
  const bare = { bare: true }
  await call('ceph-authtool', ['--create-keyring', path, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *'], bare)
  const everything = ['mon', 'osd', 'mgr'].flatMap(service => ['--cap', service, 'allow *'])
  for (const name of ['client.admin', 'client.rgw', 'osd.0']) {
    await call('ceph-authtool', [path, '--gen-key', '-n', name, ...everything], bare)
  }
}

const works = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  )
