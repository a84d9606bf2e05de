/** The peers: servers that store files over WebDAV, with generated configuration close to what distributions ship. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { findProgram, freePort, serverAccount, startProgram, type Account, type Program } from './children.ts'
import { requestHead, type Wire } from './connection.ts'
import type { Running, Skipped, Target } from './bench.ts'

const run = promisify(execFile)

type Plan = (site: Site) => Promise<Pick<Program, 'command' | 'args'> & Partial<Program>>

/** Where a peer keeps its things. */
interface Site {
  root: string
  files: string
  scratch: string
  port: number
  account: Account | undefined
}

async function ownFolder(path: string, account: Account | undefined): Promise<string> {
  await mkdir(path, { recursive: true })
  if (account) await chown(path, account.uid, account.gid)
  return path
}

const davListing =
  (wire: Wire): Running['list'] =>
  (folder, { limit, start }) =>
    start > 0
      ? undefined
      : {
          request: requestHead(wire, 'PROPFIND', `/${folder}/`, 'Depth: 1\r\nContent-Length: 0\r\n'),
          entries: { pattern: '<(\\w+:)?response[ >]', count: limit + 1 }, // the folder itself is an entry
        }

function davPeer(
  peer: Pick<Target, 'name' | 'version' | 'durability'>,
  { lists, plan }: { lists: boolean; plan: Plan },
): Target {
  return {
    ...peer,
    install: async (root, folders) => {
      const account = serverAccount()
      const site = { root, account, files: join(root, 'files'), scratch: join(root, 'scratch'), port: await freePort() }
      for (const folder of [site.files, site.scratch, ...folders.map(name => join(site.files, name))])
        await ownFolder(folder, account)
      const wire: Wire = { port: site.port, filesPath: '', headers: '', multipart: false }
      return {
        start: async () => {
          const planned = await plan(site)
          const ready = { port: site.port, path: '/', anyStatus: true }
          const started = await startProgram({ logFile: join(root, 'log'), ready, ...planned })
          return { ...started, wire, list: lists ? davListing(wire) : () => undefined }
        },
      }
    },
  }
}

const nginxConfig = ({ root, files, scratch, port, account }: Site) => `
${account ? `user ${account.user} ${account.group};` : ''}
daemon off;
worker_processes 2;
pid ${root}/pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path ${scratch};
  proxy_temp_path ${scratch}/proxy;
  fastcgi_temp_path ${scratch}/fastcgi;
  uwsgi_temp_path ${scratch}/uwsgi;
  scgi_temp_path ${scratch}/scgi;
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port} reuseport;
    root ${files};
    location / { dav_methods PUT DELETE; }
  }
}
`

async function nginx(): Promise<Target> {
  const command = findProgram('nginx')
  if (!command) throw new Error('no nginx was found')
  const { stderr } = await run(command, ['-V'])
  if (!stderr.includes('http_dav_module')) throw new Error('this nginx was built without its DAV module')
  return davPeer(
    {
      name: 'nginx',
      version: /nginx\/([\d.]+)/.exec(stderr)?.[1] ?? 'unknown',
      durability: 'no fsync: the file is in the page cache, renamed into place',
    },
    {
      lists: false,
      plan: async site => {
        const config = join(site.root, 'nginx.conf')
        await writeFile(config, nginxConfig(site))
        return { command, args: ['-p', site.root, '-e', 'stderr', '-c', config] }
      },
    },
  )
}

const apacheModules = ['mpm_event', 'unixd', 'authn_core', 'authz_core', 'dav', 'dav_fs', 'dav_lock']

const apacheConfig = ({ root, files, scratch, port, account }: Site, moduleFolder: string) => `
${apacheModules
  .map(name => [name, join(moduleFolder, `mod_${name}.so`)])
  .filter(([, file]) => file && existsSync(file))
  .map(([name, file]) => `LoadModule ${name}_module ${file}`)
  .join('\n')}
${account ? `User ${account.user}\nGroup ${account.group}` : ''}
ServerName 127.0.0.1
ServerRoot ${root}
Listen 127.0.0.1:${port}
PidFile ${root}/pid
DefaultRuntimeDir ${scratch}
ErrorLog ${root}/log
LogLevel warn
StartServers 2
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 128
MaxSpareThreads 128
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestBody 0
DocumentRoot ${files}
DavLockDB ${scratch}/locks
<Directory ${files}>
  Dav On
  AllowOverride None
  Require all granted
</Directory>
`

async function apache(): Promise<Target> {
  const command = findProgram('apache2', 'httpd')
  if (!command) throw new Error('no apache2 or httpd was found')
  const prefix = dirname(dirname(command))
  const folders = ['/usr/lib/apache2/modules', '/usr/lib64/httpd/modules', '/usr/lib/httpd/modules']
  const moduleFolder = [...folders, '/usr/libexec/apache2', join(prefix, 'lib/httpd/modules')].find(folder =>
    existsSync(join(folder, 'mod_dav_fs.so')),
  )
  if (!moduleFolder) throw new Error('this Apache has no mod_dav_fs')
  const { stdout } = await run(command, ['-v'])
  return davPeer(
    {
      name: 'apache',
      version: /Apache\/([\d.]+)/.exec(stdout)?.[1] ?? 'unknown',
      durability: 'no fsync: the file is in the page cache, renamed into place',
    },
    {
      lists: true,
      plan: async site => {
        const config = join(site.root, 'apache.conf')
        await writeFile(config, apacheConfig(site, moduleFolder))
        return { command, args: ['-f', config, '-D', 'FOREGROUND'] }
      },
    },
  )
}

async function rclone(): Promise<Target> {
  const command = findProgram('rclone')
  if (!command) throw new Error('no rclone was found')
  const { stdout } = await run(command, ['version', '--config', '/dev/null'])
  return davPeer(
    {
      name: 'rclone',
      version: /v([\d.]+\S*)/.exec(stdout)?.[1] ?? 'unknown',
      durability: 'no fsync: the file is in the page cache',
    },
    {
      lists: true,
      plan: ({ root, files, port, account }) =>
        Promise.resolve({
          command,
          args: [
            'serve',
            'webdav',
            files,
            '--addr',
            `127.0.0.1:${port}`,
            '--config',
            '/dev/null',
            '--log-level',
            'ERROR',
          ],
          env: { GOMAXPROCS: '2', HOME: root },
          account,
        }),
    },
  )
}

/** The peers of this machine, and why others are not there. */
export async function findPeers(): Promise<{ targets: Target[]; skipped: Skipped[] }> {
  const targets: Target[] = []
  const skipped: Skipped[] = []
  for (const [name, find] of Object.entries({ nginx, apache, rclone })) {
    try {
      targets.push(await find())
    } catch (error) {
      skipped.push({ name, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  return { targets, skipped }
}
